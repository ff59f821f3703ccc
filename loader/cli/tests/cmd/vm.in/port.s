# Drops UDP packets to port 53 and counts the others.
.license "GPL"
.struct Eth { dst: u8[6], src: u8[6], proto: be16 }
.map others: array { key: u32, value: u64, max_entries: 1 }

.section xdp
.func filter(ctx: *xdp_md) -> int
filter:
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r3 = r1
    r3 += 42
    if r3 > r2 goto other
    r4 = *(u16 *)(r1 + Eth.proto)
    r4 = be16 r4
    if w4 != 0x0800 goto other
    r4 = *(u8 *)(r1 + 23)
    if w4 != 17 goto other
    r4 = *(u16 *)(r1 + 36)
    r4 = be16 r4
    r0 = 1
    if w4 == 53 goto out
other:
    *(u32 *)(r10 - 4) = 0
    r1 = others ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto pass
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
pass:
    r0 = 2
out:
    exit

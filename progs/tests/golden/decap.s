    r6 = r1
    r7 = *(u32 *)(r6 + 0)
    r8 = *(u32 *)(r6 + 4)
    r2 = r7
    r2 += 54
    if r2 > r8 goto pass_short
    r2 = *(u16 *)(r7 + 12)
    if r2 != 8 goto pass_not_ipv4
    r2 = *(u8 *)(r7 + 23)
    if r2 != 4 goto pass_not_ipip
    r2 = *(u8 *)(r7 + 14)
    if r2 != 69 goto pass_not_ipip
    r2 = *(u16 *)(r7 + 20)
    if r2 & 65343 goto pass_outer_fragment
    r8 -= r7
    *(u64 *)(r10 - 24) = r8
    r1 = *(u32 *)(r7 + 50)
    *(u32 *)(r10 - 12) = r1
    r2 = r10
    r2 += -12
    r1 = map[served] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto pass_not_vip
    r8 = r0
    r1 = *(u32 *)(r7 + 26)
    r2 = *(u32 *)(r7 + 30)
    r2 <<= 32
    r1 |= r2
    *(u64 *)(r10 - 8) = r1
    r2 = r10
    r2 += -8
    r1 = map[tunnels] ll
    call bpf_map_lookup_elem
    if r0 != 0 goto tunnel_known
    *(u32 *)(r10 - 8) = 0
    r2 = r10
    r2 += -8
    r1 = map[tunnels] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto pass_not_ours
tunnel_known:
    r1 = *(u64 *)(r0 + 0)
    if r1 == 0 goto drop_bad_source
    r9 = r0
    r1 = *(u8 *)(r7 + 34)
    r2 = r1
    r2 >>= 4
    if r2 != 4 goto drop_bad_length
    r1 &= 15
    if r1 < 5 goto drop_bad_length
    r1 <<= 2
    r2 = *(u16 *)(r7 + 36)
    r2 = be16 r2
    if r2 < r1 goto drop_bad_length
    *(u64 *)(r10 - 32) = r2
    r2 += 20
    r3 = *(u16 *)(r7 + 16)
    r3 = be16 r3
    if r2 > r3 goto drop_bad_length
    r3 += 14
    r4 = *(u64 *)(r10 - 24)
    if r3 > r4 goto drop_bad_length
    r1 = *(u8 *)(r7 + 15)
    r1 &= 3
    if r1 != 3 goto ecn_same
    r2 = *(u16 *)(r7 + 34)
    r3 = r2
    r3 >>= 8
    r3 &= 3
    if r3 == 3 goto ecn_same
    if r3 == 0 goto drop_bad_ecn
    r4 = r2
    r4 |= 768
    *(u16 *)(r7 + 34) = r4
    r5 = *(u16 *)(r7 + 44)
    r5 ^= 65535
    r2 ^= 65535
    r5 += r2
    r5 += r4
    r1 = r5
    r1 >>= 16
    r5 &= 65535
    r5 += r1
    r1 = r5
    r1 >>= 16
    r5 &= 65535
    r5 += r1
    r5 ^= 65535
    *(u16 *)(r7 + 44) = r5
ecn_same:
    r1 = *(u64 *)(r7 + 0)
    *(u64 *)(r7 + 20) = r1
    r1 = *(u32 *)(r7 + 8)
    *(u32 *)(r7 + 28) = r1
    r1 = *(u16 *)(r7 + 12)
    *(u16 *)(r7 + 32) = r1
    r7 = *(u64 *)(r10 - 32)
    r1 = r6
    r2 = 20
    call bpf_xdp_adjust_head
    if r0 != 0 goto drop_no_room
    r1 = *(u64 *)(r8 + 0)
    r1 += 1
    *(u64 *)(r8 + 0) = r1
    r1 = *(u64 *)(r8 + 8)
    r1 += r7
    *(u64 *)(r8 + 8) = r1
    r1 = *(u64 *)(r9 + 8)
    r1 += 1
    *(u64 *)(r9 + 8) = r1
    r1 = *(u64 *)(r9 + 16)
    r1 += r7
    *(u64 *)(r9 + 16) = r1
    goto pass_decapsulated
pass_short:
    *(u32 *)(r10 - 16) = 1
    r6 = 2
    goto count
pass_not_ipv4:
    *(u32 *)(r10 - 16) = 0
    r6 = 2
    goto count
pass_not_ipip:
    *(u32 *)(r10 - 16) = 2
    r6 = 2
    goto count
pass_outer_fragment:
    *(u32 *)(r10 - 16) = 3
    r6 = 2
    goto count
pass_not_vip:
    *(u32 *)(r10 - 16) = 4
    r6 = 2
    goto count
pass_not_ours:
    *(u32 *)(r10 - 16) = 5
    r6 = 2
    goto count
drop_bad_source:
    *(u32 *)(r10 - 16) = 6
    r6 = 1
    goto count
drop_bad_length:
    *(u32 *)(r10 - 16) = 7
    r6 = 1
    goto count
drop_bad_ecn:
    *(u32 *)(r10 - 16) = 8
    r6 = 1
    goto count
drop_no_room:
    *(u32 *)(r10 - 16) = 9
    r6 = 1
    goto count
pass_decapsulated:
    *(u32 *)(r10 - 16) = 10
    r6 = 2
    goto count
count:
    r2 = r10
    r2 += -16
    r1 = map[decap_reasons] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r3 = *(u64 *)(r0 + 0)
    r3 += 1
    *(u64 *)(r0 + 0) = r3
out:
    r0 = r6
    exit

# Needs nothing that tiny.btf does not have.
.license "GPL"
.map hits: array { key: u32, value: u64, max_entries: 1 }
.struct sock { family: u16, mark: u32 }
.extern func bpf_ready(sk: *sock) -> int

.section fentry/tcp_connect
.func watch(ctx: *u64) -> int
watch:
    r6 = *(u64 *)(r1 + 0)
    .core byte_off, sock, "0:1"
    r7 = *(u32 *)(r6 + 4)
    r1 = r6
    call bpf_ready
    *(u32 *)(r10 - 4) = 0
    r1 = hits ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    r0 = 0
    exit

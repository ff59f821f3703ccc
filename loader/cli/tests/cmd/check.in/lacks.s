# Needs much that tiny.btf does not have.
.license "GPL"
.map events: ringbuf { max_entries: 4096 }
.struct sock { family: u16, mark: u32, cookie: u64 }
.extern func bpf_gone(sk: *sock) -> int
.extern weak func bpf_maybe(sk: *sock) -> int

.section fentry/tcp_close
.func watch(ctx: *u64) -> int
watch:
    r6 = *(u64 *)(r1 + 0)
    .core byte_off, sock, "0:2"
    r7 = *(u64 *)(r6 + 8)
    r1 = r6
    call bpf_gone
    r1 = r6
    call bpf_maybe
    r1 = events ll
    r2 = 8
    r3 = 0
    call bpf_ringbuf_reserve
    r0 = 0
    exit

.section sk_lookup
.func pick(ctx: *void) -> int
pick:
    r0 = 1
    exit

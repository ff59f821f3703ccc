# A kernel as its types describe it, and not much of one: the text of tiny.btf.
.enum bpf_func_id { BPF_FUNC_unspec, BPF_FUNC_map_lookup_elem, BPF_FUNC_map_update_elem, __BPF_FUNC_MAX_ID }
.enum bpf_map_type { BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY }
.enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP = 6, BPF_PROG_TYPE_TRACING = 26 }
.enum bpf_attach_type { BPF_TRACE_FENTRY = 24, BPF_XDP = 37 }
.struct sock { family: u16, mark: u32 }
.func static knows(helper: bpf_func_id, map: bpf_map_type, prog: bpf_prog_type, attach: bpf_attach_type) -> int
.func static bpf_ready(sk: *sock) -> int
.func static tcp_connect(sk: *sock) -> int

.section socket
knows:
    r0 = 0
    exit
bpf_ready:
    r0 = 0
    exit
tcp_connect:
    r0 = 0
    exit

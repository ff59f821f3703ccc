//! The context structures of each program type, field by field.
//!
//! Input: nothing. Output: [`CONTEXTS`]: offset, size and permission of every field a program may name. Source: the structs
//! of `include/uapi/linux/bpf.h` and the `is_valid_access` functions of Linux 6.18. Read next: `mod.rs`, which makes and
//! checks contexts.

use crate::object::ProgType;

/// What a program may do with a field, and what reading it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A number that is read.
    Read,
    /// A number that is read and written.
    Write,
    /// A pointer to the first byte of the packet, message or option.
    Data,
    /// A pointer to the byte behind the last.
    DataEnd,
    /// A pointer to the metadata in front of the packet.
    DataMeta,
    /// A pointer to a `struct bpf_sock`, or null.
    Sock,
}

/// One field of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its C name.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub off: u32,
    /// Bytes; of the whole array for an array.
    pub size: u32,
    /// What a program may do with it.
    pub meaning: Meaning,
}

/// The structure that `r1` points at when a program starts.
#[derive(Debug, PartialEq, Eq)]
pub struct ContextType {
    /// Its C name, without `struct`.
    pub name: &'static str,
    /// Bytes.
    pub size: u32,
    /// The program types that get it.
    pub progs: &'static [ProgType],
    /// What a program may touch; anything between is refused.
    pub fields: &'static [Field],
}

impl ContextType {
    /// What programs of this type get; `None` where the interpreter has no such context.
    #[must_use]
    pub fn of(prog_type: ProgType) -> Option<&'static Self> {
        CONTEXTS.iter().find(|context| context.progs.contains(&prog_type))
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field that holds all of `size` bytes at `off`.
    pub(super) fn at(&self, off: u32, size: u32) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.off <= off && off + size <= f.off + f.size)
    }
}

/// What XDP programs get.
pub(super) static XDP_MD: &ContextType = &CONTEXTS[0];
/// What programs on socket buffers get.
pub(super) static SK_BUFF: &ContextType = &CONTEXTS[1];

/// One structure a row: name, size, program types; then a field a row.
macro_rules! contexts {
    ($($struct:ident $bytes:literal [$($prog:ident)*] { $($field:ident $off:literal $size:literal $meaning:ident,)* })*) => {
        /// Every context that the interpreter can make.
        pub static CONTEXTS: &[ContextType] = &[$(ContextType {
            name: stringify!($struct),
            size: $bytes,
            progs: &[$(ProgType::$prog),*],
            fields: &[$(Field {
                name: stringify!($field),
                off: $off,
                size: $size,
                meaning: Meaning::$meaning,
            }),*],
        }),*];
    };
}

#[rustfmt::skip]
contexts! {
    xdp_md 24 [XDP] {
        data 0 4 Data, data_end 4 4 DataEnd, data_meta 8 4 DataMeta,
        ingress_ifindex 12 4 Read, rx_queue_index 16 4 Read, egress_ifindex 20 4 Read,
    }
    __sk_buff 192 [SCHED_CLS SCHED_ACT SOCKET_FILTER CGROUP_SKB SK_SKB LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL FLOW_DISSECTOR] {
        len 0 4 Read, pkt_type 4 4 Read, mark 8 4 Write, queue_mapping 12 4 Write, protocol 16 4 Read,
        vlan_present 20 4 Read, vlan_tci 24 4 Read, vlan_proto 28 4 Read, priority 32 4 Write,
        ingress_ifindex 36 4 Read, ifindex 40 4 Read, tc_index 44 4 Write, cb 48 20 Write, hash 68 4 Read,
        tc_classid 72 4 Write, data 76 4 Data, data_end 80 4 DataEnd, napi_id 84 4 Read, family 88 4 Read,
        remote_ip4 92 4 Read, local_ip4 96 4 Read, remote_ip6 100 16 Read, local_ip6 116 16 Read,
        remote_port 132 4 Read, local_port 136 4 Read, data_meta 140 4 DataMeta, tstamp 152 8 Write, wire_len 160 4 Read,
        gso_segs 164 4 Read, sk 168 8 Sock, gso_size 176 4 Read, tstamp_type 180 1 Read, hwtstamp 184 8 Read,
    }
    sk_msg_md 80 [SK_MSG] {
        data 0 8 Data, data_end 8 8 DataEnd, family 16 4 Read, remote_ip4 20 4 Read, local_ip4 24 4 Read,
        remote_ip6 28 16 Read, local_ip6 44 16 Read, remote_port 60 4 Read, local_port 64 4 Read, size 68 4 Read,
        sk 72 8 Sock,
    }
    bpf_sock_ops 224 [SOCK_OPS] {
        op 0 4 Read, reply 4 4 Write, args 4 16 Write, family 20 4 Read, remote_ip4 24 4 Read, local_ip4 28 4 Read,
        remote_ip6 32 16 Read, local_ip6 48 16 Read, remote_port 64 4 Read, local_port 68 4 Read, is_fullsock 72 4 Read,
        snd_cwnd 76 4 Read, srtt_us 80 4 Read, bpf_sock_ops_cb_flags 84 4 Read, state 88 4 Read, rtt_min 92 4 Read,
        snd_ssthresh 96 4 Read, rcv_nxt 100 4 Read, snd_nxt 104 4 Read, snd_una 108 4 Read, mss_cache 112 4 Read,
        ecn_flags 116 4 Read, rate_delivered 120 4 Read, rate_interval_us 124 4 Read, packets_out 128 4 Read,
        retrans_out 132 4 Read, total_retrans 136 4 Read, segs_in 140 4 Read, data_segs_in 144 4 Read,
        segs_out 148 4 Read, data_segs_out 152 4 Read, lost_out 156 4 Read, sacked_out 160 4 Read,
        sk_txhash 164 4 Write, bytes_received 168 8 Read, bytes_acked 176 8 Read, sk 184 8 Sock, skb_data 192 8 Data,
        skb_data_end 200 8 DataEnd, skb_len 208 4 Read, skb_tcp_flags 212 4 Read, skb_hwtstamp 216 8 Read,
    }
    bpf_sock_addr 72 [CGROUP_SOCK_ADDR] {
        user_family 0 4 Read, user_ip4 4 4 Write, user_ip6 8 16 Write, user_port 24 4 Write, family 28 4 Read,
        type 32 4 Read, protocol 36 4 Read, msg_src_ip4 40 4 Write, msg_src_ip6 44 16 Write, sk 64 8 Sock,
    }
    bpf_sk_lookup 72 [SK_LOOKUP] {
        sk 0 8 Sock, family 8 4 Read, protocol 12 4 Read, remote_ip4 16 4 Read, remote_ip6 20 16 Read,
        remote_port 36 4 Read, local_ip4 40 4 Read, local_ip6 44 16 Read, local_port 60 4 Read,
        ingress_ifindex 64 4 Read,
    }
    bpf_sock 80 [CGROUP_SOCK] {
        bound_dev_if 0 4 Write, family 4 4 Read, type 8 4 Read, protocol 12 4 Read, mark 16 4 Write,
        priority 20 4 Write, src_ip4 24 4 Read, src_ip6 28 16 Read, src_port 44 4 Read, dst_port 48 2 Read,
        dst_ip4 52 4 Read, dst_ip6 56 16 Read, state 72 4 Read, rx_queue_mapping 76 4 Read,
    }
    bpf_sockopt 40 [CGROUP_SOCKOPT] {
        sk 0 8 Sock, optval 8 8 Data, optval_end 16 8 DataEnd, level 24 4 Write, optname 28 4 Write, optlen 32 4 Write,
        retval 36 4 Write,
    }
    bpf_sysctl 8 [CGROUP_SYSCTL] { write 0 4 Read, file_pos 4 4 Write, }
    bpf_cgroup_dev_ctx 12 [CGROUP_DEVICE] { access_type 0 4 Read, major 4 4 Read, minor 8 4 Read, }
    sk_reuseport_md 56 [SK_REUSEPORT] {
        data 0 8 Data, data_end 8 8 DataEnd, len 16 4 Read, eth_protocol 20 4 Read, ip_protocol 24 4 Read,
        bind_inany 28 4 Read, hash 32 4 Read, sk 40 8 Sock, migrating_sk 48 8 Sock,
    }
    bpf_perf_event_data 184 [PERF_EVENT] { regs 0 168 Read, sample_period 168 8 Read, addr 176 8 Read, }
    // Registers of the probed function on x86-64.
    pt_regs 168 [KPROBE] {
        r15 0 8 Read, r14 8 8 Read, r13 16 8 Read, r12 24 8 Read, rbp 32 8 Read, rbx 40 8 Read, r11 48 8 Read, r10 56 8 Read,
        r9 64 8 Read, r8 72 8 Read, rax 80 8 Read, rcx 88 8 Read, rdx 96 8 Read, rsi 104 8 Read, rdi 112 8 Read,
        orig_rax 120 8 Read, rip 128 8 Read, cs 136 8 Read, eflags 144 8 Read, rsp 152 8 Read, ss 160 8 Read,
    }
    // The record of an event; what it holds, its `format` file says.
    trace_entry 256 [TRACEPOINT] { record 0 256 Read, }
    // The arguments of the traced function or tracepoint, each as 64 bits; then, for fexit, its result.
    args 96 [TRACING RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE LSM] { args 0 96 Read, }
    // Whatever `BPF_PROG_TEST_RUN` is given.
    syscall_args 64 [SYSCALL] { args 0 64 Write, }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_inside_their_structure_and_are_aligned() {
        for context in CONTEXTS {
            for field in context.fields {
                assert!(field.off + field.size <= context.size, "{}.{}", context.name, field.name);
                let pointer = !matches!(field.meaning, Meaning::Read | Meaning::Write);
                assert!(!pointer || field.size == 4 || field.size == 8, "{}.{}", context.name, field.name);
                assert_eq!(field.off % field.size.min(4), 0, "{}.{}", context.name, field.name);
            }
        }
        assert_eq!((XDP_MD.name, SK_BUFF.name), ("xdp_md", "__sk_buff"));
        assert_eq!(ContextType::of(ProgType::SK_MSG).and_then(|c| c.field("size")).map(|f| f.off), Some(68));
    }
}

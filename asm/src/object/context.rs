//! What programs get in `r1`, by program type.
//!
//! Stage: used by `describe.rs` for the prototypes of programs. The kernel, and programs that replace another's function,
//! compare the context by the name of its struct. Input: a program type. Output: a pointer to that struct. Next: `elf.rs`.

use super::kinds::ProgType;
use super::section;
use crate::btf::{BtfBuilder, BtfType, TypeId};

/// Adds the type of the context of programs in that section.
pub(super) fn context(b: &mut BtfBuilder, section: &str) -> TypeId {
    let prog_type = section::find(section).map_or(ProgType::UNSPEC, |s| s.def.prog_type);
    let target = match prog_type {
        ProgType::XDP => words(
            b,
            "xdp_md",
            &["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex"],
        ),
        ProgType::TRACING | ProgType::LSM => b.int("unsigned long long", 8, false),
        other => match struct_name(other) {
            Some(name) => b.struct_(name, 0, &[]),
            None => TypeId::VOID,
        },
    };
    b.ptr(target)
}

/// A struct of 32-bit words.
fn words(b: &mut BtfBuilder, name: &str, fields: &[&str]) -> TypeId {
    let word = u32::btf(b);
    let members: Vec<_> = fields.iter().zip((0u32..).step_by(4)).map(|(field, at)| (*field, word, at)).collect();
    b.struct_(name, members.iter().map(|_| 4u32).sum(), &members)
}

/// The C name of the context's struct; `None` where it is not a struct of a fixed name.
fn struct_name(prog_type: ProgType) -> Option<&'static str> {
    Some(match prog_type {
        ProgType::SOCKET_FILTER
        | ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::SK_SKB
        | ProgType::FLOW_DISSECTOR => "__sk_buff",
        ProgType::CGROUP_SOCK => "bpf_sock",
        ProgType::CGROUP_SOCK_ADDR => "bpf_sock_addr",
        ProgType::SOCK_OPS => "bpf_sock_ops",
        ProgType::SK_MSG => "sk_msg_md",
        ProgType::CGROUP_DEVICE => "bpf_cgroup_dev_ctx",
        ProgType::CGROUP_SYSCTL => "bpf_sysctl",
        ProgType::CGROUP_SOCKOPT => "bpf_sockopt",
        ProgType::SK_REUSEPORT => "sk_reuseport_md",
        ProgType::SK_LOOKUP => "bpf_sk_lookup",
        ProgType::NETFILTER => "bpf_nf_ctx",
        ProgType::KPROBE => "pt_regs",
        ProgType::PERF_EVENT => "bpf_perf_event_data",
        ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE => "bpf_raw_tracepoint_args",
        _ => return None,
    })
}

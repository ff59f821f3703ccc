//! ELF section names → what the program in that section is.
//!
//! Stage: between `object` (which writes the names) and every loader (which reads them). Input: a section's name, such as
//! `xdp` or `fentry/do_unlinkat`. Output: program type, attach type and target. The names are the ones that libbpf
//! established. Next: `mod.rs`, the object itself.

use bitflags::bitflags;

pub use super::kinds::{AttachType, MapType, ProgType};

bitflags! {
    /// What else a section name says.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SectionFlags: u8 {
        /// The program may sleep (`BPF_F_SLEEPABLE`; the `.s` in the name).
        const SLEEPABLE = 1;
        /// The program can take packets in several buffers (`BPF_F_XDP_HAS_FRAGS`).
        const FRAGS = 2;
        /// The target is a function or tracepoint that must be found in the kernel's (or a program's) BTF.
        const ATTACH_BTF = 4;
        /// Kernels that do not know the attach type load the program without it.
        const ATTACH_OPTIONAL = 8;
        /// A user-space tracepoint, described by ELF notes.
        const USDT = 16;
    }
}

/// What may follow a name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing: the name is the whole name.
    None,
    /// Nothing, or a slash and the target.
    Optional,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionDef {
    /// The name, up to the slash before the target.
    pub name: &'static str,
    /// Whether a target may follow.
    pub target: Target,
    /// The program's type.
    pub prog_type: ProgType,
    /// The attach type to load with, when the name says one.
    pub attach_type: Option<AttachType>,
    /// What else the name says.
    pub flags: SectionFlags,
}

/// A section's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The row that fits.
    pub def: &'static SectionDef,
    /// What follows the first slash after the row's name: a function, a tracepoint, an interface of the kernel.
    pub target: Option<&'a str>,
}

/// Takes a section's name apart. `None` when no row fits: then only the user can know what the program is.
///
/// ```
/// use asm::object::section::{find, AttachType, ProgType};
///
/// let section = find("fentry/do_unlinkat").expect("in the table");
/// assert_eq!(section.def.prog_type, ProgType::TRACING);
/// assert_eq!(section.def.attach_type, Some(AttachType::TRACE_FENTRY));
/// assert_eq!(section.target, Some("do_unlinkat"));
/// assert!(find("xdp/eth0").is_none());
/// ```
#[must_use]
pub fn find(name: &str) -> Option<Section<'_>> {
    TABLE.iter().find_map(|def| {
        let target = match name.strip_prefix(def.name)? {
            "" => None,
            rest if def.target == Target::Optional => Some(rest.strip_prefix('/')?),
            _ => return None,
        };
        Some(Section { def, target })
    })
}

/// One row: name, program type, attach type, flags.
macro_rules! row {
    ($name:literal, $target:ident, $prog:ident, $attach:expr, $($flag:ident)*) => {
        SectionDef {
            name: $name,
            target: Target::$target,
            prog_type: ProgType::$prog,
            attach_type: $attach,
            flags: SectionFlags::empty()$(.union(SectionFlags::$flag))*,
        }
    };
}

/// The rows: one a line, `[name, whether a target follows, program type, attach type, flags]`.
macro_rules! table {
    ($($name:literal $target:ident $prog:ident $attach:ident $($flag:ident)*;)*) => {
        /// Every section name there is, in the order in which they are tried.
        pub const TABLE: &[SectionDef] = &[$(row!($name, $target, $prog, attach!($attach), $($flag)*)),*];
    };
}

/// An attach type, or `NONE`.
macro_rules! attach {
    (NONE) => {
        None
    };
    ($name:ident) => {
        Some(AttachType::$name)
    };
}

table! {
    "xdp" None XDP XDP ATTACH_OPTIONAL;
    "xdp.frags" None XDP XDP FRAGS;
    "xdp/devmap" None XDP XDP_DEVMAP;
    "xdp/cpumap" None XDP XDP_CPUMAP;
    "xdp.frags/devmap" None XDP XDP_DEVMAP FRAGS;
    "xdp.frags/cpumap" None XDP XDP_CPUMAP FRAGS;
    "tc" None SCHED_CLS NONE;
    "tc/ingress" None SCHED_CLS TCX_INGRESS ATTACH_OPTIONAL;
    "tc/egress" None SCHED_CLS TCX_EGRESS ATTACH_OPTIONAL;
    "tcx/ingress" None SCHED_CLS TCX_INGRESS ATTACH_OPTIONAL;
    "tcx/egress" None SCHED_CLS TCX_EGRESS ATTACH_OPTIONAL;
    "netkit/primary" None SCHED_CLS NETKIT_PRIMARY;
    "netkit/peer" None SCHED_CLS NETKIT_PEER;
    "classifier" None SCHED_CLS NONE;
    "action" None SCHED_ACT NONE;
    "sockops" None SOCK_OPS CGROUP_SOCK_OPS ATTACH_OPTIONAL;
    "sk_msg" None SK_MSG SK_MSG_VERDICT ATTACH_OPTIONAL;
    "sk_skb" None SK_SKB NONE;
    "sk_skb/stream_parser" None SK_SKB SK_SKB_STREAM_PARSER ATTACH_OPTIONAL;
    "sk_skb/stream_verdict" None SK_SKB SK_SKB_STREAM_VERDICT ATTACH_OPTIONAL;
    "sk_skb/verdict" None SK_SKB SK_SKB_VERDICT ATTACH_OPTIONAL;
    "sk_lookup" None SK_LOOKUP SK_LOOKUP;
    "sk_reuseport" None SK_REUSEPORT SK_REUSEPORT_SELECT ATTACH_OPTIONAL;
    "sk_reuseport/migrate" None SK_REUSEPORT SK_REUSEPORT_SELECT_OR_MIGRATE;
    "socket" None SOCKET_FILTER NONE;
    "cgroup_skb/ingress" None CGROUP_SKB CGROUP_INET_INGRESS ATTACH_OPTIONAL;
    "cgroup_skb/egress" None CGROUP_SKB CGROUP_INET_EGRESS ATTACH_OPTIONAL;
    "cgroup/skb" None CGROUP_SKB NONE;
    "cgroup/sock" None CGROUP_SOCK CGROUP_INET_SOCK_CREATE ATTACH_OPTIONAL;
    "cgroup/sock_create" None CGROUP_SOCK CGROUP_INET_SOCK_CREATE;
    "cgroup/sock_release" None CGROUP_SOCK CGROUP_INET_SOCK_RELEASE;
    "cgroup/post_bind4" None CGROUP_SOCK CGROUP_INET4_POST_BIND;
    "cgroup/post_bind6" None CGROUP_SOCK CGROUP_INET6_POST_BIND;
    "cgroup/bind4" None CGROUP_SOCK_ADDR CGROUP_INET4_BIND;
    "cgroup/bind6" None CGROUP_SOCK_ADDR CGROUP_INET6_BIND;
    "cgroup/connect4" None CGROUP_SOCK_ADDR CGROUP_INET4_CONNECT;
    "cgroup/connect6" None CGROUP_SOCK_ADDR CGROUP_INET6_CONNECT;
    "cgroup/connect_unix" None CGROUP_SOCK_ADDR CGROUP_UNIX_CONNECT;
    "cgroup/sendmsg4" None CGROUP_SOCK_ADDR CGROUP_UDP4_SENDMSG;
    "cgroup/sendmsg6" None CGROUP_SOCK_ADDR CGROUP_UDP6_SENDMSG;
    "cgroup/sendmsg_unix" None CGROUP_SOCK_ADDR CGROUP_UNIX_SENDMSG;
    "cgroup/recvmsg4" None CGROUP_SOCK_ADDR CGROUP_UDP4_RECVMSG;
    "cgroup/recvmsg6" None CGROUP_SOCK_ADDR CGROUP_UDP6_RECVMSG;
    "cgroup/recvmsg_unix" None CGROUP_SOCK_ADDR CGROUP_UNIX_RECVMSG;
    "cgroup/getpeername4" None CGROUP_SOCK_ADDR CGROUP_INET4_GETPEERNAME;
    "cgroup/getpeername6" None CGROUP_SOCK_ADDR CGROUP_INET6_GETPEERNAME;
    "cgroup/getpeername_unix" None CGROUP_SOCK_ADDR CGROUP_UNIX_GETPEERNAME;
    "cgroup/getsockname4" None CGROUP_SOCK_ADDR CGROUP_INET4_GETSOCKNAME;
    "cgroup/getsockname6" None CGROUP_SOCK_ADDR CGROUP_INET6_GETSOCKNAME;
    "cgroup/getsockname_unix" None CGROUP_SOCK_ADDR CGROUP_UNIX_GETSOCKNAME;
    "cgroup/sysctl" None CGROUP_SYSCTL CGROUP_SYSCTL;
    "cgroup/getsockopt" None CGROUP_SOCKOPT CGROUP_GETSOCKOPT;
    "cgroup/setsockopt" None CGROUP_SOCKOPT CGROUP_SETSOCKOPT;
    "cgroup/dev" None CGROUP_DEVICE CGROUP_DEVICE ATTACH_OPTIONAL;
    "fentry" Optional TRACING TRACE_FENTRY ATTACH_BTF;
    "fexit" Optional TRACING TRACE_FEXIT ATTACH_BTF;
    "fsession" Optional TRACING TRACE_FSESSION ATTACH_BTF;
    "fmod_ret" Optional TRACING MODIFY_RETURN ATTACH_BTF;
    "fentry.s" Optional TRACING TRACE_FENTRY ATTACH_BTF SLEEPABLE;
    "fexit.s" Optional TRACING TRACE_FEXIT ATTACH_BTF SLEEPABLE;
    "fsession.s" Optional TRACING TRACE_FSESSION ATTACH_BTF SLEEPABLE;
    "fmod_ret.s" Optional TRACING MODIFY_RETURN ATTACH_BTF SLEEPABLE;
    "fentry.multi" Optional TRACING TRACE_FENTRY_MULTI;
    "fexit.multi" Optional TRACING TRACE_FEXIT_MULTI;
    "fsession.multi" Optional TRACING TRACE_FSESSION_MULTI;
    "fentry.multi.s" Optional TRACING TRACE_FENTRY_MULTI SLEEPABLE;
    "fexit.multi.s" Optional TRACING TRACE_FEXIT_MULTI SLEEPABLE;
    "fsession.multi.s" Optional TRACING TRACE_FSESSION_MULTI SLEEPABLE;
    "tp_btf" Optional TRACING TRACE_RAW_TP ATTACH_BTF;
    "iter" Optional TRACING TRACE_ITER ATTACH_BTF;
    "iter.s" Optional TRACING TRACE_ITER ATTACH_BTF SLEEPABLE;
    "freplace" Optional EXT NONE ATTACH_BTF;
    "lsm" Optional LSM LSM_MAC ATTACH_BTF;
    "lsm.s" Optional LSM LSM_MAC ATTACH_BTF SLEEPABLE;
    "lsm_cgroup" Optional LSM LSM_CGROUP ATTACH_BTF;
    "tp" Optional TRACEPOINT NONE;
    "tracepoint" Optional TRACEPOINT NONE;
    "raw_tp" Optional RAW_TRACEPOINT NONE;
    "raw_tracepoint" Optional RAW_TRACEPOINT NONE;
    "raw_tp.w" Optional RAW_TRACEPOINT_WRITABLE NONE;
    "raw_tracepoint.w" Optional RAW_TRACEPOINT_WRITABLE NONE;
    "kprobe" Optional KPROBE NONE;
    "kretprobe" Optional KPROBE NONE;
    "kprobe.multi" Optional KPROBE TRACE_KPROBE_MULTI;
    "kretprobe.multi" Optional KPROBE TRACE_KPROBE_MULTI;
    "kprobe.session" Optional KPROBE TRACE_KPROBE_SESSION;
    "ksyscall" Optional KPROBE NONE;
    "kretsyscall" Optional KPROBE NONE;
    "uprobe" Optional KPROBE NONE;
    "uretprobe" Optional KPROBE NONE;
    "uprobe.s" Optional KPROBE NONE SLEEPABLE;
    "uretprobe.s" Optional KPROBE NONE SLEEPABLE;
    "uprobe.multi" Optional KPROBE TRACE_UPROBE_MULTI;
    "uretprobe.multi" Optional KPROBE TRACE_UPROBE_MULTI;
    "uprobe.session" Optional KPROBE TRACE_UPROBE_SESSION;
    "uprobe.multi.s" Optional KPROBE TRACE_UPROBE_MULTI SLEEPABLE;
    "uretprobe.multi.s" Optional KPROBE TRACE_UPROBE_MULTI SLEEPABLE;
    "uprobe.session.s" Optional KPROBE TRACE_UPROBE_SESSION SLEEPABLE;
    "usdt" Optional KPROBE NONE USDT;
    "usdt.s" Optional KPROBE NONE USDT SLEEPABLE;
    "perf_event" None PERF_EVENT NONE;
    "struct_ops" Optional STRUCT_OPS NONE;
    "struct_ops.s" Optional STRUCT_OPS NONE SLEEPABLE;
    "syscall" None SYSCALL NONE SLEEPABLE;
    "netfilter" None NETFILTER NETFILTER;
    "flow_dissector" None FLOW_DISSECTOR FLOW_DISSECTOR ATTACH_OPTIONAL;
    "lirc_mode2" None LIRC_MODE2 LIRC_MODE2 ATTACH_OPTIONAL;
    "lwt_in" None LWT_IN NONE;
    "lwt_out" None LWT_OUT NONE;
    "lwt_xmit" None LWT_XMIT NONE;
    "lwt_seg6local" None LWT_SEG6LOCAL NONE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_or_with_a_target() {
        let cases = [
            ("xdp", Some((ProgType::XDP, None))),
            ("xdp.frags/devmap", Some((ProgType::XDP, None))),
            ("xdpx", None),
            ("xdp/", None),
            ("tp/syscalls/sys_enter_openat", Some((ProgType::TRACEPOINT, Some("syscalls/sys_enter_openat")))),
            ("tp_btf/sched_switch", Some((ProgType::TRACING, Some("sched_switch")))),
            ("uprobe//bin/sh:main", Some((ProgType::KPROBE, Some("/bin/sh:main")))),
            ("lsm.s/bprm_creds_from_file", Some((ProgType::LSM, Some("bprm_creds_from_file")))),
            ("kprobe", Some((ProgType::KPROBE, None))),
            ("kprobeX", None),
            (".text", None),
            ("", None),
        ];
        for (name, want) in cases {
            assert_eq!(find(name).map(|s| (s.def.prog_type, s.target)), want, "{name}");
        }
    }

    #[test]
    fn every_row_finds_itself() {
        for row in TABLE {
            assert_eq!(find(row.name).map(|s| s.def), Some(row), "{}", row.name);
        }
    }
}

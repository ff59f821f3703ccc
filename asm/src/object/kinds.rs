//! The kernel's numbers for kinds of programs, attach points and maps.
//!
//! Stage: named by the writer here and by everything that loads. Input and output: numbers and names. A number that is not
//! in these tables survives reading and printing: the kernel knows more than any list. Next: `section.rs`, which finds
//! program and attach type by the name of an ELF section.

use std::fmt;

/// Declares a newtype over the kernel's number: constant, number, name in the field's words, first kernel.
macro_rules! numbers {
    ($(#[$meta:meta])* $name:ident, $unknown:literal; $($constant:ident = $number:literal, $text:literal, $since:literal, $doc:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            $(
                #[doc = concat!($doc, " Linux ", $since, ".")]
                pub const $constant: Self = Self($number);
            )*

            /// All that are named here, by number.
            pub const ALL: &'static [Self] = &[$(Self($number)),*];

            /// The name; `None` for a number that has none here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }

            /// The first kernel that knows it, such as `"4.8"`; `None` for a number that has no name here.
            #[must_use]
            pub fn since(self) -> Option<&'static str> {
                match self.0 { $($number => Some($since),)* _ => None }
            }

            /// The inverse of [`Self::name`].
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self($number)),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!($unknown, " {}"), self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} {})"), self.0, self.name().unwrap_or("?"))
            }
        }
    };
}

numbers! {
    /// What a program is: decides its context, its helpers and where it can be attached (`enum bpf_prog_type`).
    ProgType, "prog_type";
    UNSPEC = 0, "unspec", "3.18", "Not said.";
    SOCKET_FILTER = 1, "socket_filter", "3.19", "Filter on one socket.";
    KPROBE = 2, "kprobe", "4.1", "Probe in the kernel or in a process.";
    SCHED_CLS = 3, "sched_cls", "4.1", "Traffic control: classifier, and everything on tcx and netkit.";
    SCHED_ACT = 4, "sched_act", "4.1", "Traffic control: action.";
    TRACEPOINT = 5, "tracepoint", "4.7", "Tracepoint, with the fields of its format.";
    XDP = 6, "xdp", "4.8", "Packets as the driver receives them.";
    PERF_EVENT = 7, "perf_event", "4.9", "Perf event.";
    CGROUP_SKB = 8, "cgroup_skb", "4.10", "Packets of a cgroup.";
    CGROUP_SOCK = 9, "cgroup_sock", "4.10", "Sockets made in a cgroup.";
    LWT_IN = 10, "lwt_in", "4.10", "Light-weight tunnel: packets received.";
    LWT_OUT = 11, "lwt_out", "4.10", "Light-weight tunnel: packets sent.";
    LWT_XMIT = 12, "lwt_xmit", "4.10", "Light-weight tunnel: packets sent, with encapsulation.";
    SOCK_OPS = 13, "sock_ops", "4.13", "Events in the life of TCP connections.";
    SK_SKB = 14, "sk_skb", "4.14", "Received data of the sockets in a sockmap.";
    CGROUP_DEVICE = 15, "cgroup_device", "4.15", "Access to device files.";
    SK_MSG = 16, "sk_msg", "4.17", "Data sent by the sockets in a sockmap.";
    RAW_TRACEPOINT = 17, "raw_tracepoint", "4.17", "Tracepoint, with its arguments as they are.";
    CGROUP_SOCK_ADDR = 18, "cgroup_sock_addr", "4.17", "Addresses that sockets bind or connect to.";
    LWT_SEG6LOCAL = 19, "lwt_seg6local", "4.18", "IPv6 segment routing.";
    LIRC_MODE2 = 20, "lirc_mode2", "4.18", "Infrared receiver.";
    SK_REUSEPORT = 21, "sk_reuseport", "4.19", "Choice among sockets that share a port.";
    FLOW_DISSECTOR = 22, "flow_dissector", "4.20", "Parser of packet headers for the whole namespace.";
    CGROUP_SYSCTL = 23, "cgroup_sysctl", "5.2", "Access to sysctl settings.";
    RAW_TRACEPOINT_WRITABLE = 24, "raw_tracepoint_writable", "5.2", "Tracepoint whose arguments may be changed.";
    CGROUP_SOCKOPT = 25, "cgroup_sockopt", "5.3", "Socket options read and set.";
    TRACING = 26, "tracing", "5.5", "Functions and tracepoints by BTF; iterators.";
    STRUCT_OPS = 27, "struct_ops", "5.6", "Functions of a kernel structure, such as a congestion control.";
    EXT = 28, "ext", "5.6", "Replacement of a function in another program.";
    LSM = 29, "lsm", "5.7", "Security hook.";
    SK_LOOKUP = 30, "sk_lookup", "5.9", "Choice of the listening socket.";
    SYSCALL = 31, "syscall", "5.14", "Run by hand; may make system calls.";
    NETFILTER = 32, "netfilter", "6.4", "Netfilter hook.";
}

numbers! {
    /// Where a program is attached (`enum bpf_attach_type`).
    AttachType, "attach_type";
    CGROUP_INET_INGRESS = 0, "cgroup_inet_ingress", "4.10", "Packets received in a cgroup.";
    CGROUP_INET_EGRESS = 1, "cgroup_inet_egress", "4.10", "Packets sent in a cgroup.";
    CGROUP_INET_SOCK_CREATE = 2, "cgroup_inet_sock_create", "4.10", "Sockets made.";
    CGROUP_SOCK_OPS = 3, "cgroup_sock_ops", "4.13", "Events of TCP connections.";
    SK_SKB_STREAM_PARSER = 4, "sk_skb_stream_parser", "4.14", "Where a message ends.";
    SK_SKB_STREAM_VERDICT = 5, "sk_skb_stream_verdict", "4.14", "Where a message goes.";
    CGROUP_DEVICE = 6, "cgroup_device", "4.15", "Access to device files.";
    SK_MSG_VERDICT = 7, "sk_msg_verdict", "4.17", "Where sent data goes.";
    CGROUP_INET4_BIND = 8, "cgroup_inet4_bind", "4.17", "bind, IPv4.";
    CGROUP_INET6_BIND = 9, "cgroup_inet6_bind", "4.17", "bind, IPv6.";
    CGROUP_INET4_CONNECT = 10, "cgroup_inet4_connect", "4.17", "connect, IPv4.";
    CGROUP_INET6_CONNECT = 11, "cgroup_inet6_connect", "4.17", "connect, IPv6.";
    CGROUP_INET4_POST_BIND = 12, "cgroup_inet4_post_bind", "4.17", "After bind, IPv4.";
    CGROUP_INET6_POST_BIND = 13, "cgroup_inet6_post_bind", "4.17", "After bind, IPv6.";
    CGROUP_UDP4_SENDMSG = 14, "cgroup_udp4_sendmsg", "4.18", "sendmsg on UDP, IPv4.";
    CGROUP_UDP6_SENDMSG = 15, "cgroup_udp6_sendmsg", "4.18", "sendmsg on UDP, IPv6.";
    LIRC_MODE2 = 16, "lirc_mode2", "4.18", "Infrared receiver.";
    FLOW_DISSECTOR = 17, "flow_dissector", "4.20", "Parser of packet headers.";
    CGROUP_SYSCTL = 18, "cgroup_sysctl", "5.2", "Access to sysctl settings.";
    CGROUP_UDP4_RECVMSG = 19, "cgroup_udp4_recvmsg", "5.2", "recvmsg on UDP, IPv4.";
    CGROUP_UDP6_RECVMSG = 20, "cgroup_udp6_recvmsg", "5.2", "recvmsg on UDP, IPv6.";
    CGROUP_GETSOCKOPT = 21, "cgroup_getsockopt", "5.3", "Socket options read.";
    CGROUP_SETSOCKOPT = 22, "cgroup_setsockopt", "5.3", "Socket options set.";
    TRACE_RAW_TP = 23, "trace_raw_tp", "5.5", "Tracepoint by BTF.";
    TRACE_FENTRY = 24, "trace_fentry", "5.5", "Function is entered.";
    TRACE_FEXIT = 25, "trace_fexit", "5.5", "Function is left.";
    MODIFY_RETURN = 26, "modify_return", "5.7", "Function is entered; may answer in its place.";
    LSM_MAC = 27, "lsm_mac", "5.7", "Security hook.";
    TRACE_ITER = 28, "trace_iter", "5.8", "Iterator.";
    CGROUP_INET4_GETPEERNAME = 29, "cgroup_inet4_getpeername", "5.8", "getpeername, IPv4.";
    CGROUP_INET6_GETPEERNAME = 30, "cgroup_inet6_getpeername", "5.8", "getpeername, IPv6.";
    CGROUP_INET4_GETSOCKNAME = 31, "cgroup_inet4_getsockname", "5.8", "getsockname, IPv4.";
    CGROUP_INET6_GETSOCKNAME = 32, "cgroup_inet6_getsockname", "5.8", "getsockname, IPv6.";
    XDP_DEVMAP = 33, "xdp_devmap", "5.8", "XDP program in an entry of a devmap.";
    CGROUP_INET_SOCK_RELEASE = 34, "cgroup_inet_sock_release", "5.9", "Sockets closed.";
    XDP_CPUMAP = 35, "xdp_cpumap", "5.9", "XDP program in an entry of a cpumap.";
    SK_LOOKUP = 36, "sk_lookup", "5.9", "Choice of the listening socket.";
    XDP = 37, "xdp", "5.9", "XDP on an interface.";
    SK_SKB_VERDICT = 38, "sk_skb_verdict", "5.13", "Where received data goes, without a parser.";
    SK_REUSEPORT_SELECT = 39, "sk_reuseport_select", "5.14", "Choice of a socket.";
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40, "sk_reuseport_select_or_migrate", "5.14", "Choice of a socket, also for connections of a closed one.";
    PERF_EVENT = 41, "perf_event", "5.15", "Perf event, kprobe, uprobe or tracepoint by link.";
    TRACE_KPROBE_MULTI = 42, "trace_kprobe_multi", "5.18", "Many kernel functions at once.";
    LSM_CGROUP = 43, "lsm_cgroup", "6.0", "Security hook, for one cgroup.";
    STRUCT_OPS = 44, "struct_ops", "6.4", "Functions of a kernel structure.";
    NETFILTER = 45, "netfilter", "6.4", "Netfilter hook.";
    TCX_INGRESS = 46, "tcx_ingress", "6.6", "Packets received by an interface.";
    TCX_EGRESS = 47, "tcx_egress", "6.6", "Packets sent by an interface.";
    TRACE_UPROBE_MULTI = 48, "trace_uprobe_multi", "6.6", "Many places in a process at once.";
    CGROUP_UNIX_CONNECT = 49, "cgroup_unix_connect", "6.7", "connect, Unix sockets.";
    CGROUP_UNIX_SENDMSG = 50, "cgroup_unix_sendmsg", "6.7", "sendmsg, Unix sockets.";
    CGROUP_UNIX_RECVMSG = 51, "cgroup_unix_recvmsg", "6.7", "recvmsg, Unix sockets.";
    CGROUP_UNIX_GETPEERNAME = 52, "cgroup_unix_getpeername", "6.7", "getpeername, Unix sockets.";
    CGROUP_UNIX_GETSOCKNAME = 53, "cgroup_unix_getsockname", "6.7", "getsockname, Unix sockets.";
    NETKIT_PRIMARY = 54, "netkit_primary", "6.7", "Packets sent by the primary end of a netkit pair.";
    NETKIT_PEER = 55, "netkit_peer", "6.7", "Packets sent by the peer end of a netkit pair.";
    TRACE_KPROBE_SESSION = 56, "trace_kprobe_session", "6.10", "Entry and exit of many kernel functions.";
    TRACE_UPROBE_SESSION = 57, "trace_uprobe_session", "6.13", "Entry and exit of many places in a process.";
    TRACE_FSESSION = 58, "trace_fsession", "7.0", "Entry and exit of a function.";
    TRACE_FENTRY_MULTI = 59, "trace_fentry_multi", "7.2", "Many functions are entered.";
    TRACE_FEXIT_MULTI = 60, "trace_fexit_multi", "7.2", "Many functions are left.";
    TRACE_FSESSION_MULTI = 61, "trace_fsession_multi", "7.2", "Entry and exit of many functions.";
}

numbers! {
    /// What a map is (`enum bpf_map_type`).
    MapType, "map_type";
    UNSPEC = 0, "unspec", "3.18", "Not said.";
    HASH = 1, "hash", "3.19", "Hash table.";
    ARRAY = 2, "array", "3.19", "Array; all entries exist from the start, as zeros.";
    PROG_ARRAY = 3, "prog_array", "4.2", "Programs, for tail calls.";
    PERF_EVENT_ARRAY = 4, "perf_event_array", "4.3", "Perf events, one per CPU.";
    PERCPU_HASH = 5, "percpu_hash", "4.6", "Hash table with a value per CPU.";
    PERCPU_ARRAY = 6, "percpu_array", "4.6", "Array with a value per CPU.";
    STACK_TRACE = 7, "stack_trace", "4.6", "Call stacks.";
    CGROUP_ARRAY = 8, "cgroup_array", "4.8", "Cgroups.";
    LRU_HASH = 9, "lru_hash", "4.10", "Hash table that drops what was not used for longest.";
    LRU_PERCPU_HASH = 10, "lru_percpu_hash", "4.10", "The same with a value per CPU.";
    LPM_TRIE = 11, "lpm_trie", "4.11", "Longest prefix match.";
    ARRAY_OF_MAPS = 12, "array_of_maps", "4.12", "Array of maps.";
    HASH_OF_MAPS = 13, "hash_of_maps", "4.12", "Hash table of maps.";
    DEVMAP = 14, "devmap", "4.14", "Interfaces to redirect to, by index.";
    SOCKMAP = 15, "sockmap", "4.14", "Sockets, by index.";
    CPUMAP = 16, "cpumap", "4.15", "CPUs to redirect to.";
    XSKMAP = 17, "xskmap", "4.18", "AF_XDP sockets.";
    SOCKHASH = 18, "sockhash", "4.18", "Sockets, by key.";
    CGROUP_STORAGE = 19, "cgroup_storage", "4.19", "Storage of a cgroup and program; superseded by `cgrp_storage`.";
    REUSEPORT_SOCKARRAY = 20, "reuseport_sockarray", "4.19", "Sockets that share a port.";
    PERCPU_CGROUP_STORAGE = 21, "percpu_cgroup_storage", "4.20", "Storage of a cgroup and program, per CPU.";
    QUEUE = 22, "queue", "4.20", "First in, first out.";
    STACK = 23, "stack", "4.20", "Last in, first out.";
    SK_STORAGE = 24, "sk_storage", "5.2", "Storage of a socket.";
    DEVMAP_HASH = 25, "devmap_hash", "5.4", "Interfaces to redirect to, by key.";
    STRUCT_OPS = 26, "struct_ops", "5.6", "A kernel structure of functions.";
    RINGBUF = 27, "ringbuf", "5.8", "Ring buffer to user space; `max_entries` is its size in bytes.";
    INODE_STORAGE = 28, "inode_storage", "5.10", "Storage of an inode.";
    TASK_STORAGE = 29, "task_storage", "5.11", "Storage of a task.";
    BLOOM_FILTER = 30, "bloom_filter", "5.16", "Bloom filter.";
    USER_RINGBUF = 31, "user_ringbuf", "6.1", "Ring buffer from user space.";
    CGRP_STORAGE = 32, "cgrp_storage", "6.2", "Storage of a cgroup.";
    ARENA = 33, "arena", "6.9", "Memory shared with user space.";
    INSN_ARRAY = 34, "insn_array", "6.19", "Instructions to jump to.";
    RHASH = 35, "rhash", "7.2", "Hash table that grows.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_lead_back() {
        for (n, t) in MapType::ALL.iter().enumerate() {
            assert_eq!(t.0 as usize, n, "{t}");
            assert_eq!(MapType::from_name(t.name().unwrap()), Some(*t));
        }
        for (n, t) in ProgType::ALL.iter().enumerate() {
            assert_eq!((t.0 as usize, ProgType::from_name(t.name().unwrap())), (n, Some(*t)));
        }
        for (n, t) in AttachType::ALL.iter().enumerate() {
            assert_eq!((t.0 as usize, AttachType::from_name(t.name().unwrap())), (n, Some(*t)));
        }
        assert_eq!(MapType(99).to_string(), "map_type 99");
    }
}

//! Stage: instructions. The table of helper functions: a row a helper.
//!
//! Input: nothing. Output: [`ALL`], and a constant for each helper's number. A row is: number, names, first kernel,
//! what it does; then arguments, result, program types that may call it, and what else the verifier knows. Next: `../build.rs`.
//!
//! Sources: numbers from `enum bpf_func_id` of `include/uapi/linux/bpf.h`. They are given in order, so first kernels never decrease
//! down the table; those of the first 115 stand in `docs/kernel-versions.md` of iovisor/bcc too. Where the numbers of 5.10, 6.1, 6.12,
//! 6.16, 6.17, 6.18 and 7.3 end, who may call what there, and which calls want a GPL license is tried out by
//! `loader/tests/kernel/helpers.rs`; first kernels between those releases and prototypes rest on the kernel's documentation.

use super::{Arg, Helper, Id, Progs, Ret, Since};
use crate::object::ProgType;

const fn one(prog_type: ProgType) -> Progs {
    Progs::of(&[prog_type])
}

/// Names for program types and for families that share their helpers.
macro_rules! progs {
    ($($name:ident)*) => { mod progs { use super::*; $(pub(super) const $name: Progs = one(ProgType::$name);)*
        /// Traffic control.
        pub(super) const TC: Progs = SCHED_CLS.and(SCHED_ACT);
        /// Light-weight tunnels.
        pub(super) const LWT: Progs = LWT_IN.and(LWT_OUT).and(LWT_XMIT).and(LWT_SEG6LOCAL);
        /// All that see packets or sockets.
        pub(super) const NET: Progs = TC.and(LWT).and(SOCKET_FILTER).and(XDP).and(CGROUP_SKB).and(SOCK_OPS).and(SK_SKB)
            .and(SK_MSG).and(CGROUP_SOCK_ADDR).and(FLOW_DISSECTOR).and(SK_LOOKUP);
        /// Tracing without BTF.
        pub(super) const PROBE: Progs =
            KPROBE.and(TRACEPOINT).and(PERF_EVENT).and(RAW_TRACEPOINT).and(RAW_TRACEPOINT_WRITABLE);
        /// Tracing with BTF, and what is allowed the same.
        pub(super) const BTF: Progs = TRACING.and(LSM).and(SYSCALL);
        /// All tracing.
        pub(super) const TRACE: Progs = PROBE.and(BTF);
        /// Every type but infrared receivers, which have a short list of their own.
        pub(super) const ANY: Progs = NET.and(TRACE).and(CGROUP_SOCK).and(CGROUP_DEVICE).and(CGROUP_SYSCTL)
            .and(CGROUP_SOCKOPT).and(SK_REUSEPORT).and(NETFILTER).and(STRUCT_OPS).and(EXT);
    } };
}

#[rustfmt::skip]
progs! {
    SOCKET_FILTER KPROBE SCHED_CLS SCHED_ACT TRACEPOINT XDP PERF_EVENT CGROUP_SKB CGROUP_SOCK LWT_IN LWT_OUT LWT_XMIT
    SOCK_OPS SK_SKB CGROUP_DEVICE SK_MSG RAW_TRACEPOINT CGROUP_SOCK_ADDR LWT_SEG6LOCAL LIRC_MODE2 SK_REUSEPORT
    FLOW_DISSECTOR CGROUP_SYSCTL RAW_TRACEPOINT_WRITABLE CGROUP_SOCKOPT TRACING STRUCT_OPS EXT LSM SK_LOOKUP SYSCALL NETFILTER
}

const PLAIN: Helper = Helper {
    id: Id(0),
    name: "",
    summary: "",
    args: &[],
    ret: Ret::Void,
    progs: Progs(0),
    gpl_only: false,
    moves_packet: false,
    sleeps: false,
    acquires: false,
    since: Since::Never,
};

macro_rules! helpers {
    ($($id:literal $constant:ident $name:literal $major:literal $minor:literal $summary:literal
        ($($arg:ident $(($bytes:literal))?),*) -> $ret:ident [$($progs:ident)*] [$($flag:ident)*];)*) => {
        $(
            #[doc = concat!("`bpf_", $name, "`: ", $summary, " Linux ", $major, ".", $minor, ".")]
            pub const $constant: Id = Id($id);
        )*

        /// Every helper; row `n` has number `n + 1`.
        pub static ALL: &[Helper] = &[$(
            Helper {
                id: $constant,
                name: $name,
                summary: $summary,
                args: &[$(Arg::$arg $(($bytes))?),*],
                ret: Ret::$ret,
                progs: Progs(0)$(.and(progs::$progs))*,
                since: Since::Kernel($major, $minor),
                $($flag: true,)*
                ..PLAIN
            }
        ),*];
    };
}

#[rustfmt::skip]
helpers! {
    1 MAP_LOOKUP_ELEM "map_lookup_elem" 3 19 "Finds the value of a key."
        (Map, MapKey) -> MapValueOrNull [ANY LIRC_MODE2] [];
    2 MAP_UPDATE_ELEM "map_update_elem" 3 19 "Stores a value under a key."
        (Map, MapKey, MapValue, Any) -> Integer [ANY LIRC_MODE2] [];
    3 MAP_DELETE_ELEM "map_delete_elem" 3 19 "Removes a key."
        (Map, MapKey) -> Integer [ANY LIRC_MODE2] [];
    4 PROBE_READ "probe_read" 4 1 "Copies memory that may not be there; kernel or user by address."
        (MemOut, SizeOrZero, Any) -> Integer [TRACE] [gpl_only];
    5 KTIME_GET_NS "ktime_get_ns" 4 1 "Nanoseconds since boot, without sleep."
        () -> Integer [ANY LIRC_MODE2] [];
    6 TRACE_PRINTK "trace_printk" 4 1 "Writes a formatted line to the trace pipe."
        (Mem, Size) -> Integer [ANY LIRC_MODE2] [gpl_only];
    7 GET_PRANDOM_U32 "get_prandom_u32" 4 1 "A pseudo-random number."
        () -> Integer [ANY LIRC_MODE2] [];
    8 GET_SMP_PROCESSOR_ID "get_smp_processor_id" 4 1 "The number of this CPU."
        () -> Integer [ANY] [];
    9 SKB_STORE_BYTES "skb_store_bytes" 4 1 "Writes bytes into a packet."
        (Ctx, Any, Mem, Size, Any) -> Integer [TC LWT_XMIT SK_SKB] [moves_packet];
    10 L3_CSUM_REPLACE "l3_csum_replace" 4 1 "Updates the checksum of an IP header by a difference."
        (Ctx, Any, Any, Any, Any) -> Integer [TC LWT_XMIT] [moves_packet];
    11 L4_CSUM_REPLACE "l4_csum_replace" 4 1 "Updates the checksum of TCP or UDP by a difference."
        (Ctx, Any, Any, Any, Any) -> Integer [TC LWT_XMIT] [moves_packet];
    12 TAIL_CALL "tail_call" 4 2 "Goes on in another program, and does not come back."
        (Ctx, Map, Any) -> Void [ANY LIRC_MODE2] [moves_packet];
    13 CLONE_REDIRECT "clone_redirect" 4 2 "Sends a copy of the packet to a device."
        (Ctx, Any, Any) -> Integer [TC LWT_XMIT] [moves_packet];
    14 GET_CURRENT_PID_TGID "get_current_pid_tgid" 4 2 "Thread group and thread number of the running task."
        () -> Integer [ANY] [];
    15 GET_CURRENT_UID_GID "get_current_uid_gid" 4 2 "Group and user of the running task."
        () -> Integer [ANY] [];
    16 GET_CURRENT_COMM "get_current_comm" 4 2 "Name of the running task."
        (MemOut, Size) -> Integer [ANY] [];
    17 GET_CGROUP_CLASSID "get_cgroup_classid" 4 3 "net_cls class of a packet's, or of the running, task."
        (Ctx) -> Integer [ANY] [];
    18 SKB_VLAN_PUSH "skb_vlan_push" 4 3 "Puts a VLAN tag on."
        (Ctx, Any, Any) -> Integer [TC] [moves_packet];
    19 SKB_VLAN_POP "skb_vlan_pop" 4 3 "Takes a VLAN tag off."
        (Ctx) -> Integer [TC] [moves_packet];
    20 SKB_GET_TUNNEL_KEY "skb_get_tunnel_key" 4 3 "Tunnel metadata that came with a packet."
        (Ctx, MemOut, Size, Any) -> Integer [TC LWT_XMIT] [];
    21 SKB_SET_TUNNEL_KEY "skb_set_tunnel_key" 4 3 "Tunnel metadata that a packet shall go with."
        (Ctx, Mem, Size, Any) -> Integer [TC LWT_XMIT] [];
    22 PERF_EVENT_READ "perf_event_read" 4 3 "Reads a perf counter."
        (Map, Any) -> Integer [ANY] [gpl_only];
    23 REDIRECT "redirect" 4 4 "Sends the packet to a device when the program ends."
        (Any, Any) -> Integer [TC XDP LWT_XMIT] [];
    24 GET_ROUTE_REALM "get_route_realm" 4 4 "Realm of a packet's route."
        (Ctx) -> Integer [TC LWT] [];
    25 PERF_EVENT_OUTPUT "perf_event_output" 4 4 "Sends bytes to user space through a perf buffer."
        (Ctx, Map, Any, Mem, SizeOrZero) -> Integer
            [TRACE TC LWT SOCKET_FILTER XDP CGROUP_SKB CGROUP_SOCK SOCK_OPS SK_SKB CGROUP_DEVICE SK_MSG
             CGROUP_SOCK_ADDR CGROUP_SYSCTL CGROUP_SOCKOPT SK_LOOKUP] [gpl_only];
    26 SKB_LOAD_BYTES "skb_load_bytes" 4 5 "Copies bytes out of a packet."
        (Ctx, Any, MemOut, Size) -> Integer [TC LWT SOCKET_FILTER CGROUP_SKB SK_SKB SK_REUSEPORT FLOW_DISSECTOR] [];
    27 GET_STACKID "get_stackid" 4 6 "Number of the current stack in a stack-trace map."
        (Ctx, Map, Any) -> Integer [TRACE] [gpl_only];
    28 CSUM_DIFF "csum_diff" 4 6 "Checksum difference of two pieces of memory."
        (MemOrNull, SizeOrZero, MemOrNull, SizeOrZero, Any) -> Integer [TC LWT XDP] [];
    29 SKB_GET_TUNNEL_OPT "skb_get_tunnel_opt" 4 6 "Tunnel options that came with a packet."
        (Ctx, MemOut, Size) -> Integer [TC LWT_XMIT] [];
    30 SKB_SET_TUNNEL_OPT "skb_set_tunnel_opt" 4 6 "Tunnel options that a packet shall go with."
        (Ctx, Mem, Size) -> Integer [TC LWT_XMIT] [];
    31 SKB_CHANGE_PROTO "skb_change_proto" 4 8 "Makes an IPv4 packet an IPv6 one or back."
        (Ctx, Any, Any) -> Integer [TC] [moves_packet];
    32 SKB_CHANGE_TYPE "skb_change_type" 4 8 "Changes whom the packet counts as sent to."
        (Ctx, Any) -> Integer [TC] [];
    33 SKB_UNDER_CGROUP "skb_under_cgroup" 4 8 "Is the packet's socket inside that cgroup?"
        (Ctx, Map, Any) -> Integer [TC LWT] [];
    34 GET_HASH_RECALC "get_hash_recalc" 4 8 "Flow hash of a packet."
        (Ctx) -> Integer [TC LWT] [];
    35 GET_CURRENT_TASK "get_current_task" 4 8 "Address of the running task."
        () -> Integer [ANY] [gpl_only];
    36 PROBE_WRITE_USER "probe_write_user" 4 8 "Writes into the running task's memory."
        (Any, Mem, Size) -> Integer [TRACE] [gpl_only];
    37 CURRENT_TASK_UNDER_CGROUP "current_task_under_cgroup" 4 9 "Is the running task inside that cgroup?"
        (Map, Any) -> Integer [ANY] [];
    38 SKB_CHANGE_TAIL "skb_change_tail" 4 9 "Grows or cuts a packet at its end."
        (Ctx, Any, Any) -> Integer [TC LWT_XMIT SK_SKB] [moves_packet];
    39 SKB_PULL_DATA "skb_pull_data" 4 9 "Makes bytes of a packet directly readable."
        (Ctx, Any) -> Integer [TC LWT SK_SKB] [moves_packet];
    40 CSUM_UPDATE "csum_update" 4 9 "Adds to the checksum the device gave."
        (Ctx, Any) -> Integer [TC LWT_XMIT] [];
    41 SET_HASH_INVALID "set_hash_invalid" 4 9 "Forgets the flow hash of a packet."
        (Ctx) -> Integer [TC LWT_XMIT] [];
    42 GET_NUMA_NODE_ID "get_numa_node_id" 4 10 "Memory node of this CPU."
        () -> Integer [ANY] [];
    43 SKB_CHANGE_HEAD "skb_change_head" 4 10 "Makes room before a packet."
        (Ctx, Any, Any) -> Integer [TC LWT_XMIT SK_SKB] [moves_packet];
    44 XDP_ADJUST_HEAD "xdp_adjust_head" 4 10 "Moves the start of a packet."
        (Ctx, Any) -> Integer [XDP] [moves_packet];
    45 PROBE_READ_STR "probe_read_str" 4 11 "Copies a string that may not be there; kernel or user by address."
        (MemOut, SizeOrZero, Any) -> Integer [TRACE] [gpl_only];
    46 GET_SOCKET_COOKIE "get_socket_cookie" 4 12 "A number that stays with a socket for its life."
        (Ctx) -> Integer [TC BTF SOCKET_FILTER CGROUP_SKB CGROUP_SOCK SOCK_OPS SK_SKB CGROUP_SOCK_ADDR SK_REUSEPORT] [];
    47 GET_SOCKET_UID "get_socket_uid" 4 12 "Owner of a packet's socket."
        (Ctx) -> Integer [TC SOCKET_FILTER CGROUP_SKB SK_SKB] [];
    48 SET_HASH "set_hash" 4 13 "Sets the flow hash of a packet."
        (Ctx, Any) -> Integer [TC] [];
    49 SETSOCKOPT "setsockopt" 4 13 "Sets an option of a socket."
        (Ctx, Any, Any, Mem, Size) -> Integer [SOCK_OPS CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT LSM STRUCT_OPS] [];
    50 SKB_ADJUST_ROOM "skb_adjust_room" 4 13 "Makes or removes room behind a header."
        (Ctx, Any, Any, Any) -> Integer [TC SK_SKB] [moves_packet];
    51 REDIRECT_MAP "redirect_map" 4 14 "Sends the frame to what a map holds, when the program ends."
        (Map, Any, Any) -> Integer [XDP] [];
    52 SK_REDIRECT_MAP "sk_redirect_map" 4 14 "Hands the data to the socket at an index of a sockmap."
        (Ctx, Map, Any, Any) -> Integer [SK_SKB] [];
    53 SOCK_MAP_UPDATE "sock_map_update" 4 14 "Puts the context's socket into a sockmap."
        (Ctx, Map, MapKey, Any) -> Integer [SOCK_OPS] [];
    54 XDP_ADJUST_META "xdp_adjust_meta" 4 15 "Moves the start of the metadata before a packet."
        (Ctx, Any) -> Integer [XDP] [moves_packet];
    55 PERF_EVENT_READ_VALUE "perf_event_read_value" 4 15 "Reads a perf counter with its running times."
        (Map, Any, MemOut, Size) -> Integer [ANY] [gpl_only];
    56 PERF_PROG_READ_VALUE "perf_prog_read_value" 4 15 "Reads the counter that made this program run."
        (Ctx, MemOut, Size) -> Integer [PERF_EVENT] [gpl_only];
    57 GETSOCKOPT "getsockopt" 4 15 "Reads an option of a socket."
        (Ctx, Any, Any, MemOut, Size) -> Integer
            [SOCK_OPS CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT LSM STRUCT_OPS] [];
    58 OVERRIDE_RETURN "override_return" 4 16 "Makes the probed function return at once."
        (Ctx, Any) -> Integer [KPROBE] [gpl_only];
    59 SOCK_OPS_CB_FLAGS_SET "sock_ops_cb_flags_set" 4 16 "Chooses of which TCP events the program hears."
        (Ctx, Any) -> Integer [SOCK_OPS] [];
    60 MSG_REDIRECT_MAP "msg_redirect_map" 4 17 "Hands the message to the socket at an index of a sockmap."
        (Ctx, Map, Any, Any) -> Integer [SK_MSG] [];
    61 MSG_APPLY_BYTES "msg_apply_bytes" 4 17 "The verdict holds for so many bytes."
        (Ctx, Any) -> Integer [SK_MSG] [];
    62 MSG_CORK_BYTES "msg_cork_bytes" 4 17 "Runs the program again when so many bytes are there."
        (Ctx, Any) -> Integer [SK_MSG] [];
    63 MSG_PULL_DATA "msg_pull_data" 4 17 "Makes bytes of a message directly readable."
        (Ctx, Any, Any, Any) -> Integer [SK_MSG] [moves_packet];
    64 BIND "bind" 4 17 "Binds a connecting socket to an address."
        (Ctx, Mem, Size) -> Integer [CGROUP_SOCK_ADDR] [];
    65 XDP_ADJUST_TAIL "xdp_adjust_tail" 4 18 "Moves the end of a packet."
        (Ctx, Any) -> Integer [XDP] [moves_packet];
    66 SKB_GET_XFRM_STATE "skb_get_xfrm_state" 4 18 "IPsec state of a packet."
        (Ctx, Any, MemOut, Size, Any) -> Integer [TC] [];
    67 GET_STACK "get_stack" 4 18 "The current stack, as addresses."
        (Ctx, MemOut, SizeOrZero, Any) -> Integer [TRACE] [gpl_only];
    68 SKB_LOAD_BYTES_RELATIVE "skb_load_bytes_relative" 4 18 "Copies bytes of a packet, counted from a header."
        (Ctx, Any, MemOut, Size, Any) -> Integer [TC SOCKET_FILTER CGROUP_SKB SK_REUSEPORT] [];
    69 FIB_LOOKUP "fib_lookup" 4 18 "Route and neighbour for an address."
        (Ctx, MemInOut, Size, Any) -> Integer [TC XDP] [gpl_only];
    70 SOCK_HASH_UPDATE "sock_hash_update" 4 18 "Puts the context's socket into a sockhash."
        (Ctx, Map, MapKey, Any) -> Integer [SOCK_OPS] [];
    71 MSG_REDIRECT_HASH "msg_redirect_hash" 4 18 "Hands the message to the socket under a key of a sockhash."
        (Ctx, Map, MapKey, Any) -> Integer [SK_MSG] [];
    72 SK_REDIRECT_HASH "sk_redirect_hash" 4 18 "Hands the data to the socket under a key of a sockhash."
        (Ctx, Map, MapKey, Any) -> Integer [SK_SKB] [];
    73 LWT_PUSH_ENCAP "lwt_push_encap" 4 18 "Puts an outer header before the packet."
        (Ctx, Any, Mem, Size) -> Integer [LWT_IN LWT_XMIT] [moves_packet];
    74 LWT_SEG6_STORE_BYTES "lwt_seg6_store_bytes" 4 18 "Writes into a segment-routing header."
        (Ctx, Any, Mem, Size) -> Integer [LWT_SEG6LOCAL] [moves_packet];
    75 LWT_SEG6_ADJUST_SRH "lwt_seg6_adjust_srh" 4 18 "Grows or shrinks a segment-routing header."
        (Ctx, Any, Any) -> Integer [LWT_SEG6LOCAL] [moves_packet];
    76 LWT_SEG6_ACTION "lwt_seg6_action" 4 18 "Does a segment-routing action."
        (Ctx, Any, Mem, Size) -> Integer [LWT_SEG6LOCAL] [moves_packet];
    77 RC_REPEAT "rc_repeat" 4 18 "Reports that a remote-control key is still down."
        (Ctx) -> Integer [LIRC_MODE2] [gpl_only];
    78 RC_KEYDOWN "rc_keydown" 4 18 "Reports a remote-control key."
        (Ctx, Any, Any, Any) -> Integer [LIRC_MODE2] [gpl_only];
    79 SKB_CGROUP_ID "skb_cgroup_id" 4 18 "Cgroup of a packet's socket."
        (Ctx) -> Integer [TC CGROUP_SKB] [];
    80 GET_CURRENT_CGROUP_ID "get_current_cgroup_id" 4 18 "Cgroup of the running task."
        () -> Integer [ANY] [];
    81 GET_LOCAL_STORAGE "get_local_storage" 4 19 "The memory that a cgroup keeps for the program."
        (Map, Any) -> MapValue
            [CGROUP_SKB CGROUP_SOCK SOCK_OPS CGROUP_DEVICE CGROUP_SOCK_ADDR CGROUP_SYSCTL CGROUP_SOCKOPT LSM] [];
    82 SK_SELECT_REUSEPORT "sk_select_reuseport" 4 19 "Chooses the socket that gets the packet."
        (Ctx, Map, MapKey, Any) -> Integer [SK_REUSEPORT] [];
    83 SKB_ANCESTOR_CGROUP_ID "skb_ancestor_cgroup_id" 4 19 "Ancestor, at a level, of the cgroup of a packet's socket."
        (Ctx, Any) -> Integer [TC CGROUP_SKB] [];
    84 SK_LOOKUP_TCP "sk_lookup_tcp" 4 20 "Finds a TCP socket; a reference that must be released."
        (Ctx, Mem, SizeOrZero, Any, Any) -> SocketOrNull [TC XDP CGROUP_SKB SK_SKB CGROUP_SOCK_ADDR] [acquires];
    85 SK_LOOKUP_UDP "sk_lookup_udp" 4 20 "Finds a UDP socket; a reference that must be released."
        (Ctx, Mem, SizeOrZero, Any, Any) -> SocketOrNull [TC XDP CGROUP_SKB SK_SKB CGROUP_SOCK_ADDR] [acquires];
    86 SK_RELEASE "sk_release" 4 20 "Gives a socket reference back."
        (SockRelease) -> Integer [TC XDP CGROUP_SKB SK_SKB CGROUP_SOCK_ADDR SK_LOOKUP] [];
    87 MAP_PUSH_ELEM "map_push_elem" 4 20 "Adds to a queue or stack."
        (Map, MapValue, Any) -> Integer [ANY LIRC_MODE2] [];
    88 MAP_POP_ELEM "map_pop_elem" 4 20 "Takes from a queue or stack."
        (Map, MapValueOut) -> Integer [ANY LIRC_MODE2] [];
    89 MAP_PEEK_ELEM "map_peek_elem" 4 20 "Looks at the next of a queue or stack."
        (Map, MapValueOut) -> Integer [ANY LIRC_MODE2] [];
    90 MSG_PUSH_DATA "msg_push_data" 4 20 "Makes room inside a message."
        (Ctx, Any, Any, Any) -> Integer [SK_MSG] [moves_packet];
    91 MSG_POP_DATA "msg_pop_data" 5 0 "Removes bytes from inside a message."
        (Ctx, Any, Any, Any) -> Integer [SK_MSG] [moves_packet];
    92 RC_POINTER_REL "rc_pointer_rel" 5 0 "Reports a movement of a remote-control pointer."
        (Ctx, Any, Any) -> Integer [LIRC_MODE2] [gpl_only];
    93 SPIN_LOCK "spin_lock" 5 1 "Locks a map value."
        (SpinLock) -> Void [ANY] [];
    94 SPIN_UNLOCK "spin_unlock" 5 1 "Unlocks a map value."
        (SpinLock) -> Void [ANY] [];
    95 SK_FULLSOCK "sk_fullsock" 5 1 "The full socket behind a socket, if it has one."
        (SockCommon) -> SocketOrNull [TC CGROUP_SKB] [];
    96 TCP_SOCK "tcp_sock" 5 1 "The TCP view of a socket, if it has one."
        (SockCommon) -> TcpSockOrNull [TC CGROUP_SKB SOCK_OPS CGROUP_SOCKOPT] [];
    97 SKB_ECN_SET_CE "skb_ecn_set_ce" 5 1 "Marks congestion in an IP header."
        (Ctx) -> Integer [TC CGROUP_SKB] [];
    98 GET_LISTENER_SOCK "get_listener_sock" 5 1 "The listener a socket belongs to."
        (SockCommon) -> SocketOrNull [TC CGROUP_SKB] [];
    99 SKC_LOOKUP_TCP "skc_lookup_tcp" 5 2 "Finds a TCP socket of any state; a reference that must be released."
        (Ctx, Mem, SizeOrZero, Any, Any) -> SockCommonOrNull [TC XDP CGROUP_SKB SK_SKB CGROUP_SOCK_ADDR] [acquires];
    100 TCP_CHECK_SYNCOOKIE "tcp_check_syncookie" 5 2 "Is the packet the answer to a SYN cookie?"
        (Sock, Mem, Size, Mem, Size) -> Integer [TC XDP] [gpl_only];
    101 SYSCTL_GET_NAME "sysctl_get_name" 5 2 "Name of the setting."
        (Ctx, MemInOut, Size, Any) -> Integer [CGROUP_SYSCTL] [];
    102 SYSCTL_GET_CURRENT_VALUE "sysctl_get_current_value" 5 2 "Present value of the setting."
        (Ctx, MemOut, Size) -> Integer [CGROUP_SYSCTL] [];
    103 SYSCTL_GET_NEW_VALUE "sysctl_get_new_value" 5 2 "Value that is about to be written."
        (Ctx, MemOut, Size) -> Integer [CGROUP_SYSCTL] [];
    104 SYSCTL_SET_NEW_VALUE "sysctl_set_new_value" 5 2 "Replaces the value that is about to be written."
        (Ctx, Mem, Size) -> Integer [CGROUP_SYSCTL] [];
    105 STRTOL "strtol" 5 2 "Reads a signed number from text."
        (Mem, Size, Any, FixedOut(8)) -> Integer [ANY] [];
    106 STRTOUL "strtoul" 5 2 "Reads an unsigned number from text."
        (Mem, Size, Any, FixedOut(8)) -> Integer [ANY] [];
    107 SK_STORAGE_GET "sk_storage_get" 5 2 "The memory that a socket keeps in a map."
        (Map, Sock, MapValueOrNull, Any) -> MapValueOrNull
            [TC BTF CGROUP_SKB CGROUP_SOCK SOCK_OPS SK_MSG CGROUP_SOCK_ADDR CGROUP_SOCKOPT STRUCT_OPS] [];
    108 SK_STORAGE_DELETE "sk_storage_delete" 5 2 "Frees the memory that a socket keeps in a map."
        (Map, Sock) -> Integer [TC BTF CGROUP_SKB SOCK_OPS SK_MSG CGROUP_SOCK_ADDR CGROUP_SOCKOPT STRUCT_OPS] [];
    109 SEND_SIGNAL "send_signal" 5 3 "Sends a signal to the running process."
        (Any) -> Integer [ANY] [];
    110 TCP_GEN_SYNCOOKIE "tcp_gen_syncookie" 5 3 "Makes a SYN cookie for a listener."
        (Sock, Mem, Size, Mem, Size) -> Integer [TC XDP] [gpl_only];
    111 SKB_OUTPUT "skb_output" 5 5 "Sends bytes and part of a packet to user space through a perf buffer."
        (Btf, Map, Any, Mem, SizeOrZero) -> Integer [BTF] [gpl_only];
    112 PROBE_READ_USER "probe_read_user" 5 5 "Copies user memory that may not be there."
        (MemOut, SizeOrZero, Any) -> Integer [ANY] [gpl_only];
    113 PROBE_READ_KERNEL "probe_read_kernel" 5 5 "Copies kernel memory that may not be there."
        (MemOut, SizeOrZero, Any) -> Integer [ANY] [gpl_only];
    114 PROBE_READ_USER_STR "probe_read_user_str" 5 5 "Copies a user string that may not be there."
        (MemOut, SizeOrZero, Any) -> Integer [ANY] [gpl_only];
    115 PROBE_READ_KERNEL_STR "probe_read_kernel_str" 5 5 "Copies a kernel string that may not be there."
        (MemOut, SizeOrZero, Any) -> Integer [ANY] [gpl_only];
    116 TCP_SEND_ACK "tcp_send_ack" 5 6 "Sends an ACK, for congestion controls."
        (Btf, Any) -> Integer [STRUCT_OPS] [];
    117 SEND_SIGNAL_THREAD "send_signal_thread" 5 6 "Sends a signal to the running thread."
        (Any) -> Integer [ANY] [];
    118 JIFFIES64 "jiffies64" 5 6 "The kernel's tick counter."
        () -> Integer [ANY] [];
    119 READ_BRANCH_RECORDS "read_branch_records" 5 7 "Branch records of the perf sample."
        (Ctx, MemInOutOrNull, SizeOrZero, Any) -> Integer [PERF_EVENT] [gpl_only];
    120 GET_NS_CURRENT_PID_TGID "get_ns_current_pid_tgid" 5 7 "Task numbers as seen in a PID namespace."
        (Any, Any, MemOut, Size) -> Integer [ANY] [];
    121 XDP_OUTPUT "xdp_output" 5 7 "Sends bytes and part of a frame to user space through a perf buffer."
        (Btf, Map, Any, Mem, SizeOrZero) -> Integer [BTF] [gpl_only];
    122 GET_NETNS_COOKIE "get_netns_cookie" 5 7 "A number that stays with a network namespace for its life."
        (CtxOrNull) -> Integer
            [TC SOCKET_FILTER CGROUP_SKB CGROUP_SOCK SOCK_OPS SK_MSG CGROUP_SOCK_ADDR CGROUP_SOCKOPT] [];
    123 GET_CURRENT_ANCESTOR_CGROUP_ID "get_current_ancestor_cgroup_id" 5 7
        "Ancestor, at a level, of the running task's cgroup."
        (Any) -> Integer [ANY] [];
    124 SK_ASSIGN "sk_assign" 5 7 "Gives the packet to a socket."
        (Ctx, Sock, Any) -> Integer [TC SK_LOOKUP] [];
    125 KTIME_GET_BOOT_NS "ktime_get_boot_ns" 5 8 "Nanoseconds since boot, with sleep."
        () -> Integer [ANY LIRC_MODE2] [];
    126 SEQ_PRINTF "seq_printf" 5 8 "Writes formatted text to an iterator's file."
        (Btf, Mem, Size, MemOrNull, SizeOrZero) -> Integer [TRACING] [gpl_only];
    127 SEQ_WRITE "seq_write" 5 8 "Writes bytes to an iterator's file."
        (Btf, Mem, SizeOrZero) -> Integer [TRACING] [gpl_only];
    128 SK_CGROUP_ID "sk_cgroup_id" 5 8 "Cgroup of a socket."
        (Sock) -> Integer [CGROUP_SKB] [];
    129 SK_ANCESTOR_CGROUP_ID "sk_ancestor_cgroup_id" 5 8 "Ancestor, at a level, of the cgroup of a socket."
        (Sock, Any) -> Integer [CGROUP_SKB] [];
    130 RINGBUF_OUTPUT "ringbuf_output" 5 8 "Copies a record into a ring buffer."
        (Map, Mem, SizeOrZero, Any) -> Integer [ANY] [];
    131 RINGBUF_RESERVE "ringbuf_reserve" 5 8 "Room for a record in a ring buffer; must be submitted or discarded."
        (Map, AllocSize, Any) -> RecordOrNull [ANY] [acquires];
    132 RINGBUF_SUBMIT "ringbuf_submit" 5 8 "Hands a reserved record to user space."
        (RecordRelease, Any) -> Void [ANY] [];
    133 RINGBUF_DISCARD "ringbuf_discard" 5 8 "Throws a reserved record away."
        (RecordRelease, Any) -> Void [ANY] [];
    134 RINGBUF_QUERY "ringbuf_query" 5 8 "Fill and positions of a ring buffer."
        (Map, Any) -> Integer [ANY] [];
    135 CSUM_LEVEL "csum_level" 5 8 "Changes how many checksums count as checked."
        (Ctx, Any) -> Integer [TC LWT_XMIT] [];
    136 SKC_TO_TCP6_SOCK "skc_to_tcp6_sock" 5 9 "A socket as `tcp6_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    137 SKC_TO_TCP_SOCK "skc_to_tcp_sock" 5 9 "A socket as `tcp_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    138 SKC_TO_TCP_TIMEWAIT_SOCK "skc_to_tcp_timewait_sock" 5 9 "A socket as `tcp_timewait_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    139 SKC_TO_TCP_REQUEST_SOCK "skc_to_tcp_request_sock" 5 9 "A socket as `tcp_request_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    140 SKC_TO_UDP6_SOCK "skc_to_udp6_sock" 5 9 "A socket as `udp6_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    141 GET_TASK_STACK "get_task_stack" 5 9 "The stack of a task."
        (Btf, MemOut, SizeOrZero, Any) -> Integer [ANY] [];
    142 LOAD_HDR_OPT "load_hdr_opt" 5 10 "Finds a TCP header option."
        (Ctx, MemInOut, Size, Any) -> Integer [SOCK_OPS] [];
    143 STORE_HDR_OPT "store_hdr_opt" 5 10 "Writes a TCP header option."
        (Ctx, Mem, Size, Any) -> Integer [SOCK_OPS] [moves_packet];
    144 RESERVE_HDR_OPT "reserve_hdr_opt" 5 10 "Reserves room for TCP header options."
        (Ctx, Any, Any) -> Integer [SOCK_OPS] [];
    145 INODE_STORAGE_GET "inode_storage_get" 5 10 "The memory that an inode keeps in a map."
        (Map, BtfOrNull, MapValueOrNull, Any) -> MapValueOrNull [LSM] [];
    146 INODE_STORAGE_DELETE "inode_storage_delete" 5 10 "Frees the memory that an inode keeps in a map."
        (Map, BtfOrNull) -> Integer [LSM] [];
    147 D_PATH "d_path" 5 10 "Full path of a `struct path`."
        (Btf, MemInOut, SizeOrZero) -> Integer [BTF] [];
    148 COPY_FROM_USER "copy_from_user" 5 10 "Copies user memory, and may wait for it."
        (MemOut, SizeOrZero, Any) -> Integer [ANY] [sleeps];
    149 SNPRINTF_BTF "snprintf_btf" 5 10 "Prints a typed value into memory."
        (MemInOut, Size, Mem, Size, Any) -> Integer [ANY] [];
    150 SEQ_PRINTF_BTF "seq_printf_btf" 5 10 "Prints a typed value to an iterator's file."
        (Btf, Mem, SizeOrZero, Any) -> Integer [TRACING] [gpl_only];
    151 SKB_CGROUP_CLASSID "skb_cgroup_classid" 5 10 "net_cls class of a packet's socket."
        (Ctx) -> Integer [TC] [];
    152 REDIRECT_NEIGH "redirect_neigh" 5 10 "Sends the packet to a device and fills in the neighbour's address."
        (Any, MemOrNull, SizeOrZero, Any) -> Integer [TC] [];
    153 PER_CPU_PTR "per_cpu_ptr" 5 10 "A per-CPU kernel variable, of that CPU."
        (PercpuVar, Any) -> VarOrNull [ANY] [];
    154 THIS_CPU_PTR "this_cpu_ptr" 5 10 "A per-CPU kernel variable, of this CPU."
        (PercpuVar) -> Var [ANY] [];
    155 REDIRECT_PEER "redirect_peer" 5 10 "Sends the packet to the other end of a veth, in its namespace."
        (Any, Any) -> Integer [TC] [];
    156 TASK_STORAGE_GET "task_storage_get" 5 11 "The memory that a task keeps in a map."
        (Map, BtfOrNull, MapValueOrNull, Any) -> MapValueOrNull [ANY] [];
    157 TASK_STORAGE_DELETE "task_storage_delete" 5 11 "Frees the memory that a task keeps in a map."
        (Map, BtfOrNull) -> Integer [ANY] [];
    158 GET_CURRENT_TASK_BTF "get_current_task_btf" 5 11 "The running task, typed."
        () -> Btf [ANY] [gpl_only];
    159 BPRM_OPTS_SET "bprm_opts_set" 5 11 "Sets options of an exec."
        (Btf, Any) -> Integer [LSM] [];
    160 KTIME_GET_COARSE_NS "ktime_get_coarse_ns" 5 11 "Nanoseconds since boot, cheap and coarse."
        () -> Integer [NET CGROUP_SOCK SK_REUSEPORT CGROUP_SYSCTL STRUCT_OPS] [];
    161 IMA_INODE_HASH "ima_inode_hash" 5 11 "Integrity hash of an inode."
        (Btf, MemOut, Size) -> Integer [LSM] [sleeps];
    162 SOCK_FROM_FILE "sock_from_file" 5 11 "The socket behind a file, if it is one."
        (Btf) -> BtfOrNull [BTF] [];
    163 CHECK_MTU "check_mtu" 5 12 "Does the packet fit the device's MTU?"
        (Ctx, Any, FixedInOut(4), Any, Any) -> Integer [TC XDP] [gpl_only];
    164 FOR_EACH_MAP_ELEM "for_each_map_elem" 5 13 "Calls a function for each element of a map."
        (Map, Func, StackOrNull, Any) -> Integer [ANY] [];
    165 SNPRINTF "snprintf" 5 13 "Formats text into memory."
        (MemInOutOrNull, SizeOrZero, Str, MemOrNull, SizeOrZero) -> Integer [ANY] [gpl_only];
    166 SYS_BPF "sys_bpf" 5 14 "Makes the system call bpf."
        (Any, Mem, Size) -> Integer [SYSCALL] [sleeps];
    167 BTF_FIND_BY_NAME_KIND "btf_find_by_name_kind" 5 14 "Finds a type by name and kind."
        (Mem, Size, Any, Any) -> Integer [SYSCALL] [sleeps];
    168 SYS_CLOSE "sys_close" 5 14 "Closes a descriptor."
        (Any) -> Integer [SYSCALL] [sleeps];
    169 TIMER_INIT "timer_init" 5 15 "Prepares a timer in a map value."
        (Timer, Map, Any) -> Integer [ANY] [gpl_only];
    170 TIMER_SET_CALLBACK "timer_set_callback" 5 15 "Sets the function of a timer."
        (Timer, Func) -> Integer [ANY] [gpl_only];
    171 TIMER_START "timer_start" 5 15 "Starts a timer."
        (Timer, Any, Any) -> Integer [ANY] [gpl_only];
    172 TIMER_CANCEL "timer_cancel" 5 15 "Stops a timer."
        (Timer) -> Integer [ANY] [gpl_only];
    173 GET_FUNC_IP "get_func_ip" 5 15 "Address of the traced function."
        (Ctx) -> Integer [TRACE] [gpl_only];
    174 GET_ATTACH_COOKIE "get_attach_cookie" 5 15 "The number given when the program was attached."
        (Ctx) -> Integer [PROBE TRACING LSM] [];
    175 TASK_PT_REGS "task_pt_regs" 5 15 "User registers of a task."
        (Btf) -> Btf [ANY] [gpl_only];
    176 GET_BRANCH_SNAPSHOT "get_branch_snapshot" 5 16 "Records of the last branches."
        (MemOut, SizeOrZero) -> Integer [ANY] [gpl_only];
    177 TRACE_VPRINTK "trace_vprintk" 5 16 "Writes a formatted line with any number of arguments to the trace pipe."
        (Mem, Size, MemOrNull, SizeOrZero) -> Integer [ANY] [gpl_only];
    178 SKC_TO_UNIX_SOCK "skc_to_unix_sock" 5 16 "A socket as `unix_sock`, if it is one."
        (Sock) -> BtfOrNull [NET BTF] [];
    179 KALLSYMS_LOOKUP_NAME "kallsyms_lookup_name" 5 16 "Address of a kernel symbol."
        (Mem, SizeOrZero, Any, FixedOut(8)) -> Integer [SYSCALL] [];
    180 FIND_VMA "find_vma" 5 17 "Calls a function for the memory area around an address."
        (Btf, Any, Func, StackOrNull, Any) -> Integer [ANY] [];
    181 LOOP "loop" 5 17 "Calls a function so many times."
        (Scalar, Func, StackOrNull, Any) -> Integer [ANY] [];
    182 STRNCMP "strncmp" 5 17 "Compares two strings."
        (Mem, Size, Str) -> Integer [ANY] [];
    183 GET_FUNC_ARG "get_func_arg" 5 17 "An argument of the traced function."
        (Ctx, Any, FixedOut(8)) -> Integer [TRACING LSM] [];
    184 GET_FUNC_RET "get_func_ret" 5 17 "The result of the traced function."
        (Ctx, FixedOut(8)) -> Integer [TRACING LSM] [];
    185 GET_FUNC_ARG_CNT "get_func_arg_cnt" 5 17 "Number of arguments of the traced function."
        (Ctx) -> Integer [TRACING LSM] [];
    186 GET_RETVAL "get_retval" 5 18 "The result that the system call is about to give."
        () -> Integer [CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT LSM] [];
    187 SET_RETVAL "set_retval" 5 18 "Sets the result that the system call will give."
        (Any) -> Integer [CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT LSM] [];
    188 XDP_GET_BUFF_LEN "xdp_get_buff_len" 5 18 "Length of a frame, all buffers."
        (Ctx) -> Integer [BTF XDP] [];
    189 XDP_LOAD_BYTES "xdp_load_bytes" 5 18 "Copies bytes out of a frame."
        (Ctx, Any, MemOut, Size) -> Integer [XDP] [];
    190 XDP_STORE_BYTES "xdp_store_bytes" 5 18 "Writes bytes into a frame."
        (Ctx, Any, Mem, Size) -> Integer [XDP] [];
    191 COPY_FROM_USER_TASK "copy_from_user_task" 5 18 "Copies memory of another process, and may wait for it."
        (MemOut, SizeOrZero, Any, Btf, Any) -> Integer [ANY] [gpl_only sleeps];
    192 SKB_SET_TSTAMP "skb_set_tstamp" 5 18 "Sets the time at which the packet leaves."
        (Ctx, Any, Any) -> Integer [TC] [];
    193 IMA_FILE_HASH "ima_file_hash" 5 18 "Integrity hash of a file."
        (Btf, MemOut, Size) -> Integer [LSM] [sleeps];
    194 KPTR_XCHG "kptr_xchg" 5 19 "Exchanges a pointer kept in a map; the old one must be released."
        (KptrSlot, BtfOrNullRelease) -> BtfOrNull [ANY] [acquires];
    195 MAP_LOOKUP_PERCPU_ELEM "map_lookup_percpu_elem" 5 19 "Finds the value of a key on that CPU."
        (Map, MapKey, Any) -> MapValueOrNull [ANY] [];
    196 SKC_TO_MPTCP_SOCK "skc_to_mptcp_sock" 5 19 "A socket as `mptcp_sock`, if it is one."
        (SockCommon) -> BtfOrNull [NET BTF] [];
    197 DYNPTR_FROM_MEM "dynptr_from_mem" 5 19 "A dynamic pointer to memory."
        (MemOut, SizeOrZero, Any, DynptrOut) -> Integer [ANY] [];
    198 RINGBUF_RESERVE_DYNPTR "ringbuf_reserve_dynptr" 5 19
        "Room of any size in a ring buffer; must be submitted or discarded."
        (Map, Any, Any, DynptrOut) -> Integer [ANY] [];
    199 RINGBUF_SUBMIT_DYNPTR "ringbuf_submit_dynptr" 5 19 "Hands such a record to user space."
        (DynptrRelease, Any) -> Void [ANY] [];
    200 RINGBUF_DISCARD_DYNPTR "ringbuf_discard_dynptr" 5 19 "Throws such a record away."
        (DynptrRelease, Any) -> Void [ANY] [];
    201 DYNPTR_READ "dynptr_read" 5 19 "Copies out of a dynamic pointer."
        (MemOut, SizeOrZero, Dynptr, Any, Any) -> Integer [ANY] [];
    202 DYNPTR_WRITE "dynptr_write" 5 19 "Copies into a dynamic pointer."
        (Dynptr, Any, Mem, SizeOrZero, Any) -> Integer [ANY] [];
    203 DYNPTR_DATA "dynptr_data" 5 19 "The memory behind a dynamic pointer, so many bytes."
        (Dynptr, Any, AllocSize) -> DynptrMemOrNull [ANY] [];
    204 TCP_RAW_GEN_SYNCOOKIE_IPV4 "tcp_raw_gen_syncookie_ipv4" 6 0 "Makes a SYN cookie from IPv4 and TCP headers."
        (Fixed(20), Mem, SizeOrZero) -> Integer [TC XDP] [gpl_only];
    205 TCP_RAW_GEN_SYNCOOKIE_IPV6 "tcp_raw_gen_syncookie_ipv6" 6 0 "Makes a SYN cookie from IPv6 and TCP headers."
        (Fixed(40), Mem, SizeOrZero) -> Integer [TC XDP] [gpl_only];
    206 TCP_RAW_CHECK_SYNCOOKIE_IPV4 "tcp_raw_check_syncookie_ipv4" 6 0 "Checks a SYN cookie from IPv4 and TCP headers."
        (Fixed(20), Fixed(20)) -> Integer [TC XDP] [gpl_only];
    207 TCP_RAW_CHECK_SYNCOOKIE_IPV6 "tcp_raw_check_syncookie_ipv6" 6 0 "Checks a SYN cookie from IPv6 and TCP headers."
        (Fixed(40), Fixed(20)) -> Integer [TC XDP] [gpl_only];
    208 KTIME_GET_TAI_NS "ktime_get_tai_ns" 6 1 "Nanoseconds of atomic time."
        () -> Integer [ANY] [];
    209 USER_RINGBUF_DRAIN "user_ringbuf_drain" 6 1 "Calls a function for each record that user space sent."
        (Map, Func, StackOrNull, Any) -> Integer [ANY] [];
    210 CGRP_STORAGE_GET "cgrp_storage_get" 6 2 "The memory that a cgroup keeps in a map."
        (Map, BtfOrNull, MapValueOrNull, Any) -> MapValueOrNull [ANY] [];
    211 CGRP_STORAGE_DELETE "cgrp_storage_delete" 6 2 "Frees the memory that a cgroup keeps in a map."
        (Map, BtfOrNull) -> Integer [ANY] [];
}

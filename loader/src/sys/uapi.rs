//! Stage: system calls. The numbers of `<linux/bpf.h>` that no crate below defines, under their C names.
//! Read next: `map.rs`.

use std::fmt;

/// `BPF_OBJ_NAME_LEN`: bytes of a name, the final zero included (Linux 4.15).
pub const OBJ_NAME_LEN: usize = 16;
/// `BPF_TAG_SIZE`: bytes of a program's tag.
pub const TAG_SIZE: usize = 8;

/// A command of bpf(2), `enum bpf_cmd`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cmd(i32);

/// One row a command: constant, number, C name, first kernel.
macro_rules! commands {
    ($($name:ident = $num:literal, $c:literal, $since:literal;)*) => {
        impl Cmd {
            $(
                #[doc = concat!("`", $c, "` (Linux ", $since, ").")]
                pub const $name: Self = Self($num);
            )*
            /// The C name, such as `BPF_MAP_CREATE`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 { $($num => $c,)* _ => "BPF_?" }
            }
            /// The first kernel with the command.
            #[must_use]
            pub const fn since(self) -> &'static str {
                match self.0 { $($num => $since,)* _ => "?" }
            }
        }
    };
}

commands! {
    MAP_CREATE = 0, "BPF_MAP_CREATE", "3.18";
    MAP_LOOKUP_ELEM = 1, "BPF_MAP_LOOKUP_ELEM", "3.18";
    MAP_UPDATE_ELEM = 2, "BPF_MAP_UPDATE_ELEM", "3.18";
    MAP_DELETE_ELEM = 3, "BPF_MAP_DELETE_ELEM", "3.18";
    MAP_GET_NEXT_KEY = 4, "BPF_MAP_GET_NEXT_KEY", "3.18";
    PROG_LOAD = 5, "BPF_PROG_LOAD", "3.18";
    OBJ_PIN = 6, "BPF_OBJ_PIN", "4.4";
    OBJ_GET = 7, "BPF_OBJ_GET", "4.4";
    PROG_ATTACH = 8, "BPF_PROG_ATTACH", "4.10";
    PROG_DETACH = 9, "BPF_PROG_DETACH", "4.10";
    PROG_TEST_RUN = 10, "BPF_PROG_TEST_RUN", "4.12";
    PROG_GET_NEXT_ID = 11, "BPF_PROG_GET_NEXT_ID", "4.13";
    MAP_GET_NEXT_ID = 12, "BPF_MAP_GET_NEXT_ID", "4.13";
    PROG_GET_FD_BY_ID = 13, "BPF_PROG_GET_FD_BY_ID", "4.13";
    MAP_GET_FD_BY_ID = 14, "BPF_MAP_GET_FD_BY_ID", "4.13";
    OBJ_GET_INFO_BY_FD = 15, "BPF_OBJ_GET_INFO_BY_FD", "4.13";
    PROG_QUERY = 16, "BPF_PROG_QUERY", "4.15";
    RAW_TRACEPOINT_OPEN = 17, "BPF_RAW_TRACEPOINT_OPEN", "4.17";
    BTF_LOAD = 18, "BPF_BTF_LOAD", "4.18";
    BTF_GET_FD_BY_ID = 19, "BPF_BTF_GET_FD_BY_ID", "4.18";
    MAP_LOOKUP_AND_DELETE_ELEM = 21, "BPF_MAP_LOOKUP_AND_DELETE_ELEM", "4.20";
    MAP_FREEZE = 22, "BPF_MAP_FREEZE", "5.2";
    BTF_GET_NEXT_ID = 23, "BPF_BTF_GET_NEXT_ID", "5.4";
    MAP_LOOKUP_BATCH = 24, "BPF_MAP_LOOKUP_BATCH", "5.6";
    MAP_LOOKUP_AND_DELETE_BATCH = 25, "BPF_MAP_LOOKUP_AND_DELETE_BATCH", "5.6";
    MAP_UPDATE_BATCH = 26, "BPF_MAP_UPDATE_BATCH", "5.6";
    MAP_DELETE_BATCH = 27, "BPF_MAP_DELETE_BATCH", "5.6";
    LINK_CREATE = 28, "BPF_LINK_CREATE", "5.7";
    LINK_UPDATE = 29, "BPF_LINK_UPDATE", "5.7";
    LINK_GET_FD_BY_ID = 30, "BPF_LINK_GET_FD_BY_ID", "5.8";
    LINK_GET_NEXT_ID = 31, "BPF_LINK_GET_NEXT_ID", "5.8";
    ENABLE_STATS = 32, "BPF_ENABLE_STATS", "5.8";
    LINK_DETACH = 34, "BPF_LINK_DETACH", "5.9";
    PROG_BIND_MAP = 35, "BPF_PROG_BIND_MAP", "5.10";
}

impl Cmd {
    /// The number.
    pub(crate) const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a link attaches to, `enum bpf_link_type`. A newer kernel's type is its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkType(pub u32);

/// One row a link type: constant, number, name, first kernel.
macro_rules! link_types {
    ($($name:ident = $num:literal, $text:literal, $since:literal;)*) => {
        impl LinkType {
            $(
                #[doc = concat!("`BPF_LINK_TYPE_", stringify!($name), "` (Linux ", $since, ").")]
                pub const $name: Self = Self($num);
            )*
            /// The name; `None` for a newer kernel's type.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($num => Some($text),)* _ => None }
            }
        }
    };
}

link_types! {
    RAW_TRACEPOINT = 1, "raw_tracepoint", "5.8";
    TRACING = 2, "tracing", "5.8";
    CGROUP = 3, "cgroup", "5.8";
    ITER = 4, "iter", "5.8";
    NETNS = 5, "netns", "5.8";
    XDP = 6, "xdp", "5.9";
    PERF_EVENT = 7, "perf_event", "5.15";
    KPROBE_MULTI = 8, "kprobe_multi", "5.18";
    STRUCT_OPS = 9, "struct_ops", "5.19";
    NETFILTER = 10, "netfilter", "6.4";
    TCX = 11, "tcx", "6.6";
    UPROBE_MULTI = 12, "uprobe_multi", "6.6";
    NETKIT = 13, "netkit", "6.7";
    SOCKMAP = 14, "sockmap", "6.10";
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "link_type {}", self.0),
        }
    }
}

bitflags::bitflags! {
    /// How [`update`](super::map::MapFd::update) treats a key that is or is not there.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct UpdateFlags: u64 {
        /// `BPF_ANY`, the absence of the others: insert or replace.
        const ANY = 0;
        /// `BPF_NOEXIST`: insert only; `EEXIST` if the key is there.
        const NOEXIST = 1;
        /// `BPF_EXIST`: replace only; `ENOENT` if the key is not there.
        const EXIST = 2;
        /// `BPF_F_LOCK`: under the value's `bpf_spin_lock` (Linux 5.1).
        const LOCK = 4;
        const _ = !0;
    }

    /// How a map is made, `BPF_F_*` of `BPF_MAP_CREATE`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// `BPF_F_NO_PREALLOC`: a hash allocates each element when it is inserted.
        const NO_PREALLOC = 1 << 0;
        /// `BPF_F_NO_COMMON_LRU`: one LRU list a CPU.
        const NO_COMMON_LRU = 1 << 1;
        /// `BPF_F_NUMA_NODE`: the field `numa_node` counts.
        const NUMA_NODE = 1 << 2;
        /// `BPF_F_RDONLY`: user space may only read (through this descriptor).
        const RDONLY = 1 << 3;
        /// `BPF_F_WRONLY`: user space may only write (through this descriptor).
        const WRONLY = 1 << 4;
        /// `BPF_F_STACK_BUILD_ID`: build ids in place of addresses.
        const STACK_BUILD_ID = 1 << 5;
        /// `BPF_F_ZERO_SEED`: a fixed hash seed; for tests.
        const ZERO_SEED = 1 << 6;
        /// `BPF_F_RDONLY_PROG`: programs may only read (Linux 5.2).
        const RDONLY_PROG = 1 << 7;
        /// `BPF_F_WRONLY_PROG`: programs may only write (Linux 5.2).
        const WRONLY_PROG = 1 << 8;
        /// `BPF_F_CLONE`: socket storage is cloned to accepted sockets (Linux 5.4).
        const CLONE = 1 << 9;
        /// `BPF_F_MMAPABLE`: an array that user space may map (Linux 5.5).
        const MMAPABLE = 1 << 10;
        /// `BPF_F_PRESERVE_ELEMS`: perf-event arrays keep elements (Linux 5.10).
        const PRESERVE_ELEMS = 1 << 11;
        /// `BPF_F_INNER_MAP`: an inner array may differ in size (Linux 5.10).
        const INNER_MAP = 1 << 12;
        const _ = !0;
    }

    /// `BPF_F_*` of `BPF_PROG_LOAD`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ProgFlags: u32 {
        /// `BPF_F_STRICT_ALIGNMENT`: as on a machine without unaligned access.
        const STRICT_ALIGNMENT = 1 << 0;
        /// `BPF_F_ANY_ALIGNMENT`: alignment is not checked.
        const ANY_ALIGNMENT = 1 << 1;
        /// `BPF_F_SLEEPABLE`: the program may sleep (Linux 5.10).
        const SLEEPABLE = 1 << 4;
        /// `BPF_F_XDP_HAS_FRAGS`: the program copes with packets in several buffers (Linux 5.18).
        const XDP_HAS_FRAGS = 1 << 5;
        /// `BPF_F_XDP_DEV_BOUND_ONLY`: bound to one device for its metadata kfuncs (Linux 6.3).
        const XDP_DEV_BOUND_ONLY = 1 << 6;
        const _ = !0;
    }

    /// `XDP_FLAGS_*` of `<linux/if_link.h>`, as `BPF_LINK_CREATE` takes them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct XdpFlags: u32 {
        /// `XDP_FLAGS_UPDATE_IF_NOEXIST`: only where there is none (netlink; a link always behaves so).
        const UPDATE_IF_NOEXIST = 1 << 0;
        /// `XDP_FLAGS_SKB_MODE`: generic, in the network stack.
        const SKB_MODE = 1 << 1;
        /// `XDP_FLAGS_DRV_MODE`: native, in the driver.
        const DRV_MODE = 1 << 2;
        /// `XDP_FLAGS_HW_MODE`: offloaded to the device.
        const HW_MODE = 1 << 3;
        /// `XDP_FLAGS_REPLACE`: only if the expected program is there (netlink; Linux 5.7).
        const REPLACE = 1 << 4;
        const _ = !0;
    }

    /// How much the verifier writes to its log.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LogLevel: u32 {
        /// `BPF_LOG_LEVEL1`: the path that led to the refusal.
        const REFUSAL = 1;
        /// `BPF_LOG_LEVEL2`: the state before every instruction.
        const EVERYTHING = 2;
        /// `BPF_LOG_STATS`: the counts of processed instructions and states (Linux 5.2).
        const STATS = 4;
        const _ = !0;
    }
}

/// `BPF_F_REPLACE` of `BPF_PROG_ATTACH` and `BPF_LINK_UPDATE`: the old program must be the one named.
pub const F_REPLACE: u32 = 1 << 2;

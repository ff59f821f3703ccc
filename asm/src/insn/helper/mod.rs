//! Stage: instructions. The kernel's helper functions: numbers, prototypes, who may call them.
//!
//! Input: nothing. Output: [`Id`] with a constant for each helper, and [`ALL`], the table of [`table`](self). The numbers are
//! part of the kernel's interface and frozen: since Linux 6.2 new functions come as kfuncs. Next: `table.rs`.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::Since;
use crate::object::ProgType;

mod table;

pub use table::*;

/// Number of a helper function: what stands in `imm` of a `call`. C: `enum bpf_func_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub i32);

impl Id {
    /// The helper with this number, if it is known.
    #[must_use]
    pub fn helper(self) -> Option<&'static Helper> {
        ALL.get(usize::try_from(self.0).ok()?.checked_sub(1)?)
    }

    /// The helper's name without the leading `bpf_`, e.g. `map_lookup_elem`, if the number is known.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.helper().map(|helper| helper.name)
    }

    /// The helper of this name, with or without the leading `bpf_`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        static NAMES: LazyLock<HashMap<&str, Id>> = LazyLock::new(|| ALL.iter().map(|h| (h.name, h.id)).collect());
        NAMES.get(name.strip_prefix("bpf_").unwrap_or(name)).copied()
    }
}

impl fmt::Display for Id {
    /// `bpf_map_lookup_elem`, or the bare number when it is unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "bpf_{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

/// One helper function, as the verifier sees it. C: `struct bpf_func_proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its number.
    pub id: Id,
    /// Its name without the leading `bpf_`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What must be in `r1`, `r2` … Where program types differ, the commonest form.
    pub args: &'static [Arg],
    /// What is in `r0` afterwards.
    pub ret: Ret,
    /// Program types that may call it on the newest kernel; older kernels allow fewer.
    pub progs: Progs,
    /// Only for programs with a license that the kernel counts as GPL.
    pub gpl_only: bool,
    /// Pointers to packet data (and their checks) are invalid afterwards.
    pub moves_packet: bool,
    /// It may wait: only for sleepable programs.
    pub sleeps: bool,
    /// A result that is not null is a reference, which some other helper must release on every path.
    pub acquires: bool,
    /// First mainline kernel.
    pub since: Since,
}

impl Helper {
    /// Does it release the reference in one of its arguments?
    #[must_use]
    pub fn releases(&self) -> bool {
        use Arg::{BtfOrNullRelease, DynptrRelease, RecordRelease, SockRelease};
        self.args.iter().any(|arg| matches!(arg, SockRelease | RecordRelease | DynptrRelease | BtfOrNullRelease))
    }
}

/// `map_lookup_elem(map, map key) -> map value or null`.
impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (i, arg) in self.args.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{arg}")?;
        }
        write!(f, ") -> {}", self.ret)
    }
}

/// What the verifier wants in an argument register.
///
/// "Memory" is stack, map values, packet data (checked) and ring-buffer records; its size is the constant or bounded number in
/// the next argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Anything but an uninitialised register. C: `ARG_ANYTHING`.
    Any,
    /// A number.
    Scalar,
    /// The program's context, unmodified.
    Ctx,
    /// The program's context, or 0.
    CtxOrNull,
    /// A map, by `ld_imm64`.
    Map,
    /// Memory that holds a key of the map before it.
    MapKey,
    /// Memory that holds a value of the map before it.
    MapValue,
    /// Memory that gets a value of the map before it.
    MapValueOut,
    /// As [`Arg::MapValue`], or 0.
    MapValueOrNull,
    /// Memory that is read; the size comes next.
    Mem,
    /// Memory that is read, or 0; the size comes next.
    MemOrNull,
    /// Memory that is written, and need not be initialised; the size comes next.
    MemOut,
    /// Memory that is read and written; the size comes next.
    MemInOut,
    /// Memory that is read and written, or 0; the size comes next.
    MemInOutOrNull,
    /// Size of the memory before it, above 0.
    Size,
    /// Size of the memory before it.
    SizeOrZero,
    /// Size of what is returned, a constant.
    AllocSize,
    /// So many bytes of memory that are read.
    Fixed(u8),
    /// So many bytes of memory that are written.
    FixedOut(u8),
    /// So many bytes of memory that are read and written.
    FixedInOut(u8),
    /// A text that ends with 0, in a frozen read-only map.
    Str,
    /// A `struct bpf_spin_lock` in a map value.
    SpinLock,
    /// A `struct bpf_timer` in a map value.
    Timer,
    /// A field of a map value that holds a kernel pointer.
    KptrSlot,
    /// A function of this program, to be called back.
    Func,
    /// Stack memory for the callback, or 0.
    StackOrNull,
    /// A socket in whatever form, not null.
    Sock,
    /// As [`Arg::Sock`]; its reference ends here.
    SockRelease,
    /// A `struct sock_common`, or what starts with one.
    SockCommon,
    /// A typed kernel pointer; which type, the helper's name says.
    Btf,
    /// A typed kernel pointer, or 0.
    BtfOrNull,
    /// A typed kernel pointer whose reference ends here, or 0.
    BtfOrNullRelease,
    /// A per-CPU kernel variable.
    PercpuVar,
    /// A ring-buffer record; its reference ends here.
    RecordRelease,
    /// A dynamic pointer.
    Dynptr,
    /// A place on the stack that becomes a dynamic pointer.
    DynptrOut,
    /// A dynamic pointer whose reference ends here.
    DynptrRelease,
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes} bytes in"),
            Self::FixedOut(bytes) => write!(f, "{bytes} bytes out"),
            Self::FixedInOut(bytes) => write!(f, "{bytes} bytes in and out"),
            other => f.write_str(&words(&format!("{other:?}"))),
        }
    }
}

/// What is in `r0` after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// A number.
    Integer,
    /// Nothing: `r0` counts as uninitialised.
    Void,
    /// A map value.
    MapValue,
    /// A map value, or 0.
    MapValueOrNull,
    /// A full socket, or 0.
    SocketOrNull,
    /// A socket of any state, or 0.
    SockCommonOrNull,
    /// A `struct bpf_tcp_sock`, or 0.
    TcpSockOrNull,
    /// A ring-buffer record of the size that was asked for, or 0.
    RecordOrNull,
    /// Memory of the size that was asked for, or 0.
    DynptrMemOrNull,
    /// A typed kernel pointer.
    Btf,
    /// A typed kernel pointer, or 0.
    BtfOrNull,
    /// A kernel variable.
    Var,
    /// A kernel variable, or 0.
    VarOrNull,
}

impl Ret {
    /// Must the result be tested against 0 before it is used?
    #[must_use]
    pub const fn or_null(self) -> bool {
        !matches!(self, Self::Integer | Self::Void | Self::MapValue | Self::Btf | Self::Var)
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(&format!("{self:?}")))
    }
}

/// `MapValueOrNull` as `map value or null`.
fn words(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A set of program types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progs(u64);

impl Progs {
    /// Is this type in the set?
    #[must_use]
    pub const fn has(self, prog_type: ProgType) -> bool {
        prog_type.0 < u64::BITS && self.0 >> prog_type.0 & 1 == 1
    }

    /// The types in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = ProgType> {
        (0..u64::BITS).map(ProgType).filter(move |prog_type| self.has(*prog_type))
    }

    const fn of(types: &[ProgType]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < types.len() {
            bits |= 1 << types[at].0;
            at += 1;
        }
        Self(bits)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_number() {
        for (number, helper) in (1..).zip(ALL) {
            assert_eq!(helper.id, Id(number), "{}", helper.name);
            assert_eq!(helper.id.name(), Some(helper.name));
            assert_eq!(Id::by_name(helper.name), Some(helper.id));
        }
        assert_eq!(ALL.len(), 211);
        assert_eq!(Id(0).name(), None);
        assert_eq!(Id(212).name(), None);
        assert_eq!(Id(-1).to_string(), "-1");
        assert_eq!(MAP_LOOKUP_ELEM.to_string(), "bpf_map_lookup_elem");
        assert_eq!(Id::by_name("bpf_redirect_map"), Some(REDIRECT_MAP));
    }

    /// Numbers are given in the order in which helpers are merged.
    #[test]
    fn first_kernels_never_decrease() {
        assert!(ALL.is_sorted_by_key(|helper| helper.since));
    }

    #[test]
    fn prototypes_are_well_formed() {
        use Arg::*;
        for helper in ALL {
            assert!(helper.args.len() <= 5, "{helper}");
            assert!(helper.progs.iter().next().is_some(), "{helper}");
            for (i, arg) in helper.args.iter().enumerate() {
                let next = helper.args.get(i + 1);
                if matches!(arg, Mem | MemOrNull | MemOut | MemInOut | MemInOutOrNull) {
                    assert!(matches!(next, Some(Size | SizeOrZero)), "{helper}");
                }
                if matches!(arg, MapKey | MapValue | MapValueOut | MapValueOrNull) {
                    assert!(helper.args[..i].contains(&Map), "{helper}");
                }
            }
        }
    }

    #[test]
    fn the_table_knows_what_everybody_relies_on() {
        let of = |id: Id| id.helper().unwrap();
        assert_eq!(of(MAP_LOOKUP_ELEM).to_string(), "map_lookup_elem(map, map key) -> map value or null");
        assert_eq!(of(CHECK_MTU).to_string(), "check_mtu(ctx, any, 4 bytes in and out, any, any) -> integer");
        assert!(of(XDP_ADJUST_HEAD).moves_packet && of(XDP_ADJUST_HEAD).progs.has(ProgType::XDP));
        assert!(!of(XDP_ADJUST_HEAD).progs.has(ProgType::SCHED_CLS));
        assert!(of(SK_LOOKUP_TCP).acquires && of(SK_RELEASE).releases() && of(RINGBUF_DISCARD).releases());
        assert!(of(FIB_LOOKUP).gpl_only && !of(REDIRECT).gpl_only);
        assert_eq!(of(REDIRECT_PEER).since, Since::Kernel(5, 10));
        assert!(of(MAP_LOOKUP_ELEM).ret.or_null() && !of(KTIME_GET_NS).ret.or_null());
        assert_eq!(ALL.iter().filter(|h| h.moves_packet).count(), 23);
    }
}

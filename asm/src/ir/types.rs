//! Stage: the intermediate representation. What a value is: a number of some width, or a pointer as the verifier types it.
//!
//! Input: nothing. Output: [`Ty`], the ids, and the declarations of what code refers to. Next: `func.rs`.

use std::fmt;
use std::sync::Arc;

use crate::insn::Size;
use crate::object::MapType;

/// Declares a small id that prints with a prefix.
macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident $prefix:literal;)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub u32);

            impl $name {
                /// As an index into the function's list.
                #[must_use]
                pub const fn index(self) -> usize {
                    self.0 as usize
                }

                /// The id of the next element of a list; functions are far shorter than 2³² elements.
                #[must_use]
                pub fn of(index: usize) -> Self {
                    Self(u32::try_from(index).unwrap_or(u32::MAX))
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!($prefix, "{}"), self.0)
                }
            }
        )*
    };
}

ids! {
    /// A value: computed once, by one operation, or a parameter of a block.
    Value "v";
    /// A block: operations in a row, then one way on.
    Block "b";
    /// A variable of the builder: becomes values and block parameters.
    Var "var";
    /// A map that the function names.
    MapId "m";
    /// A global variable that the function names.
    GlobalId "g";
    /// An object on the function's stack.
    StackId "s";
}

/// What a value is.
///
/// A number is held in 64 bits whose upper part is zero: an `I8` *is* an `I64` below 256. So a narrow number may stand
/// where a wider one is wanted, and widening costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A number below 2⁸.
    I8,
    /// A number below 2¹⁶.
    I16,
    /// A number below 2³².
    I32,
    /// A number.
    I64,
    /// The program's context. Fields are read at constant offsets, nothing is ever added to it.
    Ctx,
    /// Into the packet.
    Packet,
    /// Into the metadata before the packet.
    PacketMeta,
    /// The end of the packet: may only be compared with.
    PacketEnd,
    /// Into memory of a known extent, or an object of the kernel's; never null.
    Ptr(Region),
    /// As [`Ty::Ptr`], or null: must be tested before it is used.
    OrNull(Region),
}

/// What a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// An object on the stack.
    Stack(StackId),
    /// A value of a map.
    MapValue(MapId),
    /// A global variable.
    Global(GlobalId),
    /// So many bytes.
    Mem(u32),
    /// A ring-buffer record of so many bytes, to be submitted or discarded on every path.
    Record(u32),
    /// A map itself, to be handed to helpers.
    Map(MapId),
    /// A full socket. C: `struct bpf_sock`.
    Sock,
    /// A socket of any state. C: `struct sock_common`.
    SockCommon,
    /// The TCP view of a socket. C: `struct bpf_tcp_sock`.
    TcpSock,
    /// An object of the kernel's, typed by its BTF.
    Btf,
    /// A function of this object, to be called back.
    Func,
}

impl Ty {
    /// Width of a number in bits; `None` for pointers.
    #[must_use]
    pub const fn bits(self) -> Option<u32> {
        Some(match self {
            Self::I8 => 8,
            Self::I16 => 16,
            Self::I32 => 32,
            Self::I64 => 64,
            _ => return None,
        })
    }

    /// Is it a number?
    #[must_use]
    pub const fn is_int(self) -> bool {
        self.bits().is_some()
    }

    /// The number type of that many bits: 8, 16, 32 or 64.
    #[must_use]
    pub const fn int(bits: u32) -> Option<Self> {
        Some(match bits {
            8 => Self::I8,
            16 => Self::I16,
            32 => Self::I32,
            64 => Self::I64,
            _ => return None,
        })
    }

    /// The largest number of the type; all ones for pointers.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::I8 => 0xff,
            Self::I16 => 0xffff,
            Self::I32 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    /// Size of a load or store of it.
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            Self::I8 => Size::B,
            Self::I16 => Size::H,
            Self::I32 => Size::W,
            _ => Size::Dw,
        }
    }

    /// Into a packet or its metadata: needs a check before it is read through.
    #[must_use]
    pub const fn is_packet(self) -> bool {
        matches!(self, Self::Packet | Self::PacketMeta)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I8 => f.write_str("i8"),
            Self::I16 => f.write_str("i16"),
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::Ctx => f.write_str("ctx"),
            Self::Packet => f.write_str("pkt"),
            Self::PacketMeta => f.write_str("pkt_meta"),
            Self::PacketEnd => f.write_str("pkt_end"),
            Self::Ptr(region) => write!(f, "*{region}"),
            Self::OrNull(region) => write!(f, "?{region}"),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(id) => write!(f, "{id}"),
            Self::MapValue(id) => write!(f, "value({id})"),
            Self::Global(id) => write!(f, "{id}"),
            Self::Mem(size) => write!(f, "mem({size})"),
            Self::Record(size) => write!(f, "record({size})"),
            Self::Map(id) => write!(f, "{id}"),
            Self::Sock => f.write_str("sock"),
            Self::SockCommon => f.write_str("sock_common"),
            Self::TcpSock => f.write_str("tcp_sock"),
            Self::Btf => f.write_str("btf"),
            Self::Func => f.write_str("func"),
        }
    }
}

/// A map, as far as code must know it. The object's own definition ([`crate::object::MapDef`]) must agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapDecl {
    /// Symbol in `.maps`.
    pub name: Arc<str>,
    /// The type.
    pub map_type: MapType,
    /// Bytes of a key; 0 where the type has none.
    pub key_size: u32,
    /// Bytes of a value; 0 where the type has none.
    pub value_size: u32,
    /// Elements.
    pub max_entries: u32,
    /// For a map of maps: what the maps inside look like.
    pub inner: Option<Arc<MapDecl>>,
}

/// A global variable, as far as code must know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalDecl {
    /// Symbol of the variable.
    pub name: Arc<str>,
    /// Bytes.
    pub size: u32,
    /// In `.rodata`: the program may not write it.
    pub readonly: bool,
}

/// An object on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackDecl {
    /// Bytes.
    pub size: u32,
    /// Bytes that its address is a multiple of: 1, 2, 4 or 8.
    pub align: u32,
}

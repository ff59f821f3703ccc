//! Integers in network order: their own types, so that no program compares a port with a swapped one.
//!
//! Stage: beside `layout.rs`. Input: bytes of packets. Output: numbers by `get`, and back by `to_be`. Comparing for
//! equality costs nothing: constants are swapped while the program is made. Read next: `named.rs`.

use std::fmt;
use std::net::Ipv4Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::layout::{Addr, Layout, Num, Place, Scalar};
use super::rec;
use super::value::{IntoVal, Repr, Val};
use crate::btf::{BtfBuilder, BtfType, TypeId};
use crate::ir::Ty;

/// A number that has a type in network order.
pub trait Ordered: Num {
    /// That type.
    type Be: Scalar;
}

/// Declares the types.
macro_rules! ordered {
    ($($name:ident $of:ident $ty:ident $c:literal;)*) => {$(
        #[doc = concat!("A `", stringify!($of), "` in network order. C: `", $c, "`.")]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name($of);

        impl $name {
            /// In network order what is `number` here.
            #[must_use]
            pub const fn new(number: $of) -> Self {
                Self(number.to_be())
            }

            /// The bytes as a number of this machine.
            #[must_use]
            pub const fn raw(self) -> $of {
                self.0
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $of {
                $of::from_be(self.0)
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.get().cmp(&other.get())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.get())
            }
        }

        impl BtfType for $name {
            fn btf(b: &mut BtfBuilder) -> TypeId {
                let of = $of::btf(b);
                b.typedef($c, of)
            }
        }

        impl Layout for $name {
            const SIZE: u32 = $of::BITS / 8;
            const ALIGN: u32 = $of::BITS / 8;
            type Place = Place<$name>;
            fn place(at: Addr) -> Place<$name> {
                Place::new(at)
            }
        }

        impl Scalar for $name {
            const TY: Ty = Ty::$ty;
            fn to_bits(self) -> u64 {
                self.0.into()
            }
        }

        impl Ordered for $of {
            type Be = $name;
        }

        impl IntoVal<$name> for $name {
            fn into_val(self) -> Val<$name> {
                Val::new(Repr::Const(self.to_bits()))
            }
        }

        impl Val<$name> {
            /// The number.
            #[track_caller]
            pub fn get(self) -> Val<$of> {
                rec::with(|r| {
                    let value = self.value(r);
                    Val::of(r.b.bswap(value))
                })
            }

            /// The bytes as a number of this machine, whatever it means: for hashes and checksums.
            pub const fn raw(self) -> Val<$of> {
                Val::new(self.repr)
            }

        }

        impl Val<$of> {
            /// The inverse of `raw`: the bytes are in network order already.
            pub const fn as_be(self) -> Val<$name> {
                Val::new(self.repr)
            }
        }

        impl Place<$name> {
            /// The number that it holds.
            #[track_caller]
            pub fn get(self) -> Val<$of> {
                self.load().get()
            }

            /// The bytes as a number of this machine.
            #[track_caller]
            pub fn raw(self) -> Val<$of> {
                self.load().raw()
            }
        }
    )*};
}

ordered! {
    Be16 u16 I16 "__be16";
    Be32 u32 I32 "__be32";
    Be64 u64 I64 "__be64";
}

impl From<Ipv4Addr> for Be32 {
    fn from(addr: Ipv4Addr) -> Self {
        Self::new(addr.to_bits())
    }
}

impl From<Be32> for Ipv4Addr {
    fn from(addr: Be32) -> Self {
        Self::from_bits(addr.get())
    }
}

//! Rust types that describe themselves in BTF.
//!
//! Stage: before `encode.rs`. Input: a Rust type with a fixed layout. Output: its BTF type, so that `bpftool map dump` and
//! every other tool shows names instead of bytes. Next: `dump.rs`.

use zerocopy::{big_endian, little_endian};

use super::encode::BtfBuilder;
use super::types::{Int, Type, TypeId};

/// A type with a fixed layout that can say what it looks like.
///
/// [`btf_struct!`](crate::btf_struct) implements it for structs.
pub trait BtfType: Sized {
    /// Adds the type to `b` (once, however often it is called) and returns its number.
    fn btf(b: &mut BtfBuilder) -> TypeId;
}

/// Implements [`BtfType`] for integers.
macro_rules! ints {
    ($($ty:ty, $name:literal, $signed:literal;)*) => {
        $(impl BtfType for $ty {
            fn btf(b: &mut BtfBuilder) -> TypeId {
                b.int($name, <$ty>::BITS / 8, $signed)
            }
        })*
    };
}

/// Implements [`BtfType`] for the integers of packets and files, which become a typedef that says their byte order.
macro_rules! ordered {
    ($($ty:ty, $name:literal, $of:ty;)*) => {
        $(impl BtfType for $ty {
            fn btf(b: &mut BtfBuilder) -> TypeId {
                let of = <$of>::btf(b);
                b.typedef($name, of)
            }
        })*
    };
}

ints! {
    u8, "u8", false;
    u16, "u16", false;
    u32, "u32", false;
    u64, "u64", false;
    u128, "u128", false;
    i8, "i8", true;
    i16, "i16", true;
    i32, "i32", true;
    i64, "i64", true;
    i128, "i128", true;
}

ordered! {
    big_endian::U16, "__be16", u16;
    big_endian::U32, "__be32", u32;
    big_endian::U64, "__be64", u64;
    little_endian::U16, "__le16", u16;
    little_endian::U32, "__le32", u32;
    little_endian::U64, "__le64", u64;
}

impl BtfType for bool {
    fn btf(b: &mut BtfBuilder) -> TypeId {
        b.add(Type::Int { name: "bool", int: Int { size: 1, bool: true, bits: 8, ..Int::default() } })
    }
}

impl<T: BtfType, const N: usize> BtfType for [T; N] {
    fn btf(b: &mut BtfBuilder) -> TypeId {
        let elem = T::btf(b);
        b.array(elem, u32::try_from(N).unwrap_or(u32::MAX))
    }
}

/// The offset of a member as BTF counts it; used by [`btf_struct!`](crate::btf_struct).
#[doc(hidden)]
#[must_use]
pub fn member<T: BtfType>(b: &mut BtfBuilder, name: &'static str, offset: usize) -> (&'static str, TypeId, u32) {
    (name, T::btf(b), u32::try_from(offset).unwrap_or(u32::MAX))
}

/// Defines a `#[repr(C)]` struct that is both bytes (zerocopy's traits) and BTF ([`BtfType`]).
///
/// Padding must be spelled out, as in every struct that the kernel hashes: a hidden gap does not compile. The crate that
/// calls it needs `zerocopy` as a dependency.
///
/// ```
/// use asm::btf::{Btf, BtfBuilder, BtfType};
/// use zerocopy::big_endian::{U16, U32};
///
/// asm::btf_struct! {
///     /// What a service is known by.
///     pub struct VipKey {
///         /// IPv4 address.
///         pub addr: U32,
///         /// TCP or UDP port.
///         pub port: U16,
///         /// IP protocol.
///         pub proto: u8,
///         /// Zero.
///         pub reserved: u8,
///     }
/// }
///
/// let mut b = BtfBuilder::new();
/// let id = VipKey::btf(&mut b);
/// let bytes = b.encode()?;
/// assert_eq!(Btf::parse(&bytes)?.size_of(id)?, 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! btf_struct {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash,
            ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::Immutable, ::zerocopy::KnownLayout,
        )]
        #[repr(C)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $ty,)*
        }

        impl $crate::btf::BtfType for $name {
            fn btf(b: &mut $crate::btf::BtfBuilder) -> $crate::btf::TypeId {
                let members = [$($crate::btf::member::<$ty>(b, stringify!($field), ::core::mem::offset_of!($name, $field)),)*];
                let size = u32::try_from(::core::mem::size_of::<$name>()).unwrap_or(u32::MAX);
                b.struct_(stringify!($name), size, &members)
            }
        }
    )*};
}

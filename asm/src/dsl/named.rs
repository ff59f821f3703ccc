//! Bytes that people read as something else than numbers: text, and addresses of sixteen bytes.
//!
//! Stage: beside `be.rs`. Input: bytes. Output: the same, under a type whose name tools know: `char` in a row is text, and an
//! `in6_addr` is an address. Read next: `ops.rs`.

use std::fmt;
use std::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::be::Be32;
use super::bytes;
use super::layout::{Addr, ArrayPlace, Layout};
use super::rec;
use super::value::{IntoVal, PIECES, Repr, Val};
use crate::btf::{BtfBuilder, BtfType, Int, Type, TypeId};
use crate::ir::Ty;

/// Text of at most `N` bytes, with zeros behind it. C: `char[N]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Chars<const N: usize>([u8; N]);

impl<const N: usize> Chars<N> {
    /// No text.
    pub const EMPTY: Self = Self([0; N]);

    /// The first `N` bytes of a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; N] {
        self.0
    }
}

impl<const N: usize> Default for Chars<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Display for Chars<N> {
    /// Up to the first zero; what is no UTF-8 is replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl<const N: usize> fmt::Debug for Chars<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chars({:?})", self.to_string())
    }
}

impl<const N: usize> BtfType for Chars<N> {
    fn btf(b: &mut BtfBuilder) -> TypeId {
        let char = b.add(Type::Int { name: "char", int: Int { size: 1, signed: true, bits: 8, ..Int::default() } });
        b.array(char, u32::try_from(N).unwrap_or(u32::MAX))
    }
}

impl<const N: usize> Layout for Chars<N> {
    const SIZE: u32 = <[u8; N]>::SIZE;
    const ALIGN: u32 = 1;
    type Place = ArrayPlace<u8, N>;
    fn place(at: Addr) -> Self::Place {
        <[u8; N]>::place(at)
    }
}

/// An IPv6 address, or an IPv4 address mapped into one. C: `struct in6_addr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Ip6([Be32; 4]);

impl Default for Ip6 {
    fn default() -> Self {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

impl From<Ipv6Addr> for Ip6 {
    fn from(address: Ipv6Addr) -> Self {
        zerocopy::transmute!(address.octets())
    }
}

impl From<Ip6> for Ipv6Addr {
    fn from(address: Ip6) -> Self {
        let octets: [u8; 16] = zerocopy::transmute!(address);
        octets.into()
    }
}

impl fmt::Debug for Ip6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ip6({})", Ipv6Addr::from(*self))
    }
}

impl BtfType for Ip6 {
    fn btf(b: &mut BtfBuilder) -> TypeId {
        let of = <[Be32; 4]>::btf(b);
        b.typedef("in6_addr", of)
    }
}

impl Layout for Ip6 {
    const SIZE: u32 = <[Be32; 4]>::SIZE;
    const ALIGN: u32 = <[Be32; 4]>::ALIGN;
    type Place = ArrayPlace<Be32, 4>;
    fn place(at: Addr) -> Self::Place {
        <[Be32; 4]>::place(at)
    }
}

/// The sixteen bytes of an IPv4 address as IPv6 writes it, `::ffff:10.0.0.1`: a value for an [`Ip6`].
#[track_caller]
pub fn mapped(address: impl IntoVal<Be32>) -> Val<[u8; 16]> {
    let address = address.into_val();
    rec::with(|r| {
        let (zero, marked) = (r.number(Ty::I32, 0), r.number(Ty::I32, Be32::new(0xffff).raw().into()));
        let pieces: [_; PIECES] = [Some(zero), Some(zero), Some(marked), Some(address.value(r))];
        Val::new(Repr::Pieces(pieces))
    })
}

/// Text of the host is a constant.
impl<const N: usize> IntoVal<Chars<N>> for Chars<N> {
    #[track_caller]
    fn into_val(self) -> Val<Chars<N>> {
        rec::with(|r| bytes::constant(r, &self.0))
    }
}

/// Bytes are text.
impl<const N: usize> IntoVal<Chars<N>> for Val<[u8; N]> {
    fn into_val(self) -> Val<Chars<N>> {
        Val::new(self.repr)
    }
}

/// Bytes are an address.
impl IntoVal<Ip6> for Val<[u8; 16]> {
    fn into_val(self) -> Val<Ip6> {
        Val::new(self.repr)
    }
}

/// And four words, as the place of an address holds them.
impl IntoVal<[Be32; 4]> for Val<[u8; 16]> {
    fn into_val(self) -> Val<[Be32; 4]> {
        Val::new(self.repr)
    }
}

/// Four words are an address.
impl IntoVal<Ip6> for Val<[Be32; 4]> {
    fn into_val(self) -> Val<Ip6> {
        Val::new(self.repr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_the_first_zero() {
        for (text, want) in [("", ""), ("nginx", "nginx"), ("longer than it may be", "longer t")] {
            assert_eq!(Chars::<8>::new(text).to_string(), want);
        }
    }

    #[test]
    fn addresses_keep_their_bytes() {
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(Ipv6Addr::from(Ip6::from(address)), address);
        assert_eq!(Ip6::from(address).as_bytes()[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }
}

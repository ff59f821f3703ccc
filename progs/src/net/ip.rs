//! Stage: shared vocabulary. IPv4 (RFC 791): the header's fields and the numbers in them.
//!
//! Input: nothing. Output: the wire struct and constants. Next file to read: `csum.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// The fixed part of an IPv4 header (`struct iphdr`); options follow when [`Ipv4::header_len`] is over 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4) in the high four bits, header length in 32-bit words in the low four.
    pub version_ihl: u8,
    /// DSCP in the high six bits, ECN in the low two.
    pub tos: u8,
    /// Bytes of the whole packet, this header included.
    pub total_len: U16,
    /// Identification: ties the fragments of one packet together.
    pub id: U16,
    /// [`DF`], [`MF`], and the fragment's offset in units of eight bytes.
    pub frag: U16,
    /// Hops left.
    pub ttl: u8,
    /// What follows: one of the constants below.
    pub protocol: u8,
    /// Checksum over the header (see `csum.rs`); as raw bytes, because that is how it is computed and stored.
    pub check: [u8; 2],
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}
const _: () = assert!(size_of::<Ipv4>() == LEN);

impl Ipv4 {
    /// Bytes of the header with its options, as the header itself claims: 0 to 60.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0xf) as usize * 4
    }
}

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// The first byte of a header without options: version 4, five words.
pub const VERSION_IHL: u8 = 0x45;
/// "Don't fragment", in [`Ipv4::frag`].
pub const DF: u16 = 0x4000;
/// "More fragments follow", in [`Ipv4::frag`].
pub const MF: u16 = 0x2000;
/// The fragment offset's bits in [`Ipv4::frag`].
pub const OFFSET: u16 = 0x1fff;
/// The ECN bits of [`Ipv4::tos`]: both set is "congestion experienced" (RFC 3168).
pub const ECN_CE: u8 = 0b11;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IP-in-IP encapsulation (RFC 2003).
pub const IPIP: u8 = 4;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

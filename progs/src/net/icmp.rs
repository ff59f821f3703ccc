//! Stage: shared vocabulary. ICMP (RFC 792, RFC 1191): errors that quote a packet, and what path MTU discovery needs.
//!
//! Input: nothing. Output: the wire struct and the types the balancer reads or sends. Next file to read: `csum.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// An ICMP header (`struct icmphdr`), its last four bytes as "fragmentation needed" uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icmp {
    /// One of the types below.
    pub kind: u8,
    /// Says more about the type.
    pub code: u8,
    /// Checksum over the ICMP header and everything after it.
    pub check: [u8; 2],
    /// Zero in "fragmentation needed".
    pub unused: U16,
    /// In "fragmentation needed": the largest packet, in bytes, that would have passed.
    pub mtu: U16,
}
const _: () = assert!(size_of::<Icmp>() == LEN);

/// Bytes of an ICMP header.
pub const LEN: usize = 8;
/// Type: echo request.
pub const ECHO: u8 = 8;
/// Type: destination unreachable; quotes the packet it is about.
pub const UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: the packet was too big and must not be fragmented.
pub const FRAG_NEEDED: u8 = 4;
/// Type: time exceeded; quotes the packet it is about.
pub const TIME_EXCEEDED: u8 = 11;
/// Type: parameter problem; quotes the packet it is about.
pub const PARAMETER: u8 = 12;

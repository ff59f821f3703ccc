//! Stage: shared vocabulary. UDP (RFC 768).
//!
//! Input: nothing. Output: the wire struct. Next file to read: `icmp.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// A UDP header (`struct udphdr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Udp {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Bytes of header and data.
    pub len: U16,
    /// Checksum over pseudo header, header and data; zero: none.
    pub check: [u8; 2],
}
const _: () = assert!(size_of::<Udp>() == LEN);
const _: () = assert!(std::mem::offset_of!(Udp, src) == 0 && std::mem::offset_of!(Udp, dst) == 2);

/// Bytes of a UDP header: the least that follows the IP header in any packet the balancer forwards.
pub const LEN: usize = 8;

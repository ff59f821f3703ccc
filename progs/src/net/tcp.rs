//! Stage: shared vocabulary. TCP (RFC 9293): all a balancer needs is the two ports in front.
//!
//! Input: nothing. Output: the wire struct. Next file to read: `udp.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16, big_endian::U32};

/// The fixed part of a TCP header (`struct tcphdr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgment number.
    pub ack: U32,
    /// Header length in 32-bit words (high four bits) and the flags (low eight).
    pub len_flags: U16,
    /// Receive window, unscaled.
    pub window: U16,
    /// Checksum over pseudo header, header and data.
    pub check: [u8; 2],
    /// Urgent pointer.
    pub urgent: U16,
}
const _: () = assert!(size_of::<Tcp>() == 20);
// `parse.rs` reads the ports of TCP and UDP with one load, from the same place.
const _: () = assert!(std::mem::offset_of!(Tcp, src) == 0 && std::mem::offset_of!(Tcp, dst) == 2);

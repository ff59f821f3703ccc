//! Stage: shared vocabulary. Ethernet II: the first 14 bytes of what an XDP program is given.
//!
//! Input: nothing. Output: the wire struct and the ethertypes. Next file to read: `ip.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// An Ethernet II header, without a VLAN tag (`struct ethhdr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Eth {
    /// Destination MAC address.
    pub dst: [u8; 6],
    /// Source MAC address.
    pub src: [u8; 6],
    /// What follows: one of the constants below.
    pub ethertype: U16,
}
const _: () = assert!(size_of::<Eth>() == LEN);

/// Bytes of an Ethernet header.
pub const LEN: usize = 14;
/// Ethertype of IPv4 (`ETH_P_IP`).
pub const IPV4: u16 = 0x0800;
/// Ethertype of an 802.1Q tag (`ETH_P_8021Q`).
pub const VLAN: u16 = 0x8100;
/// Ethertype of an 802.1ad service tag (`ETH_P_8021AD`).
pub const QINQ: u16 = 0x88a8;

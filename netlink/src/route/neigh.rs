//! Stage: neighbours: which link-layer address an IP address has on a link. Input: both; output: done, or [`Neigh`]s.
//! Next: `qdisc.rs`.

use std::fmt;
use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, big_endian};

use super::{Socket, family, kind};
use crate::error::Error;
use crate::wire::{Body, Bytes, FixedHeader, Flags, HwAddr, Mac, Request, attributes};

/// The fixed header of neighbour messages (`struct ndmsg`).
#[doc(alias = "ndmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NeighHeader {
    /// See [`family`].
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The link.
    pub ifindex: u32,
    /// See [`NeighState`].
    pub state: u16,
    /// `NTF_*`.
    pub flags: u8,
    /// As [`RouteKind`](super::RouteKind).
    pub kind: u8,
}

const _: () = assert!(size_of::<NeighHeader>() == 12);

impl FixedHeader for NeighHeader {
    const NAME: &'static str = "ndmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for NeighHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = NeighState::from_bits_retain(self.state);
        write!(f, "{} ifindex {} <{state}>", family::name(self.family), self.ifindex)
    }
}

bitflags::bitflags! {
    /// What is known about a neighbour (`NUD_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct NeighState: u16 {
        /// Asked for, not answered yet.
        const INCOMPLETE = 0x01;
        /// Lately confirmed.
        const REACHABLE = 0x02;
        /// To be confirmed at the next use.
        const STALE = 0x04;
        /// Used, to be asked soon.
        const DELAY = 0x08;
        /// Being asked.
        const PROBE = 0x10;
        /// Did not answer.
        const FAILED = 0x20;
        /// Needs no resolution.
        const NOARP = 0x40;
        /// Set by an operator, never asked.
        const PERMANENT = 0x80;
        const _ = !0;
    }
}

impl fmt::Display for NeighState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

attributes! {
    /// Attributes of a neighbour.
    pub enum NeighAttr: "NDA_" {
        /// IP address.
        Dst(IpAddr) = 1 "DST",
        /// Link-layer address.
        LlAddr(HwAddr) = 2 "LLADDR",
        /// Ages, hundredths of a second.
        CacheInfo(Bytes) = 3 "CACHEINFO",
        /// How often it was asked.
        Probes(u32) = 4 "PROBES",
        /// VLAN.
        Vlan(u16) = 5 "VLAN",
        /// Port of a VXLAN.
        Port(big_endian::U16) = 6 "PORT",
        /// Network id of a VXLAN.
        Vni(u32) = 7 "VNI",
        /// Link; in a dump only its neighbours.
        IfIndex(u32) = 8 "IFINDEX",
        /// Bridge; in a dump only its ports'.
        Master(u32) = 9 "MASTER",
        /// Who made it.
        Protocol(u8) = 12 "PROTOCOL",
        /// Flags that the header has no room for (Linux 5.16).
        FlagsExt(u32) = 15 "FLAGS_EXT",
    }
}

/// A message about a neighbour.
pub type NeighMessage = Body<NeighHeader, NeighAttr>;

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neigh {
    /// The link.
    pub ifindex: u32,
    /// IP address.
    pub ip: IpAddr,
    /// Ethernet address, once known.
    pub mac: Option<Mac>,
    /// What is known.
    pub state: NeighState,
    /// Everything the kernel said.
    pub message: NeighMessage,
}

impl Neigh {
    /// Reads the kernel's description; none for messages without an IP address.
    #[must_use]
    pub fn from_message(message: NeighMessage) -> Option<Neigh> {
        let ip = message.attrs.iter().find_map(|attr| match attr {
            NeighAttr::Dst(ip) => Some(*ip),
            _ => None,
        })?;
        let mac = message.attrs.iter().find_map(|attr| match attr {
            NeighAttr::LlAddr(address) => address.mac(),
            _ => None,
        });
        let NeighHeader { ifindex, state, .. } = message.header;
        Some(Neigh { ifindex, ip, mac, state: NeighState::from_bits_retain(state), message })
    }
}

/// The request that sets a permanent neighbour.
#[must_use]
pub fn add_request(ifindex: u32, ip: IpAddr, mac: Mac) -> Request<NeighHeader, NeighAttr> {
    let state = NeighState::PERMANENT.bits();
    let header = NeighHeader { family: family::of(ip), ifindex, state, ..NeighHeader::default() };
    let attrs = vec![NeighAttr::Dst(ip), NeighAttr::LlAddr(HwAddr::from(mac))];
    let what = format!("set neighbour {ip} on ifindex {ifindex} to {mac}");
    Request::new(kind::NEWNEIGH, Flags::CREATE | Flags::REPLACE, header, attrs, what)
}

impl Socket {
    /// Sets which Ethernet address `ip` has on a link, for good, in the place of what was known.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neigh_add(&mut self, ifindex: u32, ip: IpAddr, mac: Mac) -> Result<(), Error> {
        self.send(&add_request(ifindex, ip, mac))
    }

    /// Forgets a neighbour.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn neigh_delete(&mut self, ifindex: u32, ip: IpAddr) -> Result<(), Error> {
        let header = NeighHeader { family: family::of(ip), ifindex, ..NeighHeader::default() };
        let what = format!("forget neighbour {ip} on ifindex {ifindex}");
        self.send(&Request::new(kind::DELNEIGH, Flags::empty(), header, vec![NeighAttr::Dst(ip)], what))
    }

    /// All neighbours of the namespace, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neighs(&mut self) -> Result<Vec<Neigh>, Error> {
        let what = "list neighbours".to_owned();
        let request = Request::new(kind::GETNEIGH, Flags::DUMP, NeighHeader::default(), Vec::new(), what);
        Ok(self.connection.dump(&request)?.into_iter().filter_map(Neigh::from_message).collect())
    }
}

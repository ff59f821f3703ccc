//! Stage: addresses of links. Input: ifindex, address, prefix length; output: done, or [`Addr`]s. Next: `route.rs`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Scope, Socket, family, kind};
use crate::error::Error;
use crate::wire::{Body, Bytes, FixedHeader, Flags, Request, Text, attributes};

/// The fixed header of address messages (`struct ifaddrmsg`).
#[doc(alias = "ifaddrmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddrHeader {
    /// See [`family`].
    pub family: u8,
    /// Bits of the prefix.
    pub prefix_len: u8,
    /// The low eight of [`AddrFlags`].
    pub flags: u8,
    /// How far the address is valid: see [`Scope`].
    pub scope: u8,
    /// The link.
    pub ifindex: u32,
}

const _: () = assert!(size_of::<AddrHeader>() == 8);

impl FixedHeader for AddrHeader {
    const NAME: &'static str = "ifaddrmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for AddrHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ifindex {} /{}", family::name(self.family), self.ifindex, self.prefix_len)?;
        write!(f, " scope {}", Scope(self.scope))
    }
}

attributes! {
    /// Attributes of an address.
    pub enum AddrAttr: "IFA_" {
        /// The prefix's address; on point-to-point links that of the other end.
        Address(IpAddr) = 1 "ADDRESS",
        /// The link's own address.
        Local(IpAddr) = 2 "LOCAL",
        /// Name of the link, or that name, a colon and more.
        Label(Text) = 3 "LABEL",
        /// Broadcast address.
        Broadcast(IpAddr) = 4 "BROADCAST",
        /// Anycast address.
        Anycast(IpAddr) = 5 "ANYCAST",
        /// Lifetimes.
        CacheInfo(Bytes) = 6 "CACHEINFO",
        /// Multicast address.
        Multicast(IpAddr) = 7 "MULTICAST",
        /// See [`AddrFlags`]; wider than the header's.
        Flags(u32) = 8 "FLAGS",
        /// Metric of the prefix's route.
        RtPriority(u32) = 9 "RT_PRIORITY",
        /// Id of the namespace meant.
        TargetNetNsId(i32) = 10 "TARGET_NETNSID",
        /// Who gave the address (Linux 5.18).
        Proto(u8) = 11 "PROTO",
    }
}

/// A message about an address.
pub type AddrMessage = Body<AddrHeader, AddrAttr>;

bitflags::bitflags! {
    /// State of an address (`IFA_F_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct AddrFlags: u32 {
        /// Not the first of its prefix (IPv4), or one that changes for privacy (IPv6).
        const SECONDARY = 0x01;
        /// Not looked for elsewhere before use (IPv6), so usable at once.
        const NODAD = 0x02;
        /// Found elsewhere too (IPv6).
        const DADFAILED = 0x08;
        /// Not for new connections.
        const DEPRECATED = 0x20;
        /// Still looked for elsewhere (IPv6).
        const TENTATIVE = 0x40;
        /// Not to time out.
        const PERMANENT = 0x80;
        /// Without the route to its prefix.
        const NOPREFIXROUTE = 0x200;
        const _ = !0;
    }
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addr {
    /// The link.
    pub ifindex: u32,
    /// The address itself.
    pub ip: IpAddr,
    /// Bits of its prefix.
    pub prefix_len: u8,
    /// The other end's address, on point-to-point links.
    pub peer: Option<IpAddr>,
    /// How far it is valid.
    pub scope: Scope,
    /// State.
    pub flags: AddrFlags,
    /// Everything the kernel said.
    pub message: AddrMessage,
}

impl Addr {
    /// Reads the kernel's description; none for messages without an address.
    #[must_use]
    pub fn from_message(message: AddrMessage) -> Option<Addr> {
        let (mut local, mut address, mut flags) = (None, None, u32::from(message.header.flags));
        for attr in &message.attrs {
            match attr {
                AddrAttr::Local(ip) => local = Some(*ip),
                AddrAttr::Address(ip) => address = Some(*ip),
                AddrAttr::Flags(wide) => flags = *wide,
                _ => {}
            }
        }
        let AddrHeader { ifindex, prefix_len, scope, .. } = message.header;
        Some(Addr {
            ifindex,
            ip: local.or(address)?,
            prefix_len,
            peer: address.filter(|_| local.is_some() && local != address),
            scope: Scope(scope),
            flags: AddrFlags::from_bits_retain(flags),
            message,
        })
    }
}

/// The message about `ip/prefix_len` on a link.
fn message(ifindex: u32, ip: IpAddr, prefix_len: u8) -> AddrMessage {
    let scope = if ip.is_loopback() { Scope::HOST } else { Scope::UNIVERSE };
    let header = AddrHeader { family: family::of(ip), prefix_len, flags: 0, scope: scope.0, ifindex };
    AddrMessage::new(header, vec![AddrAttr::Local(ip), AddrAttr::Address(ip)])
}

/// The highest address of an IPv4 prefix that has one for broadcast.
fn broadcast(ip: IpAddr, prefix_len: u8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) if prefix_len < 31 && !ip.is_loopback() => {
            let host = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() | host)))
        }
        _ => None,
    }
}

/// The request that adds an address. An IPv6 address is usable at once (`IFA_F_NODAD`).
#[must_use]
pub fn add_request(ifindex: u32, ip: IpAddr, prefix_len: u8) -> Request<AddrHeader, AddrAttr> {
    let mut body = message(ifindex, ip, prefix_len);
    body.attrs.extend(broadcast(ip, prefix_len).map(AddrAttr::Broadcast));
    if ip.is_ipv6() {
        body.attrs.push(AddrAttr::Flags(AddrFlags::NODAD.bits()));
    }
    let what = format!("add address {ip}/{prefix_len} to ifindex {ifindex}");
    Request { kind: kind::NEWADDR, flags: Flags::CREATE | Flags::EXCL, body, what }
}

impl Socket {
    /// Adds an address to a link, with the route to its prefix. An IPv6 address is usable at once: nobody is asked whether it
    /// is taken.
    ///
    /// # Errors
    /// `EEXIST` when it is there; `EINVAL` for a prefix longer than the address.
    pub fn addr_add(&mut self, ifindex: u32, ip: IpAddr, prefix_len: u8) -> Result<(), Error> {
        self.send(&add_request(ifindex, ip, prefix_len))
    }

    /// Removes an address from a link.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when it is not there.
    pub fn addr_delete(&mut self, ifindex: u32, ip: IpAddr, prefix_len: u8) -> Result<(), Error> {
        let (body, what) =
            (message(ifindex, ip, prefix_len), format!("remove address {ip}/{prefix_len} from ifindex {ifindex}"));
        self.send(&Request { kind: kind::DELADDR, flags: Flags::empty(), body, what })
    }

    /// All addresses of the namespace, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn addrs(&mut self) -> Result<Vec<Addr>, Error> {
        let what = "list addresses".to_owned();
        let request = Request::new(kind::GETADDR, Flags::DUMP, AddrHeader::default(), Vec::new(), what);
        Ok(self.connection.dump(&request)?.into_iter().filter_map(Addr::from_message).collect())
    }
}

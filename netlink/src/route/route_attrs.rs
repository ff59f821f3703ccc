//! Stage: the wire form of routes (`linux/rtnetlink.h`): fixed header, table of attributes, and the numbers in them. Input and
//! output: see `wire/table.rs`. Next: `rule.rs`.

use std::fmt;
use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{family, kind};
use crate::wire::{Body, Bytes, FixedHeader, Nest, attributes};

/// The fixed header of route messages (`struct rtmsg`).
#[doc(alias = "rtmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RouteHeader {
    /// See [`family`].
    pub family: u8,
    /// Bits of the destination's prefix.
    pub dst_len: u8,
    /// Bits of the source's prefix.
    pub src_len: u8,
    /// Type of service.
    pub tos: u8,
    /// Table, when it is under 256; see [`RouteAttr::Table`].
    pub table: u8,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
    /// See [`Scope`].
    pub scope: u8,
    /// See [`RouteKind`].
    pub kind: u8,
    /// See [`RouteFlags`].
    pub flags: u32,
}

const _: () = assert!(size_of::<RouteHeader>() == 12);

impl FixedHeader for RouteHeader {
    const NAME: &'static str = "rtmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for RouteHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} /{}", family::name(self.family), RouteKind(self.kind), self.dst_len)?;
        write!(f, " table {} protocol {} scope {}", self.table, self.protocol, Scope(self.scope))
    }
}

attributes! {
    /// Attributes of a route.
    pub enum RouteAttr: "RTA_" {
        /// Destination.
        Dst(IpAddr) = 1 "DST",
        /// Source.
        Src(IpAddr) = 2 "SRC",
        /// Link it came in by.
        Iif(u32) = 3 "IIF",
        /// Link it goes out by.
        Oif(u32) = 4 "OIF",
        /// Next hop.
        Gateway(IpAddr) = 5 "GATEWAY",
        /// Metric: the lowest wins.
        Priority(u32) = 6 "PRIORITY",
        /// Source address to prefer.
        PrefSrc(IpAddr) = 7 "PREFSRC",
        /// See [`MetricAttr`].
        Metrics(Nest<MetricAttr>) = 8 "METRICS",
        /// Several next hops (`struct rtnexthop`, attributes, again).
        Multipath(Bytes) = 9 "MULTIPATH",
        /// Realms.
        Flow(u32) = 11 "FLOW",
        /// What the kernel noted about it.
        CacheInfo(Bytes) = 12 "CACHEINFO",
        /// Table of any number; see [`table`].
        Table(u32) = 15 "TABLE",
        /// Mark of the packet, in a question.
        Mark(u32) = 16 "MARK",
        /// Next hop of another family.
        Via(Bytes) = 18 "VIA",
        /// Preference of a router.
        Pref(u8) = 20 "PREF",
        /// Type of encapsulation.
        EncapType(u16) = 21 "ENCAP_TYPE",
        /// Encapsulation.
        Encap(Bytes) = 22 "ENCAP",
        /// Seconds it has left.
        Expires(u32) = 23 "EXPIRES",
        /// User it is for.
        Uid(u32) = 25 "UID",
        /// Next-hop object.
        NhId(u32) = 30 "NH_ID",
    }
}

attributes! {
    /// Metrics of a route.
    pub enum MetricAttr: "RTAX_" {
        /// Which of the metrics are fixed, as bits.
        Lock(u32) = 1 "LOCK",
        /// Bytes of the largest packet.
        Mtu(u32) = 2 "MTU",
        /// Bytes of the largest TCP segment to announce.
        AdvMss(u32) = 8 "ADVMSS",
        /// Hop limit.
        HopLimit(u32) = 10 "HOPLIMIT",
        /// Segments to send at once at the start.
        InitCwnd(u32) = 11 "INITCWND",
        /// Segments to let in at once at the start.
        InitRwnd(u32) = 14 "INITRWND",
    }
}

/// A message about a route.
pub type RouteMessage = Body<RouteHeader, RouteAttr>;

/// Numbers of routing tables that have a name (`RT_TABLE_*`). Others are free for any use.
pub mod table {
    /// Not said; in a request the main one.
    pub const UNSPEC: u32 = 0;
    /// The last one asked.
    pub const DEFAULT: u32 = 253;
    /// The one that people mean.
    pub const MAIN: u32 = 254;
    /// Local and broadcast addresses, kept by the kernel.
    pub const LOCAL: u32 = 255;
}

/// How far an address or a route reaches (`RT_SCOPE_*`): the greater the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(pub u8);

impl Scope {
    /// Anywhere.
    pub const UNIVERSE: Scope = Scope(0);
    /// On this link.
    pub const LINK: Scope = Scope(253);
    /// On this host.
    pub const HOST: Scope = Scope(254);
    /// Nowhere.
    pub const NOWHERE: Scope = Scope(255);
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Scope::UNIVERSE => f.write_str("global"),
            Scope::LINK => f.write_str("link"),
            Scope::HOST => f.write_str("host"),
            Scope::NOWHERE => f.write_str("nowhere"),
            Scope(other) => write!(f, "{other}"),
        }
    }
}

/// What a route does (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// Sends on.
    pub const UNICAST: RouteKind = RouteKind(1);
    /// Takes in.
    pub const LOCAL: RouteKind = RouteKind(2);
    /// Broadcasts.
    pub const BROADCAST: RouteKind = RouteKind(3);
    /// Takes in at the nearest of several.
    pub const ANYCAST: RouteKind = RouteKind(4);
    /// Sends to a group.
    pub const MULTICAST: RouteKind = RouteKind(5);
    /// Drops silently.
    pub const BLACKHOLE: RouteKind = RouteKind(6);
    /// Drops with "unreachable".
    pub const UNREACHABLE: RouteKind = RouteKind(7);
    /// Drops with "prohibited".
    pub const PROHIBIT: RouteKind = RouteKind(8);
    /// Goes on to the next rule.
    pub const THROW: RouteKind = RouteKind(9);

    const NAMES: [&str; 10] = [
        "unspec",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
    ];
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

bitflags::bitflags! {
    /// Flags of a route or next hop (`RTNH_F_*`, `RTM_F_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RouteFlags: u32 {
        /// The link is gone.
        const DEAD = 1;
        /// The gateway is taken to be on the link, whatever the addresses say.
        const ONLINK = 4;
        /// The link has no carrier.
        const LINKDOWN = 16;
        /// An entry of the cache.
        const CLONED = 0x200;
        const _ = !0;
    }
}

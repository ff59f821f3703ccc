//! Stage: routes. Input: [`Route`]; output: done, or the routes there are. Next: `rule.rs`.

use std::fmt;
use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Socket, family, kind};
use crate::error::Error;
use crate::wire::{Body, Bytes, FixedHeader, Flags, Nest, Request, attributes};

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

/// A route. [`Route::new`] has the defaults: unicast, main table, `RTPROT_STATIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Destination and bits of its prefix; none is the default route.
    pub dst: Option<(IpAddr, u8)>,
    /// Next hop; none when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Link it goes out by.
    pub oif: Option<u32>,
    /// Source address to prefer.
    pub src: Option<IpAddr>,
    /// Metric: the lowest wins.
    pub priority: Option<u32>,
    /// Bytes of the largest packet.
    pub mtu: Option<u32>,
    /// Table; see [`table`].
    pub table: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Reach; none has the kernel's rule: the gateway's presence decides.
    pub scope: Option<Scope>,
    /// Who made it: 2 the kernel, 4 an operator.
    pub protocol: u8,
    /// Flags.
    pub flags: RouteFlags,
    /// IPv4 or IPv6, needed when no address tells.
    pub family: u8,
}

impl Route {
    /// A route to `dst/prefix_len`.
    #[must_use]
    pub fn new(dst: IpAddr, prefix_len: u8) -> Route {
        Route { dst: Some((dst, prefix_len)), ..Route::default_of(family::of(dst)) }
    }

    /// The default route of a [`family`].
    #[must_use]
    pub fn default_of(family: u8) -> Route {
        const RTPROT_STATIC: u8 = 4;
        Route {
            dst: None,
            gateway: None,
            oif: None,
            src: None,
            priority: None,
            mtu: None,
            table: table::MAIN,
            kind: RouteKind::UNICAST,
            scope: None,
            protocol: RTPROT_STATIC,
            flags: RouteFlags::empty(),
            family,
        }
    }

    /// With this next hop.
    #[must_use]
    pub fn via(self, gateway: IpAddr) -> Route {
        Route { gateway: Some(gateway), ..self }
    }

    /// Out by this link.
    #[must_use]
    pub fn dev(self, ifindex: u32) -> Route {
        Route { oif: Some(ifindex), ..self }
    }

    /// In this table.
    #[must_use]
    pub fn table(self, table: u32) -> Route {
        Route { table, ..self }
    }

    /// With this source address.
    #[must_use]
    pub fn src(self, src: IpAddr) -> Route {
        Route { src: Some(src), ..self }
    }

    /// Doing this.
    #[must_use]
    pub fn kind(self, kind: RouteKind) -> Route {
        Route { kind, ..self }
    }

    /// The message that describes it.
    #[must_use]
    pub fn message(&self) -> RouteMessage {
        let near = if self.kind == RouteKind::LOCAL { Scope::HOST } else { Scope::LINK };
        let on_link = self.gateway.is_none() && self.family == family::INET;
        let far = matches!(self.kind, RouteKind::BLACKHOLE | RouteKind::UNREACHABLE | RouteKind::PROHIBIT);
        let scope = self.scope.unwrap_or(if on_link && !far { near } else { Scope::UNIVERSE });
        let header = RouteHeader {
            family: self.family,
            dst_len: self.dst.map_or(0, |(_, len)| len),
            table: u8::try_from(self.table).unwrap_or(0),
            protocol: self.protocol,
            scope: scope.0,
            kind: self.kind.0,
            flags: self.flags.bits(),
            ..RouteHeader::default()
        };
        let mut attrs = vec![RouteAttr::Table(self.table)];
        attrs.extend(self.dst.map(|(ip, _)| RouteAttr::Dst(ip)));
        attrs.extend(self.src.map(RouteAttr::PrefSrc));
        attrs.extend(self.gateway.map(RouteAttr::Gateway));
        attrs.extend(self.oif.map(RouteAttr::Oif));
        attrs.extend(self.priority.map(RouteAttr::Priority));
        attrs.extend(self.mtu.map(|mtu| RouteAttr::Metrics(Nest::new(vec![MetricAttr::Mtu(mtu)]))));
        RouteMessage::new(header, attrs)
    }

    /// Reads the kernel's description.
    #[must_use]
    pub fn from_message(message: &RouteMessage) -> Route {
        let header = message.header;
        let mut route = Route {
            table: u32::from(header.table),
            kind: RouteKind(header.kind),
            scope: Some(Scope(header.scope)),
            protocol: header.protocol,
            flags: RouteFlags::from_bits_retain(header.flags),
            ..Route::default_of(header.family)
        };
        for attr in &message.attrs {
            match attr {
                RouteAttr::Dst(ip) => route.dst = Some((*ip, header.dst_len)),
                RouteAttr::Gateway(ip) => route.gateway = Some(*ip),
                RouteAttr::Oif(ifindex) => route.oif = Some(*ifindex),
                RouteAttr::PrefSrc(ip) => route.src = Some(*ip),
                RouteAttr::Priority(priority) => route.priority = Some(*priority),
                RouteAttr::Table(table) => route.table = *table,
                RouteAttr::Metrics(metrics) => route.mtu = metrics.attrs.iter().find_map(metric_mtu),
                _ => {}
            }
        }
        route
    }

    /// The request that adds it.
    #[must_use]
    pub fn add_request(&self) -> Request<RouteHeader, RouteAttr> {
        let flags = Flags::CREATE | Flags::EXCL;
        Request { kind: kind::NEWROUTE, flags, body: self.message(), what: format!("add route {self}") }
    }
}

fn metric_mtu(metric: &MetricAttr) -> Option<u32> {
    match metric {
        MetricAttr::Mtu(mtu) => Some(*mtu),
        _ => None,
    }
}

/// `unicast 10.0.0.0/8 via 10.1.0.1 dev 3 table 254`
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        match self.dst {
            Some((ip, len)) => write!(f, "{ip}/{len}")?,
            None => f.write_str("default")?,
        }
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
        self.oif.map_or(Ok(()), |ifindex| write!(f, " dev {ifindex}"))?;
        self.src.map_or(Ok(()), |src| write!(f, " src {src}"))?;
        write!(f, " table {}", self.table)
    }
}

impl Socket {
    /// Adds a route.
    ///
    /// # Errors
    /// `EEXIST` when it is there, `ENETUNREACH` when the gateway is on no link.
    pub fn route_add(&mut self, route: &Route) -> Result<(), Error> {
        self.send(&route.add_request())
    }

    /// Adds a route, or puts it in the place of one with the same destination, table and metric.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn route_replace(&mut self, route: &Route) -> Result<(), Error> {
        let (flags, what) = (Flags::CREATE | Flags::REPLACE, format!("add or replace route {route}"));
        self.send(&Request { kind: kind::NEWROUTE, flags, body: route.message(), what })
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn route_delete(&mut self, route: &Route) -> Result<(), Error> {
        let what = format!("delete route {route}");
        self.send(&Request { kind: kind::DELROUTE, flags: Flags::empty(), body: route.message(), what })
    }

    /// All routes of all tables, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let what = "list routes".to_owned();
        let request = Request::new(kind::GETROUTE, Flags::DUMP, RouteHeader::default(), Vec::<RouteAttr>::new(), what);
        Ok(self.connection.dump(&request)?.iter().map(Route::from_message).collect())
    }
}

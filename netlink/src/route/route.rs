//! Stage: routes. Input: [`Route`]; output: done, or the routes there are. Next: `route_attrs.rs`.

use std::fmt;
use std::net::IpAddr;

use super::{
    MetricAttr, RouteAttr, RouteFlags, RouteHeader, RouteKind, RouteMessage, Scope, Socket, family, kind, table,
};
use crate::error::Error;
use crate::wire::{Flags, Nest, Request};

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

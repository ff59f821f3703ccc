//! Stage: rtnetlink, one file an object. Input: what a caller wants; output: requests ([`Request`]), which print as text, and
//! their results.
//!
//! | file | object |
//! |---|---|
//! | `link.rs`, `link_set.rs`, `link_new.rs`, `link_attrs.rs` | interfaces: reading, changing, making; their attributes |
//! | `xdp.rs` | XDP programs on interfaces |
//! | `addr.rs`, `route.rs` (`route_attrs.rs`), `rule.rs`, `neigh.rs` | addresses, routes, policy rules, neighbours |
//! | `qdisc.rs`, `filter.rs` | traffic control: `clsact`, `cls_bpf` |
//! | `netns.rs` | ids of network namespaces |
//!
//! Next: `route/link.rs`.

use crate::error::Error;
use crate::socket::Connection;
use crate::wire::{Attribute, FixedHeader, Request};

mod addr;
mod filter;
mod link;
mod link_attrs;
mod link_new;
mod link_set;
mod neigh;
mod netns;
mod qdisc;
#[expect(clippy::module_inception, reason = "rtnetlink calls both itself and one of its objects so")]
mod route;
mod route_attrs;
mod rule;
mod xdp;

pub use addr::{Addr, AddrAttr, AddrFlags, AddrHeader, AddrMessage, add_request as addr_add_request};
pub use filter::{BpfAttr, BpfFilter, BpfFilterSpec, Direction};
pub use link::{Link, LinkFlags, LinkHeader, LinkMessage, OperState};
pub use link_attrs::{BridgeAttr, InfoAttr, InfoData, LinkAttr, PropAttr, VethAttr, VlanAttr, XdpAttr};
pub use link_new::{BridgeSpec, DummySpec, VethPeer, VethSpec};
pub use neigh::{Neigh, NeighAttr, NeighHeader, NeighMessage, NeighState, add_request as neigh_add_request};
pub use netns::{NetNsAttr, NetNsHeader, NetNsId, NetNsMessage};
pub use qdisc::{Qdisc, TcAttr, TcHandle, TcHeader, TcMessage, TcOptions};
pub use route::Route;
pub use route_attrs::{MetricAttr, RouteAttr, RouteFlags, RouteHeader, RouteKind, RouteMessage, Scope, table};
pub use rule::{Ports, Rule, RuleAction, RuleAttr, RuleHeader, RuleMessage};
pub use xdp::{
    Mode, Replace, Xdp, XdpAttached, attach_request as xdp_attach_request, detach_request as xdp_detach_request,
};

/// Address families (`AF_*`), as they stand in headers.
pub mod family {
    use std::net::IpAddr;

    /// All of them.
    pub const UNSPEC: u8 = 0;
    /// IPv4.
    pub const INET: u8 = 2;
    /// Bridges' own (forwarding table, ports).
    pub const BRIDGE: u8 = 7;
    /// IPv6.
    pub const INET6: u8 = 10;

    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> u8 {
        if ip.is_ipv4() { INET } else { INET6 }
    }

    /// `inet`, `inet6`, …
    #[must_use]
    pub fn name(family: u8) -> String {
        match family {
            UNSPEC => "unspec".to_owned(),
            INET => "inet".to_owned(),
            BRIDGE => "bridge".to_owned(),
            INET6 => "inet6".to_owned(),
            128 => "ipmr".to_owned(),
            129 => "ip6mr".to_owned(),
            other => format!("family{other}"),
        }
    }
}

/// Makes the kinds of message and their names from one table.
macro_rules! kinds {
    ($($name:ident = $number:literal,)*) => {
        /// Kinds of rtnetlink message (`RTM_*`).
        pub mod kind {
            $(#[doc = concat!("`RTM_", stringify!($name), "`.")] pub const $name: u16 = $number;)*

            /// C name of a kind.
            #[must_use]
            pub fn name(kind: u16) -> Option<&'static str> {
                match kind {
                    $($name => Some(concat!("RTM_", stringify!($name))),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    NEWLINK = 16, DELLINK = 17, GETLINK = 18, SETLINK = 19,
    NEWADDR = 20, DELADDR = 21, GETADDR = 22,
    NEWROUTE = 24, DELROUTE = 25, GETROUTE = 26,
    NEWNEIGH = 28, DELNEIGH = 29, GETNEIGH = 30,
    NEWRULE = 32, DELRULE = 33, GETRULE = 34,
    NEWQDISC = 36, DELQDISC = 37, GETQDISC = 38,
    NEWTFILTER = 44, DELTFILTER = 45, GETTFILTER = 46,
    NEWNSID = 88, DELNSID = 89, GETNSID = 90,
}

/// A `NETLINK_ROUTE` socket. It belongs to the network namespace its opener was in, and stays there.
#[derive(Debug)]
pub struct Socket {
    connection: Connection,
    /// The kernel's warning about the last request that succeeded.
    warning: Option<String>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open() -> Result<Socket, Error> {
        const NETLINK_ROUTE: isize = 0;
        Ok(Socket { connection: Connection::open(NETLINK_ROUTE)?, warning: None })
    }

    /// The connection underneath, for its port and its tap.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The warning that the kernel gave when the last request succeeded, if it gave one.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Sends a request made by one of the `…_request` functions, and waits for the kernel's word.
    ///
    /// # Errors
    /// The kernel's refusal, in its words.
    pub fn send<H: FixedHeader, A: Attribute>(&mut self, request: &Request<H, A>) -> Result<(), Error> {
        self.warning = self.connection.ack(request)?;
        Ok(())
    }
}

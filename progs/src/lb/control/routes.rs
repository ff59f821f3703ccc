//! Stage: control plane. What the kernel knows about the way to each real server: our address on it, and its MTU.
//!
//! Input: real servers' addresses, asked in the network namespace of the calling thread. Output: [`Routes`], plain data
//! that tests and dry runs can make up. Next file to read: `tables.rs`.
//!
//! No netlink is needed: connecting a UDP socket sends nothing, but makes the kernel look up the route and choose the
//! source address, both of which the socket then tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use nix::sys::socket::{getsockopt, sockopt::IpMtu};

/// The way to one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address this machine would use as source.
    pub source: Ipv4Addr,
    /// MTU of the route in bytes; 0: unknown.
    pub mtu: u16,
}

/// The ways to all real servers.
pub type Routes = BTreeMap<Ipv4Addr, Route>;

/// A real server that cannot be reached from here.
#[derive(Debug, thiserror::Error)]
#[error("no way to real server {real} from this network namespace: add a route to it, or check its address")]
#[non_exhaustive]
pub struct RouteError {
    /// The real server.
    pub real: Ipv4Addr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The discard port: packets to it mean nothing to anybody.
const DISCARD: u16 = 9;

/// Asks the kernel for the way to each of `reals`.
///
/// `source` overrides the kernel's choice of address, as `lb.source` does.
///
/// # Errors
/// The first real server without a route.
pub fn ask(reals: &BTreeSet<Ipv4Addr>, source: Option<Ipv4Addr>) -> Result<Routes, RouteError> {
    let ask_one = |real: Ipv4Addr| {
        let (socket, chosen) = connected(real)?;
        let mtu = getsockopt(&socket, IpMtu).ok().and_then(|mtu| u16::try_from(mtu.min(0xffff)).ok()).unwrap_or(0);
        Ok(Route { source: source.unwrap_or(chosen), mtu })
    };
    reals
        .iter()
        .map(|real| ask_one(*real).map(|route| (*real, route)).map_err(|source| RouteError { real: *real, source }))
        .collect()
}

/// Sends one empty datagram to each real server, so that the kernel resolves the MAC address of the next hop *before* the
/// first packet of a client needs it. Failures do not matter: that packet then goes through the stack.
pub fn prime(reals: &BTreeSet<Ipv4Addr>) {
    for real in reals {
        // The answer, if any, is an ICMP error that nobody waits for.
        let _sent = connected(*real).and_then(|(socket, _)| socket.send(&[]));
    }
}

/// Which of `addresses` belong to this network namespace: only those can be bound to.
#[must_use]
pub fn local(addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
    addresses.iter().copied().filter(|address| UdpSocket::bind((*address, 0)).is_ok()).collect()
}

fn connected(real: Ipv4Addr) -> io::Result<(UdpSocket, Ipv4Addr)> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((real, DISCARD))?;
    match socket.local_addr()? {
        SocketAddr::V4(local) => Ok((socket, *local.ip())),
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local_and_reachable() {
        let here = BTreeSet::from([Ipv4Addr::LOCALHOST]);
        let routes = ask(&here, None).unwrap();
        assert_eq!(routes[&Ipv4Addr::LOCALHOST].source, Ipv4Addr::LOCALHOST);
        assert_eq!(routes[&Ipv4Addr::LOCALHOST].mtu, 0xffff, "lo's 65,536 does not fit a 16-bit length");
        let both = BTreeSet::from([Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(local(&both), here);
    }

    #[test]
    fn source_can_be_overridden() {
        let here = BTreeSet::from([Ipv4Addr::LOCALHOST]);
        let source = Ipv4Addr::new(192, 0, 2, 9);
        assert_eq!(ask(&here, Some(source)).unwrap()[&Ipv4Addr::LOCALHOST].source, source);
    }
}

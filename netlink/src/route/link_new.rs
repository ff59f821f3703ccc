//! Stage: new virtual links. Input: a spec; output: the request, or the [`Link`] it made. Next: `link_attrs.rs`.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::link::LinkMessage;
use super::{BridgeAttr, InfoAttr, InfoData, Link, LinkAttr, LinkHeader, Socket, VethAttr, kind};
use crate::error::Error;
use crate::wire::{Flags, HwAddr, Mac, Nest, Request, Text};

/// A pair of veth links to make: what enters one end leaves the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct VethSpec<'a> {
    /// Name of the end that stays in the socket's namespace.
    pub name: &'a str,
    /// Largest packet, bytes; 1500 by default.
    pub mtu: Option<u32>,
    /// Ethernet address; a random one by default.
    pub mac: Option<Mac>,
    /// Pairs of transmit and receive queues; 1 by default. XDP needs a receive queue for each transmit queue of the peer.
    pub queues: Option<u32>,
    /// The other end.
    pub peer: VethPeer<'a>,
}

/// The other end of a veth pair to make.
#[derive(Debug, Clone, Copy, Default)]
pub struct VethPeer<'a> {
    /// Name.
    pub name: &'a str,
    /// Namespace to put it in; the socket's by default.
    pub netns_fd: Option<BorrowedFd<'a>>,
    /// Largest packet, bytes; as the first end by default.
    pub mtu: Option<u32>,
    /// Ethernet address; a random one by default.
    pub mac: Option<Mac>,
}

/// A dummy link to make: what it is given disappears.
#[derive(Debug, Clone, Copy, Default)]
pub struct DummySpec<'a> {
    /// Name.
    pub name: &'a str,
    /// Largest packet, bytes; 1500 by default.
    pub mtu: Option<u32>,
}

/// A bridge to make.
#[derive(Debug, Clone, Copy, Default)]
pub struct BridgeSpec<'a> {
    /// Name.
    pub name: &'a str,
    /// Ethernet address; that of a port by default.
    pub mac: Option<Mac>,
    /// How long a new port waits before it forwards, hundredths of a second; 1500 by default with the spanning tree.
    pub forward_delay: Option<u32>,
}

fn create(attrs: Vec<LinkAttr>, what: String) -> Request<LinkHeader, LinkAttr> {
    Request::new(kind::NEWLINK, Flags::CREATE | Flags::EXCL, LinkHeader::default(), attrs, what)
}

fn name_mtu_mac(name: &str, mtu: Option<u32>, mac: Option<Mac>) -> Vec<LinkAttr> {
    let mut attrs = vec![LinkAttr::IfName(Text::new(name))];
    attrs.extend(mtu.map(LinkAttr::Mtu));
    attrs.extend(mac.map(|mac| LinkAttr::Address(HwAddr::from(mac))));
    attrs
}

fn info(kind: &str, data: Option<InfoData>) -> LinkAttr {
    let mut attrs = vec![InfoAttr::Kind(Text::new(kind))];
    attrs.extend(data.map(InfoAttr::Data));
    LinkAttr::LinkInfo(Nest::new(attrs))
}

impl VethSpec<'_> {
    /// The request that makes the pair.
    #[must_use]
    pub fn request(&self) -> Request<LinkHeader, LinkAttr> {
        let queues = |attrs: &mut Vec<LinkAttr>| {
            attrs.extend(self.queues.map(LinkAttr::NumTxQueues));
            attrs.extend(self.queues.map(LinkAttr::NumRxQueues));
        };
        let mut peer = name_mtu_mac(self.peer.name, self.peer.mtu.or(self.mtu), self.peer.mac);
        peer.extend(self.peer.netns_fd.map(|fd| LinkAttr::NetNsFd(fd.as_raw_fd())));
        queues(&mut peer);
        let peer = VethAttr::Peer(LinkMessage::new(LinkHeader::default(), peer));
        let mut attrs = name_mtu_mac(self.name, self.mtu, self.mac);
        queues(&mut attrs);
        attrs.push(info("veth", Some(InfoData::Veth(Nest::new(vec![peer])))));
        create(attrs, format!("make the veth pair {:?} and {:?}", self.name, self.peer.name))
    }
}

impl DummySpec<'_> {
    /// The request that makes it.
    #[must_use]
    pub fn request(&self) -> Request<LinkHeader, LinkAttr> {
        let mut attrs = name_mtu_mac(self.name, self.mtu, None);
        attrs.push(info("dummy", None));
        create(attrs, format!("make the dummy link {:?}", self.name))
    }
}

impl BridgeSpec<'_> {
    /// The request that makes it.
    #[must_use]
    pub fn request(&self) -> Request<LinkHeader, LinkAttr> {
        let mut attrs = name_mtu_mac(self.name, None, self.mac);
        let data = self.forward_delay.map(|delay| vec![BridgeAttr::ForwardDelay(delay)]);
        attrs.push(info("bridge", data.map(|data| InfoData::Bridge(Nest::new(data)))));
        create(attrs, format!("make the bridge {:?}", self.name))
    }
}

impl Socket {
    /// Makes a veth pair, and gives the end that stays here.
    ///
    /// # Errors
    /// The kernel's refusal: `EEXIST` when a name is taken (in either namespace).
    pub fn link_create_veth(&mut self, spec: VethSpec<'_>) -> Result<Link, Error> {
        self.send(&spec.request())?;
        self.link_by_name(spec.name)
    }

    /// Makes a dummy link.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_create_dummy(&mut self, spec: DummySpec<'_>) -> Result<Link, Error> {
        self.send(&spec.request())?;
        self.link_by_name(spec.name)
    }

    /// Makes a bridge.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_create_bridge(&mut self, spec: BridgeSpec<'_>) -> Result<Link, Error> {
        self.send(&spec.request())?;
        self.link_by_name(spec.name)
    }
}

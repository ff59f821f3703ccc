//! Stage: links, that is network interfaces. Input: a name or an index; output: [`Link`]. Next: `link_set.rs`.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::xdp::Xdp;
use super::{InfoAttr, LinkAttr, Socket, kind};
use crate::error::Error;
use crate::wire::{Body, FixedHeader, Flags, Mac, Request, Text, WireError, Words};

/// The fixed header of link messages (`struct ifinfomsg`).
#[doc(alias = "ifinfomsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LinkHeader {
    /// 0, or `AF_BRIDGE` for the bridge's view.
    pub family: u8,
    /// Zero.
    pub reserved: u8,
    /// Link-layer type (`ARPHRD_*`): 1 Ethernet, 772 loopback.
    pub kind: u16,
    /// Index of the link, from 1; 0 when its name is given.
    pub ifindex: u32,
    /// See [`LinkFlags`].
    pub flags: u32,
    /// Which of the flags to change.
    pub change: u32,
}

const _: () = assert!(size_of::<LinkHeader>() == 16);

impl LinkHeader {
    /// The header of a request about one link.
    #[must_use]
    pub fn of(ifindex: u32) -> LinkHeader {
        LinkHeader { ifindex, ..LinkHeader::default() }
    }
}

impl FixedHeader for LinkHeader {
    const NAME: &'static str = "ifinfomsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for LinkHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ifindex {}", self.ifindex)?;
        let flags = LinkFlags::from_bits_retain(self.flags);
        let change = LinkFlags::from_bits_retain(self.change);
        match change.is_empty() {
            true if flags.is_empty() => Ok(()),
            true => write!(f, " <{flags}>"),
            false => write!(f, " set <{}> clear <{}>", flags & change, change - flags),
        }
    }
}

bitflags::bitflags! {
    /// State of a link (`IFF_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct LinkFlags: u32 {
        /// An operator wants it up.
        const UP = 1 << 0;
        /// It has a broadcast address.
        const BROADCAST = 1 << 1;
        /// The loopback link.
        const LOOPBACK = 1 << 3;
        /// There is one other end.
        const POINTOPOINT = 1 << 4;
        /// It is up and has carrier.
        const RUNNING = 1 << 6;
        /// It resolves no neighbours.
        const NOARP = 1 << 7;
        /// It takes packets for others too.
        const PROMISC = 1 << 8;
        /// It takes all multicast.
        const ALLMULTI = 1 << 9;
        /// It belongs to a bond.
        const SLAVE = 1 << 11;
        /// It can do multicast.
        const MULTICAST = 1 << 12;
        /// Its carrier is there.
        const LOWER_UP = 1 << 16;
        const _ = !0;
    }
}

impl fmt::Display for LinkFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

/// A message about a link.
pub type LinkMessage = Body<LinkHeader, LinkAttr>;

/// State of a link after RFC 2863.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OperState {
    /// Drivers that do not say.
    #[default]
    Unknown,
    /// A part is missing.
    NotPresent,
    /// No carrier, or taken down.
    Down,
    /// The link below is down.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waits for something, such as authentication.
    Dormant,
    /// Passes packets.
    Up,
    /// A number of a newer kernel.
    Other(u8),
}

impl OperState {
    fn from_wire(state: u8) -> OperState {
        use OperState::{Dormant, Down, LowerLayerDown, NotPresent, Other, Testing, Unknown, Up};
        let known = [Unknown, NotPresent, Down, LowerLayerDown, Testing, Dormant, Up];
        known.get(usize::from(state)).copied().unwrap_or(Other(state))
    }
}

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Index in its network namespace.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Link-layer type (`ARPHRD_*`): 1 Ethernet, 772 loopback.
    pub arphrd: u16,
    /// State.
    pub flags: LinkFlags,
    /// State after RFC 2863.
    pub oper_state: OperState,
    /// Largest packet, bytes, link-layer header not counted.
    pub mtu: u32,
    /// Greatest MTU of the driver; 0 for none.
    pub max_mtu: u32,
    /// Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// `veth`, `bridge`, `dummy`, …; none for real devices and the loopback.
    pub kind: Option<String>,
    /// Index of the bridge or bond it belongs to.
    pub master: Option<u32>,
    /// Index of the link below, or of a veth's other end.
    pub link: Option<u32>,
    /// Id of the namespace that `link` is in, when that is another one.
    pub link_netns_id: Option<i32>,
    /// Name of the queueing discipline.
    pub qdisc: Option<String>,
    /// Transmit queues.
    pub tx_queues: u32,
    /// Receive queues.
    pub rx_queues: u32,
    /// XDP programs on it.
    pub xdp: Xdp,
    /// Counters since it was made.
    pub stats: LinkStats,
    /// Everything the kernel said, the above included.
    pub message: LinkMessage,
}

/// Counters of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received with errors.
    pub rx_errors: u64,
    /// Packets not sent for errors.
    pub tx_errors: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Packets dropped before sending.
    pub tx_dropped: u64,
}

impl LinkStats {
    /// From the order of `struct rtnl_link_stats64`.
    fn from_wire(words: &Words) -> LinkStats {
        let [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped] =
            std::array::from_fn(|n| words.get(n));
        LinkStats { rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped }
    }
}

impl Link {
    /// Reads the kernel's description.
    ///
    /// # Errors
    /// When it has no name.
    pub fn from_message(message: LinkMessage) -> Result<Link, WireError> {
        let header = message.header;
        let mut link = Link {
            ifindex: header.ifindex,
            name: String::new(),
            arphrd: header.kind,
            flags: LinkFlags::from_bits_retain(header.flags),
            oper_state: OperState::Unknown,
            mtu: 0,
            max_mtu: 0,
            mac: None,
            kind: None,
            master: None,
            link: None,
            link_netns_id: None,
            qdisc: None,
            tx_queues: 0,
            rx_queues: 0,
            xdp: Xdp::default(),
            stats: LinkStats::default(),
            message: LinkMessage::new(header, Vec::new()),
        };
        message.attrs.iter().for_each(|attr| link.take(attr));
        link.message = message;
        if link.name.is_empty() { Err(WireError::Missing { name: "IFLA_IFNAME" }) } else { Ok(link) }
    }

    fn take(&mut self, attr: &LinkAttr) {
        match attr {
            LinkAttr::Address(address) => self.mac = address.mac(),
            LinkAttr::IfName(name) => self.name = name.as_str().into_owned(),
            LinkAttr::Mtu(mtu) => self.mtu = *mtu,
            LinkAttr::MaxMtu(mtu) => self.max_mtu = *mtu,
            LinkAttr::Link(link) => self.link = Some(*link).filter(|link| *link != 0),
            LinkAttr::Qdisc(name) => self.qdisc = Some(name.as_str().into_owned()),
            LinkAttr::Master(master) => self.master = Some(*master),
            LinkAttr::OperState(state) => self.oper_state = OperState::from_wire(*state),
            LinkAttr::LinkInfo(info) => self.kind = info.attrs.iter().find_map(info_kind),
            LinkAttr::Stats64(words) => self.stats = LinkStats::from_wire(words),
            LinkAttr::NumTxQueues(queues) => self.tx_queues = *queues,
            LinkAttr::NumRxQueues(queues) => self.rx_queues = *queues,
            LinkAttr::LinkNetNsId(id) => self.link_netns_id = Some(*id),
            LinkAttr::Xdp(xdp) => self.xdp = Xdp::from_attrs(&xdp.attrs),
            _ => {}
        }
    }

    /// Whether an operator wants it up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags.contains(LinkFlags::UP)
    }
}

fn info_kind(attr: &InfoAttr) -> Option<String> {
    match attr {
        InfoAttr::Kind(kind) => Some(kind.as_str().into_owned()),
        _ => None,
    }
}

impl Socket {
    /// All links of the namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let what = "list links".to_owned();
        let request = Request::new(kind::GETLINK, Flags::DUMP, LinkHeader::default(), Vec::new(), what);
        let links = self.connection.dump(&request)?.into_iter().map(Link::from_message);
        links.collect::<Result<_, _>>().map_err(|source| Error::Wire { what: request.what, source })
    }

    /// The link of that name.
    ///
    /// # Errors
    /// `ENODEV` when there is none.
    pub fn link_by_name(&mut self, name: &str) -> Result<Link, Error> {
        // Only the other names that a link may have are longer.
        const LONGEST: usize = 15;
        let attr = if name.len() <= LONGEST { LinkAttr::IfName } else { LinkAttr::AltIfName };
        let attrs = vec![attr(Text::new(name))];
        self.link_get(LinkHeader::default(), attrs, format!("find link {name:?}"))
    }

    /// The link of that index.
    ///
    /// # Errors
    /// `ENODEV` when there is none.
    pub fn link_by_index(&mut self, ifindex: u32) -> Result<Link, Error> {
        self.link_get(LinkHeader::of(ifindex), Vec::new(), format!("find the link with ifindex {ifindex}"))
    }

    fn link_get(&mut self, header: LinkHeader, attrs: Vec<LinkAttr>, what: String) -> Result<Link, Error> {
        let request = Request::new(kind::GETLINK, Flags::empty(), header, attrs, what);
        let body = self.connection.get(&request)?;
        Link::from_message(body).map_err(|source| Error::Wire { what: request.what, source })
    }
}

//! Stage: contract. Everything that kernel programs and control plane both read: keys, values, reasons.
//!
//! Input: nothing. Output: `#[repr(C)]` structs without hidden padding, so that a map's bytes are exactly a struct's bytes.
//! Integers are in the machine's byte order; what is compared with packets (addresses, ports) is in network byte order
//! and says so in its type. Next file to read: `maps.rs`, which says who writes what.

use std::{fmt, net::Ipv4Addr};

use asm::dsl::prelude::{Action, Be16, Be32, Eth, Layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::net::ip;

/// Key of the map `vips`: what a packet is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout, PartialOrd, Ord)]
#[repr(C)]
pub struct VipKey {
    /// The virtual address, in network byte order.
    pub addr: Be32,
    /// The virtual port; zero stands for every port that has no VIP of its own.
    pub port: Be16,
    /// IP protocol number: TCP or UDP.
    pub proto: u8,
    /// [`VipKey::SERVICE`] or [`VipKey::MARK`].
    pub kind: u8,
}
// The hash reads the key with one load.
const _: () = assert!(size_of::<VipKey>() == 8);

impl VipKey {
    /// A VIP: its value says where the ring is.
    pub const SERVICE: u8 = 0;
    /// Says only that this address has some VIP of this protocol; port zero. Fragments are looked up under it, for they
    /// have no port.
    pub const MARK: u8 = 1;

    /// The key of a VIP.
    #[must_use]
    pub fn service(addr: Ipv4Addr, port: u16, proto: u8) -> Self {
        Self { addr: addr.into(), port: Be16::new(port), proto, kind: Self::SERVICE }
    }

    /// The mark that belongs to this VIP.
    #[must_use]
    pub fn mark(self) -> Self {
        Self { port: Be16::new(0), kind: Self::MARK, ..self }
    }
}

impl fmt::Display for VipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = Ipv4Addr::from(self.addr);
        match (self.kind, self.port.get()) {
            (Self::MARK, _) => write!(f, "{addr}/{}", protocol_name(self.proto)),
            (_, 0) => write!(f, "{addr}:*/{}", protocol_name(self.proto)),
            (_, port) => write!(f, "{addr}:{port}/{}", protocol_name(self.proto)),
        }
    }
}

fn protocol_name(proto: u8) -> String {
    match proto {
        ip::TCP => "tcp".to_owned(),
        ip::UDP => "udp".to_owned(),
        other => other.to_string(),
    }
}

/// Value of the map `vips`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Vip {
    /// Row of the map `rings`.
    pub ring: u32,
    /// Row of the map `reasons`; row 0 belongs to packets of no VIP. A mark has row 0.
    pub row: u32,
}

/// Value of the map `config`: one row, read by address, so that it costs a load and no lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Config {
    /// Key of the flow hash. Balancers that share VIPs must share it.
    pub key: [u64; 2],
    /// Not zero when a VIP with port zero exists: only then is a second lookup worth its time.
    pub any_port: u32,
    /// Zero.
    pub reserved: u32,
    /// A bit for each [`bucket`](Config::bucket): set when some VIP's address is in it. Most of what is not for a VIP is
    /// recognised by a zero here, for a tenth of what a lookup costs.
    pub filter: [u64; FILTER_WORDS],
}

/// Words of the filter: 4096 bits, which 16 VIPs leave almost empty.
pub const FILTER_WORDS: usize = 64;
/// Multiplier of the filter's hash, and what is shifted away of the product: 12 bits stay.
pub(super) const FILTER_HASH: (u32, u32) = (0x9e37_79b1, 20);
const _: () = assert!(1 << (32 - FILTER_HASH.1) == FILTER_WORDS * 64);

impl Config {
    /// The bit of the filter that an address belongs to.
    #[must_use]
    pub const fn bucket(addr: Be32) -> u32 {
        addr.raw().wrapping_mul(FILTER_HASH.0) >> FILTER_HASH.1
    }

    /// Sets the bit of an address.
    pub fn admit(&mut self, addr: Be32) {
        let bucket = Self::bucket(addr);
        self.filter[(bucket / 64) as usize] |= 1 << (bucket % 64);
    }

    /// Lets through what either of two lets through: for the time between them.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.any_port |= other.any_port;
        self.filter.iter_mut().zip(other.filter).for_each(|(mine, theirs)| *mine |= theirs);
        self
    }
}

/// Slots of a ring. A power of two, so that the hash is cut to size by a shift, whose result the verifier can bound;
/// Maglev's prime was there to make every step width coprime with the size, and here odd step widths do that.
pub const SLOTS: usize = 1 << 16;

/// A slot that leads nowhere: the VIP has no real server with weight. No `backends` map is that large.
pub const NO_BACKEND: u32 = u32::MAX;

/// Value of the per-CPU map `backends`: one real server *of one VIP*.
///
/// The first part is written by the control plane, on every CPU the same, before the first slot refers to the row, and
/// never again while one does. The second part belongs to the kernel program of that CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Backend {
    /// Source address of the outer header, in network byte order.
    pub source: Be32,
    /// Destination address of the outer header: the real server, in network byte order.
    pub addr: Be32,
    /// Sum of the outer header's 16-bit words that are the same for every packet (see [`constant_sum`](super::encap::constant_sum)).
    pub sum: u32,
    /// MTU of the route to the real server when the control plane looked, in bytes; zero: unknown.
    pub route_mtu: u16,
    /// Row of the VIP in the map `reasons`: whose real server this is. Zero: this row is free.
    pub row: u16,

    /// Until when `eth`, `egress` and `mtu` may be used, in jiffies.
    pub fresh_until: u64,
    /// The Ethernet header of the next packet: destination, source, ethertype.
    pub eth: Eth,
    /// Zero.
    pub reserved: u16,
    /// Index of the interface that leads to the real server.
    pub egress: u32,
    /// MTU of the route, in bytes.
    pub mtu: u32,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded: total lengths of the clients' IP packets, so without Ethernet and outer header.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Backend>() == 64, "one cache line");
const _: () = assert!(std::mem::offset_of!(Backend, fresh_until) == 16);
// Copied with one load and one store each: both addresses; the Ethernet header as 8 + 4 + 2 bytes.
const _: () = assert!(std::mem::offset_of!(Backend, source) == 0 && std::mem::offset_of!(Backend, addr) == 4);
const _: () = assert!(std::mem::offset_of!(Backend, eth) == 24);

/// Key of the map `tunnels` of the decapsulating program: who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout, PartialOrd, Ord)]
#[repr(C)]
pub struct Tunnel {
    /// Outer source: a balancer; zero in the row that says "this destination is ours".
    pub src: Be32,
    /// Outer destination: an address of this machine.
    pub dst: Be32,
}

impl Tunnel {
    /// The row for packets from one balancer.
    #[must_use]
    pub fn new(balancer: Ipv4Addr, local: Ipv4Addr) -> Self {
        Self { src: balancer.into(), dst: local.into() }
    }

    /// The row that says "this destination is ours".
    #[must_use]
    pub fn ours(local: Ipv4Addr) -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED, local)
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = (Ipv4Addr::from(self.src), Ipv4Addr::from(self.dst));
        if src.is_unspecified() { write!(f, "* -> {dst}") } else { write!(f, "{src} -> {dst}") }
    }
}

/// Value of the per-CPU map `tunnels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout, Default)]
#[repr(C)]
pub struct TunnelState {
    /// Not zero: packets may be unwrapped. The row "this destination is ours" has zero here when only listed balancers
    /// may send.
    pub allowed: u64,
    /// What was unwrapped.
    pub count: Count,
}

/// Packets and bytes; value of the per-CPU map `served` of the decapsulating program, keyed by the VIP's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout, Default)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes: total lengths of the clients' IP packets.
    pub bytes: u64,
}

impl Count {
    /// Both sums.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { packets: self.packets.wrapping_add(other.packets), bytes: self.bytes.wrapping_add(other.bytes) }
    }
}

/// What becomes of a packet, in a word.
#[must_use]
pub const fn word(action: Action) -> &'static str {
    match action {
        Action::Aborted => "aborted",
        Action::Drop => "drop",
        Action::Pass => "pass",
        Action::Tx => "tx",
        Action::Redirect => "redirect",
    }
}

/// How a kernel program ends when it does not forward: a reason's place in a row of the map, and a verdict in the three lowest
/// bits.
pub(super) type Ending = u32;

/// Bits of an ending that are the verdict.
pub(super) const VERDICT_BITS: u32 = 3;

/// Rows of `reasons` are this wide.
pub const REASONS: u32 = 32;

/// One row a reason: variant, number, verdict, name, explanation.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $number:literal, $verdict:ident, $word:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $text] $(#[$why])* $variant = $number,)* }

        impl $name {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its place in a row of the map.
            #[must_use]
            pub const fn number(self) -> u32 { self as u32 }

            /// What happens to the packet.
            #[must_use]
            pub const fn verdict(self) -> Action { match self { $(Self::$variant => Action::$verdict,)* } }

            /// As kernel programs carry it.
            pub(super) const fn ends(self) -> Ending { self.number() << VERDICT_BITS | self.verdict() as u32 }

            /// A short word for tables and JSON.
            #[must_use]
            pub const fn word(self) -> &'static str { match self { $(Self::$variant => $word,)* } }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn text(self) -> &'static str { match self { $(Self::$variant => $text,)* } }
        }

        const _: () = assert!($name::ALL.len() <= REASONS as usize);
    };
}

reasons! {
    /// Why `balance` did with a packet what it did; forwarded packets are counted in `backends` instead.
    Reason {
        NotIpv4 = 0, Pass, "not-ipv4", "Not IPv4: ARP, IPv6 and others go to the stack.";
        Vlan = 1, Pass, "vlan", "Carries a VLAN tag: VIPs are not looked for behind it.";
        Short = 2, Pass, "short", "Ends before the ports do.";
        Malformed = 3, Pass, "malformed", "IP version is not 4, or the header is shorter than 20 bytes; the stack refuses it.";
        OtherProtocol = 4, Pass, "other-protocol", "Neither TCP nor UDP, nor an ICMP error about a VIP.";
        NotVip = 5, Pass, "not-vip", "Not addressed to a VIP.";
        Fragment = 6, Drop, "fragment", "A fragment for an address and protocol with VIPs: later ones have no port, so none can be sent to the right server.";
        BadLength = 7, Drop, "bad-length", "The IP header's total length is larger than the frame, or too small for its own headers.";
        NoReal = 8, Drop, "no-real", "The VIP has no real server with weight.";
        NoRoute = 9, Drop, "no-route", "No route to the real server.";
        ForwardingOff = 10, Drop, "forwarding-off", "The interface the packet came in by has forwarding off, so the kernel looks up no route: set net.ipv4.conf.IFACE.forwarding=1.";
        NoNeighbour = 11, Pass, "no-neighbour", "The MAC address of the next hop is not known yet: encapsulated, and given to the stack to resolve and send.";
        TooBig = 12, Drop, "too-big", "Larger than the route's MTU with the outer header, and may be fragmented (DF clear), which this program cannot do.";
        TooBigAnswered = 13, Tx, "too-big-answered", "Larger than the route's MTU with the outer header: the client was told the size that fits (ICMP).";
        NoHeadroom = 14, Drop, "no-headroom", "The driver left no room in front of the packet.";
    }
}

reasons! {
    /// Why `decap` did with a packet what it did.
    DecapReason {
        NotIpv4 = 0, Pass, "not-ipv4", "Not IPv4: ARP, IPv6 and others go to the stack.";
        Short = 1, Pass, "short", "Ends before the inner IP header does.";
        NotIpip = 2, Pass, "not-ipip", "Not IP-in-IP without options: traffic of the machine itself.";
        OuterFragment = 3, Pass, "outer-fragment", "A fragment of an encapsulated packet: the balancer never sends one.";
        NotVip = 4, Pass, "not-vip", "The inner packet is not for a VIP: somebody else's tunnel.";
        NotOurs = 5, Pass, "not-ours", "The outer destination is not an address of this machine: on its way elsewhere.";
        BadSource = 6, Drop, "bad-source", "The outer source is not a listed balancer: spoofed, or lb.balancers is incomplete.";
        BadLength = 7, Drop, "bad-length", "Inner or outer total length lies.";
        BadEcn = 8, Drop, "bad-ecn", "Congestion was marked on the way and the client does not do ECN: RFC 6040 asks for a drop.";
        NoRoom = 9, Drop, "no-room", "The outer header could not be removed.";
        Decapsulated = 10, Pass, "decapsulated", "The outer header was removed; the inner packet goes to the stack.";
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn reasons_are_numbered_in_order() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, i, "{}", reason.word());
        }
        for (i, reason) in DecapReason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, i, "{}", reason.word());
        }
    }

    #[test]
    fn keys_print_as_people_write_them() {
        let vip = VipKey::service(Ipv4Addr::new(10, 10, 0, 5), 80, ip::TCP);
        assert_eq!(vip.to_string(), "10.10.0.5:80/tcp");
        assert_eq!(vip.mark().to_string(), "10.10.0.5/tcp");
        assert_eq!(VipKey::service(Ipv4Addr::new(10, 10, 0, 5), 0, ip::UDP).to_string(), "10.10.0.5:*/udp");
        assert_eq!(vip.as_bytes(), [10, 10, 0, 5, 0, 80, 6, 0]);
    }
}

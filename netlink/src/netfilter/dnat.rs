//! Stage: destination NAT. Input: addresses and ports; output: a table with two chains, for packets that arrive and for those
//! of the host's own sockets, and one rule in each for each translation. Next: `../socket.rs`, which sends them as one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use zerocopy::IntoBytes;
use zerocopy::big_endian::{U16, U32};

use super::attrs::{
    ChainAttr, CmpAttr, DataAttr, ExprAttr, ExprData, HookAttr, ImmediateAttr, ListAttr, MetaAttr, NatAttr,
    PayloadAttr, RuleAttr, TableAttr,
};
use super::{Change, NetfilterHeader, kind};
use crate::route::family;
use crate::wire::{Bytes, Flags, Nest, Request, Text};

/// Registers of 16 bytes: one for what is compared and for the new address, one for the new port.
const REG_1: U32 = U32::new(1);
const REG_2: U32 = U32::new(2);

/// What arrives for one address and port goes to another; answers come back as from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnat {
    /// The transport's number: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// The destination that packets have.
    pub from: SocketAddr,
    /// The destination that they get; of the same family.
    pub to: SocketAddr,
}

impl fmt::Display for Dnat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            6 => f.write_str("tcp")?,
            17 => f.write_str("udp")?,
            other => write!(f, "protocol {other}")?,
        }
        write!(f, " {} to {}", self.from, self.to)
    }
}

/// The points of a packet's way at which its destination may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// As it arrives (`NF_INET_PRE_ROUTING`).
    Prerouting,
    /// As it leaves a socket of this host (`NF_INET_LOCAL_OUT`).
    Output,
}

impl Chain {
    /// Both.
    pub const ALL: [Chain; 2] = [Chain::Prerouting, Chain::Output];

    fn name(self) -> &'static str {
        match self {
            Chain::Prerouting => "prerouting",
            Chain::Output => "output",
        }
    }

    fn number(self) -> U32 {
        U32::new(match self {
            Chain::Prerouting => 0,
            Chain::Output => 3,
        })
    }
}

/// The requests for a table of that name with these translations, which must all be of one family.
#[must_use]
pub fn table_request(table: &str, all: &[Dnat]) -> Vec<Change> {
    let Some(first) = all.first() else { return Vec::new() };
    let header = NetfilterHeader::of(family::of(first.from.ip()));
    let make = Flags::CREATE | Flags::EXCL;
    let what = format!("add table {table} to nf_tables");
    let named = vec![TableAttr::Name(Text::new(table))];
    let mut changes = vec![Change::Table(Request::new(kind::NEWTABLE, make, header, named, what))];
    for chain in Chain::ALL {
        let what = format!("add the nat chain {} to table {table}", chain.name());
        changes.push(Change::Chain(Request::new(kind::NEWCHAIN, make, header, chain_attrs(table, chain), what)));
        for one in all {
            let what = format!("add a rule to chain {} of table {table}: {one}", chain.name());
            let (add, attrs) = (Flags::CREATE | Flags::APPEND, rule_attrs(table, chain, one));
            changes.push(Change::Rule(Request::new(kind::NEWRULE, add, header, attrs, what)));
        }
    }
    changes
}

/// The request that takes a table away, with everything in it.
#[must_use]
pub fn table_delete_request(family: u8, table: &str) -> Change {
    let (header, attrs) = (NetfilterHeader::of(family), vec![TableAttr::Name(Text::new(table))]);
    Change::Table(Request::new(kind::DELTABLE, Flags::empty(), header, attrs, format!("delete table {table}")))
}

fn chain_attrs(table: &str, chain: Chain) -> Vec<ChainAttr> {
    /// `NF_IP_PRI_NAT_DST`: after connections are tracked, before packets are filtered.
    const PRIORITY: i32 = -100;
    let priority = U32::from_bytes(PRIORITY.to_be_bytes());
    let hook = Nest::new(vec![HookAttr::Num(chain.number()), HookAttr::Priority(priority)]);
    vec![
        ChainAttr::Table(Text::new(table)),
        ChainAttr::Name(Text::new(chain.name())),
        ChainAttr::Hook(hook),
        ChainAttr::Kind(Text::new("nat")),
    ]
}

fn rule_attrs(table: &str, chain: Chain, one: &Dnat) -> Vec<RuleAttr> {
    let elems = expressions(one).into_iter().map(|data| {
        let name = data.name().unwrap_or_default();
        ListAttr::Elem(Nest::new(vec![ExprAttr::Name(Text::new(name)), ExprAttr::Data(data)]))
    });
    vec![
        RuleAttr::Table(Text::new(table)),
        RuleAttr::Chain(Text::new(chain.name())),
        RuleAttr::Expressions(Nest::new(elems.collect())),
    ]
}

/// `meta l4proto tcp ip daddr A tcp dport P dnat to B:Q`, in the kernel's own words.
fn expressions(one: &Dnat) -> Vec<ExprData> {
    const META_L4PROTO: U32 = U32::new(16);
    const DNAT: U32 = U32::new(1);
    /// In TCP and UDP.
    const DESTINATION_PORT: u32 = 2;
    let destination_address = if one.from.is_ipv4() { 16 } else { 24 };
    let address = octets(one.from.ip());
    let l4proto = ExprData::Meta(Nest::new(vec![MetaAttr::Dreg(REG_1), MetaAttr::Key(META_L4PROTO)]));
    let (new_address, new_port) = (octets(one.to.ip()), port(one.to));
    let nat = NatAttr::Family(U32::new(family::of(one.to.ip()).into()));
    vec![
        l4proto,
        is(vec![one.protocol]),
        payload(1, destination_address, address.len()),
        is(address),
        payload(2, DESTINATION_PORT, 2),
        is(port(one.from)),
        immediate(REG_1, new_address),
        immediate(REG_2, new_port),
        ExprData::Nat(Nest::new(vec![
            NatAttr::Kind(DNAT),
            nat,
            NatAttr::RegAddrMin(REG_1),
            NatAttr::RegProtoMin(REG_2),
        ])),
    ]
}

/// Bytes of a header into the first register.
fn payload(base: u32, offset: u32, len: usize) -> ExprData {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let (base, offset) = (PayloadAttr::Base(U32::new(base)), PayloadAttr::Offset(U32::new(offset)));
    ExprData::Payload(Nest::new(vec![PayloadAttr::Dreg(REG_1), base, offset, PayloadAttr::Len(U32::new(len))]))
}

/// The rule goes on only if the first register holds these bytes.
fn is(bytes: Vec<u8>) -> ExprData {
    let equal = CmpAttr::Op(U32::ZERO);
    ExprData::Cmp(Nest::new(vec![CmpAttr::Sreg(REG_1), equal, CmpAttr::Data(data(bytes))]))
}

fn immediate(register: U32, bytes: Vec<u8>) -> ExprData {
    ExprData::Immediate(Nest::new(vec![ImmediateAttr::Dreg(register), ImmediateAttr::Data(data(bytes))]))
}

fn data(bytes: Vec<u8>) -> Nest<DataAttr> {
    Nest::new(vec![DataAttr::Value(Bytes(bytes))])
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn port(of: SocketAddr) -> Vec<u8> {
    U16::new(of.port()).as_bytes().to_vec()
}

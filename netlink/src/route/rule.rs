//! Stage: policy rules: which packets ask which routing table. Input: [`Rule`]; output: done, or the rules there are.
//! Next: `neigh.rs`.

use std::fmt;
use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Socket, family, kind, table};
use crate::error::Error;
use crate::wire::{Body, Bytes, FixedHeader, Flags, Payload, Request, Text, Writer, attributes};

/// The fixed header of rule messages (`struct fib_rule_hdr`).
#[doc(alias = "fib_rule_hdr")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RuleHeader {
    /// See [`family`].
    pub family: u8,
    /// Bits of the destination's prefix.
    pub dst_len: u8,
    /// Bits of the source's prefix.
    pub src_len: u8,
    /// Type of service.
    pub tos: u8,
    /// Table, when it is under 256; see [`RuleAttr::Table`].
    pub table: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// See [`RuleAction`].
    pub action: u8,
    /// `FIB_RULE_*`: 2 turns the rule's meaning around.
    pub flags: u32,
}

const _: () = assert!(size_of::<RuleHeader>() == 12);

impl FixedHeader for RuleHeader {
    const NAME: &'static str = "fib_rule_hdr";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for RuleHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from /{} to /{}", family::name(self.family), self.src_len, self.dst_len)?;
        write!(f, " {} table {}", RuleAction(self.action), self.table)
    }
}

attributes! {
    /// Attributes of a rule.
    pub enum RuleAttr: "FRA_" {
        /// Destination.
        Dst(IpAddr) = 1 "DST",
        /// Source.
        Src(IpAddr) = 2 "SRC",
        /// Link the packet came in by.
        IifName(Text) = 3 "IIFNAME",
        /// Rule to go on with.
        Goto(u32) = 4 "GOTO",
        /// Order: the lowest is asked first.
        Priority(u32) = 6 "PRIORITY",
        /// Mark of the packet.
        FwMark(u32) = 10 "FWMARK",
        /// Realms.
        Flow(u32) = 11 "FLOW",
        /// Group of links not to use; -1 for none.
        SuppressIfGroup(u32) = 13 "SUPPRESS_IFGROUP",
        /// Prefixes of at most so many bits are not used; -1 for none.
        SuppressPrefixLen(u32) = 14 "SUPPRESS_PREFIXLEN",
        /// Table of any number.
        Table(u32) = 15 "TABLE",
        /// Bits of the mark that count.
        FwMask(u32) = 16 "FWMASK",
        /// Link that the packet's socket is bound to.
        OifName(Text) = 17 "OIFNAME",
        /// 1 to ask the table of the link's VRF.
        L3Mdev(u8) = 19 "L3MDEV",
        /// Users (`struct fib_rule_uid_range`).
        UidRange(Bytes) = 20 "UID_RANGE",
        /// Who made the rule.
        Protocol(u8) = 21 "PROTOCOL",
        /// Protocol above IP.
        IpProto(u8) = 22 "IP_PROTO",
        /// Source ports.
        SportRange(Ports) = 23 "SPORT_RANGE",
        /// Destination ports.
        DportRange(Ports) = 24 "DPORT_RANGE",
    }
}

/// A message about a rule.
pub type RuleMessage = Body<RuleHeader, RuleAttr>;

/// Ports from the first to the last (`struct fib_rule_port_range`, in the byte order of the machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last, itself included.
    pub last: u16,
}

impl Payload for Ports {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        let [first, last] = <[u16; 2]>::read_from_bytes(bytes).ok()?;
        Some(Ports { first, last })
    }

    fn write(&self, out: &mut Writer) {
        out.bytes([self.first, self.last].as_bytes());
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What a rule does (`FR_ACT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleAction(pub u8);

impl RuleAction {
    /// Asks a table.
    pub const TABLE: RuleAction = RuleAction(1);
    /// Goes on with another rule.
    pub const GOTO: RuleAction = RuleAction(2);
    /// Nothing.
    pub const NOP: RuleAction = RuleAction(3);
    /// Drops silently.
    pub const BLACKHOLE: RuleAction = RuleAction(6);
    /// Drops with "unreachable".
    pub const UNREACHABLE: RuleAction = RuleAction(7);
    /// Drops with "prohibited".
    pub const PROHIBIT: RuleAction = RuleAction(8);
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RuleAction::TABLE => f.write_str("lookup"),
            RuleAction::GOTO => f.write_str("goto"),
            RuleAction::NOP => f.write_str("nop"),
            RuleAction::BLACKHOLE => f.write_str("blackhole"),
            RuleAction::UNREACHABLE => f.write_str("unreachable"),
            RuleAction::PROHIBIT => f.write_str("prohibit"),
            RuleAction(other) => write!(f, "action {other}"),
        }
    }
}

/// A rule: conditions that must all hold, and the table to ask. [`Rule::new`] has no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// IPv4 or IPv6; see [`family`].
    pub family: u8,
    /// Order: the lowest is asked first. In a new rule, none takes the kernel's choice.
    pub priority: Option<u32>,
    /// Source and bits of its prefix.
    pub src: Option<(IpAddr, u8)>,
    /// Destination and bits of its prefix.
    pub dst: Option<(IpAddr, u8)>,
    /// Name of the link the packet came in by (`lo` for the host's own).
    pub iif: Option<String>,
    /// Name of the link that the packet's socket is bound to.
    pub oif: Option<String>,
    /// Mark of the packet, and which of its bits count.
    pub mark: Option<(u32, u32)>,
    /// Protocol above IP: 6 TCP, 17 UDP.
    pub ip_proto: Option<u8>,
    /// Source ports.
    pub sports: Option<Ports>,
    /// Destination ports.
    pub dports: Option<Ports>,
    /// Table to ask; see [`table`].
    pub table: u32,
    /// What to do.
    pub action: RuleAction,
}

impl Rule {
    /// A rule of a [`family`] that sends every packet to this table.
    #[must_use]
    pub fn new(family: u8, table: u32) -> Rule {
        Rule {
            family,
            priority: None,
            src: None,
            dst: None,
            iif: None,
            oif: None,
            mark: None,
            ip_proto: None,
            sports: None,
            dports: None,
            table,
            action: RuleAction::TABLE,
        }
    }

    /// With this order.
    #[must_use]
    pub fn priority(self, priority: u32) -> Rule {
        Rule { priority: Some(priority), ..self }
    }

    /// For packets with this mark in these bits.
    #[must_use]
    pub fn mark(self, mark: u32, mask: u32) -> Rule {
        Rule { mark: Some((mark, mask)), ..self }
    }

    /// For packets that came in by this link.
    #[must_use]
    pub fn iif(self, name: &str) -> Rule {
        Rule { iif: Some(name.to_owned()), ..self }
    }

    /// For packets from this prefix.
    #[must_use]
    pub fn from(self, src: IpAddr, prefix_len: u8) -> Rule {
        Rule { src: Some((src, prefix_len)), ..self }
    }

    /// For packets to this prefix.
    #[must_use]
    pub fn to(self, dst: IpAddr, prefix_len: u8) -> Rule {
        Rule { dst: Some((dst, prefix_len)), ..self }
    }

    /// The message that describes it.
    #[must_use]
    pub fn message(&self) -> RuleMessage {
        let header = RuleHeader {
            family: self.family,
            dst_len: self.dst.map_or(0, |(_, len)| len),
            src_len: self.src.map_or(0, |(_, len)| len),
            table: u8::try_from(self.table).unwrap_or(0),
            action: self.action.0,
            ..RuleHeader::default()
        };
        let mut attrs = vec![RuleAttr::Table(self.table)];
        attrs.extend(self.priority.map(RuleAttr::Priority));
        attrs.extend(self.src.map(|(ip, _)| RuleAttr::Src(ip)));
        attrs.extend(self.dst.map(|(ip, _)| RuleAttr::Dst(ip)));
        attrs.extend(self.iif.as_deref().map(|name| RuleAttr::IifName(Text::new(name))));
        attrs.extend(self.oif.as_deref().map(|name| RuleAttr::OifName(Text::new(name))));
        attrs.extend(self.mark.map(|(mark, _)| RuleAttr::FwMark(mark)));
        attrs.extend(self.mark.map(|(_, mask)| RuleAttr::FwMask(mask)));
        attrs.extend(self.ip_proto.map(RuleAttr::IpProto));
        attrs.extend(self.sports.map(RuleAttr::SportRange));
        attrs.extend(self.dports.map(RuleAttr::DportRange));
        RuleMessage::new(header, attrs)
    }

    /// Reads the kernel's description.
    #[must_use]
    pub fn from_message(message: &RuleMessage) -> Rule {
        let header = message.header;
        let mut rule = Rule::new(header.family, u32::from(header.table));
        rule.action = RuleAction(header.action);
        // The kernel leaves the priority out when it is 0.
        rule.priority = Some(0);
        for attr in &message.attrs {
            match attr {
                RuleAttr::Table(table) => rule.table = *table,
                RuleAttr::Priority(priority) => rule.priority = Some(*priority),
                RuleAttr::Src(ip) => rule.src = Some((*ip, header.src_len)),
                RuleAttr::Dst(ip) => rule.dst = Some((*ip, header.dst_len)),
                RuleAttr::IifName(name) => rule.iif = Some(name.as_str().into_owned()),
                RuleAttr::OifName(name) => rule.oif = Some(name.as_str().into_owned()),
                RuleAttr::FwMark(mark) => rule.mark = Some((*mark, rule.mark.map_or(u32::MAX, |(_, mask)| mask))),
                RuleAttr::FwMask(mask) => rule.mark = Some((rule.mark.map_or(0, |(mark, _)| mark), *mask)),
                RuleAttr::IpProto(proto) => rule.ip_proto = Some(*proto),
                RuleAttr::SportRange(ports) => rule.sports = Some(*ports),
                RuleAttr::DportRange(ports) => rule.dports = Some(*ports),
                _ => {}
            }
        }
        rule
    }

    /// The request that adds it.
    #[must_use]
    pub fn add_request(&self) -> Request<RuleHeader, RuleAttr> {
        let flags = Flags::CREATE | Flags::EXCL;
        Request { kind: kind::NEWRULE, flags, body: self.message(), what: format!("add rule {self}") }
    }
}

/// `inet mark 0x1/0xff lookup 100`
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&family::name(self.family))?;
        self.priority.map_or(Ok(()), |priority| write!(f, " priority {priority}"))?;
        self.src.map_or(Ok(()), |(ip, len)| write!(f, " from {ip}/{len}"))?;
        self.dst.map_or(Ok(()), |(ip, len)| write!(f, " to {ip}/{len}"))?;
        self.iif.as_ref().map_or(Ok(()), |name| write!(f, " iif {name}"))?;
        self.oif.as_ref().map_or(Ok(()), |name| write!(f, " oif {name}"))?;
        self.mark.map_or(Ok(()), |(mark, mask)| write!(f, " mark {mark:#x}/{mask:#x}"))?;
        self.ip_proto.map_or(Ok(()), |proto| write!(f, " protocol {proto}"))?;
        self.sports.map_or(Ok(()), |ports| write!(f, " sport {}-{}", ports.first, ports.last))?;
        self.dports.map_or(Ok(()), |ports| write!(f, " dport {}-{}", ports.first, ports.last))?;
        write!(f, " {}", self.action)?;
        if self.action == RuleAction::TABLE && self.table != table::UNSPEC {
            write!(f, " {}", self.table)
        } else {
            Ok(())
        }
    }
}

impl Socket {
    /// Adds a rule.
    ///
    /// # Errors
    /// `EEXIST` when there is the same one.
    pub fn rule_add(&mut self, rule: &Rule) -> Result<(), Error> {
        self.send(&rule.add_request())
    }

    /// Deletes the first rule that fits.
    ///
    /// # Errors
    /// `ENOENT` when none does.
    pub fn rule_delete(&mut self, rule: &Rule) -> Result<(), Error> {
        let (body, what) = (rule.message(), format!("delete rule {rule}"));
        self.send(&Request { kind: kind::DELRULE, flags: Flags::empty(), body, what })
    }

    /// All rules of a [`family`], or of all families.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rules(&mut self, family: u8) -> Result<Vec<Rule>, Error> {
        let header = RuleHeader { family, ..RuleHeader::default() };
        let what = format!("list {} rules", family::name(family));
        let request = Request::new(kind::GETRULE, Flags::DUMP, header, Vec::<RuleAttr>::new(), what);
        Ok(self.connection.dump(&request)?.iter().map(Rule::from_message).collect())
    }
}

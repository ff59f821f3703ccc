//! Stage: attributes of `nf_tables`: tables, chains, rules, and the expressions that a rule is made of. Input: bytes; output:
//! typed values, and back. Next: `netfilter/dnat.rs`, which makes a rule of them.
//!
//! A rule is a list of expressions that read and write registers: `meta` and `payload` load something of the packet into one,
//! `cmp` ends the rule if it is not this, `immediate` loads a constant, `nat` uses them.

use std::fmt;

use zerocopy::big_endian::{U32, U64};

use crate::wire::{Bytes, Nest, Payload, Text, Writer, attributes};

attributes! {
    /// Attributes of tables.
    pub enum TableAttr: "NFTA_TABLE_" {
        /// Its name.
        Name(Text) = 1 "NAME",
        /// 1: dormant.
        Flags(U32) = 2 "FLAGS",
        /// Chains in it.
        Use(U32) = 3 "USE",
        /// The kernel's number for it.
        Handle(U64) = 4 "HANDLE",
    }
}

attributes! {
    /// Attributes of chains.
    pub enum ChainAttr: "NFTA_CHAIN_" {
        /// The table's name.
        Table(Text) = 1 "TABLE",
        /// The kernel's number for it.
        Handle(U64) = 2 "HANDLE",
        /// Its name.
        Name(Text) = 3 "NAME",
        /// Where packets come into it.
        Hook(Nest<HookAttr>) = 4 "HOOK",
        /// What happens at its end: 1 accepts.
        Policy(U32) = 5 "POLICY",
        /// Rules in it.
        Use(U32) = 6 "USE",
        /// Kind: `filter`, `nat`, `route`.
        Kind(Text) = 7 "TYPE",
    }
}

attributes! {
    /// Where a chain hangs.
    pub enum HookAttr: "NFTA_HOOK_" {
        /// Which point of a packet's way: 0 as it arrives, 3 as it leaves a socket.
        Num(U32) = 1 "HOOKNUM",
        /// Its place among the chains there, lowest first, as a signed number.
        Priority(U32) = 2 "PRIORITY",
    }
}

attributes! {
    /// Attributes of rules.
    pub enum RuleAttr: "NFTA_RULE_" {
        /// The table's name.
        Table(Text) = 1 "TABLE",
        /// The chain's name.
        Chain(Text) = 2 "CHAIN",
        /// The kernel's number for it.
        Handle(U64) = 3 "HANDLE",
        /// What it does.
        Expressions(Nest<ListAttr>) = 4 "EXPRESSIONS",
        /// The number of the rule before it.
        Position(U64) = 6 "POSITION",
        /// Anything, for whoever made it.
        UserData(Bytes) = 7 "USERDATA",
    }
}

attributes! {
    /// A list's elements.
    pub enum ListAttr: "NFTA_LIST_" {
        /// One of them.
        Elem(Nest<ExprAttr>) = 1 "ELEM",
    }
}

attributes! {
    /// An expression.
    pub enum ExprAttr: "NFTA_EXPR_" refined by refine_data {
        /// Kind: `payload`, `cmp`, `nat`.
        Name(Text) = 1 "NAME",
        /// What belongs to the kind.
        Data(ExprData) = 2 "DATA",
    }
}

attributes! {
    /// `meta`: what is known of a packet beside its bytes.
    pub enum MetaAttr: "NFTA_META_" {
        /// The register it goes into.
        Dreg(U32) = 1 "DREG",
        /// What: 16 is the transport's number.
        Key(U32) = 2 "KEY",
        /// The register it comes from.
        Sreg(U32) = 3 "SREG",
    }
}

attributes! {
    /// `payload`: bytes of a packet.
    pub enum PayloadAttr: "NFTA_PAYLOAD_" {
        /// The register they go into.
        Dreg(U32) = 1 "DREG",
        /// The header: 0 link, 1 network, 2 transport.
        Base(U32) = 2 "BASE",
        /// Bytes from its start.
        Offset(U32) = 3 "OFFSET",
        /// How many.
        Len(U32) = 4 "LEN",
    }
}

attributes! {
    /// `cmp`: the rule goes on only if a register holds this.
    pub enum CmpAttr: "NFTA_CMP_" {
        /// The register.
        Sreg(U32) = 1 "SREG",
        /// How to compare: 0 equal.
        Op(U32) = 2 "OP",
        /// With what.
        Data(Nest<DataAttr>) = 3 "DATA",
    }
}

attributes! {
    /// `immediate`: a constant into a register.
    pub enum ImmediateAttr: "NFTA_IMMEDIATE_" {
        /// The register.
        Dreg(U32) = 1 "DREG",
        /// The constant.
        Data(Nest<DataAttr>) = 2 "DATA",
    }
}

attributes! {
    /// `nat`: another address and port.
    pub enum NatAttr: "NFTA_NAT_" {
        /// 0 of the source, 1 of the destination.
        Kind(U32) = 1 "TYPE",
        /// Of which family.
        Family(U32) = 2 "FAMILY",
        /// The register with the first address.
        RegAddrMin(U32) = 3 "REG_ADDR_MIN",
        /// The register with the last address.
        RegAddrMax(U32) = 4 "REG_ADDR_MAX",
        /// The register with the first port.
        RegProtoMin(U32) = 5 "REG_PROTO_MIN",
        /// The register with the last port.
        RegProtoMax(U32) = 6 "REG_PROTO_MAX",
        /// Details, such as random ports.
        Flags(U32) = 7 "FLAGS",
    }
}

attributes! {
    /// A constant.
    pub enum DataAttr: "NFTA_DATA_" {
        /// Bytes, as a packet has them.
        Value(Bytes) = 1 "VALUE",
    }
}

/// Value of [`ExprAttr::Data`], whose table depends on the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExprData {
    /// Of `meta`.
    Meta(Nest<MetaAttr>),
    /// Of `payload`.
    Payload(Nest<PayloadAttr>),
    /// Of `cmp`.
    Cmp(Nest<CmpAttr>),
    /// Of `immediate`.
    Immediate(Nest<ImmediateAttr>),
    /// Of `nat`.
    Nat(Nest<NatAttr>),
    /// Of another kind, kept as it came, with the attribute's flags.
    Other(u16, Bytes),
}

impl ExprData {
    /// The kind, where it is one that is known here.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Meta(_) => Some("meta"),
            Self::Payload(_) => Some("payload"),
            Self::Cmp(_) => Some("cmp"),
            Self::Immediate(_) => Some("immediate"),
            Self::Nat(_) => Some("nat"),
            Self::Other(..) => None,
        }
    }

    /// The value of an expression of that kind; `None` when its lengths do not add up or the kind is not known here.
    fn of(name: &str, bytes: &[u8], flags: u16) -> Option<Self> {
        match name {
            "meta" => Nest::read(bytes, flags).map(Self::Meta),
            "payload" => Nest::read(bytes, flags).map(Self::Payload),
            "cmp" => Nest::read(bytes, flags).map(Self::Cmp),
            "immediate" => Nest::read(bytes, flags).map(Self::Immediate),
            "nat" => Nest::read(bytes, flags).map(Self::Nat),
            _ => None,
        }
    }

    fn payload(&self) -> &dyn Value {
        match self {
            Self::Meta(nest) => nest,
            Self::Payload(nest) => nest,
            Self::Cmp(nest) => nest,
            Self::Immediate(nest) => nest,
            Self::Nat(nest) => nest,
            Self::Other(_, bytes) => bytes,
        }
    }
}

/// What a value does, whatever its table.
trait Value {
    fn put(&self, out: &mut Writer);
    fn bits(&self) -> u16;
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    fn find(&self, at: usize) -> Option<String>;
}

impl<P: Payload> Value for P {
    fn put(&self, out: &mut Writer) {
        self.write(out);
    }

    fn bits(&self) -> u16 {
        self.flags()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f)
    }

    fn find(&self, at: usize) -> Option<String> {
        self.locate(at)
    }
}

impl Payload for ExprData {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        Some(Self::Other(flags, Bytes(bytes.to_vec())))
    }

    fn write(&self, out: &mut Writer) {
        self.payload().put(out);
    }

    fn flags(&self) -> u16 {
        match self {
            Self::Other(flags, _) => *flags,
            known => known.payload().bits(),
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.payload().show(f)
    }

    fn locate(&self, at: usize) -> Option<String> {
        self.payload().find(at)
    }
}

/// Gives the data the type that the name asks for.
fn refine_data(list: &mut [ExprAttr]) {
    let name = list.iter().find_map(|attr| match attr {
        ExprAttr::Name(name) => Some(name.as_str().into_owned()),
        _ => None,
    });
    for attr in list.iter_mut() {
        if let (Some(name), ExprAttr::Data(data)) = (&name, attr)
            && let ExprData::Other(flags, bytes) = &*data
            && let Some(known) = ExprData::of(name, &bytes.0, *flags)
        {
            *data = known;
        }
    }
}

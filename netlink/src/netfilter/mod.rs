//! Stage: netfilter's netlink, of which we speak `nf_tables`: tables, chains and rules. Input: what a caller wants; output:
//! requests, which print as text, sent all together or not at all.
//!
//! | file | holds |
//! |---|---|
//! | `attrs.rs` | attributes of tables, chains, rules and their expressions |
//! | `dnat.rs` | address translation: what arrives for one address and port goes to another |
//!
//! Numbers in these attributes are in network byte order. Next: `netfilter/attrs.rs`.

use std::fmt;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::Error;
use crate::route::family;
use crate::socket::{Connection, Part};
use crate::wire::{Body, FixedHeader, Flags, Request};

mod attrs;
mod dnat;

pub use attrs::{
    ChainAttr, CmpAttr, DataAttr, ExprAttr, ExprData, HookAttr, ImmediateAttr, ListAttr, MetaAttr, NatAttr,
    PayloadAttr, RuleAttr, TableAttr,
};
pub use dnat::{Chain, Dnat, table_delete_request, table_request};

/// The subsystem in the upper half of a message's kind, and in the header of a batch (`NFNL_SUBSYS_NFTABLES`).
const NFTABLES: u16 = 10;

/// Makes the kinds of message and their names from one table.
macro_rules! kinds {
    ($($name:ident = $number:expr, $text:literal;)*) => {
        /// Kinds of message: those around a batch, and those of `nf_tables` (`NFT_MSG_*` with the subsystem above them).
        pub mod kind {
            use super::NFTABLES;
            $(#[doc = concat!("`", $text, "`.")] pub const $name: u16 = $number;)*

            /// C name of a kind.
            #[must_use]
            pub fn name(kind: u16) -> Option<&'static str> {
                match kind {
                    $($name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    BATCH_BEGIN = 16, "NFNL_MSG_BATCH_BEGIN";
    BATCH_END = 17, "NFNL_MSG_BATCH_END";
    NEWTABLE = NFTABLES << 8, "NFT_MSG_NEWTABLE";
    DELTABLE = NFTABLES << 8 | 2, "NFT_MSG_DELTABLE";
    NEWCHAIN = NFTABLES << 8 | 3, "NFT_MSG_NEWCHAIN";
    NEWRULE = NFTABLES << 8 | 6, "NFT_MSG_NEWRULE";
    GETRULE = NFTABLES << 8 | 7, "NFT_MSG_GETRULE";
}

/// The fixed header of netfilter's messages (`struct nfgenmsg`).
#[doc(alias = "nfgenmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NetfilterHeader {
    /// See [`family`].
    pub family: u8,
    /// Zero (`NFNETLINK_V0`).
    pub version: u8,
    /// Of a batch: the subsystem; else zero, or in answers the number of the ruleset's generation.
    pub res_id: U16,
}

const _: () = assert!(size_of::<NetfilterHeader>() == 4);

impl NetfilterHeader {
    /// The header of a message about a table of that family.
    #[must_use]
    pub fn of(family: u8) -> Self {
        Self { family, version: 0, res_id: U16::ZERO }
    }
}

impl FixedHeader for NetfilterHeader {
    const NAME: &'static str = "nfgenmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for NetfilterHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&family::name(self.family))?;
        if self.res_id == 0 { Ok(()) } else { write!(f, " res_id {}", self.res_id) }
    }
}

/// A message about a rule.
pub type RuleMessage = Body<NetfilterHeader, RuleAttr>;

/// What a batch holds: requests about tables, chains and rules, in the order in which they are to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// About a table.
    Table(Request<NetfilterHeader, TableAttr>),
    /// About a chain.
    Chain(Request<NetfilterHeader, ChainAttr>),
    /// About a rule.
    Rule(Request<NetfilterHeader, RuleAttr>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(request) => request.fmt(f),
            Self::Chain(request) => request.fmt(f),
            Self::Rule(request) => request.fmt(f),
        }
    }
}

impl Change {
    fn part(&self) -> &dyn Part {
        match self {
            Self::Table(request) => request,
            Self::Chain(request) => request,
            Self::Rule(request) => request,
        }
    }
}

/// A `NETLINK_NETFILTER` socket. It belongs to the network namespace its opener was in, and stays there.
#[derive(Debug)]
pub struct Socket {
    connection: Connection,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open() -> Result<Socket, Error> {
        const NETLINK_NETFILTER: isize = 12;
        Ok(Socket { connection: Connection::open(NETLINK_NETFILTER)? })
    }

    /// The connection underneath, for its port and its tap.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Has all of these changes done, or none.
    ///
    /// # Errors
    /// The first refusal, in the kernel's words, with the attribute that it is about. `EOPNOTSUPP` on a kernel without `nf_tables`,
    /// `ENOENT` where it lacks a kind of chain (`nft_chain_nat`) or expression (`nft_nat`).
    pub fn change(&mut self, changes: &[Change]) -> Result<(), Error> {
        let bound = |kind| {
            let header = NetfilterHeader { res_id: NFTABLES.into(), ..NetfilterHeader::of(family::UNSPEC) };
            Request::<_, TableAttr>::new(kind, Flags::empty(), header, Vec::new(), "change nf_tables".to_owned())
        };
        let parts: Vec<&dyn Part> = changes.iter().map(Change::part).collect();
        self.connection.batch(&bound(kind::BATCH_BEGIN), &parts, &bound(kind::BATCH_END))
    }

    /// The rules of one family's tables, in their order.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rules(&mut self, family: u8) -> Result<Vec<RuleMessage>, Error> {
        let what = format!("list nf_tables rules of {}", family::name(family));
        let header = NetfilterHeader::of(family);
        self.connection.dump(&Request::new(kind::GETRULE, Flags::DUMP, header, Vec::new(), what))
    }
}

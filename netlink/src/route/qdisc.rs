//! Stage: queueing disciplines, of which we make one: `clsact`, the hook for filters at ingress and egress. Input: ifindex;
//! output: done, or [`Qdisc`]s. The messages and attributes here are those of filters too. Next: `filter.rs`.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{BpfAttr, Socket, family, kind};
use crate::error::Error;
use crate::wire::{Body, Bytes, FixedHeader, Flags, Nest, Payload, Request, Text, Writer, attributes};

/// The fixed header of traffic control messages (`struct tcmsg`).
#[doc(alias = "tcmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcHeader {
    /// See [`family`].
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The link.
    pub ifindex: u32,
    /// The thing itself.
    pub handle: u32,
    /// What it hangs on; see [`TcHandle`].
    pub parent: u32,
    /// Of a filter: priority in the high half, ethertype in network byte order in the low; of a qdisc: how often it is used.
    pub info: u32,
}

const _: () = assert!(size_of::<TcHeader>() == 20);

impl FixedHeader for TcHeader {
    const NAME: &'static str = "tcmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for TcHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family != family::UNSPEC {
            write!(f, "{} ", family::name(self.family))?;
        }
        write!(f, "ifindex {} handle {}", self.ifindex, TcHandle(self.handle))?;
        write!(f, " parent {} info {:#x}", TcHandle(self.parent), self.info)
    }
}

/// A handle of traffic control: two halves, written in hex as `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcHandle(pub u32);

impl TcHandle {
    /// The root of a link.
    pub const ROOT: TcHandle = TcHandle(0xffff_ffff);
    /// Where `clsact` hangs.
    pub const CLSACT: TcHandle = TcHandle(0xffff_fff1);
    /// Filters of `clsact` on packets that came in.
    pub const INGRESS: TcHandle = TcHandle(0xffff_fff2);
    /// Filters of `clsact` on packets about to leave.
    pub const EGRESS: TcHandle = TcHandle(0xffff_fff3);
}

impl fmt::Display for TcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TcHandle::ROOT => f.write_str("root"),
            TcHandle::CLSACT => f.write_str("clsact"),
            TcHandle::INGRESS => f.write_str("ingress"),
            TcHandle::EGRESS => f.write_str("egress"),
            TcHandle(other) => write!(f, "{:x}:{:x}", other >> 16, other & 0xffff),
        }
    }
}

attributes! {
    /// Attributes of qdiscs and filters.
    pub enum TcAttr: "TCA_" refined by refine_options {
        /// Kind: `clsact`, `bpf`, `fq_codel`.
        Kind(Text) = 1 "KIND",
        /// What belongs to the kind.
        Options(TcOptions) = 2 "OPTIONS",
        /// Counters, old form.
        Stats(Bytes) = 3 "STATS",
        /// Counters of the kind.
        XStats(Bytes) = 4 "XSTATS",
        /// Counters.
        Stats2(Bytes) = 7 "STATS2",
        /// Chain of filters; 0 by default.
        Chain(u32) = 11 "CHAIN",
        /// 1 when the device does it.
        HwOffload(u8) = 12 "HW_OFFLOAD",
        /// Block of filters shared at ingress.
        IngressBlock(u32) = 13 "INGRESS_BLOCK",
        /// Block of filters shared at egress.
        EgressBlock(u32) = 14 "EGRESS_BLOCK",
        /// A warning (Linux 6.3).
        ExtWarnMsg(Text) = 16 "EXT_WARN_MSG",
    }
}

/// A message about a qdisc or filter.
pub type TcMessage = Body<TcHeader, TcAttr>;

/// Value of [`TcAttr::Options`], whose table depends on the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcOptions {
    /// Of a `bpf` filter.
    Bpf(Nest<BpfAttr>),
    /// Of another kind, kept as it came, with the attribute's flags.
    Other(u16, Bytes),
}

/// Gives the options the type that the kind asks for.
fn refine_options(list: &mut [TcAttr]) {
    let is_bpf = list.iter().any(|attr| matches!(attr, TcAttr::Kind(kind) if kind.as_str() == "bpf"));
    for attr in list.iter_mut().filter(|_| is_bpf) {
        if let TcAttr::Options(options) = attr
            && let TcOptions::Other(flags, bytes) = &*options
            && let Some(nest) = Nest::read(&bytes.0, *flags)
        {
            *options = TcOptions::Bpf(nest);
        }
    }
}

impl Payload for TcOptions {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        Some(TcOptions::Other(flags, Bytes(bytes.to_vec())))
    }

    fn write(&self, out: &mut Writer) {
        match self {
            TcOptions::Bpf(nest) => nest.write(out),
            TcOptions::Other(_, bytes) => bytes.write(out),
        }
    }

    fn flags(&self) -> u16 {
        match self {
            TcOptions::Bpf(nest) => nest.flags(),
            TcOptions::Other(flags, _) => *flags,
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcOptions::Bpf(nest) => nest.print(f),
            TcOptions::Other(_, bytes) => bytes.print(f),
        }
    }

    fn locate(&self, at: usize) -> Option<String> {
        match self {
            TcOptions::Bpf(nest) => nest.locate(at),
            TcOptions::Other(..) => None,
        }
    }
}

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Qdisc {
    /// The link.
    pub ifindex: u32,
    /// Kind: `clsact`, `noqueue`, `fq_codel`.
    pub kind: String,
    /// The qdisc itself.
    pub handle: TcHandle,
    /// What it hangs on.
    pub parent: TcHandle,
    /// Everything the kernel said.
    pub message: TcMessage,
}

/// Name of the kind in a message.
pub(super) fn kind_of(message: &TcMessage) -> String {
    let kind = message.attrs.iter().find_map(|attr| match attr {
        TcAttr::Kind(kind) => Some(kind.as_str().into_owned()),
        _ => None,
    });
    kind.unwrap_or_default()
}

/// The header and attributes of a link's `clsact`.
fn clsact(ifindex: u32) -> TcMessage {
    const HANDLE: u32 = 0xffff_0000;
    let header = TcHeader { ifindex, handle: HANDLE, parent: TcHandle::CLSACT.0, ..TcHeader::default() };
    TcMessage::new(header, vec![TcAttr::Kind(Text::new("clsact"))])
}

impl Socket {
    /// Gives a link the qdisc `clsact`, on which filters can be put at ingress and egress.
    ///
    /// # Errors
    /// `EEXIST` when it has one, or the `ingress` qdisc.
    pub fn clsact_add(&mut self, ifindex: u32) -> Result<(), Error> {
        let (flags, what) = (Flags::CREATE | Flags::EXCL, format!("add qdisc clsact to ifindex {ifindex}"));
        self.send(&Request { kind: kind::NEWQDISC, flags, body: clsact(ifindex), what })
    }

    /// Takes `clsact` from a link, and all filters on it.
    ///
    /// # Errors
    /// `EINVAL` or `ENOENT` when it has none.
    pub fn clsact_delete(&mut self, ifindex: u32) -> Result<(), Error> {
        let what = format!("delete qdisc clsact from ifindex {ifindex}");
        self.send(&Request { kind: kind::DELQDISC, flags: Flags::empty(), body: clsact(ifindex), what })
    }

    /// The qdiscs of a link.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn qdiscs(&mut self, ifindex: u32) -> Result<Vec<Qdisc>, Error> {
        let (header, what) = (TcHeader { ifindex, ..TcHeader::default() }, format!("list qdiscs of ifindex {ifindex}"));
        let request = Request::new(kind::GETQDISC, Flags::DUMP, header, Vec::<TcAttr>::new(), what);
        let all = self.connection.dump(&request)?.into_iter();
        // The kernel lists those of all links, whatever the header asks for.
        Ok(all.filter(|message| message.header.ifindex == ifindex).map(Qdisc::from_message).collect())
    }
}

impl Qdisc {
    /// Reads the kernel's description.
    #[must_use]
    pub fn from_message(message: TcMessage) -> Qdisc {
        let TcHeader { ifindex, handle, parent, .. } = message.header;
        Qdisc { ifindex, kind: kind_of(&message), handle: TcHandle(handle), parent: TcHandle(parent), message }
    }
}

//! Stage: BPF programs as traffic control filters (`cls_bpf`) on `clsact`. Input: [`BpfFilterSpec`]; output: done, or the
//! filters there are. Next: `netns.rs`.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::qdisc::kind_of;
use super::{Socket, TcAttr, TcHandle, TcHeader, TcMessage, TcOptions, kind};
use crate::error::Error;
use crate::wire::{Bytes, Flags, Nest, Request, Text, attributes};

attributes! {
    /// Attributes of a `bpf` filter.
    pub enum BpfAttr: "TCA_BPF_" {
        /// Actions.
        Act(Bytes) = 1 "ACT",
        /// Policing.
        Police(Bytes) = 2 "POLICE",
        /// Class for what it takes.
        ClassId(u32) = 3 "CLASSID",
        /// Instructions of a classic program.
        OpsLen(u16) = 4 "OPS_LEN",
        /// A classic program.
        Ops(Bytes) = 5 "OPS",
        /// The program, in a request.
        Fd(i32) = 6 "FD",
        /// A name for people.
        Name(Text) = 7 "NAME",
        /// 1: what the program returns is the verdict.
        Flags(u32) = 8 "FLAGS",
        /// Offload (`TCA_CLS_FLAGS_*`).
        FlagsGen(u32) = 9 "FLAGS_GEN",
        /// Hash of the program's instructions.
        Tag(Bytes) = 10 "TAG",
        /// Id of the program.
        Id(u32) = 11 "ID",
    }
}

/// Which way packets go that a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// They came in by the link.
    Ingress,
    /// They are about to leave by it.
    Egress,
}

impl Direction {
    /// What the filter hangs on.
    #[must_use]
    pub fn parent(self) -> TcHandle {
        match self {
            Direction::Ingress => TcHandle::INGRESS,
            Direction::Egress => TcHandle::EGRESS,
        }
    }
}

/// Where a filter is: a link, a direction, and its place in the list there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfFilterSpec<'a> {
    /// The link, which needs `clsact`.
    pub ifindex: u32,
    /// Which packets.
    pub direction: Direction,
    /// Order: the lowest is asked first. From 1; the kernel shares no priority between kinds of filter.
    pub priority: u16,
    /// Number within the priority, from 1.
    pub handle: u32,
    /// A name for people.
    pub name: &'a str,
}

/// All ethertypes (`ETH_P_ALL`).
const ETH_P_ALL: u16 = 3;
/// What the program returns is the verdict (`TCA_BPF_FLAG_ACT_DIRECT`).
const ACT_DIRECT: u32 = 1;

impl BpfFilterSpec<'_> {
    fn header(&self) -> TcHeader {
        TcHeader {
            ifindex: self.ifindex,
            handle: self.handle,
            parent: self.direction.parent().0,
            info: u32::from(self.priority) << 16 | u32::from(ETH_P_ALL.to_be()),
            ..TcHeader::default()
        }
    }

    fn words(&self) -> String {
        let BpfFilterSpec { ifindex, priority, handle, name, .. } = self;
        format!(
            "filter {name:?} at {} of ifindex {ifindex}, priority {priority}, handle {handle}",
            self.direction.parent()
        )
    }

    /// The request that puts `prog` there; with `replace` in the place of what is there, else only where nothing is.
    #[must_use]
    pub fn add_request(&self, prog: BorrowedFd<'_>, replace: bool) -> Request<TcHeader, TcAttr> {
        let (flag, verb) = if replace { (Flags::REPLACE, "add or replace") } else { (Flags::EXCL, "add") };
        let options =
            vec![BpfAttr::Fd(prog.as_raw_fd()), BpfAttr::Name(Text::new(self.name)), BpfAttr::Flags(ACT_DIRECT)];
        let attrs = vec![TcAttr::Kind(Text::new("bpf")), TcAttr::Options(TcOptions::Bpf(Nest::new(options)))];
        let what = format!("{verb} {}", self.words());
        Request::new(kind::NEWTFILTER, Flags::CREATE | flag, self.header(), attrs, what)
    }
}

/// A BPF program as a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BpfFilter {
    /// Order.
    pub priority: u16,
    /// Number within the priority.
    pub handle: u32,
    /// The name it was given.
    pub name: String,
    /// Id of the program.
    pub prog_id: Option<u32>,
    /// Whether what the program returns is the verdict.
    pub direct_action: bool,
    /// Everything the kernel said.
    pub message: TcMessage,
}

impl BpfFilter {
    /// Reads the kernel's description; none for filters of other kinds and for the heads of lists.
    #[must_use]
    pub fn from_message(message: TcMessage) -> Option<BpfFilter> {
        let header = message.header;
        let mut filter = BpfFilter {
            priority: u16::try_from(header.info >> 16).unwrap_or(0),
            handle: header.handle,
            name: String::new(),
            prog_id: None,
            direct_action: false,
            message: TcMessage::new(header, Vec::new()),
        };
        let options = message.attrs.iter().find_map(|attr| match attr {
            TcAttr::Options(TcOptions::Bpf(nest)) => Some(&nest.attrs),
            _ => None,
        });
        for attr in options.filter(|_| kind_of(&message) == "bpf")? {
            match attr {
                BpfAttr::Name(name) => filter.name = name.as_str().into_owned(),
                BpfAttr::Id(id) => filter.prog_id = Some(*id),
                BpfAttr::Flags(flags) => filter.direct_action = flags & ACT_DIRECT != 0,
                _ => {}
            }
        }
        filter.message = message;
        Some(filter)
    }
}

impl Socket {
    /// Puts a program on a link's `clsact`, where nothing is yet.
    ///
    /// # Errors
    /// `EEXIST` when a filter is there; `EINVAL` without `clsact`.
    pub fn filter_add(&mut self, spec: BpfFilterSpec<'_>, prog: BorrowedFd<'_>) -> Result<(), Error> {
        self.send(&spec.add_request(prog, false))
    }

    /// Puts a program on a link's `clsact`, in the place of the filter there, if there is one; no packet passes between.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn filter_replace(&mut self, spec: BpfFilterSpec<'_>, prog: BorrowedFd<'_>) -> Result<(), Error> {
        self.send(&spec.add_request(prog, true))
    }

    /// Takes a filter away.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn filter_delete(&mut self, spec: BpfFilterSpec<'_>) -> Result<(), Error> {
        let (attrs, what) = (vec![TcAttr::Kind(Text::new("bpf"))], format!("delete {}", spec.words()));
        self.send(&Request::new(kind::DELTFILTER, Flags::empty(), spec.header(), attrs, what))
    }

    /// The BPF filters of a link in one direction.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn filters(&mut self, ifindex: u32, direction: Direction) -> Result<Vec<BpfFilter>, Error> {
        let parent = direction.parent();
        let header = TcHeader { ifindex, parent: parent.0, ..TcHeader::default() };
        let what = format!("list filters at {parent} of ifindex {ifindex}");
        let request = Request::new(kind::GETTFILTER, Flags::DUMP, header, Vec::<TcAttr>::new(), what);
        Ok(self.connection.dump(&request)?.into_iter().filter_map(BpfFilter::from_message).collect())
    }
}

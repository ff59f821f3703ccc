//! Stage: ids by which one network namespace knows others. Input: a namespace as descriptor; output: its id here, as in
//! [`Link::link_netns_id`](super::Link::link_netns_id). Next: `generic/mod.rs`.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Socket, kind};
use crate::error::Error;
use crate::wire::{Body, FixedHeader, Flags, Request, attributes};

/// The fixed header of namespace messages (`struct rtgenmsg`).
#[doc(alias = "rtgenmsg")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NetNsHeader {
    /// Zero.
    pub family: u8,
    /// Padding.
    pub reserved: [u8; 3],
}

impl FixedHeader for NetNsHeader {
    const NAME: &'static str = "rtgenmsg";

    fn kind_name(kind: u16) -> Option<&'static str> {
        kind::name(kind)
    }
}

impl fmt::Display for NetNsHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("netns")
    }
}

attributes! {
    /// Attributes of a namespace.
    pub enum NetNsAttr: "NETNSA_" {
        /// Its id here; -1 for none.
        NsId(i32) = 1 "NSID",
        /// A process in it.
        Pid(u32) = 2 "PID",
        /// A descriptor of it.
        Fd(i32) = 3 "FD",
        /// The namespace in which to ask.
        TargetNsId(i32) = 4 "TARGET_NSID",
        /// Its id in the namespace that asks.
        CurrentNsId(i32) = 5 "CURRENT_NSID",
    }
}

/// A message about a namespace.
pub type NetNsMessage = Body<NetNsHeader, NetNsAttr>;

/// Id of another network namespace, valid in the namespace of the socket that gave it.
pub type NetNsId = i32;

fn id_of(message: &NetNsMessage) -> Option<NetNsId> {
    let id = message.attrs.iter().find_map(|attr| match attr {
        NetNsAttr::NsId(id) => Some(*id),
        _ => None,
    });
    id.filter(|id| *id >= 0)
}

impl Socket {
    /// The id that another namespace has here, if it has one.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn netns_id(&mut self, netns: BorrowedFd<'_>) -> Result<Option<NetNsId>, Error> {
        let (attrs, what) = (vec![NetNsAttr::Fd(netns.as_raw_fd())], "find the id of a network namespace".to_owned());
        let request = Request::new(kind::GETNSID, Flags::empty(), NetNsHeader::default(), attrs, what);
        self.connection.get(&request).map(|message| id_of(&message))
    }

    /// Gives another namespace an id here: this one, or the kernel's choice.
    ///
    /// # Errors
    /// `EEXIST` when it has an id, `ENOSPC` when the id is taken.
    pub fn netns_set_id(&mut self, netns: BorrowedFd<'_>, id: Option<NetNsId>) -> Result<(), Error> {
        let attrs = vec![NetNsAttr::NsId(id.unwrap_or(-1)), NetNsAttr::Fd(netns.as_raw_fd())];
        let what = "give a network namespace an id".to_owned();
        self.send(&Request::new(kind::NEWNSID, Flags::empty(), NetNsHeader::default(), attrs, what))
    }

    /// All ids given here.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn netns_ids(&mut self) -> Result<Vec<NetNsId>, Error> {
        let what = "list ids of network namespaces".to_owned();
        let request = Request::new(kind::GETNSID, Flags::DUMP, NetNsHeader::default(), Vec::<NetNsAttr>::new(), what);
        Ok(self.connection.dump(&request)?.iter().filter_map(id_of).collect())
    }
}

//! Stage: changes to links. Input: an index, and what to change; output: done, or the refusal. Next: `link_new.rs`.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{LinkAttr, LinkFlags, LinkHeader, Socket, kind};
use crate::error::Error;
use crate::wire::{Flags, HwAddr, Mac, Request, Text};

/// A request that changes one link.
pub(super) fn set(ifindex: u32, attrs: Vec<LinkAttr>, what: String) -> Request<LinkHeader, LinkAttr> {
    Request::new(kind::SETLINK, Flags::empty(), LinkHeader::of(ifindex), attrs, what)
}

impl Socket {
    /// Brings a link up.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_set_up(&mut self, ifindex: u32) -> Result<(), Error> {
        self.link_set_flags(ifindex, LinkFlags::UP, LinkFlags::UP, format!("bring ifindex {ifindex} up"))
    }

    /// Takes a link down; its routes go.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_set_down(&mut self, ifindex: u32) -> Result<(), Error> {
        self.link_set_flags(ifindex, LinkFlags::empty(), LinkFlags::UP, format!("take ifindex {ifindex} down"))
    }

    fn link_set_flags(&mut self, ifindex: u32, flags: LinkFlags, change: LinkFlags, what: String) -> Result<(), Error> {
        let header = LinkHeader { flags: flags.bits(), change: change.bits(), ..LinkHeader::of(ifindex) };
        self.send(&Request::new(kind::SETLINK, Flags::empty(), header, Vec::<LinkAttr>::new(), what))
    }

    /// Moves a link to the network namespace of `netns`, where it may get another index. Its addresses and routes go.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_set_netns(&mut self, ifindex: u32, netns: BorrowedFd<'_>) -> Result<(), Error> {
        let what = format!("move ifindex {ifindex} to another network namespace");
        self.send(&set(ifindex, vec![LinkAttr::NetNsFd(netns.as_raw_fd())], what))
    }

    /// Sets the largest packet, bytes.
    ///
    /// # Errors
    /// The kernel's refusal, or the driver's.
    pub fn link_set_mtu(&mut self, ifindex: u32, mtu: u32) -> Result<(), Error> {
        self.send(&set(ifindex, vec![LinkAttr::Mtu(mtu)], format!("set the MTU of ifindex {ifindex} to {mtu}")))
    }

    /// Sets the Ethernet address.
    ///
    /// # Errors
    /// The kernel's refusal, or the driver's.
    pub fn link_set_mac(&mut self, ifindex: u32, mac: Mac) -> Result<(), Error> {
        let what = format!("set the address of ifindex {ifindex} to {mac}");
        self.send(&set(ifindex, vec![LinkAttr::Address(HwAddr::from(mac))], what))
    }

    /// Renames a link. It must be down before Linux 6.2.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_set_name(&mut self, ifindex: u32, name: &str) -> Result<(), Error> {
        self.send(&set(
            ifindex,
            vec![LinkAttr::IfName(Text::new(name))],
            format!("rename ifindex {ifindex} to {name:?}"),
        ))
    }

    /// Makes a link a port of a bridge, or with `None` frees it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn link_set_master(&mut self, ifindex: u32, master: Option<u32>) -> Result<(), Error> {
        let what = match master {
            Some(master) => format!("make ifindex {ifindex} a port of ifindex {master}"),
            None => format!("free ifindex {ifindex} from its master"),
        };
        self.send(&set(ifindex, vec![LinkAttr::Master(master.unwrap_or(0))], what))
    }

    /// Deletes a link; with one end of a veth pair goes the other.
    ///
    /// # Errors
    /// The kernel's refusal; `EOPNOTSUPP` for real devices.
    pub fn link_delete(&mut self, ifindex: u32) -> Result<(), Error> {
        let (header, what) = (LinkHeader::of(ifindex), format!("delete ifindex {ifindex}"));
        self.send(&Request::new(kind::DELLINK, Flags::empty(), header, Vec::<LinkAttr>::new(), what))
    }
}

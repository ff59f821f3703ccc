//! Stage: XDP programs on links, by `RTM_SETLINK` with `IFLA_XDP`: the way that carries the driver's own words when it refuses.
//! Input: ifindex, program, mode, what may be replaced; output: done, or the refusal. Next: `addr.rs`.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::link_set::set;
use super::{LinkAttr, LinkHeader, Socket, XdpAttr};
use crate::error::Error;
use crate::wire::{Nest, Request};

/// Where an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// In the device (`XDP_FLAGS_HW_MODE`).
    Offload,
    /// In the driver, before a packet has an skb (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// In the stack, on an skb, on any driver (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

impl Mode {
    /// The mode's bit among `XDP_FLAGS_*`.
    #[must_use]
    pub fn bit(self) -> u32 {
        match self {
            Mode::Generic => 1 << 1,
            Mode::Native => 1 << 2,
            Mode::Offload => 1 << 3,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Offload => "offload",
            Mode::Native => "native",
            Mode::Generic => "generic",
        })
    }
}

/// What an attachment may displace.
#[derive(Debug, Clone, Copy)]
pub enum Replace<'a> {
    /// Nothing: fails with `EBUSY` when a program is there (`XDP_FLAGS_UPDATE_IF_NOEXIST`).
    IfNone,
    /// This program and no other: fails with `EEXIST` when another is there (`XDP_FLAGS_REPLACE`, Linux 5.7).
    Expected(BorrowedFd<'a>),
    /// Whatever is there.
    Any,
}

const UPDATE_IF_NOEXIST: u32 = 1 << 0;
const REPLACE: u32 = 1 << 4;

/// The XDP programs of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Xdp {
    /// In which modes programs are attached.
    pub attached: XdpAttached,
    /// Id of the program, when there is exactly one.
    pub prog_id: Option<u32>,
    /// Id of the program in native mode.
    pub native: Option<u32>,
    /// Id of the program in generic mode.
    pub generic: Option<u32>,
    /// Id of the program in the device.
    pub offload: Option<u32>,
}

/// In which modes XDP programs are attached to a link (`XDP_ATTACHED_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum XdpAttached {
    /// None.
    #[default]
    Nowhere,
    /// One program, in this mode.
    In(Mode),
    /// Programs in several modes at once.
    Several,
    /// A number of a newer kernel.
    Other(u8),
}

impl fmt::Display for XdpAttached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XdpAttached::Nowhere => f.write_str("none"),
            XdpAttached::In(mode) => fmt::Display::fmt(mode, f),
            XdpAttached::Several => f.write_str("several modes"),
            XdpAttached::Other(number) => write!(f, "mode {number}"),
        }
    }
}

impl Xdp {
    pub(super) fn from_attrs(attrs: &[XdpAttr]) -> Xdp {
        let mut xdp = Xdp::default();
        for attr in attrs {
            match attr {
                XdpAttr::Attached(attached) => xdp.attached = XdpAttached::from_wire(*attached),
                XdpAttr::ProgId(id) => xdp.prog_id = Some(*id),
                XdpAttr::DrvProgId(id) => xdp.native = Some(*id),
                XdpAttr::SkbProgId(id) => xdp.generic = Some(*id),
                XdpAttr::HwProgId(id) => xdp.offload = Some(*id),
                _ => {}
            }
        }
        xdp
    }

    /// Id of the program in that mode.
    #[must_use]
    pub fn prog_in(&self, mode: Mode) -> Option<u32> {
        match mode {
            Mode::Offload => self.offload,
            Mode::Native => self.native,
            Mode::Generic => self.generic,
        }
    }
}

impl XdpAttached {
    fn from_wire(attached: u8) -> XdpAttached {
        match attached {
            0 => XdpAttached::Nowhere,
            1 => XdpAttached::In(Mode::Native),
            2 => XdpAttached::In(Mode::Generic),
            3 => XdpAttached::In(Mode::Offload),
            4 => XdpAttached::Several,
            other => XdpAttached::Other(other),
        }
    }
}

/// The request that attaches a program.
#[must_use]
pub fn attach_request(
    ifindex: u32,
    prog: BorrowedFd<'_>,
    mode: Mode,
    replace: Replace<'_>,
) -> Request<LinkHeader, LinkAttr> {
    let words = match replace {
        Replace::IfNone => "attach XDP program to",
        Replace::Expected(_) => "replace the expected XDP program on",
        Replace::Any => "attach or replace XDP program on",
    };
    change(ifindex, prog.as_raw_fd(), mode, replace, words)
}

/// The request that detaches whatever is there, or only the expected program.
#[must_use]
pub fn detach_request(ifindex: u32, mode: Mode, expected: Option<BorrowedFd<'_>>) -> Request<LinkHeader, LinkAttr> {
    const NO_PROG: i32 = -1;
    match expected {
        Some(fd) => change(ifindex, NO_PROG, mode, Replace::Expected(fd), "detach the expected XDP program from"),
        None => change(ifindex, NO_PROG, mode, Replace::Any, "detach XDP program from"),
    }
}

fn change(ifindex: u32, fd: i32, mode: Mode, replace: Replace<'_>, words: &str) -> Request<LinkHeader, LinkAttr> {
    let (flag, expected) = match replace {
        Replace::IfNone => (UPDATE_IF_NOEXIST, None),
        Replace::Expected(expected) => (REPLACE, Some(expected.as_raw_fd())),
        Replace::Any => (0, None),
    };
    let mut attrs = vec![XdpAttr::Fd(fd), XdpAttr::Flags(mode.bit() | flag)];
    attrs.extend(expected.map(XdpAttr::ExpectedFd));
    set(ifindex, vec![LinkAttr::Xdp(Nest::new(attrs))], format!("{words} ifindex {ifindex} in {mode} mode"))
}

impl Socket {
    /// Attaches an XDP program, without a `bpf_link`: it stays until it is detached.
    ///
    /// # Errors
    /// The driver's refusal in its own words; `EBUSY` or `EEXIST` when what is there may not be displaced.
    pub fn xdp_attach(
        &mut self,
        ifindex: u32,
        prog: BorrowedFd<'_>,
        mode: Mode,
        replace: Replace<'_>,
    ) -> Result<(), Error> {
        self.send(&attach_request(ifindex, prog, mode, replace))
    }

    /// Detaches the XDP program of that mode: `expected` and no other, or with `None` whichever it is. Nothing there is no error,
    /// unless a program is expected.
    ///
    /// # Errors
    /// `EEXIST` when another program is there than expected; `EBUSY` when a `bpf_link` holds it.
    pub fn xdp_detach(&mut self, ifindex: u32, mode: Mode, expected: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.send(&detach_request(ifindex, mode, expected))
    }
}

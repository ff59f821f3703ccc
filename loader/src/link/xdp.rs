//! Stage: attachment to a network interface's receive path. Input: a program, an interface, an ordered wish of modes.
//! Output: [`Negotiated`]: the mode got, and for each mode before it why it was refused, in the driver's own words.
//!
//! A `bpf_link` that is refused comes with a bare errno, a netlink message with a text. So a refused attach is asked
//! again over netlink, only to hear the text. Read next: `occupant.rs` (who is on the hook already), then `crate::pin`.

use std::fmt;
use std::os::fd::AsFd;

use netlink::route::{Replace, Socket};

use super::Link;
use super::occupant::{Occupant, occupants};
use crate::permission::Denied;
use crate::prog::Prog;
use crate::sys::Errno;
use crate::sys::link::{Target, create};
use crate::sys::uapi::{Cmd, XdpFlags};

/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_TYPE_XDP: u32 = 37;

/// Where in the receive path a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the device (`XDP_FLAGS_HW_MODE`).
    Offload,
    /// In the driver, before a socket buffer is made (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// In the network stack, on any interface, slower (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

impl Mode {
    /// All modes, the fastest first.
    pub const ALL: [Self; 3] = [Self::Offload, Self::Native, Self::Generic];

    /// The flag of `BPF_LINK_CREATE`.
    fn flag(self) -> XdpFlags {
        match self {
            Self::Offload => XdpFlags::HW_MODE,
            Self::Native => XdpFlags::DRV_MODE,
            Self::Generic => XdpFlags::SKB_MODE,
        }
    }

    /// The same mode as the netlink crate names it.
    pub(super) fn netlink(self) -> netlink::route::Mode {
        match self {
            Self::Offload => netlink::route::Mode::Offload,
            Self::Native => netlink::route::Mode::Native,
            Self::Generic => netlink::route::Mode::Generic,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.netlink(), f)
    }
}

/// How to attach.
#[derive(Debug, Clone)]
pub struct XdpOptions {
    /// Tried in this order.
    pub modes: Vec<Mode>,
    /// Whether somebody else's program on the interface may be taken off. There is a moment without any program then.
    pub displace: bool,
}

impl Default for XdpOptions {
    fn default() -> Self {
        Self { modes: vec![Mode::Native, Mode::Generic], displace: false }
    }
}

/// One mode that was tried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// The mode.
    pub mode: Mode,
    /// Why it was refused; `None` for the one that was got.
    pub refused: Option<Errno>,
    /// The driver's own words: about the refusal, or a warning about the mode got.
    pub words: Option<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.refused, &self.words) {
            (None, None) => write!(f, "{}: attached", self.mode),
            (None, Some(words)) => write!(f, "{}: attached, warning: {words}", self.mode),
            (Some(errno), Some(words)) => write!(f, "{}: refused: {words} ({})", self.mode, errno.name()),
            (Some(errno), None) => write!(f, "{}: refused: {errno}", self.mode),
        }
    }
}

/// An attached program and how it came to be attached so.
#[derive(Debug)]
pub struct Negotiated<T = Link> {
    /// What keeps it attached, or the way to it.
    pub link: T,
    /// The mode got.
    pub mode: Mode,
    /// All modes tried, in order; the last one is the one got.
    pub attempts: Vec<Attempt>,
    /// Whose programs were taken off, as [`XdpOptions::displace`] allowed.
    pub displaced: Vec<Occupant>,
}

/// What can go wrong with an attachment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No mode of the wish was granted.
    #[error("program `{prog}` could not be attached to {iface} in any wanted mode:{}", lines(attempts))]
    Refused {
        /// The program's name.
        prog: String,
        /// The interface.
        iface: String,
        /// All modes tried, in order.
        attempts: Vec<Attempt>,
    },
    /// Somebody else's program is there.
    #[error(
        "program `{prog}` was not attached to {iface}: {} is there already; ask to displace it, or take it off",
        list(occupants)
    )]
    Occupied {
        /// The program's name.
        prog: String,
        /// The interface.
        iface: String,
        /// Who is there.
        occupants: Vec<Occupant>,
    },
    /// The kernel did not allow it.
    #[error("program `{prog}` was not attached to {iface}: {denied}")]
    Denied {
        /// The program's name.
        prog: String,
        /// The interface.
        iface: String,
        /// The likely reason.
        denied: Box<Denied>,
        /// `EPERM`.
        source: Errno,
    },
    /// The wish has no mode.
    #[error("program `{prog}`: no mode to attach in was given; give at least one of offload, native, generic")]
    NoMode {
        /// The program's name.
        prog: String,
    },
    /// The interface does not exist in this network namespace, or could not be asked about.
    #[error("program `{prog}` was not attached")]
    Interface {
        /// The program's name.
        prog: String,
        /// What the kernel said.
        source: netlink::Error,
    },
    /// Somebody else's program could not be taken off.
    #[error("{occupant} could not be taken off")]
    Displace {
        /// Whose.
        occupant: Occupant,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another program is there than was expected.
    #[error("{iface} in {mode} mode runs {}, not the expected program {expected}", found.map_or_else(|| "no program".to_owned(), |id| format!("program {id}")))]
    Unexpected {
        /// The interface.
        iface: String,
        /// The mode.
        mode: Mode,
        /// The id of the program that is there.
        found: Option<u32>,
        /// The id of the one that should be.
        expected: u32,
    },
    /// A program or link could not be asked about.
    #[error("the kernel did not tell about a program or link")]
    Info(#[source] Errno),
}

fn lines(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

fn list(occupants: &[Occupant]) -> String {
    let all: Vec<String> = occupants.iter().map(ToString::to_string).collect();
    all.join(" and ")
}

/// Attaches a program by a `bpf_link` (Linux 5.9) to an interface of the calling thread's network namespace, in the
/// first mode that is granted. It stays attached while the link or a pin of it is there, and nobody else can replace it.
///
/// # Errors
///
/// [`Error::Refused`] with every attempt, [`Error::Occupied`] with whose program is there.
#[doc(alias = "BPF_LINK_CREATE")]
pub fn attach(prog: &Prog, ifindex: u32, options: &XdpOptions) -> Result<Negotiated, Error> {
    negotiate(prog, ifindex, options, |rt, mode| {
        let made = create(prog.as_fd(), Target::Ifindex(ifindex), ATTACH_TYPE_XDP, mode.flag().bits());
        match made.and_then(Link::from_fd) {
            Ok(link) => Ok((link, None)),
            Err(errno) => Err((errno, words(rt, prog, ifindex, mode))),
        }
    })
}

/// A program attached by netlink: until somebody takes it off, whether we run or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetlinkHook {
    /// The interface, in the network namespace of the thread that attached.
    pub ifindex: u32,
    /// The mode.
    pub mode: Mode,
}

/// Attaches a program by a netlink message, without a link, as [`attach`] does otherwise.
///
/// # Errors
///
/// As [`attach`].
#[doc(alias = "RTM_SETLINK")]
pub fn attach_netlink(prog: &Prog, ifindex: u32, options: &XdpOptions) -> Result<Negotiated<NetlinkHook>, Error> {
    negotiate(prog, ifindex, options, |rt, mode| {
        match rt.xdp_attach(ifindex, prog.as_fd(), mode.netlink(), Replace::IfNone) {
            Ok(()) => Ok((NetlinkHook { ifindex, mode }, rt.warning().map(str::to_owned))),
            Err(error) => Err((errno_of(&error), error.extack().map(str::to_owned))),
        }
    })
}

/// An errno and the driver's words.
type Refused = (Errno, Option<String>);

/// Tries the modes in order; makes way first where that is allowed.
fn negotiate<T>(
    prog: &Prog,
    ifindex: u32,
    options: &XdpOptions,
    mut attach: impl FnMut(&mut Socket, Mode) -> Result<(T, Option<String>), Refused>,
) -> Result<Negotiated<T>, Error> {
    let name = || prog.name().to_owned();
    if options.modes.is_empty() {
        return Err(Error::NoMode { prog: name() });
    }
    let no_interface = |source| Error::Interface { prog: name(), source };
    let mut rt = Socket::open().map_err(no_interface)?;
    let iface = rt.link_by_index(ifindex).map_err(no_interface)?.name;
    let (mut attempts, mut displaced) = (Vec::new(), Vec::new());
    for &mode in &options.modes {
        let mut got = attach(&mut rt, mode);
        if let Err((Errno::EBUSY | Errno::EEXIST, _)) = got {
            let there = occupants(&mut rt, ifindex).map_err(no_interface)?;
            if !there.is_empty() && !options.displace {
                return Err(Error::Occupied { prog: name(), iface, occupants: there });
            }
            for occupant in there {
                let prog = occupant.remove(&mut rt)?;
                displaced.push((occupant, prog));
            }
            got = attach(&mut rt, mode);
        }
        match got {
            Ok((link, words)) => {
                attempts.push(Attempt { mode, refused: None, words });
                let displaced = displaced.into_iter().map(|(occupant, _)| occupant).collect();
                return Ok(Negotiated { link, mode, attempts, displaced });
            }
            Err((source @ Errno::EPERM, None)) => {
                let denied = Box::new(Denied::look(Cmd::LINK_CREATE));
                return Err(Error::Denied { prog: name(), iface, denied, source });
            }
            Err((errno, words)) => attempts.push(Attempt { mode, refused: Some(errno), words }),
        }
    }
    for (occupant, prog) in &displaced {
        if let Some(prog) = prog {
            occupant.restore(&mut rt, prog);
        }
    }
    Err(Error::Refused { prog: name(), iface, attempts })
}

/// Asks for the refused attach over netlink and returns what the kernel or the driver says. If it is granted after all,
/// it is taken back.
fn words(rt: &mut Socket, prog: &Prog, ifindex: u32, mode: Mode) -> Option<String> {
    match rt.xdp_attach(ifindex, prog.as_fd(), mode.netlink(), Replace::IfNone) {
        Ok(()) => {
            // Only ours: nobody else's that may have come meanwhile.
            drop(rt.xdp_detach(ifindex, mode.netlink(), Some(prog.as_fd())));
            None
        }
        Err(error) => error.extack().map(str::to_owned),
    }
}

/// The errno of a netlink failure; `EIO` for one without.
pub(super) fn errno_of(error: &netlink::Error) -> Errno {
    Errno::from_raw(error.errno().unwrap_or(libc::EIO))
}

impl NetlinkHook {
    /// Puts `new` in the place of `expected`, without a gap (Linux 5.7).
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if another program is there, [`Error::Interface`].
    pub fn update(&self, new: &Prog, expected: &Prog) -> Result<(), Error> {
        let mut rt = self.socket(new)?;
        let replace = Replace::Expected(expected.as_fd());
        let done = rt.xdp_attach(self.ifindex, new.as_fd(), self.mode.netlink(), replace);
        done.map_err(|source| self.other(&mut rt, expected, source))
    }

    /// Takes `expected` off, and makes sure that it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if another program is there or this one stayed, [`Error::Interface`].
    pub fn detach(&self, expected: &Prog) -> Result<(), Error> {
        let mut rt = self.socket(expected)?;
        let done = rt.xdp_detach(self.ifindex, self.mode.netlink(), Some(expected.as_fd()));
        done.map_err(|source| self.other(&mut rt, expected, source))?;
        let interface = |source| Error::Interface { prog: expected.name().to_owned(), source };
        let link = rt.link_by_index(self.ifindex).map_err(interface)?;
        match link.xdp.prog_in(self.mode.netlink()) {
            None => Ok(()),
            found => Err(self.unexpected(link.name, found, expected)),
        }
    }

    fn socket(&self, prog: &Prog) -> Result<Socket, Error> {
        Socket::open().map_err(|source| Error::Interface { prog: prog.name().to_owned(), source })
    }

    /// Which program is there, if that is why it failed.
    fn other(&self, rt: &mut Socket, expected: &Prog, source: netlink::Error) -> Error {
        match rt.link_by_index(self.ifindex) {
            Ok(link) if errno_of(&source) == Errno::EEXIST => {
                let found = link.xdp.prog_in(self.mode.netlink());
                self.unexpected(link.name, found, expected)
            }
            _ => Error::Interface { prog: expected.name().to_owned(), source },
        }
    }

    fn unexpected(&self, iface: String, found: Option<u32>, expected: &Prog) -> Error {
        Error::Unexpected { iface, mode: self.mode, found, expected: expected.id().unwrap_or(0) }
    }
}

//! Stage: attachment to a network interface's receive path. Input: a program, an interface, an ordered wish of modes.
//! Output: [`Negotiated`]: the mode got, and for each mode before it why it was refused.
//! Read next: `crate::pin`.

use std::fmt;
use std::os::fd::AsFd;

use super::Link;
use crate::prog::Prog;
use crate::sys::link::{Target, create};
use crate::sys::uapi::XdpFlags;
use crate::sys::{self, Errno};

/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_TYPE_XDP: u32 = 37;

/// Where in the receive path a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the device.
    Offload,
    /// In the driver, before a socket buffer is made.
    Native,
    /// In the network stack, on any interface, slower.
    Generic,
}

impl Mode {
    /// The flag of `BPF_LINK_CREATE`.
    fn flag(self) -> XdpFlags {
        match self {
            Self::Offload => XdpFlags::HW_MODE,
            Self::Native => XdpFlags::DRV_MODE,
            Self::Generic => XdpFlags::SKB_MODE,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offload => "offload",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// How the program is tied to the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// A `bpf_link` (Linux 5.9): attached while a descriptor or a pin is there, and nobody else can displace it.
    #[default]
    Link,
    /// A netlink message: attached until somebody takes it away.
    Netlink,
}

/// How to attach.
#[derive(Debug, Clone)]
pub struct XdpOptions {
    /// Tried in this order.
    pub modes: Vec<Mode>,
    /// By link or by netlink.
    pub via: Via,
}

impl Default for XdpOptions {
    fn default() -> Self {
        Self { modes: vec![Mode::Native, Mode::Generic], via: Via::Link }
    }
}

/// One mode that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The mode.
    pub mode: Mode,
    /// Why it was refused; `None` for the one that was got.
    pub refused: Option<Errno>,
    /// The driver's own words about the refusal.
    pub words: Option<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.refused, &self.words) {
            (None, _) => write!(f, "{}: attached", self.mode),
            (Some(errno), Some(words)) => write!(f, "{}: refused, \"{words}\" ({errno})", self.mode),
            (Some(errno), None) => write!(f, "{}: refused, {errno}", self.mode),
        }
    }
}

/// An attached program and how it came to be attached so.
#[derive(Debug)]
pub struct Negotiated {
    /// Keeps it attached.
    pub link: Link,
    /// The mode got.
    pub mode: Mode,
    /// All modes tried, in order; the last one is the one got.
    pub attempts: Vec<Attempt>,
}

/// What can go wrong with an attachment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No mode of the wish was granted.
    #[error("program `{prog}` could not be attached to interface {ifindex} in any wanted mode:{}", lines(attempts))]
    Refused {
        /// The program's name.
        prog: String,
        /// The interface.
        ifindex: u32,
        /// All modes tried, in order.
        attempts: Vec<Attempt>,
    },
    /// The wish has no mode.
    #[error("program `{prog}`: no mode to attach in was given; give at least one of offload, native, generic")]
    NoMode {
        /// The program's name.
        prog: String,
    },
    /// The link that was just made could not be asked for its id.
    #[error("the new link of program `{prog}` did not tell its id")]
    Link {
        /// The program's name.
        prog: String,
        /// The kernel's answer.
        source: Errno,
    },
}

fn lines(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

/// Attaches a program to an interface of the calling thread's network namespace, in the first mode that is granted.
///
/// # Errors
///
/// [`Error::Refused`] with every attempt, in the driver's words where it has some.
#[doc(alias = "BPF_LINK_CREATE")]
pub fn attach(prog: &Prog, ifindex: u32, options: &XdpOptions) -> Result<Negotiated, Error> {
    let name = || prog.name().to_owned();
    if options.modes.is_empty() {
        return Err(Error::NoMode { prog: name() });
    }
    let mut attempts = Vec::new();
    for &mode in &options.modes {
        match create(prog.as_fd(), Target::Ifindex(ifindex), ATTACH_TYPE_XDP, mode.flag().bits()) {
            Ok(fd) => {
                attempts.push(Attempt { mode, refused: None, words: None });
                let link = Link::from_fd(fd).map_err(|source| Error::Link { prog: name(), source })?;
                return Ok(Negotiated { link, mode, attempts });
            }
            Err(errno) => attempts.push(Attempt { mode, refused: Some(errno), words: words(prog, ifindex, mode) }),
        }
    }
    Err(Error::Refused { prog: name(), ifindex, attempts })
}

/// What the driver says when the same attach is asked over netlink.
fn words(_prog: &Prog, _ifindex: u32, _mode: Mode) -> Option<String> {
    None
}

/// Whether the kernel attaches XDP by link at all, told by the errno that it gives for a missing interface.
///
/// # Errors
///
/// Any other answer of the kernel.
pub fn links_supported(prog: &Prog) -> sys::Result<bool> {
    match create(prog.as_fd(), Target::Ifindex(u32::MAX >> 1), ATTACH_TYPE_XDP, 0) {
        Ok(_) | Err(Errno::ENODEV) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

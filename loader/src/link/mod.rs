//! Stage: attachment. Input: a verified program and a hook. Output: [`Link`], which keeps it attached.
//!
//! One file a hook. Read next: `xdp.rs`.

pub mod cgroup;
pub mod netns;
mod occupant;
pub mod sockmap;
pub mod tcx;
pub mod tracing;
pub mod xdp;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

pub use occupant::{Occupant, occupants};

use asm::object::AttachType;

use crate::hint::Hint;
use crate::permission::Denied;
use crate::pin;
use crate::prog::Prog;
use crate::sys::link::Target;
use crate::sys::obj::Kind;
use crate::sys::uapi::{Cmd, LinkType};
use crate::sys::{self, Errno};

/// What can go wrong with a link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A command on a link failed.
    #[error("{cmd} on link {id} failed{}", Hint(*cmd, *source))]
    Command {
        /// The command.
        cmd: Cmd,
        /// The link's id.
        id: u32,
        /// The kernel's answer.
        source: Errno,
    },
    /// A program was not attached, or not taken off.
    #[error("{cmd}: program `{prog}` and {to}{}", why(denied.as_deref(), *cmd, *source))]
    Attach {
        /// The command.
        cmd: Cmd,
        /// The program's name.
        prog: String,
        /// What it was to be attached to, in words.
        to: String,
        /// For `EPERM`, the likely reason.
        denied: Option<Box<Denied>>,
        /// The kernel's answer.
        source: Errno,
    },
    /// Somebody else's program is there, and the hook takes only one.
    #[error("{0}")]
    Occupied(Box<Occupied>),
    /// That is no cgroup.
    #[error("{path} cannot be opened as a cgroup")]
    Cgroup {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The thread's network namespace cannot be opened.
    #[error("/proc/thread-self/ns/net cannot be opened: is /proc mounted?")]
    Netns(#[source] std::io::Error),
    /// There is no link with this id.
    #[error("there is no link with id {id}")]
    NoId {
        /// The id.
        id: u32,
        /// The kernel's answer.
        source: Errno,
    },
    /// After the last descriptor was closed the link is still there.
    #[error("link {id} is still attached after it was closed: a pin or another process holds it")]
    StillThere {
        /// The id.
        id: u32,
    },
    /// Pinning or opening a pin failed.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// The pin holds something else.
    #[error("{path} is no link")]
    NotALink {
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

impl Error {
    /// A refused attachment, with what can be known about an `EPERM`.
    fn attach(prog: &Prog, cmd: Cmd, to: String, source: Errno) -> Self {
        let denied = (source == Errno::EPERM).then(|| Box::new(Denied::look(cmd)));
        Self::Attach { cmd, prog: prog.name().to_owned(), to, denied, source }
    }
}

/// What the errno means; for `EPERM`, what stands behind it.
fn why(denied: Option<&Denied>, cmd: Cmd, errno: Errno) -> String {
    denied.map_or_else(|| Hint(cmd, errno).to_string(), |denied| format!(": {denied}"))
}

/// A hook for one program that has another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// The name of the program that was to be attached.
    pub prog: String,
    /// The hook, in words.
    pub to: String,
    /// The ids of the programs there; empty where the kernel cannot tell.
    pub there: Vec<u32>,
}

impl fmt::Display for Occupied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program `{}` was not attached to {}: ", self.prog, self.to)?;
        match self.there.as_slice() {
            [] => f.write_str("another program is there already")?,
            [id] => write!(f, "program {id} is there already")?,
            ids => write!(f, "programs {ids:?} are there already")?,
        }
        f.write_str("; take that off first")
    }
}

/// `BPF_LINK_CREATE` for the hooks that need nothing else.
fn create(prog: &Prog, target: Target<'_>, attach_type: AttachType, to: impl Fn() -> String) -> Result<Link, Error> {
    let made = sys::link::create(prog.as_fd(), target, attach_type.0, 0).and_then(Link::from_fd);
    made.map_err(|source| Error::attach(prog, Cmd::LINK_CREATE, to(), source))
}

/// What the kernel says of a link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Info {
    /// The id.
    pub id: u32,
    /// What kind of link; its name in JSON.
    #[serde(serialize_with = "crate::as_text")]
    pub link_type: LinkType,
    /// The id of the program attached.
    pub prog_id: u32,
    /// The interface, for XDP, TCX and netkit; 0 if that is gone or the link was detached.
    pub ifindex: Option<u32>,
    /// The id of the cgroup, for cgroup links; 0 as above.
    pub cgroup: Option<u64>,
}

impl Info {
    /// Whether the program can run: what it is attached to is there, and nobody has detached the link.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.ifindex != Some(0) && self.cgroup != Some(0)
    }
}

/// A link in the kernel: the program stays attached while this descriptor, another one or a pin is there.
#[doc(alias = "bpf_link")]
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    id: u32,
}

impl Link {
    /// Opens a pinned link.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`], [`Error::NotALink`].
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn from_pin(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let fd = pin::open(path, pin::Kind::Link)?;
        Self::from_fd(fd).map_err(|source| Error::NotALink { path: path.to_owned(), source })
    }

    /// Opens the link with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NoId`].
    #[doc(alias = "BPF_LINK_GET_FD_BY_ID")]
    pub fn from_id(id: u32) -> Result<Self, Error> {
        let link = sys::obj::fd_by_id(Kind::Link, id).and_then(Self::from_fd);
        link.map_err(|source| Error::NoId { id, source })
    }

    /// Takes a link's descriptor.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no BPF object.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let id = sys::info::link(fd.as_fd())?.id;
        Ok(Self { fd, id })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<Info, Error> {
        let info = sys::info::link(self.fd.as_fd()).map_err(|source| self.error(Cmd::OBJ_GET_INFO_BY_FD, source))?;
        let link_type = LinkType(info.link_type);
        // These have the ifindex first in the part that depends on the type.
        let on_interface = matches!(link_type, LinkType::XDP | LinkType::TCX | LinkType::NETKIT);
        let ifindex = on_interface.then_some(info.words[0]);
        let [low, high, ..] = info.words;
        let cgroup = (link_type == LinkType::CGROUP).then_some(u64::from(high) << 32 | u64::from(low));
        Ok(Info { id: info.id, link_type, prog_id: info.prog_id, ifindex, cgroup })
    }

    /// Puts another program in the same place, without a gap. With `expected`, only if that one is there now.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_LINK_UPDATE")]
    pub fn update(&self, new: &Prog, expected: Option<&Prog>) -> Result<(), Error> {
        sys::link::update(self.fd.as_fd(), new.as_fd(), expected.map(AsFd::as_fd))
            .map_err(|source| self.error(Cmd::LINK_UPDATE, source))
    }

    /// Gives the link a name on bpffs, which keeps it attached.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`].
    #[doc(alias = "BPF_OBJ_PIN")]
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(pin::pin(self.fd.as_fd(), path.as_ref())?)
    }

    /// Closes this descriptor and makes sure that the link is gone: the proof of a detach.
    ///
    /// Remove its pin first. Closing the last descriptor frees a link at once; if the last reference was a pin
    /// removed by somebody else, the kernel frees it a little later, so this looks for up to a second.
    ///
    /// # Errors
    ///
    /// [`Error::StillThere`] if a pin or another process still holds it.
    pub fn close_proven(self) -> Result<u32, Error> {
        let id = self.id;
        drop(self);
        prove_gone(id)
    }

    /// Takes the program off at once, whoever else holds the link (Linux 5.9); the empty link stays until it is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_LINK_DETACH")]
    pub fn detach(&self) -> Result<(), Error> {
        sys::link::detach(self.fd.as_fd()).map_err(|source| self.error(Cmd::LINK_DETACH, source))
    }

    fn error(&self, cmd: Cmd, source: Errno) -> Error {
        Error::Command { cmd, id: self.id, source }
    }
}

/// Waits until the kernel knows no link with this id.
///
/// # Errors
///
/// [`Error::StillThere`] after a second.
pub fn prove_gone(id: u32) -> Result<u32, Error> {
    const PAUSE: Duration = Duration::from_millis(5);
    const LOOKS: u32 = 200;
    for look in 0..LOOKS {
        match sys::obj::fd_by_id(Kind::Link, id) {
            Err(Errno::ENOENT) => return Ok(id),
            // EAGAIN: it is just going.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(source) => return Err(Error::NoId { id, source }),
        }
        if look + 1 < LOOKS {
            sleep(PAUSE);
        }
    }
    Err(Error::StillThere { id })
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

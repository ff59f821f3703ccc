//! Stage: attachment to the sockets in a sockmap or sockhash. Input: a program (`sk_msg`, `sk_skb`) and the map. Output: an
//! [`Attachment`]: a link where the kernel has links for it (6.10), else the bare attachment, which lives as long as the map.
//!
//! The bare command takes the place of whoever is there without a word, so this looks first. Read next: `netns.rs`.

use std::os::fd::AsFd;

use asm::object::AttachType;

use super::{Error, Link, Occupied};
use crate::map::Map;
use crate::prog::Prog;
use crate::sys::link::Target;
use crate::sys::uapi::Cmd;
use crate::sys::{self, Errno};

/// A program on a map's sockets.
#[derive(Debug)]
pub enum Attachment {
    /// By a link (Linux 6.10): it goes with the last descriptor and pin.
    Link(Link),
    /// Without one: it goes with the map, or by [`detach`].
    Bare,
}

/// Attaches a program to the sockets of a map: those put into it from now on. A socket keeps the program under which it came
/// into its first map, also when that is replaced or taken off.
///
/// # Errors
///
/// [`Error::Occupied`] if another program is there already, [`Error::Attach`].
#[doc(alias = "BPF_LINK_CREATE")]
#[doc(alias = "BPF_PROG_ATTACH")]
pub fn attach(prog: &Prog, map: &Map, attach_type: AttachType) -> Result<Attachment, Error> {
    let to = || format!("the sockets of map `{}`", map.name());
    match super::create(prog, Target::Fd(map.as_fd()), attach_type, to) {
        Ok(link) => return Ok(Attachment::Link(link)),
        Err(Error::Attach { source: Errno::EBUSY, .. }) => return Err(occupied(prog, map, attach_type)),
        // A kernel without links for maps; if something else is wrong, the command below says so.
        Err(Error::Attach { source: Errno::EINVAL, .. }) => {}
        Err(error) => return Err(error),
    }
    if progs(map, attach_type).is_ok_and(|there| !there.is_empty()) {
        return Err(occupied(prog, map, attach_type));
    }
    replace(prog, map, attach_type).map(|()| Attachment::Bare)
}

/// Puts a program in the place of the one that is there without a link, for the sockets put into the map from now on.
///
/// # Errors
///
/// [`Error::Attach`].
#[doc(alias = "BPF_PROG_ATTACH")]
pub fn replace(prog: &Prog, map: &Map, attach_type: AttachType) -> Result<(), Error> {
    let done = sys::attach::attach(map.as_fd(), prog.as_fd(), attach_type.0, 0, None);
    let to = || format!("the sockets of map `{}`", map.name());
    done.map_err(|source| Error::attach(prog, Cmd::PROG_ATTACH, to(), source))
}

fn occupied(prog: &Prog, map: &Map, attach_type: AttachType) -> Error {
    Error::Occupied(Box::new(Occupied {
        prog: prog.name().to_owned(),
        to: format!("the sockets of map `{}`", map.name()),
        there: progs(map, attach_type).unwrap_or_default(),
    }))
}

/// Takes a bare attachment off: `prog`, and nobody else's.
///
/// # Errors
///
/// [`Error::Attach`] with `ENOENT` if this program is not there.
#[doc(alias = "BPF_PROG_DETACH")]
pub fn detach(prog: &Prog, map: &Map, attach_type: AttachType) -> Result<(), Error> {
    let done = sys::attach::detach(map.as_fd(), prog.as_fd(), attach_type.0);
    let to = || format!("the sockets of map `{}`", map.name());
    done.map_err(|source| Error::attach(prog, Cmd::PROG_DETACH, to(), source))
}

/// The id of the program on a map's sockets, none or one (Linux 5.18).
///
/// # Errors
///
/// `EINVAL` on kernels that cannot tell, and for maps of other types.
#[doc(alias = "BPF_PROG_QUERY")]
pub fn progs(map: &Map, attach_type: AttachType) -> Result<Vec<u32>, Errno> {
    let ids = sys::attach::query(Target::Fd(map.as_fd()), attach_type.0, 0)?;
    Ok(ids.into_iter().filter(|id| *id != 0).collect())
}

//! Stage: apply. What was done, as the way to take it back.
//!
//! Input: the steps of a job as they succeed. Output: a list that is worked off newest first when one fails. Read next:
//! `down.rs`, which takes back everything at once.

use std::fmt;
use std::path::{Path, PathBuf};

use asm::object::AttachType;
use serde_json::Value;

use super::contents::Contents;
use super::drain::Drained;
use super::error::Error;
use super::hook::Displaced;
use super::record::{LinkRecord, Record};
use super::store;
use crate::map::Map;
use crate::prog::Prog;

/// How to take back one thing that was done.
pub(super) enum Undo {
    /// Nothing was there before: everything goes.
    Clear,
    /// A link was made under this pin.
    Detach(PathBuf),
    /// A program was attached to the sockets of a map, without a link.
    DetachBare(Prog, Map, AttachType),
    /// A program on the sockets of a map was replaced, without a link; this one was there before.
    PutBackBare(Prog, Map, AttachType),
    /// A link's program was replaced; this one was there before.
    PutBack(PathBuf, Prog),
    /// A link was taken away: pin, program, and how it was attached.
    Reattach(String, Prog, Box<LinkRecord>),
    /// Somebody else's program was displaced; the lab's host it was in.
    Restore(Option<String>, Box<Displaced>),
    /// A pin was set, or set anew; this was there before.
    Repin(PathBuf, Option<Pinned>),
    /// Maps in use were given what the new manifest says; this is what the old one said.
    Contents(Vec<SetMap>, Contents),
    /// The maps of the object at this place were configured anew; this was their configuration.
    Reconfigure(usize, Value),
    /// A system has let go of what it held.
    Resume(Drained),
    /// The record was written anew; this was there before.
    Record(Box<Record>),
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("take everything away again"),
            Self::Detach(pin) => write!(f, "detach {}", pin.display()),
            Self::DetachBare(prog, map, _) => write!(f, "take {} off the sockets of {}", prog.name(), map.name()),
            Self::PutBackBare(prog, map, _) => write!(f, "put {} back on the sockets of {}", prog.name(), map.name()),
            Self::PutBack(pin, prog) => write!(f, "put {} back on {}", prog.name(), pin.display()),
            Self::Reattach(_, prog, link) => write!(f, "attach {} to {} again", prog.name(), link.hook),
            Self::Restore(_, _) => f.write_str("put the displaced program back"),
            Self::Repin(pin, Some(_)) => write!(f, "put the old pin back: {}", pin.display()),
            Self::Repin(pin, None) => write!(f, "unpin {}", pin.display()),
            Self::Contents(..) => f.write_str("put the old contents back into the maps"),
            Self::Reconfigure(_, _) => f.write_str("put the old configuration back"),
            Self::Resume(drained) => write!(f, "let {} go on", drained.object),
            Self::Record(_) => f.write_str("put the old record back"),
        }
    }
}

/// A map whose contents were changed.
pub(super) struct SetMap {
    pub(super) map: Map,
    /// The object's place in the deployment.
    pub(super) at: usize,
    /// The map's name in the object.
    pub(super) name: String,
}

/// Something pinned, held open while its pin is replaced.
pub(super) enum Pinned {
    Map(Map),
    Prog(Prog),
}

impl Pinned {
    /// What is pinned at a path now, if it is of that kind.
    pub(super) fn open(kind: crate::pin::Kind, path: &Path) -> Option<Self> {
        match kind {
            crate::pin::Kind::Map => Map::from_pin(path).ok().map(Self::Map),
            crate::pin::Kind::Prog => Prog::from_pin(path).ok().map(Self::Prog),
            crate::pin::Kind::Link => None,
        }
    }

    /// Pins it in the place of whatever has that name, in one step.
    pub(super) fn pin_over(&self, path: &Path) -> Result<(), Error> {
        pin_over(path, |new| match self {
            Self::Map(map) => Ok(map.pin(new)?),
            Self::Prog(prog) => Ok(prog.pin(new)?),
        })
    }
}

/// Pins something in the place of whatever has that name: under a name of its own first, then moved over the other.
pub(super) fn pin_over(path: &Path, pin: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    let new = PathBuf::from(new);
    store::forget(&new)?; // of a run that was killed between the two steps
    pin(&new)?;
    store::rename(&new, path)
}

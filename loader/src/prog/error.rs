//! Stage: verified programs, errors. Input: the kernel's refusals. Output: what a person reads of them.
//! Read next: `../prog.rs`, which makes them, and `../verifier/explain.rs`.

use std::path::PathBuf;

use crate::hint::Hint;
use crate::permission::Denied;
use crate::pin;
use crate::sys::Errno;
use crate::sys::uapi::Cmd;
use crate::verifier::Refusal;

/// What can go wrong with a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The verifier refused it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The kernel did not allow it.
    #[error("program `{name}` was not loaded: {denied}")]
    Denied {
        /// Its name.
        name: String,
        /// The likely reason.
        denied: Box<Denied>,
        /// `EPERM`.
        source: Errno,
    },
    /// The kernel did not load it, without a word from the verifier.
    #[error("program `{name}` was not loaded{}", Hint(Cmd::PROG_LOAD, *source))]
    Load {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// A command on a loaded program failed.
    #[error("{cmd} on program `{name}` failed{}", Hint(*cmd, *source))]
    Command {
        /// The command.
        cmd: Cmd,
        /// The program's name.
        name: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// There is no program with this id.
    #[error("there is no program with id {id}")]
    NoId {
        /// The id.
        id: u32,
        /// The kernel's answer.
        source: Errno,
    },
    /// Pinning or opening a pin failed.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// The pin holds something else.
    #[error("{path} is no program")]
    NotAProg {
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

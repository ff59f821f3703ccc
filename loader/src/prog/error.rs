//! Stage: verified programs, errors. Input: the kernel's refusals. Output: what a person reads of them.
//! Read next: `../prog.rs`, which makes them, and `../verifier/explain.rs`.

use std::path::PathBuf;

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
    #[error("program `{name}` was not loaded: {source}; {denied}")]
    Denied {
        /// Its name.
        name: String,
        /// The likely reason.
        denied: Box<Denied>,
        /// `EPERM`.
        source: Errno,
    },
    /// The kernel did not load it, without a word from the verifier.
    #[error("program `{name}` was not loaded: {source}{}", load_hint(*source))]
    Load {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// A command on a loaded program failed.
    #[error("{cmd} on program `{name}` failed{}", command_hint(*cmd, *source))]
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

/// What an errno without a log usually means on `BPF_PROG_LOAD`.
fn load_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => " (the kernel does not know this program type, attach type or flag, or a record is malformed)",
        Errno::E2BIG => " (no or too many instructions, or a field that this kernel does not know)",
        Errno::ENOTSUPP => " (no JIT for this program, or no such kernel function, on this kernel or architecture)",
        Errno::ENOMEM => " (no memory for the program, the verifier or its log)",
        _ => "",
    }
}

/// What an errno usually means on the other commands.
fn command_hint(cmd: Cmd, errno: Errno) -> &'static str {
    match (cmd, errno) {
        (Cmd::PROG_TEST_RUN, Errno::ENOTSUPP) => " (this program type cannot be run on test data)",
        (Cmd::PROG_TEST_RUN, Errno::EINVAL) => " (the test data does not fit the type: a packet needs 14 bytes)",
        _ => "",
    }
}

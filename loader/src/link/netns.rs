//! Stage: attachment to a network namespace: `sk_lookup`, `flow_dissector`. Input: a program and a descriptor of the
//! namespace (`/proc/self/ns/net`). Output: a [`Link`]. Read next: `tracing.rs`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use asm::object::AttachType;

use super::{Error, Link};
use crate::prog::Prog;
use crate::sys::link::Target;

/// Attaches a program to a network namespace (`flow_dissector` Linux 5.8, `sk_lookup` 5.9). Several `sk_lookup` programs
/// run one after the other; there is one `flow_dissector`.
///
/// # Errors
///
/// [`Error::Attach`].
#[doc(alias = "BPF_LINK_CREATE")]
pub fn attach(prog: &Prog, netns: BorrowedFd<'_>, attach_type: AttachType) -> Result<Link, Error> {
    super::create(prog, Target::Fd(netns), attach_type, || "the network namespace".to_owned())
}

/// [`attach`] to the network namespace of the calling thread.
///
/// # Errors
///
/// [`Error::Attach`]; [`Error::Netns`] without `/proc`.
pub fn attach_here(prog: &Prog, attach_type: AttachType) -> Result<Link, Error> {
    let netns = File::open("/proc/thread-self/ns/net").map_err(Error::Netns)?;
    attach(prog, netns.as_fd(), attach_type)
}

//! Stage: attachment to what the program was loaded for: functions (fentry, fexit, fmod_ret), tracepoints (tp_btf, raw_tp),
//! security hooks, iterators. Input: a program. Output: a [`Link`]. Read next: `../map/ringbuf.rs`, which reads what such programs tell.

use std::ffi::CStr;

use asm::object::AttachType;

use super::{Error, Link};
use crate::prog::Prog;
use crate::sys;
use crate::sys::link::Target;
use crate::sys::uapi::Cmd;

/// Attaches a program whose place was named when it was loaded: tp_btf, fentry, fexit, fmod_ret, lsm (Linux 5.5).
///
/// # Errors
///
/// [`Error::Attach`]: `EBUSY` for a second program on an fmod_ret or a trampoline that is full, 524 where the
/// architecture has no trampolines.
#[doc(alias = "BPF_RAW_TRACEPOINT_OPEN")]
pub fn attach(prog: &Prog) -> Result<Link, Error> {
    open(prog, None, || "the place it was loaded for".to_owned())
}

/// Attaches a `raw_tp` program to the tracepoint of this name (Linux 4.17).
///
/// # Errors
///
/// [`Error::Attach`]: `ENOENT` for no such tracepoint.
#[doc(alias = "BPF_RAW_TRACEPOINT_OPEN")]
pub fn attach_raw_tracepoint(prog: &Prog, tracepoint: &CStr) -> Result<Link, Error> {
    open(prog, Some(tracepoint), || format!("tracepoint {}", tracepoint.to_string_lossy()))
}

/// Makes an iterator of an `iter` program (Linux 5.8): whoever reads the link's pin as a file runs it over all there is.
///
/// # Errors
///
/// [`Error::Attach`]: `EINVAL` for an iterator that walks over one map, which this does not name.
#[doc(alias = "BPF_LINK_CREATE")]
pub fn attach_iter(prog: &Prog) -> Result<Link, Error> {
    super::create(prog, Target::Loaded, AttachType::TRACE_ITER, || "the place it was loaded for".to_owned())
}

fn open(prog: &Prog, tracepoint: Option<&CStr>, to: impl Fn() -> String) -> Result<Link, Error> {
    use std::os::fd::AsFd;
    let made = sys::link::raw_tracepoint_open(prog.as_fd(), tracepoint).and_then(Link::from_fd);
    made.map_err(|source| Error::attach(prog, Cmd::RAW_TRACEPOINT_OPEN, to(), source))
}

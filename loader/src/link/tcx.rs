//! Stage: attachment to an interface's packets in the network stack (tcx). Input: a program, an interface, a direction.
//! Output: a [`Link`]. Kernels before 6.6 have the `clsact` qdisc instead (`netlink::route::BpfFilterSpec`). Read next:
//! `cgroup.rs`.

use asm::object::AttachType;

use super::{Error, Link};
use crate::prog::Prog;
use crate::sys::link::Target;
use crate::sys::{self, Errno};

/// Attaches a program behind those that are there already (Linux 6.6), in the network namespace of the calling thread.
/// `attach_type` is [`AttachType::TCX_INGRESS`] or [`AttachType::TCX_EGRESS`].
///
/// # Errors
///
/// [`Error::Attach`]; with `EINVAL` on kernels without tcx.
#[doc(alias = "BPF_LINK_CREATE")]
pub fn attach(prog: &Prog, ifindex: u32, attach_type: AttachType) -> Result<Link, Error> {
    super::create(prog, Target::Ifindex(ifindex), attach_type, || format!("interface {ifindex}"))
}

/// The ids of the programs on an interface, in the order in which they run.
///
/// # Errors
///
/// `EINVAL` on kernels without tcx, `ENODEV` for no such interface.
#[doc(alias = "BPF_PROG_QUERY")]
pub fn progs(ifindex: u32, attach_type: AttachType) -> Result<Vec<u32>, Errno> {
    match sys::attach::query(Target::Ifindex(ifindex), attach_type.0, 0) {
        Err(Errno::ENOENT) => Ok(Vec::new()),
        answer => answer,
    }
}

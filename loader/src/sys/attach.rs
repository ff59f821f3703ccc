//! Stage: system calls, attachment without a link. Input: a program's descriptor and a target. Output: done, or ids.
//! Read next: `link.rs`.

use std::os::fd::BorrowedFd;

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::link::Target;
use super::{Errno, Result, addr_mut, bpf, commands, fd_u32, len_u32, opt_fd_u32, zeroed};

/// `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}
const _: () = assert!(size_of::<AttachAttr>() == 20);
commands! {
    ProgAttach(AttachAttr) = PROG_ATTACH;
    ProgDetach(AttachAttr) = PROG_DETACH;
}

/// `BPF_PROG_ATTACH`: to a cgroup, a sockmap, a network namespace; without a link, so it outlives us.
///
/// `replace` is the program that must be there now (with [`F_REPLACE`](super::uapi::F_REPLACE) in `flags`).
///
/// # Errors
///
/// `EPERM` if the cgroup's flags forbid it, `EEXIST` if this program is there already, `EINVAL`.
pub fn attach(
    target: BorrowedFd<'_>,
    prog: BorrowedFd<'_>,
    attach_type: u32,
    flags: u32,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: fd_u32(target),
        attach_bpf_fd: fd_u32(prog),
        attach_type,
        attach_flags: flags,
        replace_bpf_fd: opt_fd_u32(replace),
    };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<ProgAttach>(&mut attr) }.map(drop)
}

/// `BPF_PROG_DETACH`: takes away what [`attach`] put there.
///
/// # Errors
///
/// `ENOENT` if this program is not attached there.
pub fn detach(target: BorrowedFd<'_>, prog: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: fd_u32(target),
        attach_bpf_fd: fd_u32(prog),
        attach_type,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<ProgDetach>(&mut attr) }.map(drop)
}

/// `BPF_PROG_QUERY`, up to and including `revision` (Linux 6.6): of an interface's hooks the kernel writes it without asking
/// how long the structure is that it was given.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}
const _: () = assert!(size_of::<QueryAttr>() == 64);
commands! { ProgQuery(QueryAttr) = PROG_QUERY; }

/// `BPF_PROG_QUERY`: the ids of the programs attached to a cgroup, a sockmap, a network namespace or an interface.
///
/// # Errors
///
/// `EINVAL` for a target without such a hook.
pub fn query(target: Target<'_>, attach_type: u32, flags: u32) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; 64];
    loop {
        let mut attr: QueryAttr = zeroed();
        (attr.target_fd, attr.attach_type, attr.query_flags) = (target.raw(), attach_type, flags);
        (attr.prog_cnt, attr.prog_ids) = (len_u32(&ids)?, addr_mut(ids.as_mut_bytes()));
        // SAFETY: `prog_cnt` ids of 4 bytes fit into `ids`, which we own.
        match unsafe { bpf::<ProgQuery>(&mut attr) } {
            Ok(_) => {
                ids.truncate(attr.prog_cnt as usize);
                return Ok(ids);
            }
            Err(Errno::ENOSPC) => ids.resize(ids.len() * 2, 0),
            Err(errno) => return Err(errno),
        }
    }
}

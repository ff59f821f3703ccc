//! Stage: system calls, any object. Input: a path on bpffs or an id. Output: descriptors and ids.
//! Read next: `info.rs`.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::{Command, Errno, Result, addr, bpf, bpf_fd, commands, fd_u32};

/// The four kinds of objects that have ids, each counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Programs.
    Prog,
    /// Maps.
    Map,
    /// BTF objects.
    Btf,
    /// Links (Linux 5.8).
    Link,
}

/// `BPF_OBJ_PIN` and `BPF_OBJ_GET`, up to and including `file_flags` (Linux 4.15).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct PathAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}
const _: () = assert!(size_of::<PathAttr>() == 16);
commands! {
    ObjPin(PathAttr) = OBJ_PIN;
    ObjGet(PathAttr) = OBJ_GET;
}

/// `BPF_OBJ_PIN`: a name on bpffs that keeps the object alive (Linux 4.4; links 5.7).
///
/// # Errors
///
/// `EEXIST` if the name is taken, `ENOENT` without the directory, `EPERM` if that is not on bpffs or the name has a dot.
pub fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let mut attr = PathAttr { pathname: addr(path.to_bytes_with_nul()), bpf_fd: fd_u32(object), file_flags: 0 };
    // SAFETY: the path ends with a zero byte by its type and is borrowed over the call; the kernel only reads it.
    unsafe { bpf::<ObjPin>(&mut attr) }.map(drop)
}

/// `BPF_OBJ_GET`: a descriptor of what is pinned there (Linux 4.4).
///
/// # Errors
///
/// `ENOENT`, `EACCES` if it is no BPF object or by file mode.
pub fn get(path: &CStr) -> Result<OwnedFd> {
    let mut attr = PathAttr { pathname: addr(path.to_bytes_with_nul()), bpf_fd: 0, file_flags: 0 };
    // SAFETY: the path ends with a zero byte by its type and is borrowed over the call; the kernel only reads it. The
    // command returns a new descriptor.
    unsafe { bpf_fd::<ObjGet>(&mut attr) }
}

/// `BPF_*_GET_FD_BY_ID` and `BPF_*_GET_NEXT_ID`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct IdAttr {
    /// Also `start_id`.
    id: u32,
    next_id: u32,
    open_flags: u32,
}
const _: () = assert!(size_of::<IdAttr>() == 12);
const _: () = assert!(offset_of!(IdAttr, next_id) == 4);

commands! {
    ProgFd(IdAttr) = PROG_GET_FD_BY_ID;
    MapFd(IdAttr) = MAP_GET_FD_BY_ID;
    BtfFd(IdAttr) = BTF_GET_FD_BY_ID;
    LinkFd(IdAttr) = LINK_GET_FD_BY_ID;
    ProgNext(IdAttr) = PROG_GET_NEXT_ID;
    MapNext(IdAttr) = MAP_GET_NEXT_ID;
    BtfNext(IdAttr) = BTF_GET_NEXT_ID;
    LinkNext(IdAttr) = LINK_GET_NEXT_ID;
}

/// One of the `BPF_*_GET_FD_BY_ID`.
fn get_fd<C: Command<Attr = IdAttr>>(id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr { id, next_id: 0, open_flags: 0 };
    // SAFETY: the struct holds no address, and these four commands return a new descriptor.
    unsafe { bpf_fd::<C>(&mut attr) }
}

/// One of the `BPF_*_GET_NEXT_ID`.
fn get_next<C: Command<Attr = IdAttr>>(id: u32) -> Result<u32> {
    let mut attr = IdAttr { id, next_id: 0, open_flags: 0 };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<C>(&mut attr) }.map(|_| attr.next_id)
}

/// `BPF_{PROG,MAP,BTF,LINK}_GET_FD_BY_ID`.
///
/// # Errors
///
/// `ENOENT` if there is none with this id, `EAGAIN` if it is just coming or going, `EPERM`.
pub fn fd_by_id(kind: Kind, id: u32) -> Result<OwnedFd> {
    match kind {
        Kind::Prog => get_fd::<ProgFd>(id),
        Kind::Map => get_fd::<MapFd>(id),
        Kind::Btf => get_fd::<BtfFd>(id),
        Kind::Link => get_fd::<LinkFd>(id),
    }
}

/// `BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID`: the smallest id greater than `id`; `None` after the last one.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn next_id(kind: Kind, id: u32) -> Result<Option<u32>> {
    let next = match kind {
        Kind::Prog => get_next::<ProgNext>(id),
        Kind::Map => get_next::<MapNext>(id),
        Kind::Btf => get_next::<BtfNext>(id),
        Kind::Link => get_next::<LinkNext>(id),
    };
    match next {
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// All ids of a kind, ascending. Objects that come or go meanwhile may or may not be among them.
///
/// # Errors
///
/// As [`next_id`].
pub fn ids(kind: Kind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut last = 0;
    while let Some(id) = next_id(kind, last)? {
        ids.push(id);
        last = id;
    }
    Ok(ids)
}

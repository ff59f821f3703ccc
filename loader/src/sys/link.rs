//! Stage: system calls, links. Input: a program's descriptor and a target. Output: a link's descriptor.
//! Read next: `info.rs`; the comfortable API is `crate::link`.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::uapi::F_REPLACE;
use super::{Result, addr, bpf, bpf_fd, commands, fd_u32, zeroed};

/// What a program is attached to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A network interface of the calling thread's namespace, by index.
    Ifindex(u32),
    /// A cgroup, network namespace, map or program.
    Fd(BorrowedFd<'a>),
    /// The hook which the program was loaded for.
    Loaded,
}

impl Target<'_> {
    /// As the kernel's structs hold it.
    pub(super) fn raw(self) -> u32 {
        match self {
            Self::Ifindex(ifindex) => ifindex,
            Self::Fd(fd) => fd_u32(fd),
            Self::Loaded => 0,
        }
    }
}

/// `BPF_LINK_CREATE`, up to and including the first 8 bytes of the part that depends on the attach type.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct CreateAttr {
    prog_fd: u32,
    /// A descriptor or an ifindex.
    target: u32,
    attach_type: u32,
    flags: u32,
    target_btf_id: u32,
    reserved: u32,
    /// `tracing.cookie` (Linux 5.19).
    cookie: u64,
}
const _: () = assert!(size_of::<CreateAttr>() == 32);
const _: () = assert!(offset_of!(CreateAttr, cookie) == 24);
commands! { LinkCreate(CreateAttr) = LINK_CREATE; }

/// `BPF_LINK_CREATE`: attaches until the link's last descriptor and pin are gone (Linux 5.7; XDP 5.9).
///
/// `flags` are the hook's own: [`XdpFlags`](super::uapi::XdpFlags) for XDP.
///
/// # Errors
///
/// The hook's own, without words: for XDP `EBUSY` where a program is attached already, `EOPNOTSUPP`, `ERANGE` and others
/// from the driver, `EEXIST` where the other mode is in use, `ENODEV` for no such interface.
pub fn create(prog: BorrowedFd<'_>, target: Target<'_>, attach_type: u32, flags: u32) -> Result<OwnedFd> {
    let mut attr: CreateAttr = zeroed();
    attr.prog_fd = fd_u32(prog);
    attr.target = target.raw();
    (attr.attach_type, attr.flags) = (attach_type, flags);
    // SAFETY: the fields that some attach types take as addresses (from offset 16 on) are zero, and the command
    // returns a new descriptor.
    unsafe { bpf_fd::<LinkCreate>(&mut attr) }
}

/// `BPF_RAW_TRACEPOINT_OPEN`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct RawTracepointAttr {
    /// Address of a name that ends with a zero byte; 0 for a program that was loaded for its place.
    name: u64,
    prog_fd: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<RawTracepointAttr>() == 16);
commands! { RawTracepointOpen(RawTracepointAttr) = RAW_TRACEPOINT_OPEN; }

/// `BPF_RAW_TRACEPOINT_OPEN`: attaches to a tracepoint by name (Linux 4.17), or to the place a program was loaded for
/// (Linux 5.5), until the link's last descriptor and pin are gone.
///
/// # Errors
///
/// `ENOENT` for no such tracepoint, `EINVAL` for a program of another type, `EBUSY`, 524 (`ENOTSUPP`) without trampolines.
pub fn raw_tracepoint_open(prog: BorrowedFd<'_>, name: Option<&CStr>) -> Result<OwnedFd> {
    let bytes = name.map_or(&[][..], CStr::to_bytes_with_nul);
    let mut attr = RawTracepointAttr { name: addr(bytes), prog_fd: fd_u32(prog), reserved: 0 };
    // SAFETY: `name` is zero, or a string with its zero byte that outlives the call; the command returns a new descriptor.
    unsafe { bpf_fd::<RawTracepointOpen>(&mut attr) }
}

/// `BPF_LINK_UPDATE`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct UpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}
const _: () = assert!(size_of::<UpdateAttr>() == 16);
commands! { LinkUpdate(UpdateAttr) = LINK_UPDATE; }

/// `BPF_LINK_UPDATE`: another program in the same place, without a gap (Linux 5.7; XDP 5.9).
///
/// # Errors
///
/// `EPERM` if the program attached now is not `expected`, `EINVAL` for a program of another type or attach type,
/// `ENOLINK` if the link was detached.
pub fn update(link: BorrowedFd<'_>, new: BorrowedFd<'_>, expected: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut attr = UpdateAttr {
        link_fd: fd_u32(link),
        new_prog_fd: fd_u32(new),
        flags: if expected.is_some() { F_REPLACE } else { 0 },
        old_prog_fd: expected.map_or(0, fd_u32),
    };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<LinkUpdate>(&mut attr) }.map(drop)
}

/// `BPF_LINK_DETACH`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}
const _: () = assert!(size_of::<DetachAttr>() == 4);
commands! { LinkDetach(DetachAttr) = LINK_DETACH; }

/// `BPF_LINK_DETACH`: detaches at once, whoever else holds the link; the empty link stays until it is closed
/// (Linux 5.9).
///
/// # Errors
///
/// `EOPNOTSUPP` for links without it (tracing).
pub fn detach(link: BorrowedFd<'_>) -> Result<()> {
    let mut attr = DetachAttr { link_fd: fd_u32(link) };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<LinkDetach>(&mut attr) }.map(drop)
}

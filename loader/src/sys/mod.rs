//! Stage: system calls. Input: borrowed descriptors and slices. Output: owned descriptors, plain values, an [`Errno`].
//!
//! This module holds all the `unsafe` code of the workspace. One file has the commands of one kind of object, with one
//! wire struct and one safe function a command. Read next: `uapi.rs` (numbers), then `map.rs`.
//!
//! How a call stays sound: a wire struct holds addresses as plain `u64`, so a struct by itself promises nothing. The
//! safe wrapper in the same file takes slices, fills address *and* length from the same slice, and keeps the borrow
//! alive over the call. Where the kernel derives a length from the object itself (the value size of a map), the
//! descriptor is wrapped together with that size ([`map::MapFd`]), which the constructor got from the kernel.
#![expect(unsafe_code, reason = "bpf(2), mmap(2) and taking ownership of descriptors which the kernel returned")]

pub mod attach;
pub mod batch;
pub mod btf;
pub mod info;
pub mod link;
pub mod map;
pub mod mmap;
pub mod obj;
pub mod prog;
pub mod uapi;

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use zerocopy::{FromBytes, FromZeros, IntoBytes, KnownLayout};

pub use crate::errno::Errno;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Ties a command to the struct it takes. Implemented by one empty type a command, see [`commands`].
trait Command {
    /// The number, `enum bpf_cmd`.
    const CMD: uapi::Cmd;
    /// The part of `union bpf_attr` which the command reads, up to the last field that we use.
    ///
    /// A kernel that knows fewer fields accepts the longer struct while the fields it does not know are zero, and
    /// answers `E2BIG` otherwise; one that knows more takes the missing ones as zero.
    type Attr: FromBytes + IntoBytes + KnownLayout;
}

/// `Name(Struct) = Cmd::NUMBER;` for each command of a file. Several commands may share a struct.
macro_rules! commands {
    ($($name:ident($attr:ty) = $cmd:ident;)*) => { $(
        enum $name {}
        impl super::Command for $name {
            const CMD: super::uapi::Cmd = super::uapi::Cmd::$cmd;
            type Attr = $attr;
        }
    )* };
}
use commands;

/// bpf(2), with the length taken from the struct and the command from its type.
///
/// # Safety
///
/// 1. Each field of `attr` that the command takes as an address is zero or points to memory which stays valid for the
///    call, and to which nothing else holds a mutable borrow.
/// 2. That memory is at least as long as the kernel takes it to be: by the length field beside it or, where there is
///    none, by the object (key and value size of a map, zero byte of a string).
/// 3. Memory that the command writes to is writable and not otherwise borrowed.
unsafe fn bpf<C: Command>(attr: &mut C::Attr) -> Result<i32> {
    let len = size_of::<C::Attr>();
    let ptr = attr.as_mut_bytes().as_mut_ptr();
    // SAFETY: `ptr` and `len` are one live `C::Attr`, borrowed mutably, without padding (`IntoBytes`) and valid with any
    // bytes the kernel writes back (`FromBytes`); the memory behind its addresses is the caller's duty (1-3).
    let ret = unsafe { libc::syscall(libc::SYS_bpf, C::CMD.raw(), ptr, len) };
    // The kernel returns an `int`; a negative one became -1 with errno.
    i32::try_from(ret).ok().filter(|ret| *ret >= 0).ok_or_else(Errno::last)
}

/// [`bpf`] for the commands that return a new descriptor.
///
/// # Safety
///
/// As for [`bpf`], and the command is one that returns a descriptor which nobody else owns.
unsafe fn bpf_fd<C: Command>(attr: &mut C::Attr) -> Result<OwnedFd> {
    // SAFETY: the caller meets the duties of `bpf`, which are part of this function's.
    let raw = unsafe { bpf::<C>(attr) }?;
    // SAFETY: the command succeeded and returned a fresh descriptor that we alone own (caller's duty).
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A struct with all fields zero, so that what we do not use is what the kernel wants it to be.
fn zeroed<A: FromZeros>() -> A {
    A::new_zeroed()
}

/// A descriptor as the kernel's structs hold it. A valid descriptor is never negative.
fn fd_u32(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// An optional descriptor; zero stands for none (the command has a flag or an id beside it that says so).
fn opt_fd_u32(fd: Option<BorrowedFd<'_>>) -> u32 {
    fd.map_or(0, fd_u32)
}

/// The address of memory the kernel reads; zero for nothing, as the kernel wants it.
fn addr(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_ptr().expose_provenance() as u64 }
}

/// The address of memory the kernel writes; zero for nothing.
fn addr_mut(bytes: &mut [u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_mut_ptr().expose_provenance() as u64 }
}

/// The length of a slice as the kernel's structs hold it.
///
/// # Errors
///
/// `E2BIG` over 4 GiB.
fn len_u32<T>(slice: &[T]) -> Result<u32> {
    u32::try_from(slice.len()).map_err(|_| Errno::E2BIG)
}

/// An object's name as the kernel keeps it: at most 15 bytes of `[A-Za-z0-9_.]`, zero-terminated.
///
/// Longer names are cut, other bytes become `_`, so that an object whose author chose a free name still loads.
#[must_use]
pub fn obj_name(name: &str) -> [u8; uapi::OBJ_NAME_LEN] {
    let mut out = [0; uapi::OBJ_NAME_LEN];
    for (to, from) in out[..uapi::OBJ_NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' || from == b'.' { from } else { b'_' };
    }
    out
}

/// The text of a zero-terminated name which the kernel returned.
#[must_use]
pub fn name_text(name: &[u8]) -> String {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_for_the_kernel() {
        for (name, want) in [
            ("vips", "vips"),
            ("a_name_of_over_fifteen_bytes", "a_name_of_over_"),
            (".rodata.str", ".rodata.str"),
            ("my-map", "my_map"),
            ("größe", "gr____e"),
            ("", ""),
        ] {
            assert_eq!(name_text(&obj_name(name)), want, "{name}");
        }
    }
}

//! Stage: system calls, BTF. Input: an encoded `.BTF`. Output: the descriptor of the kernel's copy.
//! Read next: `info.rs`; the format itself is `asm::btf`.

use std::mem::offset_of;
use std::os::fd::OwnedFd;

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::prog::{LoadFailed, Log};
use super::{addr, addr_mut, bpf_fd, commands, len_u32, zeroed};

/// `BPF_BTF_LOAD`, up to and including `btf_log_true_size` (Linux 6.4).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct LoadAttr {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    btf_log_true_size: u32,
}
const _: () = assert!(size_of::<LoadAttr>() == 32);
const _: () = assert!(offset_of!(LoadAttr, btf_log_level) == 24);
commands! { BtfLoad(LoadAttr) = BTF_LOAD; }

/// `BPF_BTF_LOAD`: types for maps and programs (Linux 4.18).
///
/// # Errors
///
/// `EINVAL` for a type that the kernel refuses or does not know (the log names it), `E2BIG` over 16 MiB.
pub fn load(btf: &[u8], log: Option<Log<'_>>) -> std::result::Result<OwnedFd, LoadFailed> {
    let mut attr: LoadAttr = zeroed();
    (attr.btf_size, attr.btf) = (len_u32(btf)?, addr(btf));
    let mut log = log;
    if let Some(log) = &mut log {
        attr.btf_log_level = log.level.bits();
        (attr.btf_log_size, attr.btf_log_buf) = (len_u32(log.buf)?, addr_mut(log.buf));
    }
    // SAFETY: both addresses are paired with the lengths of their slices, which are borrowed over the call; only the
    // log, borrowed mutably, is written. The command returns a new descriptor.
    unsafe { bpf_fd::<BtfLoad>(&mut attr) }.map_err(|errno| LoadFailed { errno, log_true_size: attr.btf_log_true_size })
}

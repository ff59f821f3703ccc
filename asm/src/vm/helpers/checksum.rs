//! Checksums: the one's complement arithmetic of RFC 1071 and RFC 1624, as the kernel's helpers do it.
//!
//! Numbers are taken as they lie in memory: the sum of byte-swapped words is the byte-swapped sum.

use super::{HelperFn, errno, low};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] =
    &[
        (helper::CSUM_DIFF, csum_diff),
        // No packet here has a checksum of all of it, which is what this helper updates.
        (helper::CSUM_UPDATE, |_, _| Ok(errno(ENOTSUPP))),
        (helper::L3_CSUM_REPLACE, |vm, [_, at, from, to, flags]| {
            if flags & !SIZE != 0 { Ok(errno(EINVAL)) } else { replace(vm, at, from, to, flags) }
        }),
        (helper::L4_CSUM_REPLACE, |vm, [_, at, from, to, flags]| {
            if flags & !(SIZE | PSEUDO_HEADER | ZERO_IS_NONE | ENFORCE | IPV6) != 0 {
                Ok(errno(EINVAL))
            } else {
                replace(vm, at, from, to, flags)
            }
        }),
    ];

const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ENOTSUPP: i64 = -524;
/// `BPF_F_HDR_FIELD_MASK`: bytes of the field that changed, or 0 for a difference.
const SIZE: u64 = 0xf;
/// `BPF_F_PSEUDO_HDR`.
const PSEUDO_HEADER: u64 = 0x10;
/// `BPF_F_MARK_MANGLED_0`: a checksum of 0 means that there is none, and stays.
const ZERO_IS_NONE: u64 = 0x20;
/// `BPF_F_MARK_ENFORCE`: make one nevertheless.
const ENFORCE: u64 = 0x40;
/// `BPF_F_IPV6`.
const IPV6: u64 = 0x80;

fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry.into())
}

/// The 16-bit checksum of a 32-bit sum.
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(u16::try_from(sum & 0xffff).unwrap_or(u16::MAX))
}

/// Changes the checksum at `at` of the packet for a field that was `from` and is `to`.
fn replace(vm: &mut Vm, at: u64, from: u64, to: u64, flags: u64) -> Result<u64, FaultKind> {
    if at > 0xffff || !at.is_multiple_of(2) {
        return Ok(errno(EFAULT));
    }
    let Some((span, packet)) = super::packet::span(vm, at, 2).zip(vm.packet) else { return Ok(errno(EFAULT)) };
    let bytes = &mut vm.memory.region_mut(packet.region)[span];
    let old = u16::from_le_bytes([bytes[0], bytes[1]]);
    if flags & ZERO_IS_NONE != 0 && flags & ENFORCE == 0 && old == 0 {
        return Ok(0);
    }
    let unfolded = !u32::from(old);
    let mut new = match flags & SIZE {
        0 if from != 0 => return Ok(errno(EINVAL)),
        0 => fold(add(low(to), unfolded)),
        2 | 4 => fold(add(add(unfolded, !low(from)), low(to))),
        _ => return Ok(errno(EINVAL)),
    };
    if flags & ZERO_IS_NONE != 0 && new == 0 {
        new = 0xffff;
    }
    bytes.copy_from_slice(&new.to_le_bytes());
    Ok(0)
}

/// `bpf_csum_diff`: the one's complement sum of `seed`, minus `from`, plus `to`; sizes are multiples of four. Kernels
/// differ in how far the sum is folded (since Linux 6.13 to 16 bits); programs fold it themselves.
fn csum_diff(vm: &mut Vm, [from, from_size, to, to_size, seed]: [u64; 5]) -> Result<u64, FaultKind> {
    let (from_size, to_size) = (low(from_size) as usize, low(to_size) as usize);
    if !from_size.is_multiple_of(4) || !to_size.is_multiple_of(4) || from_size + to_size > 512 {
        return Ok(errno(EINVAL));
    }
    let mut sum = low(seed);
    for (address, size, flip) in [(from, from_size, u32::MAX), (to, to_size, 0)] {
        let bytes = if size == 0 { &[] } else { vm.memory.bytes(address, size)? };
        let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word) ^ flip);
        sum = words.fold(sum, add);
    }
    Ok(sum.into())
}

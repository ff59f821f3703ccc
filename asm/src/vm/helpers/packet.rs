//! Helpers on packets: moving their ends, copying bytes, checksums, redirects, routes.

use super::{HelperFn, Redirect, errno, low, size};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::XDP_ADJUST_HEAD, |vm, [_, by, ..]| {
        let by = signed(by);
        // Metadata in front of the packet moves with its head.
        Ok(moved(vm.move_packet(by, by, 0, "bpf_xdp_adjust_head moved the packet")))
    }),
    (helper::XDP_ADJUST_TAIL, |vm, [_, by, ..]| {
        Ok(moved(vm.move_packet(0, 0, signed(by), "bpf_xdp_adjust_tail moved the packet's end")))
    }),
    (helper::XDP_ADJUST_META, |vm, [_, by, ..]| {
        Ok(moved(vm.move_packet(signed(by), 0, 0, "bpf_xdp_adjust_meta moved the metadata")))
    }),
    (helper::SKB_LOAD_BYTES, |vm, [_, at, to, len, _]| load_bytes(vm, at, to, len)),
    (helper::XDP_LOAD_BYTES, |vm, [_, at, to, len, _]| load_bytes(vm, at, to, len)),
    (helper::SKB_STORE_BYTES, |vm, [_, at, from, len, _]| store_bytes(vm, at, from, len)),
    (helper::XDP_STORE_BYTES, |vm, [_, at, from, len, _]| store_bytes(vm, at, from, len)),
    (helper::XDP_GET_BUFF_LEN, |vm, _| Ok(vm.packet.map_or(0, |p| (p.end - p.data) as u64))),
    (helper::SKB_PULL_DATA, |vm, _| Ok(moved(vm.move_packet(0, 0, 0, "bpf_skb_pull_data may have moved the packet")))),
    (helper::CSUM_DIFF, csum_diff),
    (helper::REDIRECT, redirect),
    (helper::FIB_LOOKUP, |vm, [_, params, len, ..]| {
        let fib = vm.host.fib;
        Ok(fib(vm.memory.bytes_mut(params, size("bpf_fib_lookup", len)?)?))
    }),
];

fn signed(by: u64) -> i64 {
    low(by).cast_signed().into()
}

fn moved(done: bool) -> u64 {
    if done { 0 } else { errno(-22) }
}

/// The offsets into the packet's region of `len` bytes at `at`, if the packet has them.
fn span(vm: &Vm, at: u64, len: u64) -> Option<std::ops::Range<usize>> {
    let packet = vm.packet.as_ref()?;
    let start = packet.data.checked_add(usize::try_from(low(at)).ok()?)?;
    let end = start.checked_add(usize::try_from(low(len)).ok()?)?;
    (len != 0 && end <= packet.end).then_some(start..end)
}

/// Copies packet bytes out; on failure the target is zeroed, as the kernel does.
fn load_bytes(vm: &mut Vm, at: u64, to: u64, len: u64) -> Result<u64, FaultKind> {
    let span = span(vm, at, len);
    let bytes = span.and_then(|span| Some(vm.memory.region(vm.packet?.region)[span].to_vec()));
    let target = vm.memory.bytes_mut(to, size("bpf_xdp_load_bytes", len)?)?;
    match bytes {
        Some(bytes) => {
            target.copy_from_slice(&bytes);
            Ok(0)
        }
        None => {
            target.fill(0);
            Ok(errno(-14))
        }
    }
}

fn store_bytes(vm: &mut Vm, at: u64, from: u64, len: u64) -> Result<u64, FaultKind> {
    let bytes = vm.copy(from, size("bpf_xdp_store_bytes", len)?)?;
    let Some((span, packet)) = span(vm, at, len).zip(vm.packet) else { return Ok(errno(-14)) };
    vm.memory.region_mut(packet.region)[span].copy_from_slice(&bytes);
    Ok(0)
}

/// `bpf_csum_diff`: the 32-bit one's complement sum of `seed`, minus `from`, plus `to` (RFC 1624); sizes are
/// multiples of four.
fn csum_diff(vm: &mut Vm, [from, from_size, to, to_size, seed]: [u64; 5]) -> Result<u64, FaultKind> {
    let (from_size, to_size) = (low(from_size) as usize, low(to_size) as usize);
    if !from_size.is_multiple_of(4) || !to_size.is_multiple_of(4) || from_size + to_size > 512 {
        return Ok(errno(-22));
    }
    let mut sum = u64::from(low(seed));
    let mut add = |address: u64, size: usize, flip: u32| -> Result<(), FaultKind> {
        let bytes = if size == 0 { &[] } else { vm.memory.bytes(address, size)? };
        let words = bytes.as_chunks::<4>().0;
        sum += words.iter().map(|w| u64::from(u32::from_le_bytes(*w) ^ flip)).sum::<u64>();
        Ok(())
    };
    add(from, from_size, u32::MAX)?;
    add(to, to_size, 0)?;
    while sum > u64::from(u32::MAX) {
        sum = (sum & u64::from(u32::MAX)) + (sum >> 32);
    }
    Ok(sum)
}

/// `XDP_REDIRECT`; a tc program gets `TC_ACT_REDIRECT`, which is 7.
fn redirect(vm: &mut Vm, [ifindex, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    vm.host.redirect = Some(Redirect::Ifindex(low(ifindex), flags));
    Ok(if vm.packet.as_ref().is_some_and(super::super::context::Packet::is_skb) { 7 } else { 4 })
}

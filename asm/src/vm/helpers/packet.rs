//! Helpers on packets: moving their ends, copying bytes, redirects, routes.

use super::{HelperFn, Redirect, errno, low, size};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, HEADROOM, Vm};

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
        // The kernel wants whole words of metadata, no more than fit into eight bits of bytes: else -EACCES.
        let len = vm.packet.map_or(0, |p| p.data.wrapping_sub(p.meta).wrapping_add_signed(signed_size(by)));
        if len <= HEADROOM && (!len.is_multiple_of(4) || len > 252) {
            return Ok(errno(-13));
        }
        Ok(moved(vm.move_packet(signed(by), 0, 0, "bpf_xdp_adjust_meta moved the metadata")))
    }),
    (helper::SKB_LOAD_BYTES, |vm, [_, at, to, len, _]| load_bytes(vm, at, to, len)),
    (helper::XDP_LOAD_BYTES, |vm, [_, at, to, len, _]| load_bytes(vm, at, to, len)),
    (helper::SKB_STORE_BYTES, |vm, [_, at, from, len, _]| store_bytes(vm, at, from, len)),
    (helper::XDP_STORE_BYTES, |vm, [_, at, from, len, _]| store_bytes(vm, at, from, len)),
    (helper::XDP_GET_BUFF_LEN, |vm, _| Ok(vm.packet.map_or(0, |p| (p.end - p.data) as u64))),
    (helper::SKB_PULL_DATA, |vm, _| Ok(moved(vm.move_packet(0, 0, 0, "bpf_skb_pull_data may have moved the packet")))),
    (helper::SKB_CHANGE_TAIL, change_tail),
    (helper::SKB_CHANGE_HEAD, change_head),
    (helper::CHECK_MTU, |_, _| Ok(0)),
    (helper::REDIRECT, redirect),
    (helper::REDIRECT_PEER, redirect),
    (helper::REDIRECT_NEIGH, |vm, [ifindex, _, _, flags, _]| redirect(vm, [ifindex, flags, 0, 0, 0])),
    (helper::CLONE_REDIRECT, |vm, [_, ifindex, flags, ..]| {
        vm.host.redirect = Some(Redirect::Ifindex(low(ifindex), flags));
        Ok(0)
    }),
    (helper::FIB_LOOKUP, |vm, [_, params, len, ..]| {
        let fib = vm.host.fib;
        Ok(fib(vm.memory.bytes_mut(params, size("bpf_fib_lookup", len)?)?))
    }),
];

fn signed(by: u64) -> i64 {
    low(by).cast_signed().into()
}

/// How many bytes the metadata grows by.
fn signed_size(by: u64) -> isize {
    isize::try_from(-signed(by)).unwrap_or(isize::MAX)
}

/// `bpf_skb_change_tail`: a new length.
fn change_tail(vm: &mut Vm, [_, len, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let now = vm.packet.map_or(0, |p| p.end - p.data);
    let by = i64::from(low(len)) - i64::try_from(now).unwrap_or(i64::MAX);
    Ok(moved(flags == 0 && vm.move_packet(0, 0, by, "bpf_skb_change_tail moved the packet's end")))
}

/// `bpf_skb_change_head`: so many more bytes in front, zeroed.
fn change_head(vm: &mut Vm, [_, by, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let by = low(by);
    let (back, len) = (-i64::from(by), by as usize);
    let done = flags == 0 && vm.move_packet(back, back, 0, "bpf_skb_change_head moved the packet");
    if let Some(packet) = vm.packet.filter(|_| done) {
        vm.memory.region_mut(packet.region)[packet.data..packet.data + len].fill(0);
    }
    Ok(moved(done))
}

fn moved(done: bool) -> u64 {
    if done { 0 } else { errno(-22) }
}

/// The offsets into the packet's region of `len` bytes at `at`, if the packet has them.
pub(super) fn span(vm: &Vm, at: u64, len: u64) -> Option<std::ops::Range<usize>> {
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

/// `XDP_REDIRECT`; a tc program gets `TC_ACT_REDIRECT`, which is 7.
fn redirect(vm: &mut Vm, [ifindex, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    vm.host.redirect = Some(Redirect::Ifindex(low(ifindex), flags));
    Ok(if vm.is_skb() { 7 } else { 4 })
}

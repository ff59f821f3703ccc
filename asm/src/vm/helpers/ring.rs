//! Helpers on ring buffers and dynamic pointers.
//!
//! A record belongs to the program from `reserve` to `submit` or `discard`; readers see records in the order of
//! reservation, as the kernel's do. A dynamic pointer is 16 bytes of the program's stack: address, size, kind.

use super::{HelperFn, bad, errno, size};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, RegionKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::RINGBUF_OUTPUT, output),
    (helper::RINGBUF_RESERVE, reserve),
    (helper::RINGBUF_SUBMIT, |vm, [record, ..]| end(vm, record, true)),
    (helper::RINGBUF_DISCARD, |vm, [record, ..]| end(vm, record, false)),
    (helper::RINGBUF_QUERY, query),
    (helper::PERF_EVENT_OUTPUT, perf_event_output),
    (helper::RINGBUF_RESERVE_DYNPTR, reserve_dynptr),
    (helper::RINGBUF_SUBMIT_DYNPTR, |vm, [at, ..]| end_dynptr(vm, at, true)),
    (helper::RINGBUF_DISCARD_DYNPTR, |vm, [at, ..]| end_dynptr(vm, at, false)),
    (helper::DYNPTR_FROM_MEM, dynptr_from_mem),
    (helper::DYNPTR_READ, dynptr_read),
    (helper::DYNPTR_WRITE, dynptr_write),
    (helper::DYNPTR_DATA, dynptr_data),
];

fn output(vm: &mut Vm, [map, data, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_ringbuf_output", map)?;
    let record = vm.copy(data, size("bpf_ringbuf_output", len)?)?;
    let Some(number) = vm.maps[index].reserve(record.len()) else { return Ok(errno(-11)) };
    vm.maps[index].submit(number, Some(record));
    Ok(0)
}

fn reserve(vm: &mut Vm, [map, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_ringbuf_reserve", map)?;
    let len = size("bpf_ringbuf_reserve", len)?;
    let Some(number) = vm.maps[index].reserve(len) else { return Ok(0) };
    let region = vm.memory.add(RegionKind::Record, vec![0; len], true);
    vm.records.push((region, index, number));
    Ok(region.address(0))
}

fn end(vm: &mut Vm, record: u64, keep: bool) -> Result<u64, FaultKind> {
    let found = vm.records.iter().position(|(region, ..)| region.address(0) == record);
    let Some(found) = found else {
        return Err(bad("bpf_ringbuf_submit", format!("{record:#x} is not a reserved record")));
    };
    let (region, index, number) = vm.records.swap_remove(found);
    let bytes = vm.memory.retire(region, "it was submitted or discarded");
    vm.maps[index].submit(number, keep.then_some(bytes));
    Ok(0)
}

fn query(vm: &mut Vm, [map, what, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_ringbuf_query", map)?;
    let (consumer, producer) = vm.maps[index].ring_positions();
    Ok(match what {
        0 => producer - consumer,
        1 => vm.maps[index].spec().max_entries.into(),
        2 => consumer,
        3 => producer,
        _ => 0,
    })
}

fn perf_event_output(vm: &mut Vm, [_, map, _, data, len]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_perf_event_output", map)?;
    let record = vm.copy(data, size("bpf_perf_event_output", len)?)?;
    vm.maps[index].event(record);
    Ok(0)
}

/// What 16 bytes of a program's stack hold once they are a dynamic pointer.
struct Dynptr {
    address: u64,
    size: u32,
}

impl Dynptr {
    /// Marks bytes that are one; the kernel keeps kind and flags there.
    const MARK: u32 = 0x0d79;

    fn read(vm: &Vm, helper: &'static str, at: u64) -> Result<Self, FaultKind> {
        let bytes: [u8; 16] = vm.memory.array(at)?;
        let word = |n: usize| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
        if word(12) != Self::MARK {
            return Err(bad(helper, format!("{at:#x} is no dynamic pointer")));
        }
        Ok(Self { address: u64::from(word(0)) | u64::from(word(4)) << 32, size: word(8) })
    }

    fn write(&self, vm: &mut Vm, at: u64) -> Result<(), FaultKind> {
        let bytes = [&self.address.to_le_bytes()[..], &self.size.to_le_bytes(), &Self::MARK.to_le_bytes()].concat();
        vm.memory.bytes_mut(at, 16)?.copy_from_slice(&bytes);
        Ok(())
    }

    /// The address of `len` bytes at `off`; `None` beyond its end, and for a null one.
    fn slice(&self, off: u64, len: u64) -> Option<u64> {
        let end = off.checked_add(len)?;
        (self.address != 0 && end <= self.size.into()).then(|| self.address + off)
    }
}

/// A null dynamic pointer is left behind where there is nothing to point at.
fn made(vm: &mut Vm, at: u64, pointer: &Dynptr, errno_of: i64) -> Result<u64, FaultKind> {
    pointer.write(vm, at)?;
    Ok(if pointer.address == 0 { errno(errno_of) } else { 0 })
}

fn dynptr_from_mem(vm: &mut Vm, [data, len, flags, at, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let len = size("bpf_dynptr_from_mem", len)?;
    vm.memory.bytes(data, len)?;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let (address, errno_of) = if flags == 0 { (data, 0) } else { (0, -22) };
    made(vm, at, &Dynptr { address, size: len }, errno_of)
}

fn reserve_dynptr(vm: &mut Vm, [map, len, flags, at, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let len = len & u64::from(u32::MAX);
    let address = if flags == 0 { reserve(vm, [map, len, 0, 0, 0])? } else { 0 };
    let errno_of = if flags == 0 { -11 } else { -22 };
    made(vm, at, &Dynptr { address, size: u32::try_from(len).unwrap_or(u32::MAX) }, errno_of)
}

fn end_dynptr(vm: &mut Vm, at: u64, keep: bool) -> Result<u64, FaultKind> {
    let pointer = Dynptr::read(vm, "bpf_ringbuf_submit_dynptr", at)?;
    vm.memory.bytes_mut(at, 16)?.fill(0);
    if pointer.address == 0 { Ok(0) } else { end(vm, pointer.address, keep) }
}

fn dynptr_read(vm: &mut Vm, [to, len, at, off, flags]: [u64; 5]) -> Result<u64, FaultKind> {
    let pointer = Dynptr::read(vm, "bpf_dynptr_read", at)?;
    if pointer.address == 0 || flags != 0 {
        return Ok(errno(-22));
    }
    let Some(from) = pointer.slice(off, len) else { return Ok(errno(-7)) };
    let bytes = vm.copy(from, size("bpf_dynptr_read", len)?)?;
    vm.memory.bytes_mut(to, bytes.len())?.copy_from_slice(&bytes);
    Ok(0)
}

fn dynptr_write(vm: &mut Vm, [at, off, from, len, flags]: [u64; 5]) -> Result<u64, FaultKind> {
    let pointer = Dynptr::read(vm, "bpf_dynptr_write", at)?;
    if pointer.address == 0 || flags != 0 {
        return Ok(errno(-22));
    }
    let Some(to) = pointer.slice(off, len) else { return Ok(errno(-7)) };
    let bytes = vm.copy(from, size("bpf_dynptr_write", len)?)?;
    vm.memory.bytes_mut(to, bytes.len())?.copy_from_slice(&bytes);
    Ok(0)
}

fn dynptr_data(vm: &mut Vm, [at, off, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    Ok(Dynptr::read(vm, "bpf_dynptr_data", at)?.slice(off, len).unwrap_or(0))
}

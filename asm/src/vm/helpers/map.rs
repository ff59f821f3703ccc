//! Helpers on maps: elements, queues, ring buffers, redirects, tail calls, loops.

use super::{HelperFn, Redirect, bad, errno, low, size};
use crate::insn::helper::{self, Id};
use crate::object::MapType;
use crate::vm::RegionKind;
use crate::vm::{FaultKind, MAX_LOOPS, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::MAP_LOOKUP_ELEM, lookup),
    (helper::MAP_UPDATE_ELEM, update),
    (helper::MAP_DELETE_ELEM, delete),
    (helper::MAP_LOOKUP_PERCPU_ELEM, lookup_percpu),
    (helper::MAP_PUSH_ELEM, push),
    (helper::MAP_POP_ELEM, |vm, a| next(vm, a, true)),
    (helper::MAP_PEEK_ELEM, |vm, a| next(vm, a, false)),
    (helper::FOR_EACH_MAP_ELEM, for_each),
    (helper::LOOP, bpf_loop),
    (helper::RINGBUF_OUTPUT, ringbuf_output),
    (helper::RINGBUF_RESERVE, ringbuf_reserve),
    (helper::RINGBUF_SUBMIT, |vm, a| ringbuf_end(vm, a, true)),
    (helper::RINGBUF_DISCARD, |vm, a| ringbuf_end(vm, a, false)),
    (helper::PERF_EVENT_OUTPUT, perf_event_output),
    (helper::REDIRECT_MAP, redirect_map),
    (helper::SK_REDIRECT_MAP, redirect_sock),
    (helper::SK_REDIRECT_HASH, redirect_sock),
    (helper::MSG_REDIRECT_MAP, redirect_sock),
    (helper::MSG_REDIRECT_HASH, redirect_sock),
    (helper::SOCK_MAP_UPDATE, sock_update),
    (helper::SOCK_HASH_UPDATE, sock_update),
    (helper::SPIN_LOCK, |_, _| Ok(0)),
    (helper::SPIN_UNLOCK, |_, _| Ok(0)),
];

impl Vm {
    fn key(&self, helper: &'static str, map: u64, key: u64) -> Result<(usize, Vec<u8>), FaultKind> {
        let index = self.map_index(helper, map)?;
        let size = self.maps[index].spec().key_size as usize;
        Ok((index, self.copy(key, size)?))
    }

    /// `bpf_tail_call`: whether there is a program to go on with.
    pub(super) fn tail_call(&mut self, map: u64, index: u64) -> Result<bool, FaultKind> {
        let map = self.map_index("bpf_tail_call", map)?;
        let target = self.maps[map].handle(&low(index).to_le_bytes());
        let target = target.and_then(|t| usize::try_from(t).ok()).filter(|t| *t < self.programs.len());
        let (Some(target), true) = (target, self.tail_calls_left > 0) else { return Ok(false) };
        self.tail_calls_left -= 1;
        self.current = target;
        Ok(true)
    }
}

fn lookup(vm: &mut Vm, [map, key, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    find(vm, "bpf_map_lookup_elem", map, key, vm.host.cpu)
}

fn lookup_percpu(vm: &mut Vm, [map, key, cpu, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    match usize::try_from(low(cpu)) {
        Ok(cpu) if cpu < vm.host.cpus => find(vm, "bpf_map_lookup_percpu_elem", map, key, cpu),
        _ => Ok(0),
    }
}

fn find(vm: &mut Vm, helper: &'static str, map: u64, key: u64, cpu: usize) -> Result<u64, FaultKind> {
    let (index, key) = vm.key(helper, map, key)?;
    // A map of maps gives a map.
    if matches!(vm.maps[index].spec().map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS) {
        return Ok(vm.maps[index].handle(&key).map_or(0, |inner| crate::vm::program::MAP_BASE | inner));
    }
    Ok(vm.maps[index].lookup(&key, cpu).unwrap_or(0))
}

fn update(vm: &mut Vm, [map, key, value, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let (index, key) = vm.key("bpf_map_update_elem", map, key)?;
    let value = vm.copy(value, vm.maps[index].spec().value_size as usize)?;
    let cpu = vm.host.cpu;
    let result = vm.maps[index].update(&mut vm.memory, &key, &value, flags, Some(cpu));
    Ok(result.map_or_else(errno, |()| 0))
}

fn delete(vm: &mut Vm, [map, key, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let (index, key) = vm.key("bpf_map_delete_elem", map, key)?;
    Ok(vm.maps[index].delete(&key).map_or_else(errno, |()| 0))
}

fn push(vm: &mut Vm, [map, value, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_map_push_elem", map)?;
    let value = vm.copy(value, vm.maps[index].spec().value_size as usize)?;
    // BPF_EXIST: drop the oldest when full.
    Ok(vm.maps[index].push(&value, flags == 2).map_or_else(errno, |()| 0))
}

fn next(vm: &mut Vm, [map, value, ..]: [u64; 5], remove: bool) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_map_pop_elem", map)?;
    let len = vm.maps[index].spec().value_size as usize;
    if vm.maps[index].spec().map_type == MapType::BLOOM_FILTER {
        let value = vm.copy(value, len)?;
        return Ok(if vm.maps[index].holds(&value) { 0 } else { errno(-2) });
    }
    let out = vm.memory.bytes_mut(value, len)?;
    match vm.maps[index].next(remove) {
        Ok(bytes) => {
            out.copy_from_slice(&bytes);
            Ok(0)
        }
        Err(number) => Ok(errno(number)),
    }
}

fn for_each(vm: &mut Vm, [map, function, context, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_for_each_map_elem", map)?;
    if flags != 0 {
        return Ok(errno(-22));
    }
    let mut seen = 0;
    for key in vm.maps[index].keys() {
        let Some(value) = vm.maps[index].lookup(&key, vm.host.cpu) else { continue };
        let region = vm.memory.add(RegionKind::Buffer, key, false);
        seen += 1;
        let stop = vm.call_back("bpf_for_each_map_elem", function, [map, region.address(0), value, context])?;
        vm.memory.retire(region, "the callback's key is gone");
        if stop != 0 {
            break;
        }
    }
    Ok(seen)
}

fn bpf_loop(vm: &mut Vm, [count, function, context, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let count = low(count);
    if flags != 0 {
        return Ok(errno(-22));
    }
    if count > MAX_LOOPS {
        return Ok(errno(-7));
    }
    for i in 0..count {
        if vm.call_back("bpf_loop", function, [i.into(), context, 0, 0])? != 0 {
            return Ok(u64::from(i) + 1);
        }
    }
    Ok(count.into())
}

fn ringbuf_output(vm: &mut Vm, [map, data, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_ringbuf_output", map)?;
    let record = vm.copy(data, size("bpf_ringbuf_output", len)?)?;
    if !vm.maps[index].reserve(record.len()) {
        return Ok(errno(-11));
    }
    vm.maps[index].submit(Some(record));
    Ok(0)
}

fn ringbuf_reserve(vm: &mut Vm, [map, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_ringbuf_reserve", map)?;
    let len = size("bpf_ringbuf_reserve", len)?;
    if !vm.maps[index].reserve(len) {
        return Ok(0);
    }
    let region = vm.memory.add(RegionKind::Record, vec![0; len], true);
    vm.records.push((region, index));
    Ok(region.address(0))
}

fn ringbuf_end(vm: &mut Vm, [record, ..]: [u64; 5], keep: bool) -> Result<u64, FaultKind> {
    let found = vm.records.iter().position(|(region, _)| region.address(0) == record);
    let Some(found) = found else {
        return Err(bad("bpf_ringbuf_submit", format!("{record:#x} is not a reserved record")));
    };
    let (region, index) = vm.records.swap_remove(found);
    let bytes = vm.memory.retire(region, "it was submitted or discarded");
    vm.maps[index].submit(keep.then_some(bytes));
    Ok(0)
}

fn perf_event_output(vm: &mut Vm, [_, map, _, data, len]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_perf_event_output", map)?;
    let record = vm.copy(data, size("bpf_perf_event_output", len)?)?;
    vm.maps[index].submit(Some(record));
    Ok(0)
}

/// `XDP_REDIRECT`.
const XDP_REDIRECT: u64 = 4;

fn redirect_map(vm: &mut Vm, [map, key, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_redirect_map", map)?;
    let key = low(key).to_le_bytes().to_vec();
    match vm.maps[index].handle(&key) {
        Some(handle) => {
            vm.host.redirect = Some(Redirect::Map { map: index, key, handle, flags });
            Ok(XDP_REDIRECT)
        }
        // The lower two bits of the flags are the action when there is nothing under the key.
        None => Ok(flags & 3),
    }
}

/// `SK_PASS`.
const SK_PASS: u64 = 1;

fn redirect_sock(vm: &mut Vm, [_, map, key, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_msg_redirect_hash", map)?;
    let indexed = vm.maps[index].spec().map_type == MapType::SOCKMAP;
    let key =
        if indexed { low(key).to_le_bytes().to_vec() } else { vm.copy(key, vm.maps[index].spec().key_size as usize)? };
    match vm.maps[index].handle(&key) {
        Some(handle) => {
            vm.host.redirect = Some(Redirect::Map { map: index, key, handle, flags });
            Ok(SK_PASS)
        }
        None => Ok(0),
    }
}

fn sock_update(vm: &mut Vm, [_, map, key, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let (index, key) = vm.key("bpf_sock_hash_update", map, key)?;
    match (vm.maps[index].handle(&key), flags) {
        (Some(_), 1) => return Ok(errno(-17)),
        (None, 2) => return Ok(errno(-2)),
        _ => {}
    }
    let cookie = vm.host.socket_cookie;
    Ok(vm.maps[index].set_handle(&key, cookie).map_or_else(errno, |()| 0))
}

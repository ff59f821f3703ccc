//! Helpers on maps: elements, queues, storage, redirects, tail calls.

use super::{HelperFn, Redirect, bad, errno, low};
use crate::insn::helper::{self, Id};
use crate::object::MapType;
use crate::vm::{FaultKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::MAP_LOOKUP_ELEM, lookup),
    (helper::MAP_UPDATE_ELEM, update),
    (helper::MAP_DELETE_ELEM, delete),
    (helper::MAP_LOOKUP_PERCPU_ELEM, lookup_percpu),
    (helper::MAP_PUSH_ELEM, push),
    (helper::MAP_POP_ELEM, |vm, a| next(vm, a, true)),
    (helper::MAP_PEEK_ELEM, |vm, a| next(vm, a, false)),
    (helper::REDIRECT_MAP, redirect_map),
    (helper::SK_REDIRECT_MAP, redirect_sock),
    (helper::SK_REDIRECT_HASH, redirect_sock),
    (helper::MSG_REDIRECT_MAP, redirect_sock),
    (helper::MSG_REDIRECT_HASH, redirect_sock),
    (helper::SOCK_MAP_UPDATE, sock_update),
    (helper::SOCK_HASH_UPDATE, sock_update),
    (helper::SK_SELECT_REUSEPORT, select_reuseport),
    (helper::SK_STORAGE_GET, storage_get),
    (helper::INODE_STORAGE_GET, storage_get),
    (helper::TASK_STORAGE_GET, storage_get),
    (helper::CGRP_STORAGE_GET, storage_get),
    (helper::SK_STORAGE_DELETE, storage_delete),
    (helper::INODE_STORAGE_DELETE, storage_delete),
    (helper::TASK_STORAGE_DELETE, storage_delete),
    (helper::CGRP_STORAGE_DELETE, storage_delete),
    (helper::GET_LOCAL_STORAGE, |vm, [map, ..]| find_bytes(vm, "bpf_get_local_storage", map, &[0; 4])),
    (helper::TIMER_INIT, |_, _| Err(bad("bpf_timer_init", NO_TIMERS))),
    (helper::TIMER_SET_CALLBACK, |_, _| Err(bad("bpf_timer_set_callback", NO_TIMERS))),
    (helper::TIMER_START, |_, _| Err(bad("bpf_timer_start", NO_TIMERS))),
    (helper::TIMER_CANCEL, |_, _| Err(bad("bpf_timer_cancel", NO_TIMERS))),
    (helper::SPIN_LOCK, |_, _| Ok(0)),
    (helper::SPIN_UNLOCK, |_, _| Ok(0)),
];

/// Why timers are refused.
const NO_TIMERS: &str =
    "the interpreter has no timers: nothing runs when the program is done; call the callback yourself";

impl Vm {
    fn key(&self, helper: &'static str, map: u64, key: u64) -> Result<(usize, Vec<u8>), FaultKind> {
        let index = self.map_index(helper, map)?;
        let size = self.maps[index].spec().key_size as usize;
        Ok((index, self.copy(key, size)?))
    }

    /// `bpf_tail_call`: whether there is a program to go on with.
    pub(super) fn tail_call(&mut self, map: u64, index: u64) -> Result<bool, FaultKind> {
        let target = self.tail_target(map, index, self.programs.len())?;
        self.current = target.unwrap_or(self.current);
        Ok(target.is_some())
    }

    /// Which of `programs` a tail call goes on with; `None` where there is none, or too many were made.
    pub(crate) fn tail_target(&mut self, map: u64, index: u64, programs: usize) -> Result<Option<usize>, FaultKind> {
        let map = self.map_index("bpf_tail_call", map)?;
        let target = self.maps[map].handle(&low(index).to_le_bytes());
        let target = target.and_then(|t| usize::try_from(t).ok()).filter(|t| *t < programs);
        let (Some(target), true) = (target, self.tail_calls_left > 0) else { return Ok(None) };
        self.tail_calls_left -= 1;
        Ok(Some(target))
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
    match vm.maps[index].spec().map_type {
        // A map of maps gives a map.
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
            Ok(vm.maps[index].handle(&key).map_or(0, |inner| crate::vm::program::MAP_BASE | inner))
        }
        // A map of sockets gives a socket; programs see its cookie.
        MapType::SOCKMAP | MapType::SOCKHASH => {
            let cookie = vm.maps[index].handle(&key);
            Ok(cookie.map_or(0, |cookie| vm.socket(cookie)))
        }
        _ => Ok(vm.maps[index].lookup(&key, cpu).unwrap_or(0)),
    }
}

/// As [`find`], with the key at hand.
fn find_bytes(vm: &mut Vm, helper: &'static str, map: u64, key: &[u8]) -> Result<u64, FaultKind> {
    let (index, cpu) = (vm.map_index(helper, map)?, vm.host.cpu);
    Ok(vm.maps[index].lookup(key, cpu).unwrap_or(0))
}

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// Storage is a hash whose key is the owner's pointer; `value` is what a new element starts with.
fn storage_get(vm: &mut Vm, [map, owner, value, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let helper = "bpf_sk_storage_get";
    let (index, key) = (vm.map_index(helper, map)?, owner.to_le_bytes());
    let found = find_bytes(vm, helper, map, &key)?;
    if found != 0 || owner == 0 || flags & CREATE == 0 {
        return Ok(found);
    }
    let len = vm.maps[index].spec().value_size as usize;
    let first = if value == 0 { vec![0; len] } else { vm.copy(value, len)? };
    match vm.maps[index].update(&mut vm.memory, &key, &first, 0, None) {
        Ok(()) => find_bytes(vm, helper, map, &key),
        Err(_) => Ok(0),
    }
}

fn storage_delete(vm: &mut Vm, [map, owner, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_sk_storage_delete", map)?;
    Ok(vm.maps[index].delete(&owner.to_le_bytes()).map_or_else(errno, |()| 0))
}

fn select_reuseport(vm: &mut Vm, [_, map, key, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let (index, key) = vm.key("bpf_sk_select_reuseport", map, key)?;
    let Some(handle) = vm.maps[index].handle(&key) else { return Ok(errno(-2)) };
    vm.host.redirect = Some(Redirect::Map { map: index, key, handle, flags });
    Ok(0)
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
    // BPF_EXIST (2): drop the oldest when full.
    if flags != 0 && flags != 2 {
        return Ok(errno(-22));
    }
    Ok(vm.maps[index].push(&value, flags == 2).map_or_else(errno, |()| 0))
}

fn next(vm: &mut Vm, [map, value, ..]: [u64; 5], remove: bool) -> Result<u64, FaultKind> {
    let index = vm.map_index("bpf_map_pop_elem", map)?;
    let len = vm.maps[index].spec().value_size as usize;
    if vm.maps[index].spec().map_type == MapType::BLOOM_FILTER {
        if remove {
            return Ok(errno(EOPNOTSUPP));
        }
        let value = vm.copy(value, len)?;
        return Ok(if vm.maps[index].holds(&value) { 0 } else { errno(-2) });
    }
    let out = vm.memory.bytes_mut(value, len)?;
    match vm.maps[index].next(remove) {
        Ok(bytes) => {
            out.copy_from_slice(&bytes);
            Ok(0)
        }
        Err(number) => {
            out.fill(0);
            Ok(errno(number))
        }
    }
}

/// `-EOPNOTSUPP`.
const EOPNOTSUPP: i64 = -95;

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

//! Helpers on sockets, messages and their options. Sockets themselves are the host's: lookups find none.

use super::{HelperFn, errno, low, size};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, RegionKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::GET_SOCKET_COOKIE, |vm, _| Ok(vm.host.socket_cookie)),
    (helper::GET_NETNS_COOKIE, |vm, _| Ok(vm.host.netns_cookie)),
    (helper::SETSOCKOPT, setsockopt),
    (helper::GETSOCKOPT, getsockopt),
    (helper::SOCK_OPS_CB_FLAGS_SET, cb_flags_set),
    (helper::MSG_APPLY_BYTES, |vm, [_, bytes, ..]| {
        vm.host.apply_bytes = low(bytes);
        Ok(0)
    }),
    (helper::MSG_CORK_BYTES, |vm, [_, bytes, ..]| {
        vm.host.cork_bytes = low(bytes);
        Ok(0)
    }),
    (helper::MSG_PULL_DATA, msg_pull_data),
    (helper::SK_LOOKUP_TCP, |_, _| Ok(0)),
    (helper::SK_LOOKUP_UDP, |_, _| Ok(0)),
    (helper::SKC_LOOKUP_TCP, |_, _| Ok(0)),
    (helper::SK_RELEASE, |_, _| Ok(0)),
    (helper::SK_FULLSOCK, |_, [sock, ..]| Ok(sock)),
    (helper::TCP_SOCK, |_, _| Ok(0)),
    (helper::SK_ASSIGN, |_, _| Ok(0)),
    (helper::BIND, |_, _| Ok(0)),
];

/// Flags that a sock_ops program may set. C: `BPF_SOCK_OPS_ALL_CB_FLAGS`.
const ALL_CB_FLAGS: u32 = 0x7f;

impl Vm {
    /// A socket found in a map: its cookie is what a program can see of it, eight bytes long.
    pub(super) fn socket(&mut self, cookie: u64) -> u64 {
        self.memory.add(RegionKind::Sock, cookie.to_le_bytes().to_vec(), false).address(0)
    }
}

fn setsockopt(vm: &mut Vm, [_, level, name, value, len]: [u64; 5]) -> Result<u64, FaultKind> {
    let value = vm.copy(value, size("bpf_setsockopt", len)?)?;
    vm.host.sockopts.insert((low(level), low(name)), value);
    Ok(0)
}

/// What was set before; `-EINVAL`, and zeroes, for an option that nobody set.
fn getsockopt(vm: &mut Vm, [_, level, name, to, len]: [u64; 5]) -> Result<u64, FaultKind> {
    let set = vm.host.sockopts.get(&(low(level), low(name))).cloned();
    let target = vm.memory.bytes_mut(to, size("bpf_getsockopt", len)?)?;
    target.fill(0);
    match set.filter(|set| set.len() <= target.len()) {
        Some(set) => {
            target[..set.len()].copy_from_slice(&set);
            Ok(0)
        }
        None => Ok(errno(-22)),
    }
}

/// Sets the flags that exist and gives back the others.
fn cb_flags_set(vm: &mut Vm, [_, flags, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    vm.set_context_field("bpf_sock_ops_cb_flags", low(flags) & ALL_CB_FLAGS);
    Ok((low(flags) & !ALL_CB_FLAGS).into())
}

/// Makes `start..end` of the message the bytes between `data` and `data_end`.
fn msg_pull_data(vm: &mut Vm, [_, start, end, flags, _]: [u64; 5]) -> Result<u64, FaultKind> {
    let (start, end) = (low(start) as usize, low(end) as usize);
    let Some(packet) = &mut vm.packet else { return Ok(errno(-22)) };
    let len = packet.end - packet.data;
    if flags != 0 || start >= end || end > len {
        return Ok(errno(-22));
    }
    packet.region = vm.memory.renew(packet.region, "bpf_msg_pull_data moved the message");
    (packet.data, packet.end) = (packet.data + start, packet.data + end);
    vm.memory.set_bounds(packet.region, packet.data, packet.end);
    Ok(0)
}

//! Helper functions of the interpreter, by the kernel's numbers.
//!
//! Input: the machine and `r1`–`r5`. Output: `r0`, or a fault where the verifier would refuse the call. What a helper
//! asks of the world (clock, CPU, random numbers, routes) comes from [`Host`], so a run is repeatable.
//! Read next: `map.rs` (maps, tail calls), `ring.rs` (ring buffers, dynamic pointers), `packet.rs` (packets), `checksum.rs`,
//! `socket.rs`, `system.rs` (clock, tasks, text), `kfunc.rs` (kernel functions).

use std::collections::BTreeMap;

use super::fault::MemoryFault;
use super::program::MAP_BASE;
use super::{FaultKind, Vm};
use crate::insn::helper;

mod checksum;
mod kfunc;
mod map;
mod packet;
mod ring;
mod socket;
mod system;

pub use kfunc::kfunc;

/// A helper: gets the machine and `r1`–`r5`, gives `r0`.
///
/// # Errors
/// A [`FaultKind`] where the verifier would refuse the call.
pub type HelperFn = fn(&mut Vm, [u64; 5]) -> Result<u64, FaultKind>;

/// The world around the machine; set what a test needs.
#[derive(Debug, Clone)]
pub struct Host {
    /// `bpf_ktime_get_ns`: nanoseconds; each call adds [`Host::tick`].
    pub time_ns: u64,
    /// Nanoseconds that pass with each look at the clock.
    pub tick: u64,
    /// State of `bpf_get_prandom_u32`; the same seed gives the same numbers.
    pub seed: u64,
    /// The CPU that the program runs on, below [`Host::cpus`].
    pub cpu: usize,
    /// CPUs of the machine; per-CPU maps made from now on have that many values an element.
    pub cpus: usize,
    /// `bpf_get_current_pid_tgid`.
    pub pid_tgid: u64,
    /// `bpf_get_current_uid_gid`.
    pub uid_gid: u64,
    /// `bpf_get_current_comm`.
    pub comm: [u8; 16],
    /// `bpf_get_socket_cookie`.
    pub socket_cookie: u64,
    /// `bpf_get_netns_cookie`.
    pub netns_cookie: u64,
    /// `bpf_get_current_cgroup_id` and `bpf_skb_cgroup_id`.
    pub cgroup_id: u64,
    /// Socket options that programs set, by level and number; what they get.
    pub sockopts: BTreeMap<(u32, u32), Vec<u8>>,
    /// `bpf_msg_apply_bytes`: bytes that the verdict holds for.
    pub apply_bytes: u32,
    /// `bpf_msg_cork_bytes`: bytes to wait for.
    pub cork_bytes: u32,
    /// Answers `bpf_fib_lookup`: gets `struct bpf_fib_lookup` and may change it, gives `BPF_FIB_LKUP_RET_…`.
    pub fib: fn(&mut [u8]) -> u64,
    /// Lines that `bpf_trace_printk` printed.
    pub printed: Vec<String>,
    /// Where the packet was last redirected to.
    pub redirect: Option<Redirect>,
}

/// Target of `bpf_redirect`, `bpf_redirect_map` and the message and socket redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirect {
    /// An interface, with the flags given.
    Ifindex(u32, u64),
    /// The object in a map under a key, with the flags given.
    Map {
        /// Index of the map.
        map: usize,
        /// The key.
        key: Vec<u8>,
        /// What the host put there.
        handle: u64,
        /// Flags of the call.
        flags: u64,
    },
}

impl Default for Host {
    fn default() -> Self {
        Self {
            time_ns: 1_000_000_000,
            tick: 1_000,
            seed: 0x9e37_79b9_7f4a_7c15,
            cpu: 0,
            cpus: 1,
            pid_tgid: 1 << 32 | 1,
            uid_gid: 0,
            comm: *b"interpreter\0\0\0\0\0",
            socket_cookie: 1,
            netns_cookie: 1,
            cgroup_id: 1,
            sockopts: BTreeMap::new(),
            apply_bytes: 0,
            cork_bytes: 0,
            fib: |_| FIB_NOT_FORWARDED,
            printed: Vec::new(),
            redirect: None,
        }
    }
}

/// `BPF_FIB_LKUP_RET_NOT_FWDED`: the packet is not for forwarding.
const FIB_NOT_FORWARDED: u64 = 4;

/// The helpers every machine starts with.
pub(super) fn standard() -> BTreeMap<u32, HelperFn> {
    let tables = [map::TABLE, ring::TABLE, packet::TABLE, checksum::TABLE, socket::TABLE, system::TABLE];
    tables.into_iter().flatten().map(|(id, f)| (id.0.cast_unsigned(), *f)).collect()
}

impl Vm {
    /// A `call` of helper `id`. A tail call that succeeds moves `pc`, and so does a callback.
    pub(super) fn call_helper(&mut self, id: u32, pc: &mut usize) -> Result<(), FaultKind> {
        let [_, r1, r2, r3, r4, r5, ..] = self.regs;
        if id == helper::TAIL_CALL.0.cast_unsigned() {
            if self.tail_call(r2, r3)? {
                *pc = 0;
            } else {
                self.regs[0] = errno(-2);
            }
            return Ok(());
        }
        if id == helper::LOOP.0.cast_unsigned() {
            *pc = self.start_loop([r1, r2, r3, r4, r5], *pc)?;
            return Ok(());
        }
        if id == helper::FOR_EACH_MAP_ELEM.0.cast_unsigned() {
            *pc = self.start_each([r1, r2, r3, r4, r5], *pc)?;
            return Ok(());
        }
        let helper = *self.helpers.get(&id).ok_or(FaultKind::NoHelper(id))?;
        let packet = self.packet.map(|packet| packet.region);
        self.regs[0] = helper(self, [r1, r2, r3, r4, r5])?;
        if packet.is_some() && self.packet.map(|packet| packet.region) == packet {
            self.distrust_packet(id);
        }
        Ok(())
    }

    /// The verifier forgets all packet pointers at a helper that may move the packet, whatever it did.
    fn distrust_packet(&mut self, id: u32) {
        let known = i32::try_from(id).ok().and_then(|id| helper::Id(id).helper());
        if known.is_some_and(|helper| helper.moves_packet) {
            self.move_packet(0, 0, 0, "a helper that may move the packet was called");
        }
    }

    /// The index of the map whose address is `address`.
    pub(crate) fn map_index(&self, helper: &'static str, address: u64) -> Result<usize, FaultKind> {
        let index = address ^ MAP_BASE;
        let known = usize::try_from(index).ok().filter(|i| *i < self.maps.len());
        known.ok_or_else(|| bad(helper, format!("{address:#x} is no map")))
    }

    /// `size` bytes at `address`, as a copy.
    fn copy(&self, address: u64, size: usize) -> Result<Vec<u8>, MemoryFault> {
        Ok(self.memory.bytes(address, size)?.to_vec())
    }
}

fn bad(helper: &'static str, why: impl Into<String>) -> FaultKind {
    FaultKind::BadCall { helper, why: why.into() }
}

/// A negative error number as a register holds it.
fn errno(number: i64) -> u64 {
    number.cast_unsigned()
}

/// A count of bytes that a program passes in a register.
fn size(helper: &'static str, value: u64) -> Result<usize, FaultKind> {
    let limit = 1 << 24;
    usize::try_from(value).ok().filter(|s| *s <= limit).ok_or_else(|| bad(helper, format!("{value} bytes")))
}

/// The lower half of a register, where the kernel's parameter is 32 bits wide.
#[expect(clippy::cast_possible_truncation, reason = "as the kernel does with a u32 parameter")]
fn low(value: u64) -> u32 {
    value as u32
}

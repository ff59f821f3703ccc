//! Helper functions of the interpreter, by the kernel's numbers.
//!
//! Input: the machine and `r1`–`r5`. Output: `r0`, or a fault where the verifier would refuse the call. What a helper
//! asks of the world (clock, CPU, random numbers, routes) comes from [`Host`], so a run is repeatable.
//! Read next: `map.rs` (maps, ring buffers, tail calls), `packet.rs` (packets), `system.rs` (the rest).

use std::collections::BTreeMap;

use super::fault::MemoryFault;
use super::program::MAP_BASE;
use super::trace::NoTrace;
use super::{FaultKind, Vm};
use crate::insn::helper;

mod map;
mod packet;
mod system;

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
    let all = map::TABLE.iter().chain(packet::TABLE).chain(system::TABLE);
    all.map(|(id, f)| (id.0.cast_unsigned(), *f)).collect()
}

impl Vm {
    /// A `call` of helper `id`. A tail call that succeeds moves `pc`.
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
        let helper = *self.helpers.get(&id).ok_or(FaultKind::NoHelper(id))?;
        self.regs[0] = helper(self, [r1, r2, r3, r4, r5])?;
        Ok(())
    }

    /// Calls the function whose address is `function` with `args`, as `bpf_loop` does, and gives its result.
    fn call_back(&mut self, helper: &'static str, function: u64, args: [u64; 4]) -> Result<u64, FaultKind> {
        let slot = function ^ super::program::FUNC_BASE;
        let start = usize::try_from(slot).ok().filter(|s| *s < self.programs[self.current].steps.len());
        let start = start.ok_or_else(|| bad(helper, format!("{function:#x} is no function")))?;
        self.enter(0)?;
        self.regs[1..=4].copy_from_slice(&args);
        let result = self.run_from(start, &mut NoTrace);
        self.leave();
        result.map_err(|fault| fault.kind)
    }

    /// The index of the map whose address is `address`.
    fn map_index(&self, helper: &'static str, address: u64) -> Result<usize, FaultKind> {
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

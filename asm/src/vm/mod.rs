//! The interpreter: a whole eBPF machine in user space, for tests without a kernel and for watching a program step by
//! step.
//!
//! Input: instructions ([`Program`]), maps ([`MapSpec`]), and plain memory or a [`Context`]: a packet, a message, a socket.
//! Output: `r0`, the packet as the program left it, the maps, and on request a trace of every step. Every access to
//! memory is checked, so a program that the verifier would have to refuse ends in a [`Fault`] that says what it did.
//!
//! Read next: `program.rs` (decoding, once), `alu.rs` and `eval.rs` (arithmetic), `exec.rs` (the loop), `frames.rs` (calls), `memory.rs`,
//! `maps/`, `helpers/`, `context/`, `trace.rs`.
//!
//! ```
//! use asm::insn::{Builder, R0, R1, R2, Size};
//! use asm::vm::Vm;
//!
//! let mut b = Builder::new();
//! b.load(Size::H, R0, R1, 0); // r1 = memory, r2 = its length
//! b.add(R0, R2);
//! b.exit();
//! let mut vm = Vm::new(&b.finish()?.insns)?;
//! assert_eq!(vm.run_on_bytes(&mut [0x34, 0x12])?, 0x1236);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use crate::insn::InsnIdx;

mod alu;
mod context;
pub(crate) mod eval;
mod exec;
mod fault;
mod frames;
mod helpers;
mod link;
pub mod maps;
mod memory;
mod program;
mod serve;
mod trace;

pub use context::{
    CONTEXTS, Context, ContextError, ContextRun, ContextType, Field, HEADROOM, Meaning, PacketRun, Skb, Xdp,
};
pub use fault::{Access, MemoryFault, RegionKind};
pub use helpers::{HelperFn, Host, Redirect, kfunc};
pub use link::LinkError;
pub use maps::{Map, MapError, MapSpec};
pub use memory::{Memory, RegionId};
pub use program::{Program, ProgramError};
pub use trace::{NoTrace, TextTrace, Tracer};

use context::{Live, NO_CONTEXT, Packet};
use frames::Frame;
pub(crate) use program::{FUNC_BASE, MAP_BASE};

/// Call frames a program may be in at once: the kernel's `MAX_CALL_FRAMES`.
pub const MAX_FRAMES: usize = 8;
/// Bytes of stack of a call frame: the kernel's `MAX_BPF_STACK`.
pub const STACK_SIZE: usize = 512;
/// Steps after which a run is stopped, unless [`Vm::set_step_limit`] says otherwise.
pub const STEP_LIMIT: u64 = 100_000_000;

/// What a program did that no kernel would have let it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("instruction {at}: {kind}")]
pub struct Fault {
    /// Index of the program that was running; tail calls change it.
    pub program: usize,
    /// The instruction.
    pub at: InsnIdx,
    /// What it did.
    #[source]
    pub kind: FaultKind,
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access that no region allows.
    #[error(transparent)]
    Memory(#[from] MemoryFault),
    /// An atomic access off its natural alignment.
    #[error("{access} of {size} bytes at {address:#x} is atomic and not aligned")]
    Misaligned {
        /// What was done.
        access: Access,
        /// The address.
        address: u64,
        /// Bytes.
        size: usize,
    },
    /// The last instruction is neither `exit` nor a jump.
    #[error("the program runs past its last instruction")]
    FellOff,
    /// More calls in each other than [`MAX_FRAMES`].
    #[error("more than {MAX_FRAMES} call frames")]
    CallDepth,
    /// The run took more steps than it may.
    #[error("stopped after {0} steps; an endless loop?")]
    StepLimit(u64),
    /// A helper that the interpreter does not have.
    #[error("no helper {0} here; register one with Vm::set_helper")]
    NoHelper(u32),
    /// A kernel function that the interpreter does not have.
    #[error("no kernel function {0} here")]
    NoKfunc(i32),
    /// A helper was called with arguments that the verifier would refuse.
    #[error("helper {helper}: {why}")]
    BadCall {
        /// The helper's name.
        helper: &'static str,
        /// What is wrong with its arguments.
        why: String,
    },
}

/// The machine: programs, registers, memory, maps, and the host around it.
#[derive(Debug, Clone)]
pub struct Vm {
    programs: Vec<Program>,
    /// Index of the program that runs.
    current: usize,
    /// `r0`–`r10`, and a cell for the constant of the running step.
    regs: [u64; 16],
    frames: Vec<Frame>,
    stacks: Vec<RegionId>,
    memory: Memory,
    maps: Vec<Map>,
    /// Upper half of the addresses in the context, whose fields are loaded and stored one by one.
    context_page: u64,
    context: Option<Live>,
    packet: Option<Packet>,
    /// Ring-buffer records that are reserved and not yet submitted, with their map.
    records: Vec<(RegionId, usize, u64)>,
    helpers: BTreeMap<u32, HelperFn>,
    host: Host,
    limit: u64,
    steps_left: u64,
    may_goto_left: u32,
    tail_calls_left: u32,
}

/// The kernel's `BPF_MAX_LOOPS`: how often `may_goto` lets a loop go round, and `bpf_loop`'s largest count.
const MAX_LOOPS: u32 = 8 << 20;
/// The kernel's `MAX_TAIL_CALL_CNT`.
const MAX_TAIL_CALLS: u32 = 33;

impl Vm {
    /// A machine with one program and no maps.
    ///
    /// # Errors
    /// [`ProgramError`] when an instruction means nothing here or a jump leaves the program.
    pub fn new(insns: &[crate::insn::Insn]) -> Result<Self, ProgramError> {
        let mut memory = Memory::new();
        let stack = |depth| RegionKind::Stack(u8::try_from(depth).unwrap_or(u8::MAX));
        let stacks = (0..MAX_FRAMES).map(|depth| memory.add(stack(depth), vec![0; STACK_SIZE], true)).collect();
        Ok(Self {
            programs: vec![Program::new(insns)?],
            current: 0,
            regs: [0; 16],
            frames: Vec::with_capacity(MAX_FRAMES),
            stacks,
            memory,
            maps: Vec::new(),
            context_page: NO_CONTEXT,
            context: None,
            packet: None,
            records: Vec::new(),
            helpers: helpers::standard(),
            host: Host::default(),
            limit: STEP_LIMIT,
            steps_left: 0,
            may_goto_left: 0,
            tail_calls_left: 0,
        })
    }

    /// Adds a program for tail calls and gives its index: what a program-array map holds.
    ///
    /// # Errors
    /// As [`Vm::new`].
    pub fn add_program(&mut self, insns: &[crate::insn::Insn]) -> Result<usize, ProgramError> {
        self.programs.push(Program::new(insns)?);
        Ok(self.programs.len() - 1)
    }

    /// Adds a map and gives its index: what `BPF_PSEUDO_MAP_IDX` names.
    ///
    /// # Errors
    /// [`MapError`] when the interpreter has no such map type or the sizes are wrong.
    pub fn add_map(&mut self, spec: MapSpec) -> Result<usize, MapError> {
        let index = u32::try_from(self.maps.len()).unwrap_or(u32::MAX);
        self.maps.push(Map::new(spec, index, self.host.cpus, &mut self.memory)?);
        Ok(self.maps.len() - 1)
    }

    /// The map called `name`, and the memory its values live in.
    pub fn map(&mut self, name: &str) -> Option<(&mut Map, &mut Memory)> {
        let map = self.maps.iter_mut().find(|m| m.spec().name == name)?;
        Some((map, &mut self.memory))
    }

    /// The map with this index, and the memory its values live in.
    pub fn map_at(&mut self, index: usize) -> Option<(&mut Map, &mut Memory)> {
        Some((self.maps.get_mut(index)?, &mut self.memory))
    }

    /// Gives helper number `id` a meaning of the host's own, in place of the interpreter's.
    pub fn set_helper(&mut self, id: u32, helper: HelperFn) {
        self.helpers.insert(id, helper);
    }

    /// Clock, CPU, random numbers and whatever else programs ask their surroundings for.
    pub fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    /// Steps after which a run ends in [`FaultKind::StepLimit`].
    pub fn set_step_limit(&mut self, steps: u64) {
        self.limit = steps;
    }

    /// Steps that the last run took.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.limit - self.steps_left
    }

    /// All memory, to read what a pointer points at.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The registers `r0`–`r10`.
    #[must_use]
    pub fn registers(&self) -> &[u64; 11] {
        // The array has 16 cells.
        self.regs.first_chunk().unwrap_or(&[0; 11])
    }

    /// The program that runs, or ran last.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.programs[self.current]
    }

    /// Runs on plain memory: `r1` is its address (null when it is empty), `r2` its length.
    ///
    /// # Errors
    /// [`Fault`] when the program does something no kernel would allow.
    pub fn run_on_bytes(&mut self, bytes: &mut [u8]) -> Result<u64, Fault> {
        self.trace_on_bytes(bytes, &mut NoTrace)
    }

    /// As [`Vm::run_on_bytes`], and every step is told to `tracer`.
    ///
    /// # Errors
    /// As [`Vm::run_on_bytes`].
    pub fn trace_on_bytes<T: Tracer>(&mut self, bytes: &mut [u8], tracer: &mut T) -> Result<u64, Fault> {
        self.in_bytes(bytes, |vm, args| vm.run(&args, tracer))
    }

    /// Puts plain memory in place, lets `run` do something with its address and length, and copies it back.
    pub(crate) fn in_bytes<E>(
        &mut self,
        bytes: &mut [u8],
        run: impl FnOnce(&mut Self, [u64; 2]) -> Result<u64, E>,
    ) -> Result<u64, E> {
        let before = self.memory.mark();
        let region = self.memory.add(RegionKind::Buffer, bytes.to_vec(), true);
        let address = if bytes.is_empty() { 0 } else { region.address(0) };
        let result = run(self, [address, bytes.len() as u64]);
        bytes.copy_from_slice(self.memory.region(region));
        self.memory.release(before);
        result
    }

    /// Runs the first program with `args` in `r1`, `r2` ….
    fn run<T: Tracer>(&mut self, args: &[u64], tracer: &mut T) -> Result<u64, Fault> {
        self.reset();
        self.regs[1..=args.len()].copy_from_slice(args);
        self.regs[10] = self.stack_top(0);
        self.run_from(0, tracer)
    }

    /// Forgets the last run; maps and host stay as they are.
    pub(crate) fn reset(&mut self) {
        self.regs = [0; 16];
        self.frames.clear();
        self.records.clear();
        self.current = 0;
        self.steps_left = self.limit;
        self.may_goto_left = MAX_LOOPS;
        self.tail_calls_left = MAX_TAIL_CALLS;
    }

    /// The frame pointer of the frame at `depth`.
    fn stack_top(&self, depth: usize) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "512")]
        self.stacks[depth].address(STACK_SIZE as u32)
    }

    /// The address `offset` bytes into the first value of map `index`.
    pub(crate) fn map_value_address(&mut self, index: u32, offset: u64) -> Result<u64, FaultKind> {
        let helper = "ld_imm64 map value";
        let map = self.maps.get_mut(index as usize);
        let first = map.and_then(|m| m.lookup(&[0; 4], 0));
        let address = first.ok_or_else(|| FaultKind::BadCall { helper, why: format!("map {index} has no values") })?;
        Ok(address + offset)
    }
}

#[cfg(test)]
mod tests;

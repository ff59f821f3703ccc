//! Watching a run: what each step reads, writes and leaves in the registers.
//!
//! Input: the machine before and after each step. Output: whatever a [`Tracer`] makes of it; [`TextTrace`] makes a line
//! a step, in the notation of the verifier's log. A run that is not watched pays nothing for it.

use std::fmt::Write as _;

use super::fault::RegionKind;
use super::{MAX_FRAMES, Vm};
use crate::insn::{InsnIdx, Op, Size};

/// Is told of every step of a run.
pub trait Tracer {
    /// Whether there is anybody to tell; `false` removes the calls at compile time.
    const ON: bool = true;

    /// Before the instruction at `at` runs.
    fn before(&mut self, vm: &Vm, at: InsnIdx);

    /// After it ran; not called when it faulted.
    fn after(&mut self, vm: &Vm, at: InsnIdx);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Tracer for NoTrace {
    const ON: bool = false;
    fn before(&mut self, _: &Vm, _: InsnIdx) {}
    fn after(&mut self, _: &Vm, _: InsnIdx) {}
}

/// A line a step: slot, instruction, the memory it touched, the registers it changed.
///
/// ```text
///    3: r4 = *(u16 *)(r2 + 12)                    packet+12 → r4=0x8
/// ```
#[derive(Debug, Clone, Default)]
pub struct TextTrace {
    text: String,
    regs: [u64; 11],
    touched: String,
    depth: usize,
}

impl TextTrace {
    /// The lines so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines so far, and an empty trace from here on.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

impl Tracer for TextTrace {
    fn before(&mut self, vm: &Vm, at: InsnIdx) {
        self.regs = *vm.registers();
        self.depth = vm.frames.len();
        self.touched.clear();
        let op = op_at(vm, at);
        if let Some((address, size)) = op.and_then(|op| accessed(op, &self.regs)) {
            self.touched = place(vm, address);
            let _ = write!(self.touched, " ({} bytes)", size.bytes());
        }
        let text = op.map_or_else(String::new, |op| op.to_string());
        let indent = self.depth.min(MAX_FRAMES) * 2;
        let _ = match self.touched.as_str() {
            "" => writeln!(self.text, "{:>4}: {:indent$}{text}", at.0, ""),
            touched => writeln!(self.text, "{:>4}: {:indent$}{text:<40} {touched}", at.0, ""),
        };
    }

    fn after(&mut self, vm: &Vm, at: InsnIdx) {
        // A call or return changes many registers by the calling convention; their values are shown as they are used.
        if vm.frames.len() != self.depth || op_at(vm, at).is_none() {
            return;
        }
        let changed = (0..10).filter(|r| vm.registers()[*r] != self.regs[*r]);
        let mut shown = String::new();
        for r in changed {
            let _ = write!(shown, " r{r}={}", value(vm, vm.registers()[r]));
        }
        if !shown.is_empty() {
            self.text.truncate(self.text.trim_end().len());
            let _ = writeln!(self.text, "  →{shown}");
        }
    }
}

fn op_at(vm: &Vm, at: InsnIdx) -> Option<Op> {
    let rest = vm.program().insns().get(at.index()..)?;
    Some(Op::decode(rest).ok()?.0)
}

/// The address and size that an operation is about to touch.
fn accessed(op: Op, regs: &[u64; 11]) -> Option<(u64, Size)> {
    let (base, off, size) = match op {
        Op::Load { size, src, off, .. } | Op::LoadSx { size, src, off, .. } => (src, off, size),
        Op::Store { size, dst, off, .. } | Op::Atomic { size, dst, off, .. } => (dst, off, size),
        _ => return None,
    };
    Some((regs[usize::from(base.num())].wrapping_add_signed(i64::from(off)), size))
}

/// An address in words: `packet+12`, `fp-8`.
fn place(vm: &Vm, address: u64) -> String {
    match vm.memory().locate(address) {
        Some((RegionKind::Stack(depth), _, offset)) => {
            let from_top = distance(super::STACK_SIZE, offset);
            if usize::from(depth) == vm.frames.len() {
                format!("fp{from_top:+}")
            } else {
                format!("fp{from_top:+} of frame {depth}")
            }
        }
        Some((kind, region, offset)) => {
            let (low, _) = vm.memory().bounds(region);
            format!("{kind}{:+}", distance(low, offset))
        }
        None => format!("{address:#x}"),
    }
}

/// Bytes from `start` to `offset`; regions are far smaller than 2⁶³ bytes.
fn distance(start: usize, offset: u32) -> i64 {
    i64::from(offset) - i64::try_from(start).unwrap_or(i64::MAX)
}

/// A register's value: a pointer in words, a number in hex.
fn value(vm: &Vm, value: u64) -> String {
    match vm.memory().locate(value) {
        Some(_) => format!("{{{}}}", place(vm, value)),
        None => format!("{value:#x}"),
    }
}

//! The interpreter's loop: one step after the other, until the program exits or does something no kernel would allow.
//!
//! Input: a [`super::Program`] and the machine around it. Output: `r0`, or a [`Fault`] that names the instruction.
//! Read next: `alu.rs` for arithmetic, `memory.rs` for what an access may touch, `helpers/mod.rs` for calls.

use super::alu::{Exec, compute, holds, low};
use super::eval;
use super::fault::Access;
use super::program::{FUNC_BASE, IMM, Step};
use super::trace::Tracer;
use super::{Fault, FaultKind, Vm};
use crate::insn::{AtomicOp, InsnIdx};

impl Vm {
    /// Runs from `pc` until the function that starts there returns; `r0` is its result.
    pub(super) fn run_from<T: Tracer>(&mut self, start: usize, tracer: &mut T) -> Result<u64, Fault> {
        let depth = self.frames.len();
        let mut pc = start;
        loop {
            let at = pc;
            if self.steps_left == 0 {
                return Err(self.fault(at, FaultKind::StepLimit(self.limit)));
            }
            self.steps_left -= 1;
            if T::ON {
                tracer.before(self, InsnIdx::from(at));
            }
            let step = self.programs[self.current].steps[pc];
            pc += 1;
            match self.step(step, &mut pc) {
                Ok(Flow::Next) => {}
                Ok(Flow::Return) if self.frames.len() == depth => {
                    if T::ON {
                        tracer.after(self, InsnIdx::from(at));
                    }
                    return Ok(self.regs[0]);
                }
                Ok(Flow::Return) => pc = self.leave().map_err(|kind| self.fault(at, kind))?,
                Err(kind) => return Err(self.fault(at, kind)),
            }
            if T::ON {
                tracer.after(self, InsnIdx::from(at));
            }
        }
    }

    pub(super) fn fault(&self, at: usize, kind: FaultKind) -> Fault {
        Fault { program: self.current, at: InsnIdx::from(at), kind }
    }

    #[inline(always)]
    fn step(&mut self, s: Step, pc: &mut usize) -> Result<Flow, FaultKind> {
        use Exec::*;
        let (d, r) = (usize::from(s.dst & 15), usize::from(s.src & 15));
        self.regs[usize::from(IMM)] = s.imm;
        let (a, b) = (self.regs[d], self.regs[r]);
        match s.exec {
            // The registers of a program change most often by these two kinds, so they come first.
            exec if exec.computes() => self.regs[d] = compute(exec, a, b, s.imm),
            exec if exec.compares() => {
                if holds(exec, a, b) {
                    *pc = slot(s);
                }
            }
            LoadImm64 => {
                self.regs[d] = s.imm;
                *pc += 1;
            }
            LoadFunc => {
                self.regs[d] = FUNC_BASE | u64::from(s.off.cast_unsigned());
                *pc += 1;
            }
            LoadMapValue => {
                self.regs[d] = self.map_value_address(s.off.cast_unsigned(), s.imm)?;
                *pc += 1;
            }
            Load8 => self.regs[d] = self.load::<1>(offset(b, s.off))?,
            Load16 => self.regs[d] = self.load::<2>(offset(b, s.off))?,
            Load32 => self.regs[d] = self.load::<4>(offset(b, s.off))?,
            Load64 => self.regs[d] = self.load::<8>(offset(b, s.off))?,
            LoadSx8 => self.regs[d] = extend(self.load::<1>(offset(b, s.off))?, 56),
            LoadSx16 => self.regs[d] = extend(self.load::<2>(offset(b, s.off))?, 48),
            LoadSx32 => self.regs[d] = extend(self.load::<4>(offset(b, s.off))?, 32),
            Store8 => self.store::<1>(offset(a, s.off), b)?,
            Store16 => self.store::<2>(offset(a, s.off), b)?,
            Store32 => self.store::<4>(offset(a, s.off), b)?,
            Store64 => self.store::<8>(offset(a, s.off), b)?,
            Atomic32 => self.atomic::<4>(offset(a, s.off), s)?,
            Atomic64 => self.atomic::<8>(offset(a, s.off), s)?,
            Jump => *pc = slot(s),
            MayGoto => {
                if !self.may_go_on() {
                    *pc = slot(s);
                }
            }
            CallHelper => return self.call_helper(s.off.cast_unsigned(), pc).map(|()| Flow::Next),
            // No kernel accepts it; elsewhere it calls the helper whose number the register holds.
            CallReg => return self.call_helper(low(a), pc).map(|()| Flow::Next),
            CallLocal => {
                self.enter(*pc)?;
                *pc = slot(s);
            }
            CallKfunc => self.call_kfunc(s.off)?,
            Exit => return Ok(Flow::Return),
            _ => return Err(FaultKind::FellOff),
        }
        Ok(Flow::Next)
    }

    /// `may_goto`: the kernel lets a loop go round about eight million times.
    fn may_go_on(&mut self) -> bool {
        let go_on = self.may_goto_left > 0;
        self.may_goto_left = self.may_goto_left.saturating_sub(1);
        go_on
    }

    #[inline]
    pub(super) fn load<const N: usize>(&self, address: u64) -> Result<u64, FaultKind> {
        if address >> 32 == self.context_page {
            return self.load_context(address, N);
        }
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.memory.array::<N>(address)?);
        Ok(u64::from_le_bytes(wide))
    }

    #[inline]
    pub(super) fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), FaultKind> {
        if address >> 32 == self.context_page {
            return self.store_context(address, N, value);
        }
        self.memory.bytes_mut(address, N)?.copy_from_slice(&value.to_le_bytes()[..N]);
        Ok(())
    }

    fn atomic<const N: usize>(&mut self, address: u64, s: Step) -> Result<(), FaultKind> {
        if !address.is_multiple_of(N as u64) {
            return Err(FaultKind::Misaligned { access: Access::Store, address, size: N });
        }
        let src = usize::from(s.src & 15);
        let old = self.load::<N>(address)?;
        #[expect(clippy::cast_possible_truncation, reason = "32 or 64")]
        let new = eval::atomic(s.imm, 8 * N as u32, old, self.regs[src], self.regs[0]);
        self.store::<N>(address, new)?;
        if s.imm == AtomicOp::Cmpxchg as u64 {
            self.regs[0] = old;
        } else if s.imm & 1 == 1 {
            self.regs[src] = old;
        }
        Ok(())
    }
}

/// Where the loop goes on.
pub(super) enum Flow {
    Next,
    Return,
}

#[inline(always)]
fn offset(base: u64, off: i32) -> u64 {
    base.wrapping_add_signed(i64::from(off))
}

#[inline(always)]
fn extend(value: u64, unused: u32) -> u64 {
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}

/// The slot that a jump names; `Program` has checked that there is one.
#[inline(always)]
fn slot(s: Step) -> usize {
    s.off.cast_unsigned() as usize
}

//! The interpreter's loop: one step after the other, until the program exits or does something no kernel would allow.
//!
//! Input: a [`super::Program`] and the machine around it. Output: `r0`, or a [`Fault`] that names the instruction.
//! Arithmetic is the kernel's: `x / 0` is 0, `x % 0` is `x`, shift amounts are taken modulo the width, 32-bit results
//! zero the upper half. Read next: `memory.rs` for what an access may touch, `helpers.rs` for calls.

use super::fault::Access;
use super::program::{FUNC_BASE, IMM, Step};
use super::trace::Tracer;
use super::{Fault, FaultKind, Frame, MAX_FRAMES, Vm};
use crate::insn::{AtomicOp, InsnIdx};

/// What a step does; the operands stand in [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Exec {
    Add64, Sub64, Mul64, Div64, Sdiv64, Or64, And64, Lsh64, Rsh64, Mod64, Smod64, Xor64, Mov64, Arsh64, Neg64,
    Add32, Sub32, Mul32, Div32, Sdiv32, Or32, And32, Lsh32, Rsh32, Mod32, Smod32, Xor32, Mov32, Arsh32, Neg32,
    MovSx64, MovSx32, Truncate, Swap,
    LoadImm64, LoadMapValue, LoadFunc,
    Load8, Load16, Load32, Load64, LoadSx8, LoadSx16, LoadSx32,
    Store8, Store16, Store32, Store64, Atomic32, Atomic64,
    Jump, MayGoto,
    Jeq64, Jne64, Jgt64, Jge64, Jlt64, Jle64, Jset64, Jsgt64, Jsge64, Jslt64, Jsle64,
    Jeq32, Jne32, Jgt32, Jge32, Jlt32, Jle32, Jset32, Jsgt32, Jsge32, Jslt32, Jsle32,
    CallHelper, CallReg, CallLocal, Exit,
    /// The second slot of a two-slot instruction: never reached, by `Program`'s checks.
    Middle,
    /// One past the last slot.
    End,
}

impl Exec {
    /// Does the step's `off` name a slot?
    pub(super) fn jumps(self) -> bool {
        use Exec::*;
        matches!(
            self,
            Jump | MayGoto
                | CallLocal
                | Jeq64
                | Jne64
                | Jgt64
                | Jge64
                | Jlt64
                | Jle64
                | Jset64
                | Jsgt64
                | Jsge64
                | Jslt64
                | Jsle64
                | Jeq32
                | Jne32
                | Jgt32
                | Jge32
                | Jlt32
                | Jle32
                | Jset32
                | Jsgt32
                | Jsge32
                | Jslt32
                | Jsle32
        )
    }
}

/// The lower half of a register.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "32-bit operations look at the lower half")]
fn low(value: u64) -> u32 {
    value as u32
}

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
                Ok(Flow::Return) => pc = self.leave(),
                Err(kind) => return Err(self.fault(at, kind)),
            }
            if T::ON {
                tracer.after(self, InsnIdx::from(at));
            }
        }
    }

    fn fault(&self, at: usize, kind: FaultKind) -> Fault {
        Fault { program: self.current, at: InsnIdx::from(at), kind }
    }

    #[inline(always)]
    fn step(&mut self, s: Step, pc: &mut usize) -> Result<Flow, FaultKind> {
        use Exec::*;
        let (d, r) = (usize::from(s.dst & 15), usize::from(s.src & 15));
        self.regs[usize::from(IMM)] = s.imm;
        let (a, b) = (self.regs[d], self.regs[r]);
        // `wide` and `narrow` compute a new `dst`; `test` and `test32` decide a jump.
        macro_rules! wide {
            ($e:expr) => {
                self.regs[d] = $e
            };
        }
        macro_rules! narrow {
            (|$x:ident, $y:ident| $e:expr) => {{
                let ($x, $y) = (low(a), low(b));
                self.regs[d] = u64::from($e)
            }};
        }
        macro_rules! test {
            ($e:expr) => {
                if $e {
                    *pc = s.off.cast_unsigned() as usize
                }
            };
        }
        macro_rules! test32 {
            (|$x:ident, $y:ident| $e:expr) => {{
                let ($x, $y) = (low(a), low(b));
                if $e {
                    *pc = s.off.cast_unsigned() as usize
                }
            }};
        }
        match s.exec {
            Add64 => wide!(a.wrapping_add(b)),
            Sub64 => wide!(a.wrapping_sub(b)),
            Mul64 => wide!(a.wrapping_mul(b)),
            Div64 => wide!(a.checked_div(b).unwrap_or(0)),
            Sdiv64 => wide!(signed(a, b, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) })),
            Or64 => wide!(a | b),
            And64 => wide!(a & b),
            Lsh64 => wide!(a.wrapping_shl(low(b))),
            Rsh64 => wide!(a.wrapping_shr(low(b))),
            Mod64 => wide!(a.checked_rem(b).unwrap_or(a)),
            Smod64 => wide!(signed(a, b, |x, y| if y == 0 { x } else { x.wrapping_rem(y) })),
            Xor64 => wide!(a ^ b),
            Mov64 => wide!(b),
            Arsh64 => wide!(a.cast_signed().wrapping_shr(low(b)).cast_unsigned()),
            Neg64 => wide!(a.wrapping_neg()),
            Add32 => narrow!(|x, y| x.wrapping_add(y)),
            Sub32 => narrow!(|x, y| x.wrapping_sub(y)),
            Mul32 => narrow!(|x, y| x.wrapping_mul(y)),
            Div32 => narrow!(|x, y| x.checked_div(y).unwrap_or(0)),
            Sdiv32 => narrow!(|x, y| signed32(x, y, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) })),
            Or32 => narrow!(|x, y| x | y),
            And32 => narrow!(|x, y| x & y),
            Lsh32 => narrow!(|x, y| x.wrapping_shl(y)),
            Rsh32 => narrow!(|x, y| x.wrapping_shr(y)),
            Mod32 => narrow!(|x, y| x.checked_rem(y).unwrap_or(x)),
            Smod32 => narrow!(|x, y| signed32(x, y, |x, y| if y == 0 { x } else { x.wrapping_rem(y) })),
            Xor32 => narrow!(|x, y| x ^ y),
            Mov32 => wide!(u64::from(low(b))),
            Arsh32 => narrow!(|x, y| x.cast_signed().wrapping_shr(y).cast_unsigned()),
            Neg32 => wide!(u64::from(low(a).wrapping_neg())),
            // The constant of these four is 64 minus the number of bits that count.
            MovSx64 => wide!(((b << s.imm).cast_signed() >> s.imm).cast_unsigned()),
            MovSx32 => wide!(u64::from(low(((b << s.imm).cast_signed() >> s.imm).cast_unsigned()))),
            Truncate => wide!(a << s.imm >> s.imm),
            Swap => wide!(a.swap_bytes() >> s.imm),
            LoadImm64 => {
                wide!(s.imm);
                *pc += 1;
            }
            LoadFunc => {
                wide!(FUNC_BASE | u64::from(s.off.cast_unsigned()));
                *pc += 1;
            }
            LoadMapValue => {
                self.regs[d] = self.map_value_address(s.off.cast_unsigned(), s.imm)?;
                *pc += 1;
            }
            Load8 => wide!(self.load::<1>(offset(b, s.off))?),
            Load16 => wide!(self.load::<2>(offset(b, s.off))?),
            Load32 => wide!(self.load::<4>(offset(b, s.off))?),
            Load64 => wide!(self.load::<8>(offset(b, s.off))?),
            LoadSx8 => wide!(extend(self.load::<1>(offset(b, s.off))?, 56)),
            LoadSx16 => wide!(extend(self.load::<2>(offset(b, s.off))?, 48)),
            LoadSx32 => wide!(extend(self.load::<4>(offset(b, s.off))?, 32)),
            Store8 => self.store::<1>(offset(a, s.off), b)?,
            Store16 => self.store::<2>(offset(a, s.off), b)?,
            Store32 => self.store::<4>(offset(a, s.off), b)?,
            Store64 => self.store::<8>(offset(a, s.off), b)?,
            Atomic32 => self.atomic::<4>(offset(a, s.off), s)?,
            Atomic64 => self.atomic::<8>(offset(a, s.off), s)?,
            Jump => test!(true),
            MayGoto => test!(!self.may_go_on()),
            Jeq64 => test!(a == b),
            Jne64 => test!(a != b),
            Jgt64 => test!(a > b),
            Jge64 => test!(a >= b),
            Jlt64 => test!(a < b),
            Jle64 => test!(a <= b),
            Jset64 => test!(a & b != 0),
            Jsgt64 => test!(a.cast_signed() > b.cast_signed()),
            Jsge64 => test!(a.cast_signed() >= b.cast_signed()),
            Jslt64 => test!(a.cast_signed() < b.cast_signed()),
            Jsle64 => test!(a.cast_signed() <= b.cast_signed()),
            Jeq32 => test32!(|x, y| x == y),
            Jne32 => test32!(|x, y| x != y),
            Jgt32 => test32!(|x, y| x > y),
            Jge32 => test32!(|x, y| x >= y),
            Jlt32 => test32!(|x, y| x < y),
            Jle32 => test32!(|x, y| x <= y),
            Jset32 => test32!(|x, y| x & y != 0),
            Jsgt32 => test32!(|x, y| x.cast_signed() > y.cast_signed()),
            Jsge32 => test32!(|x, y| x.cast_signed() >= y.cast_signed()),
            Jslt32 => test32!(|x, y| x.cast_signed() < y.cast_signed()),
            Jsle32 => test32!(|x, y| x.cast_signed() <= y.cast_signed()),
            CallHelper => return self.call_helper(s.off.cast_unsigned(), pc).map(|()| Flow::Next),
            // No kernel accepts it; elsewhere it calls the helper whose number the register holds.
            CallReg => return self.call_helper(low(a), pc).map(|()| Flow::Next),
            CallLocal => {
                self.enter(*pc)?;
                *pc = s.off.cast_unsigned() as usize;
            }
            Exit => return Ok(Flow::Return),
            Middle | End => return Err(FaultKind::FellOff),
        }
        Ok(Flow::Next)
    }

    /// Starts a call frame: `r6`–`r9` and the frame pointer are kept, 512 fresh bytes of stack begin.
    pub(super) fn enter(&mut self, back: usize) -> Result<(), FaultKind> {
        if self.frames.len() + 1 >= MAX_FRAMES {
            return Err(FaultKind::CallDepth);
        }
        let kept = [self.regs[6], self.regs[7], self.regs[8], self.regs[9], self.regs[10]];
        self.frames.push(Frame { back, kept });
        self.regs[10] = self.stack_top(self.frames.len());
        Ok(())
    }

    /// Ends a call frame and gives the slot to go on at. `r1`–`r5` are destroyed, as by any call.
    pub(super) fn leave(&mut self) -> usize {
        let Some(frame) = self.frames.pop() else { return 0 };
        self.regs[6..=10].copy_from_slice(&frame.kept);
        frame.back
    }

    /// `may_goto`: the kernel lets a loop go round about eight million times.
    fn may_go_on(&mut self) -> bool {
        let go_on = self.may_goto_left > 0;
        self.may_goto_left = self.may_goto_left.saturating_sub(1);
        go_on
    }

    #[inline]
    fn load<const N: usize>(&self, address: u64) -> Result<u64, FaultKind> {
        if N == 4
            && self.context_pointers != 0
            && let Some(pointer) = self.context_pointer(address)
        {
            return Ok(pointer);
        }
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.memory.array::<N>(address)?);
        Ok(u64::from_le_bytes(wide))
    }

    #[inline]
    fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), FaultKind> {
        self.memory.bytes_mut(address, N)?.copy_from_slice(&value.to_le_bytes()[..N]);
        Ok(())
    }

    fn atomic<const N: usize>(&mut self, address: u64, s: Step) -> Result<(), FaultKind> {
        if !address.is_multiple_of(N as u64) {
            return Err(FaultKind::Misaligned { access: Access::Store, address, size: N });
        }
        let mask = u64::MAX >> (64 - 8 * N);
        let src = usize::from(s.src & 15);
        let (old, operand) = (self.load::<N>(address)?, self.regs[src] & mask);
        let is = |op: AtomicOp| s.imm & !1 == op as u64 & !1;
        let new = if s.imm == AtomicOp::Xchg as u64 {
            operand
        } else if s.imm == AtomicOp::Cmpxchg as u64 {
            if old == self.regs[0] & mask { operand } else { old }
        } else if is(AtomicOp::Add) {
            old.wrapping_add(operand)
        } else if is(AtomicOp::Or) {
            old | operand
        } else if is(AtomicOp::And) {
            old & operand
        } else {
            old ^ operand
        };
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

#[inline(always)]
fn signed(a: u64, b: u64, op: impl Fn(i64, i64) -> i64) -> u64 {
    op(a.cast_signed(), b.cast_signed()).cast_unsigned()
}

#[inline(always)]
fn signed32(a: u32, b: u32, op: impl Fn(i32, i32) -> i32) -> u32 {
    op(a.cast_signed(), b.cast_signed()).cast_unsigned()
}

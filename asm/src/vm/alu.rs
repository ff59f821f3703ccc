//! What arithmetic and comparisons mean: pure functions of two registers.
//!
//! Input: the operation and its operands. Output: a number, or whether a jump is taken. The rules are the kernel's:
//! `x / 0` is 0, `x % 0` is `x`, shift amounts are taken modulo the width, 32-bit results zero the upper half.
//! Read next: `exec.rs`.

/// What a step does; the operands stand in [`Step`](super::program::Step).
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
    CallHelper, CallReg, CallLocal, CallKfunc, Exit,
    /// The second slot of a two-slot instruction: never reached, by `Program`'s checks.
    Middle,
    /// One past the last slot.
    End,
}

impl Exec {
    /// Does the step compute a new `dst` from `dst`, `src` and a constant?
    #[inline(always)]
    pub(super) fn computes(self) -> bool {
        (self as u8) <= Self::Swap as u8
    }

    /// Does the step compare `dst` and `src`, and jump if the comparison holds?
    #[inline(always)]
    pub(super) fn compares(self) -> bool {
        (Self::Jeq64 as u8..=Self::Jsle32 as u8).contains(&(self as u8))
    }

    /// Does the step's `off` name a slot?
    pub(super) fn jumps(self) -> bool {
        self.compares() || matches!(self, Self::Jump | Self::MayGoto | Self::CallLocal)
    }
}

/// The lower half of a register.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "32-bit operations look at the lower half")]
pub(super) fn low(value: u64) -> u32 {
    value as u32
}

/// The new `dst` of a step that computes; `a` is the old one, `b` the other operand.
#[inline(always)]
pub(super) fn compute(exec: Exec, a: u64, b: u64, imm: u64) -> u64 {
    use Exec::*;
    match exec {
        Add64 => a.wrapping_add(b),
        Sub64 => a.wrapping_sub(b),
        Mul64 => a.wrapping_mul(b),
        Div64 => a.checked_div(b).unwrap_or(0),
        Sdiv64 => signed(a, b, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
        Or64 => a | b,
        And64 => a & b,
        Lsh64 => a.wrapping_shl(low(b)),
        Rsh64 => a.wrapping_shr(low(b)),
        Mod64 => a.checked_rem(b).unwrap_or(a),
        Smod64 => signed(a, b, |x, y| if y == 0 { x } else { x.wrapping_rem(y) }),
        Xor64 => a ^ b,
        Mov64 => b,
        Arsh64 => a.cast_signed().wrapping_shr(low(b)).cast_unsigned(),
        Neg64 => a.wrapping_neg(),
        // The constant of these four is 64 minus the number of bits that count.
        MovSx64 => ((b << imm).cast_signed() >> imm).cast_unsigned(),
        MovSx32 => u64::from(low(((b << imm).cast_signed() >> imm).cast_unsigned())),
        Truncate => a << imm >> imm,
        Swap => a.swap_bytes() >> imm,
        _ => u64::from(compute32(exec, low(a), low(b))),
    }
}

/// As [`compute`], on the lower halves.
#[inline(always)]
fn compute32(exec: Exec, x: u32, y: u32) -> u32 {
    use Exec::*;
    match exec {
        Add32 => x.wrapping_add(y),
        Sub32 => x.wrapping_sub(y),
        Mul32 => x.wrapping_mul(y),
        Div32 => x.checked_div(y).unwrap_or(0),
        Sdiv32 => signed32(x, y, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
        Or32 => x | y,
        And32 => x & y,
        Lsh32 => x.wrapping_shl(y),
        Rsh32 => x.wrapping_shr(y),
        Mod32 => x.checked_rem(y).unwrap_or(x),
        Smod32 => signed32(x, y, |x, y| if y == 0 { x } else { x.wrapping_rem(y) }),
        Xor32 => x ^ y,
        Arsh32 => x.cast_signed().wrapping_shr(y).cast_unsigned(),
        Neg32 => x.wrapping_neg(),
        // What is left is the move.
        _ => y,
    }
}

/// Whether a step that compares jumps.
#[inline(always)]
pub(super) fn holds(exec: Exec, a: u64, b: u64) -> bool {
    use Exec::*;
    let (sa, sb) = (a.cast_signed(), b.cast_signed());
    let (x, y) = (low(a), low(b));
    let (sx, sy) = (x.cast_signed(), y.cast_signed());
    match exec {
        Jeq64 => a == b,
        Jne64 => a != b,
        Jgt64 => a > b,
        Jge64 => a >= b,
        Jlt64 => a < b,
        Jle64 => a <= b,
        Jset64 => a & b != 0,
        Jsgt64 => sa > sb,
        Jsge64 => sa >= sb,
        Jslt64 => sa < sb,
        Jsle64 => sa <= sb,
        Jeq32 => x == y,
        Jne32 => x != y,
        Jgt32 => x > y,
        Jge32 => x >= y,
        Jlt32 => x < y,
        Jle32 => x <= y,
        Jset32 => x & y != 0,
        Jsgt32 => sx > sy,
        Jsge32 => sx >= sy,
        Jslt32 => sx < sy,
        // What is left is `Jsle32`.
        _ => sx <= sy,
    }
}

#[inline(always)]
fn signed(a: u64, b: u64, op: impl Fn(i64, i64) -> i64) -> u64 {
    op(a.cast_signed(), b.cast_signed()).cast_unsigned()
}

#[inline(always)]
fn signed32(a: u32, b: u32, op: impl Fn(i32, i32) -> i32) -> u32 {
    op(a.cast_signed(), b.cast_signed()).cast_unsigned()
}

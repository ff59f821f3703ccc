//! What operations mean, by their names: one definition for the interpreter of instructions, the interpreter of the
//! intermediate representation, and constant folding.
//!
//! Input: an operation and numbers. Output: a number, or the truth of a comparison. The rules themselves are in `alu.rs`.

use super::alu::{Exec, compute, holds};
use super::program;
use crate::insn::{AluOp, AtomicOp, Cond, Width};

/// `a op b`.
pub(crate) fn alu(op: AluOp, width: Width, a: u64, b: u64) -> u64 {
    compute(program::alu(op, width), a, b, 0)
}

/// Does `a cond b` hold?
pub(crate) fn compare(cond: Cond, width: Width, a: u64, b: u64) -> bool {
    holds(program::jump_if(cond, width), a, b)
}

/// The low `bits` of a number.
pub(crate) const fn low(bits: u32, a: u64) -> u64 {
    if bits >= 64 { a } else { a & ((1 << bits) - 1) }
}

/// The low `bits` of a number, with their sign.
pub(crate) fn sext(bits: u32, a: u64) -> u64 {
    compute(Exec::MovSx64, 0, a, u64::from(64u32.saturating_sub(bits)))
}

/// The low `bits` of a number with their bytes in the opposite order.
pub(crate) fn swap(bits: u32, a: u64) -> u64 {
    compute(Exec::Swap, a, 0, u64::from(64u32.saturating_sub(bits)))
}

/// What an atomic operation leaves in memory where `old` was, as numbers of `bits` bits; `kind` is [`AtomicOp`] as it
/// lies in an instruction, and `expected` is for the comparing one.
#[inline(always)]
pub(crate) fn atomic(kind: u64, bits: u32, old: u64, operand: u64, expected: u64) -> u64 {
    let operand = low(bits, operand);
    let is = |op: AtomicOp| kind & !1 == op as u64 & !1;
    let new = if kind == AtomicOp::Xchg as u64 {
        operand
    } else if kind == AtomicOp::Cmpxchg as u64 {
        if old == low(bits, expected) { operand } else { old }
    } else if is(AtomicOp::Add) {
        old.wrapping_add(operand)
    } else if is(AtomicOp::Or) {
        old | operand
    } else if is(AtomicOp::And) {
        old & operand
    } else {
        old ^ operand
    };
    low(bits, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_cases_are_the_machines() {
        assert_eq!(alu(AluOp::Div, Width::W64, 7, 0), 0);
        assert_eq!(alu(AluOp::Mod, Width::W32, 0x1_0000_0007, 0), 7);
        assert_eq!(alu(AluOp::Lsh, Width::W32, 1, 33), 2);
        assert_eq!(alu(AluOp::Sdiv, Width::W64, 1 << 63, u64::MAX), 1 << 63);
        assert_eq!(alu(AluOp::Arsh, Width::W32, 0x8000_0000, 4), 0xf800_0000);
        assert_eq!((swap(16, 0xff_1234), sext(8, 0x180), low(32, u64::MAX)), (0x3412, u64::MAX << 7, 0xffff_ffff));
        assert!(compare(Cond::Slt, Width::W32, 0xffff_ffff, 0) && !compare(Cond::Slt, Width::W64, 0xffff_ffff, 0));
        assert_eq!(atomic(AtomicOp::FetchAdd as u64, 32, 0xffff_ffff, 0x1_0000_0002, 0), 1);
        assert_eq!(atomic(AtomicOp::Cmpxchg as u64, 32, 5, 9, 0x1_0000_0005), 9);
    }
}

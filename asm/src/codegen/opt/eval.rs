//! Stage: code generation. Arithmetic on constants, as the machine does it.
//!
//! Input: an operation and numbers. Output: the number, or the truth of a comparison. Next: `bits.rs`.

use crate::insn::{AluOp, Cond, Width};

/// `a op b`; `None` for operations that have no value.
pub(super) fn alu(op: AluOp, width: Width, a: u64, b: u64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, reason = "a 32-bit operation reads the low halves")]
    match width {
        Width::W64 => alu64(op, a, b),
        Width::W32 => alu32(op, a as u32, b as u32).map(u64::from),
    }
}

/// Makes the same function for two widths.
macro_rules! alu {
    ($name:ident $unsigned:ty, $signed:ty, $mask:literal) => {
        fn $name(op: AluOp, a: $unsigned, b: $unsigned) -> Option<$unsigned> {
            let shift = u32::try_from(b & $mask).unwrap_or(0);
            let (sa, sb) = (a.cast_signed(), b.cast_signed());
            Some(match op {
                AluOp::Add => a.wrapping_add(b),
                AluOp::Sub => a.wrapping_sub(b),
                AluOp::Mul => a.wrapping_mul(b),
                AluOp::Div => a.checked_div(b).unwrap_or(0),
                AluOp::Mod => a.checked_rem(b).unwrap_or(a),
                AluOp::Sdiv if b == 0 => 0,
                AluOp::Sdiv => sa.wrapping_div(sb).cast_unsigned(),
                AluOp::Smod if b == 0 => a,
                AluOp::Smod => sa.wrapping_rem(sb).cast_unsigned(),
                AluOp::Or => a | b,
                AluOp::And => a & b,
                AluOp::Xor => a ^ b,
                AluOp::Lsh => a << shift,
                AluOp::Rsh => a >> shift,
                AluOp::Arsh => (sa >> shift).cast_unsigned(),
                AluOp::Mov => return None,
            })
        }
    };
}

alu!(alu64 u64, i64, 63);
alu!(alu32 u32, i32, 31);

/// Does `a cond b` hold?
pub(super) fn compare(cond: Cond, width: Width, a: u64, b: u64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "a 32-bit comparison reads the low halves")]
    let (a, b, sa, sb) = match width {
        Width::W64 => (a, b, a.cast_signed(), b.cast_signed()),
        Width::W32 => {
            let (a, b) = (a as u32, b as u32);
            (u64::from(a), u64::from(b), i64::from(a.cast_signed()), i64::from(b.cast_signed()))
        }
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Set => a & b != 0,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
    }
}

/// The low `bits` of a number.
pub(super) const fn low(bits: u32, a: u64) -> u64 {
    if bits >= 64 { a } else { a & ((1 << bits) - 1) }
}

/// The low `bits` of a number, with their sign.
pub(super) const fn sext(bits: u32, a: u64) -> u64 {
    let by = 64u32.saturating_sub(bits);
    ((a << by).cast_signed() >> by).cast_unsigned()
}

/// The low `bits` of a number with their bytes in the opposite order.
pub(super) const fn swap(bits: u32, a: u64) -> u64 {
    a.swap_bytes() >> (64u32.saturating_sub(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_cases_are_the_machines() {
        assert_eq!(alu(AluOp::Div, Width::W64, 7, 0), Some(0));
        assert_eq!(alu(AluOp::Mod, Width::W32, 0x1_0000_0007, 0), Some(7));
        assert_eq!(alu(AluOp::Lsh, Width::W32, 1, 33), Some(2));
        assert_eq!(alu(AluOp::Sdiv, Width::W64, 1 << 63, u64::MAX), Some(1 << 63));
        assert_eq!(alu(AluOp::Arsh, Width::W32, 0x8000_0000, 4), Some(0xf800_0000));
        assert_eq!((swap(16, 0xff_1234), sext(8, 0x180), low(32, u64::MAX)), (0x3412, u64::MAX << 7, 0xffff_ffff));
        assert!(compare(Cond::Slt, Width::W32, 0xffff_ffff, 0) && !compare(Cond::Slt, Width::W64, 0xffff_ffff, 0));
    }
}

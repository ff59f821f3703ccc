//! Stage: text out. The letters that operations are written with: registers, numbers, addresses.
//!
//! Input: parts of an [`Op`](crate::insn::Op). Output: text in any [`Write`]r. A listing of a hundred thousand instructions is
//! made of these, so they do without the machinery of `format!`. Next: `print.rs`.

use std::fmt::{Result, Write};

use crate::insn::{Operand, Reg, Width};

/// Writes one thing after the other.
pub(super) struct Ink<'w, W>(pub(super) &'w mut W);

impl<W: Write> Ink<'_, W> {
    pub(super) fn text(&mut self, text: &str) -> Result {
        self.0.write_str(text)
    }

    /// A decimal number.
    pub(super) fn number(&mut self, value: i64) -> Result {
        if value < 0 {
            self.text("-")?;
        }
        self.digits(value.unsigned_abs(), 10, "")
    }

    /// A decimal number that always has a sign.
    pub(super) fn signed(&mut self, value: i64) -> Result {
        if value >= 0 {
            self.text("+")?;
        }
        self.number(value)
    }

    /// A hexadecimal number, `0x1f`.
    pub(super) fn hex(&mut self, value: u64) -> Result {
        self.digits(value, 16, "0x")
    }

    fn digits(&mut self, mut value: u64, base: u64, prefix: &str) -> Result {
        let mut buffer = [0; 24];
        let mut at = buffer.len();
        loop {
            at -= 1;
            let digit = usize::try_from(value % base).unwrap_or(0);
            buffer[at] = b"0123456789abcdef"[digit];
            value /= base;
            if value == 0 {
                break;
            }
        }
        self.text(prefix)?;
        self.text(std::str::from_utf8(&buffer[at..]).unwrap_or_default())
    }

    /// `r1` or `w1`.
    pub(super) fn reg(&mut self, width: Width, reg: Reg) -> Result {
        const NAMES: [[&str; 11]; 2] = [
            ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10"],
            ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10"],
        ];
        self.text(NAMES[usize::from(width == Width::W32)][usize::from(reg.num())])
    }

    pub(super) fn operand(&mut self, width: Width, operand: Operand) -> Result {
        match operand {
            Operand::Reg(reg) => self.reg(width, reg),
            Operand::Imm(imm) => self.number(imm.into()),
        }
    }

    /// `r1 + 4`, `r10 - 8`.
    pub(super) fn address(&mut self, reg: Reg, off: i16) -> Result {
        self.reg(Width::W64, reg)?;
        self.text(if off < 0 { " - " } else { " + " })?;
        self.number(i64::from(off).abs())
    }

    /// `*(u32 *)(r1 + 4)`, with what stands before the type given.
    pub(super) fn place(&mut self, before: &str, ty: &str, reg: Reg, off: i16) -> Result {
        self.text(before)?;
        self.text(ty)?;
        self.text(" *)(")?;
        self.address(reg, off)?;
        self.text(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_format() {
        for value in [0, 1, -1, 9, 10, -10, 12345, i64::MAX, i64::MIN] {
            let mut out = String::new();
            let mut ink = Ink(&mut out);
            ink.number(value).unwrap();
            ink.text(" ").unwrap();
            ink.signed(value).unwrap();
            ink.text(" ").unwrap();
            ink.hex(value.cast_unsigned()).unwrap();
            assert_eq!(out, format!("{value} {value:+} {:#x}", value.cast_unsigned()));
        }
    }
}

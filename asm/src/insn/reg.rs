//! Stage: instructions. The eleven registers, and the operand that is either a register or a constant.
//! Input: numbers from the wire or names from text. Output: [`Reg`], [`Operand`]. Next: `op.rs`.

use std::fmt;

/// A register of the eBPF machine; each is 64 bits wide.
///
/// The calling convention is part of the instruction set:
///
/// | register | at a call | across a call |
/// |---|---|---|
/// | `r0` | – | the result |
/// | `r1`–`r5` | arguments | destroyed |
/// | `r6`–`r9` | – | kept |
/// | `r10` | frame pointer, read-only | kept |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reg {
    /// Result of calls and of the program.
    R0 = 0,
    /// First argument; the context on entry.
    R1 = 1,
    /// Second argument.
    R2 = 2,
    /// Third argument.
    R3 = 3,
    /// Fourth argument.
    R4 = 4,
    /// Fifth argument.
    R5 = 5,
    /// Kept across calls.
    R6 = 6,
    /// Kept across calls.
    R7 = 7,
    /// Kept across calls.
    R8 = 8,
    /// Kept across calls.
    R9 = 9,
    /// Frame pointer: one past the top of this frame's 512 bytes of stack; read-only.
    R10 = 10,
}

impl Reg {
    /// All registers, in order.
    pub const ALL: [Self; 11] =
        [Self::R0, Self::R1, Self::R2, Self::R3, Self::R4, Self::R5, Self::R6, Self::R7, Self::R8, Self::R9, Self::R10];

    /// The register with this number, if there is one (0–10).
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 11 { Some(Self::ALL[number as usize]) } else { None }
    }

    /// The number on the wire, 0–10.
    #[must_use]
    pub const fn num(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.num())
    }
}

impl From<Reg> for u8 {
    fn from(reg: Reg) -> Self {
        reg.num()
    }
}

/// The second operand of an operation: a register, or a 32-bit constant, sign-extended to 64 bits by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The register's value.
    Reg(Reg),
    /// The constant; 64-bit operations extend its sign.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, reg) in (0u8..).zip(Reg::ALL) {
            assert_eq!(reg.num(), number);
            assert_eq!(Reg::new(number), Some(reg));
            assert_eq!(reg.to_string(), format!("r{number}"));
        }
        assert_eq!(Reg::new(11), None);
        assert_eq!(Reg::new(255), None);
    }
}

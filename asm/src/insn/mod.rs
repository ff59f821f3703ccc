//! Stage: instructions. The 8-byte instruction as it lies in files and in the kernel, and everything around it.
//!
//! Input: bytes, decoded operations, or builder calls. Output: [`Insn`] values, which are bytes.
//! [`Insn`] is the wire; [`Op`] is the meaning; [`TABLE`] is the one list of what exists.
//! Next: `reg.rs`, `op.rs` (meaning), `table.rs` (the list), `decode.rs`, `encode.rs`, `build.rs`.

use std::fmt;

use zerocopy::little_endian::{I16, I32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

mod build;
mod code;
mod decode;
mod encode;
pub mod helper;
mod op;
mod ops;
mod reg;
mod table;

pub use build::{BuildError, Builder, Label, Place, Problem};
pub use code::{Code, LabelAt, LineRec, Reloc, RelocKind, Source};
pub use decode::{DecodeError, Field};
pub use encode::Encoded;
pub use op::{AluOp, AtomicOp, Bits, Call, Cond, Endian, Imm64, Op, Size, Width};
pub use reg::Operand;
pub use reg::Reg::{self, *};
pub use table::{Group, Key, Kind, Row, Since, TABLE, Uses};

/// `src` of `ld_imm64`: the constant is a map's file descriptor. C: `BPF_PSEUDO_MAP_FD`.
pub const PSEUDO_MAP_FD: u8 = 1;
/// `src` of `ld_imm64`: map descriptor, and in the second half an offset into its value. C: `BPF_PSEUDO_MAP_VALUE`, Linux 5.2.
pub const PSEUDO_MAP_VALUE: u8 = 2;
/// `src` of `ld_imm64`: BTF id of a kernel variable; the second half is a BTF descriptor. C: `BPF_PSEUDO_BTF_ID`, Linux 5.10.
pub const PSEUDO_BTF_ID: u8 = 3;
/// `src` of `ld_imm64`: distance to a function of this program. C: `BPF_PSEUDO_FUNC`, Linux 5.13.
pub const PSEUDO_FUNC: u8 = 4;
/// `src` of `ld_imm64`: index into the load's descriptor array. C: `BPF_PSEUDO_MAP_IDX`, Linux 5.14.
pub const PSEUDO_MAP_IDX: u8 = 5;
/// `src` of `ld_imm64`: such an index, and an offset into the map's value. C: `BPF_PSEUDO_MAP_IDX_VALUE`, Linux 5.14.
pub const PSEUDO_MAP_IDX_VALUE: u8 = 6;
/// `src` of `call`: the constant is the distance to a function of this program. C: `BPF_PSEUDO_CALL`, Linux 4.16.
pub const PSEUDO_CALL: u8 = 1;
/// `src` of `call`: the constant is the BTF id of a kernel function. C: `BPF_PSEUDO_KFUNC_CALL`, Linux 5.13.
pub const PSEUDO_KFUNC_CALL: u8 = 2;

/// Position of an instruction in a program, counted in 8-byte slots (`ld_imm64` takes two).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InsnIdx(pub u32);

impl InsnIdx {
    /// The same position in bytes from the start.
    #[must_use]
    pub const fn byte_off(self) -> u64 {
        self.0 as u64 * size_of::<Insn>() as u64
    }

    /// The same position as an index into a slice.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for InsnIdx {
    /// Programs end far below 2³² slots (the kernel stops at one million); a larger number saturates.
    fn from(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for InsnIdx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One instruction as it lies in files and in the kernel: 8 bytes, little-endian. C: `struct bpf_insn`.
///
/// ```text
/// byte  0      1          2  3    4  5  6  7
///       code   src | dst  off     imm
/// ```
///
/// Any 64 bits are an `Insn`; whether they mean something is [`Op::decode`]'s question.
///
/// ```
/// use asm::insn::{Insn, Op};
/// let insn = Insn::new(0xb7, 0, 0, 0, 2);
/// assert_eq!(insn.to_string(), "r0 = 2");
/// assert_eq!(insn.to_bytes(), [0xb7, 0, 0, 0, 2, 0, 0, 0]);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Insn {
    code: u8,
    regs: u8,
    off: I16,
    imm: I32,
}

const _: () = assert!(size_of::<Insn>() == 8);

impl Insn {
    /// An instruction from its five fields; of `dst` and `src` the low four bits count.
    #[must_use]
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        let regs = (dst & 0xf) | (src << 4);
        Self { code, regs, off: I16::from_bytes(off.to_le_bytes()), imm: I32::from_bytes(imm.to_le_bytes()) }
    }

    /// An instruction from its bytes as a big-endian machine stores them (the two register nibbles change places too).
    #[must_use]
    pub const fn from_be_bytes(b: [u8; 8]) -> Self {
        let off = I16::from_bytes([b[3], b[2]]);
        Self { code: b[0], regs: b[1].rotate_left(4), off, imm: I32::from_bytes([b[7], b[6], b[5], b[4]]) }
    }

    /// An instruction from its eight bytes on the wire, little-endian.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// The eight bytes on the wire, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        zerocopy::transmute!(self)
    }

    /// Class, operation, size and mode in one byte; see [`TABLE`].
    #[must_use]
    pub const fn code(self) -> u8 {
        self.code
    }

    /// Destination register number, 0–15 (11–15 mean nothing).
    #[must_use]
    pub const fn dst(self) -> u8 {
        self.regs & 0xf
    }

    /// Source register number, or one of the `PSEUDO_*` constants, 0–15.
    #[must_use]
    pub const fn src(self) -> u8 {
        self.regs >> 4
    }

    /// Memory offset in bytes, or jump distance in slots from the next instruction.
    #[must_use]
    pub fn off(self) -> i16 {
        self.off.get()
    }

    /// The constant.
    #[must_use]
    pub fn imm(self) -> i32 {
        self.imm.get()
    }

    /// Replaces the source register number or pseudo constant.
    pub fn set_src(&mut self, src: u8) {
        self.regs = (self.regs & 0xf) | (src << 4);
    }

    /// Replaces the destination register number.
    pub fn set_dst(&mut self, dst: u8) {
        self.regs = (self.regs & 0xf0) | (dst & 0xf);
    }

    /// Replaces the offset.
    pub fn set_off(&mut self, off: i16) {
        self.off.set(off);
    }

    /// Replaces the constant.
    pub fn set_imm(&mut self, imm: i32) {
        self.imm.set(imm);
    }

    /// Is this the first half of a two-slot `ld_imm64`?
    #[must_use]
    pub const fn is_ld_imm64(self) -> bool {
        self.code == 0x18
    }
}

impl fmt::Debug for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, dst, src) = (self.code(), self.dst(), self.src());
        write!(f, "Insn {{ code: {code:#04x}, dst: {dst}, src: {src}, off: {}, imm: {:#x} }}", self.off(), self.imm())
    }
}

impl fmt::Display for Insn {
    /// The instruction as LLVM and the verifier's log write it; `.insn` with its five fields where it means nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, _) = Op::decode_lenient(std::slice::from_ref(self)).unwrap_or((Op::Raw(*self), 1));
        op.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_wire() {
        let insn = Insn::new(0x7b, 10, 9, -8, -2);
        assert_eq!(insn.to_bytes(), [0x7b, 0x9a, 0xf8, 0xff, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!((insn.code(), insn.dst(), insn.src(), insn.off(), insn.imm()), (0x7b, 10, 9, -8, -2));
        assert_eq!(Insn::from_bytes(insn.to_bytes()), insn);
        assert_eq!(Insn::from_be_bytes([0x7b, 0xa9, 0xff, 0xf8, 0xff, 0xff, 0xff, 0xfe]), insn);
    }

    #[test]
    fn setters_touch_one_field() {
        let mut insn = Insn::new(0x18, 1, 0, 0, 0);
        insn.set_src(PSEUDO_MAP_FD);
        insn.set_imm(7);
        insn.set_off(-1);
        insn.set_dst(3);
        assert_eq!(insn, Insn::new(0x18, 3, 1, -1, 7));
    }
}

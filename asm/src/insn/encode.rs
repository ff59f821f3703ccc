//! Stage: instructions. Meaning to wire.
//!
//! Input: [`Op`]. Output: one or two [`Insn`]. Every `Op` has exactly one encoding. Next: `build.rs`.

use std::ops::Deref;

use super::op::{AluOp, Call, Imm64, Op, Width};
use super::table::{Kind, Row};
use super::{Insn, Operand, PSEUDO_CALL, PSEUDO_KFUNC_CALL, Reg};

/// One or two slots; read it as a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    slots: [Insn; 2],
    len: usize,
}

impl Deref for Encoded {
    type Target = [Insn];

    fn deref(&self) -> &[Insn] {
        &self.slots[..self.len]
    }
}

const fn one(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Encoded {
    Encoded { slots: [Insn::new(code, dst, src, off, imm), Insn::new(0, 0, 0, 0, 0)], len: 1 }
}

/// A word whose second operand is a constant, or with `code | register` a register.
const fn either(code: u8, register: u8, dst: Reg, off: i16, src: Operand) -> Encoded {
    match src {
        Operand::Imm(imm) => one(code, dst.num(), 0, off, imm),
        Operand::Reg(src) => one(code | register, dst.num(), src.num(), off, 0),
    }
}

const fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => 0x04,
        Width::W64 => 0x07,
    }
}

const fn jump_class(width: Width) -> u8 {
    match width {
        Width::W32 => 0x06,
        Width::W64 => 0x05,
    }
}

const BY_REGISTER: u8 = 0x08;

impl Op {
    /// The slots of this operation.
    #[must_use]
    pub const fn encode(self) -> Encoded {
        match self {
            Self::Alu { op, width, dst, src } => either(op.bits() | alu_class(width), BY_REGISTER, dst, op.off(), src),
            Self::Neg { width, dst } => one(0x80 | alu_class(width), dst.num(), 0, 0, 0),
            Self::MovSx { width, bits, dst, src } => {
                let code = AluOp::Mov.bits() | alu_class(width) | BY_REGISTER;
                one(code, dst.num(), src.num(), bits as i16, 0)
            }
            Self::Endian { order, bits, dst } => one(order as u8, dst.num(), 0, 0, bits as i32),
            Self::AddrSpaceCast { dst, src, to, from } => {
                let [a, b] = from.to_le_bytes();
                let [c, d] = to.to_le_bytes();
                one(0xbf, dst.num(), src.num(), 1, i32::from_le_bytes([a, b, c, d]))
            }
            Self::LoadImm64 { dst, value } => load_imm64(dst, value),
            Self::Load { size, dst, src, off } => one(0x61 | size as u8, dst.num(), src.num(), off, 0),
            Self::LoadSx { size, dst, src, off } => one(0x81 | size as u8, dst.num(), src.num(), off, 0),
            Self::Store { size, dst, off, src } => either(0x62 | size as u8, 0x01, dst, off, src),
            Self::Atomic { op, size, dst, off, src } => one(0xc3 | size as u8, dst.num(), src.num(), off, op as i32),
            Self::LoadAbs { size, off } => one(0x20 | size as u8, 0, 0, 0, off),
            Self::LoadInd { size, src, off } => one(0x40 | size as u8, 0, src.num(), 0, off),
            Self::Jump { off } => one(0x05, 0, 0, off, 0),
            Self::JumpLong { off } => one(0x06, 0, 0, 0, off),
            Self::JumpReg { dst } => one(0x0d, dst.num(), 0, 0, 0),
            Self::JumpIf { cond, width, dst, src, off } => {
                either(cond as u8 | jump_class(width), BY_REGISTER, dst, off, src)
            }
            Self::MayGoto { off } => one(0xe5, 0, 0, off, 0),
            Self::Call(Call::Helper(id)) => one(0x85, 0, 0, 0, id),
            Self::Call(Call::Local(off)) => one(0x85, 0, PSEUDO_CALL, 0, off),
            Self::Call(Call::Kfunc { id, btf }) => one(0x85, 0, PSEUDO_KFUNC_CALL, btf, id),
            Self::CallReg { dst } => one(0x8d, dst.num(), 0, 0, 0),
            Self::Exit => one(0x95, 0, 0, 0, 0),
            Self::Raw(insn) => Encoded { slots: [insn, Insn::new(0, 0, 0, 0, 0)], len: 1 },
        }
    }

    /// How many slots it takes: 2 for `ld_imm64`, else 1.
    #[must_use]
    pub const fn slots(self) -> usize {
        if matches!(self, Self::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// Does control never reach the next instruction? True for `exit` and unconditional jumps.
    #[must_use]
    pub const fn ends_block(self) -> bool {
        matches!(self, Self::Exit | Self::Jump { .. } | Self::JumpLong { .. } | Self::JumpReg { .. })
    }

    /// The operation without its operands; nothing for [`Op::Raw`].
    #[must_use]
    pub const fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Alu { op, width, .. } => Kind::Alu(op, width),
            Self::Neg { width, .. } => Kind::Neg(width),
            Self::MovSx { width, bits, .. } => Kind::MovSx(bits, width),
            Self::Endian { order, bits, .. } => Kind::Endian(order, bits),
            Self::AddrSpaceCast { .. } => Kind::AddrSpaceCast,
            Self::LoadImm64 { value, .. } => Kind::LoadImm64(value.src()),
            Self::Load { size, .. } => Kind::Load(size),
            Self::LoadSx { size, .. } => Kind::LoadSx(size),
            Self::Store { size, .. } => Kind::Store(size),
            Self::Atomic { op, size, .. } => Kind::Atomic(op, size),
            Self::LoadAbs { size, .. } => Kind::LoadAbs(size),
            Self::LoadInd { size, .. } => Kind::LoadInd(size),
            Self::Jump { .. } => Kind::Jump,
            Self::JumpLong { .. } => Kind::JumpLong,
            Self::JumpReg { .. } => Kind::JumpReg,
            Self::JumpIf { cond, width, .. } => Kind::JumpIf(cond, width),
            Self::MayGoto { .. } => Kind::MayGoto,
            Self::Call(Call::Helper(_)) => Kind::Call(0),
            Self::Call(Call::Local(_)) => Kind::Call(PSEUDO_CALL),
            Self::Call(Call::Kfunc { .. }) => Kind::Call(PSEUDO_KFUNC_CALL),
            Self::CallReg { .. } => Kind::CallReg,
            Self::Exit => Kind::Exit,
            Self::Raw(_) => return None,
        })
    }

    /// The row of the table that describes it: name, group, first kernel. `None` for [`Op::Raw`], and for
    /// combinations the table does not list, such as a 64-bit sign-extending load.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        let kind = self.kind()?;
        Row::with_code(self.encode()[0].code()).find(|row| row.kind == kind)
    }
}

const fn load_imm64(dst: Reg, value: Imm64) -> Encoded {
    let (low, high) = match value {
        Imm64::Value(v) => {
            let [a, b, c, d, e, f, g, h] = v.to_le_bytes();
            (i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]))
        }
        Imm64::MapFd(low) | Imm64::Func(low) | Imm64::MapIdx(low) => (low, 0),
        Imm64::MapValue { fd: low, off } | Imm64::MapIdxValue { idx: low, off } => (low, off.cast_signed()),
        Imm64::BtfId { id, btf_fd } => (id, btf_fd),
    };
    let first = Insn::new(0x18, dst.num(), value.src(), 0, low);
    Encoded { slots: [first, Insn::new(0, 0, 0, 0, high)], len: 2 }
}

//! Stage: instructions. Wire to meaning.
//!
//! Input: a slice of [`Insn`]. Output: one [`Op`] and how many slots it took. Strict: what the table does not list,
//! and reserved fields that are not zero, are errors (the kernel refuses them too). Lenient: such words are kept as
//! [`Op::Raw`], so nothing is lost. Next: `encode.rs`.

use std::fmt;

use super::op::{Call, Imm64, Op};
use super::table::{Key, Kind, Row, Uses};
use super::{Insn, Operand, Reg};

/// A field of the 8-byte word, or of the second word of `ld_imm64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields of `Insn` by name")]
pub enum Field {
    Dst,
    Src,
    Off,
    Imm,
    /// Code, registers or offset of the second slot of `ld_imm64`.
    SecondSlot,
    /// The constant of the second slot.
    SecondImm,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dst => "dst",
            Self::Src => "src",
            Self::Off => "off",
            Self::Imm => "imm",
            Self::SecondSlot => "code, registers and off of the second slot",
            Self::SecondImm => "imm of the second slot",
        })
    }
}

/// Why a word is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no instruction at all.
    #[error("no instruction: the code ends here")]
    Empty,
    /// The first slot of `ld_imm64` is the last of the program.
    #[error("ld_imm64 takes two slots, but the code ends after the first: it was cut, or a jump lands inside it")]
    Truncated,
    /// No row of the table has this opcode.
    #[error("opcode {code:#04x} does not exist")]
    UnknownOpcode {
        /// The opcode byte.
        code: u8,
    },
    /// The opcode exists, but not with this number in the field that tells its operations apart.
    #[error("opcode {code:#04x} has no operation with {field} = {value}")]
    UnknownVariant {
        /// The opcode byte.
        code: u8,
        /// Field that selects the operation.
        field: Field,
        /// What stands in it.
        value: i32,
    },
    /// A register number above 10.
    #[error("`{name}`: {field} names register {value}, but the last one is r10")]
    Register {
        /// Mnemonic of the operation.
        name: &'static str,
        /// Which register field.
        field: Field,
        /// The number in it.
        value: u8,
    },
    /// A field that this operation does not use is not zero.
    #[error("`{name}` does not use {field}; it must be 0, not {value}")]
    Reserved {
        /// Mnemonic of the operation.
        name: &'static str,
        /// The reserved field.
        field: Field,
        /// What stands in it.
        value: i32,
    },
}

impl Op {
    /// Decodes the operation at the start of `insns`; also how many slots it takes (2 for `ld_imm64`, else 1).
    ///
    /// # Errors
    /// What the table does not list, register numbers above 10, and reserved fields that are not zero.
    pub fn decode(insns: &[Insn]) -> Result<(Self, usize), DecodeError> {
        let first = *insns.first().ok_or(DecodeError::Empty)?;
        let row = Row::of(first)?;
        if let Kind::LoadImm64(pseudo) = row.kind {
            let second = *insns.get(1).ok_or(DecodeError::Truncated)?;
            return Ok((load_imm64(row, pseudo, first, second)?, 2));
        }
        let fields = Fields::check(row, first)?;
        Ok((fields.op(row.kind), 1))
    }

    /// As [`Op::decode`], but every word has a meaning: what is no operation is [`Op::Raw`]. `None` at the end of the code.
    #[must_use]
    pub fn decode_lenient(insns: &[Insn]) -> Option<(Self, usize)> {
        let first = *insns.first()?;
        Some(Self::decode(insns).unwrap_or((Self::Raw(first), 1)))
    }
}

impl Row {
    /// The row this word belongs to; its reserved fields are not looked at.
    ///
    /// # Errors
    ///
    /// No operation has this opcode, or none of those that have it is told by this word's key.
    pub fn of(insn: Insn) -> Result<&'static Self, DecodeError> {
        let code = insn.code();
        let mut error = DecodeError::UnknownOpcode { code };
        for row in Self::with_code(code) {
            let (field, value, want) = match row.key {
                Key::Code => return Ok(row),
                Key::Src(want) => (Field::Src, i32::from(insn.src()), i32::from(want)),
                Key::Off(want) => (Field::Off, i32::from(insn.off()), i32::from(want)),
                Key::Imm(want) => (Field::Imm, insn.imm(), want),
            };
            if value == want {
                return Ok(row);
            }
            error = DecodeError::UnknownVariant { code, field, value };
        }
        Err(error)
    }
}

fn register(row: &Row, field: Field, value: u8) -> Result<Reg, DecodeError> {
    Reg::new(value).ok_or(DecodeError::Register { name: row.name, field, value })
}

fn reserved(row: &Row, field: Field, value: i32) -> Result<(), DecodeError> {
    if value == 0 { Ok(()) } else { Err(DecodeError::Reserved { name: row.name, field, value }) }
}

/// The operands of a one-slot word, checked against its row; unused ones hold a harmless zero.
struct Fields {
    dst: Reg,
    src: Reg,
    either: Operand,
    off: i16,
    imm: i32,
}

impl Fields {
    fn check(row: &Row, insn: Insn) -> Result<Self, DecodeError> {
        let by_register = row.uses.has(Uses::EITHER) && row.code != insn.code();
        let by_constant = row.uses.has(Uses::EITHER) && row.code == insn.code();
        let (off, imm) = (insn.off(), insn.imm());
        if !row.uses.has(Uses::OFF) && !matches!(row.key, Key::Off(_)) {
            reserved(row, Field::Off, off.into())?;
        }
        if !row.uses.has(Uses::IMM) && !matches!(row.key, Key::Imm(_)) && !by_constant {
            reserved(row, Field::Imm, imm)?;
        }
        let dst = if row.uses.has(Uses::DST) {
            register(row, Field::Dst, insn.dst())?
        } else {
            reserved(row, Field::Dst, insn.dst().into())?;
            Reg::R0
        };
        let src = if row.uses.has(Uses::SRC) || by_register {
            register(row, Field::Src, insn.src())?
        } else {
            if !matches!(row.key, Key::Src(_)) {
                reserved(row, Field::Src, insn.src().into())?;
            }
            Reg::R0
        };
        let either = if by_register { Operand::Reg(src) } else { Operand::Imm(imm) };
        Ok(Self { dst, src, either, off, imm })
    }

    fn op(self, kind: Kind) -> Op {
        let Self { dst, src, either, off, imm } = self;
        match kind {
            Kind::Alu(op, width) => Op::Alu { op, width, dst, src: either },
            Kind::Neg(width) => Op::Neg { width, dst },
            Kind::MovSx(bits, width) => Op::MovSx { width, bits, dst, src },
            Kind::Endian(order, bits) => Op::Endian { order, bits, dst },
            Kind::AddrSpaceCast => {
                let [a, b, c, d] = imm.to_le_bytes();
                Op::AddrSpaceCast { dst, src, to: u16::from_le_bytes([c, d]), from: u16::from_le_bytes([a, b]) }
            }
            Kind::LoadImm64(_) => Op::LoadImm64 { dst, value: Imm64::Value(0) },
            Kind::Load(size) => Op::Load { size, dst, src, off },
            Kind::LoadSx(size) => Op::LoadSx { size, dst, src, off },
            Kind::Store(size) => Op::Store { size, dst, off, src: either },
            Kind::Atomic(op, size) => Op::Atomic { op, size, dst, off, src },
            Kind::LoadAbs(size) => Op::LoadAbs { size, off: imm },
            Kind::LoadInd(size) => Op::LoadInd { size, src, off: imm },
            Kind::Jump => Op::Jump { off },
            Kind::JumpLong => Op::JumpLong { off: imm },
            Kind::JumpReg => Op::JumpReg { dst },
            Kind::JumpIf(cond, width) => Op::JumpIf { cond, width, dst, src: either, off },
            Kind::MayGoto => Op::MayGoto { off },
            Kind::Call(super::PSEUDO_CALL) => Op::Call(Call::Local(imm)),
            Kind::Call(super::PSEUDO_KFUNC_CALL) => Op::Call(Call::Kfunc { id: imm, btf: off }),
            Kind::Call(_) => Op::Call(Call::Helper(imm)),
            Kind::CallReg => Op::CallReg { dst },
            Kind::Exit => Op::Exit,
        }
    }
}

fn load_imm64(row: &Row, pseudo: u8, first: Insn, second: Insn) -> Result<Op, DecodeError> {
    let dst = register(row, Field::Dst, first.dst())?;
    reserved(row, Field::Off, first.off().into())?;
    let [code, regs, off @ ..] = second.to_bytes();
    for byte in [code, regs, off[0], off[1]] {
        reserved(row, Field::SecondSlot, byte.into())?;
    }
    if !row.uses.has(Uses::IMM2) {
        reserved(row, Field::SecondImm, second.imm())?;
    }
    let (low, high) = (first.imm(), second.imm().cast_unsigned());
    let value = match pseudo {
        super::PSEUDO_MAP_FD => Imm64::MapFd(low),
        super::PSEUDO_MAP_VALUE => Imm64::MapValue { fd: low, off: high },
        super::PSEUDO_BTF_ID => Imm64::BtfId { id: low, btf_fd: second.imm() },
        super::PSEUDO_FUNC => Imm64::Func(low),
        super::PSEUDO_MAP_IDX => Imm64::MapIdx(low),
        super::PSEUDO_MAP_IDX_VALUE => Imm64::MapIdxValue { idx: low, off: high },
        _ => Imm64::Value(u64::from(high) << 32 | u64::from(low.cast_unsigned())),
    };
    Ok(Op::LoadImm64 { dst, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::TABLE;

    /// A word of this row with a sample operand in every field it uses.
    fn sample(row: &Row, code: u8) -> [Insn; 2] {
        let by_register = row.register_code() == Some(code);
        let has = |uses| row.uses.has(uses);
        let (mut src, mut off, mut imm) = (0, 0, 0);
        if has(Uses::SRC) || by_register {
            src = 2;
        }
        if has(Uses::OFF) {
            off = -3;
        }
        if has(Uses::IMM) || (has(Uses::EITHER) && !by_register) {
            imm = -5;
        }
        match row.key {
            Key::Code => {}
            Key::Src(key) => src = key,
            Key::Off(key) => off = key,
            Key::Imm(key) => imm = key,
        }
        let dst = if has(Uses::DST) { 1 } else { 0 };
        [Insn::new(code, dst, src, off, imm), Insn::new(0, 0, 0, 0, if has(Uses::IMM2) { 7 } else { 0 })]
    }

    #[test]
    fn every_row_decodes_and_encodes_back() {
        for row in TABLE {
            for code in [Some(row.code), row.register_code()].into_iter().flatten() {
                let words = sample(row, code);
                let (op, slots) = Op::decode(&words).unwrap_or_else(|e| panic!("{}: {e}", row.name));
                assert_eq!(&*op.encode(), &words[..slots], "{} {op:?}", row.name);
                assert_eq!(op.row(), Some(row));
            }
        }
    }

    #[test]
    fn reserved_fields_are_refused_on_request_and_kept_otherwise() {
        for row in TABLE {
            for code in [Some(row.code), row.register_code()].into_iter().flatten() {
                let [good, second] = sample(row, code);
                for (field, bad) in [
                    (Field::Dst, Insn::new(code, 3, good.src(), good.off(), good.imm())),
                    (Field::Src, Insn::new(code, good.dst(), 9, good.off(), good.imm())),
                    (Field::Off, Insn::new(code, good.dst(), good.src(), 77, good.imm())),
                    (Field::Imm, Insn::new(code, good.dst(), good.src(), good.off(), 0x7777)),
                ] {
                    match Op::decode(&[bad, second]) {
                        Ok((op, _)) => assert_eq!(op.encode()[0], bad, "{} keeps {field}", row.name),
                        Err(_) => {
                            assert_eq!(Op::decode_lenient(&[bad, second]), Some((Op::Raw(bad), 1)), "{}", row.name);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn errors_say_what_to_look_at() {
        let table = [
            (Insn::new(0x0f, 1, 2, 3, 0), "`add` does not use off; it must be 0, not 3"),
            (Insn::new(0x07, 11, 0, 0, 0), "`add`: dst names register 11, but the last one is r10"),
            (Insn::new(0xff, 0, 0, 0, 0), "opcode 0xff does not exist"),
            (Insn::new(0xdb, 0, 0, 0, 2), "opcode 0xdb has no operation with imm = 2"),
            (
                Insn::new(0x18, 0, 0, 0, 2),
                "ld_imm64 takes two slots, but the code ends after the first: it was cut, or a jump lands inside it",
            ),
        ];
        for (insn, want) in table {
            assert_eq!(Op::decode(&[insn]).unwrap_err().to_string(), want);
        }
        assert_eq!(Op::decode(&[]), Err(DecodeError::Empty));
    }
}

//! Stage: text in. Instructions of the second language: mnemonics, as ubpf and the `bpf_conformance` suite write them.
//!
//! Input: tokens. Output: an [`Op`]. The mnemonics are the names in [`TABLE`]; which operands follow is decided by the row's
//! [`Kind`]. Next: `../unit.rs`.
//!
//! ```text
//! ldxw %r0, [%r1+4]
//! jeq %r0, 0x11, exit
//! lock fetch add [%r10-8], %r1
//! ```

use std::collections::HashMap;
use std::sync::LazyLock;

use super::expr::{imm_from, register};
use super::insn::{Statement, Target, jump, long_jump};
use super::{Parsed, Parser, wrong, wrong_help};
use crate::insn::{AtomicOp, Call, Imm64, Kind, Op, Operand, Reg, TABLE, Width};
use crate::text::diag::nearest;
use crate::text::lex::{Tok, op};
use crate::text::unit::{Fix, FixKind};

/// Mnemonic → what it is, and whether its last operand must be a register (`stx…`).
static MNEMONICS: LazyLock<HashMap<String, (Kind, bool)>> = LazyLock::new(|| {
    let mut all = HashMap::with_capacity(TABLE.len() * 2);
    for row in TABLE {
        all.insert(row.name.to_owned(), (row.kind, false));
        if let Some(bits) = row.name.strip_prefix("bswap") {
            all.insert(format!("swap{bits}"), (row.kind, false));
        }
        if let (Kind::Store(_), Some(size)) = (row.kind, row.name.strip_prefix("st")) {
            all.insert(format!("stx{size}"), (row.kind, true));
        }
    }
    all
});

/// Is this an instruction of the second language?
pub(super) fn is_mnemonic(word: &str) -> bool {
    MNEMONICS.contains_key(word)
}

impl<'s> Parser<'s> {
    /// One instruction.
    pub(super) fn mnemonic(&mut self) -> Parsed<Statement<'s>> {
        let span = self.tok.span();
        let name = self.name("an instruction")?;
        if name == "lock" {
            return self.locked();
        }
        if name == "call" {
            return self.mnemonic_call();
        }
        let Some(&(kind, by_register)) = MNEMONICS.get(name) else {
            let near = nearest(name, MNEMONICS.keys().map(String::as_str));
            let help = near.map_or("mnemonics are those of RFC 9669, such as `mov`, `ldxw`, `jeq`".into(), |near| {
                format!("did you mean `{near}`?")
            });
            return wrong_help(span, format!("there is no instruction `{name}`"), help);
        };
        self.operands(kind, by_register)
    }

    fn operands(&mut self, kind: Kind, by_register: bool) -> Parsed<Statement<'s>> {
        let op = match kind {
            Kind::Alu(op, width) => {
                let dst = self.reg()?;
                Op::Alu { op, width, dst, src: self.comma_operand()? }
            }
            Kind::Neg(width) => Op::Neg { width, dst: self.reg()? },
            Kind::MovSx(bits, width) => Op::MovSx { width, bits, dst: self.reg()?, src: self.comma_reg()? },
            Kind::Endian(order, bits) => Op::Endian { order, bits, dst: self.reg()? },
            Kind::AddrSpaceCast => {
                let (dst, src) = (self.reg()?, self.comma_reg()?);
                let [a, b, c, d] = self.comma_imm()?.to_le_bytes();
                Op::AddrSpaceCast { dst, src, to: u16::from_le_bytes([c, d]), from: u16::from_le_bytes([a, b]) }
            }
            Kind::LoadImm64(pseudo) => Op::LoadImm64 { dst: self.reg()?, value: self.wide_constant(pseudo)? },
            Kind::Load(size) => {
                let dst = self.reg()?;
                let (src, off) = self.comma_memory()?;
                Op::Load { size, dst, src, off }
            }
            Kind::LoadSx(size) => {
                let dst = self.reg()?;
                let (src, off) = self.comma_memory()?;
                Op::LoadSx { size, dst, src, off }
            }
            Kind::Store(size) => {
                let (dst, off) = self.memory()?;
                let src = if by_register { Operand::Reg(self.comma_reg()?) } else { Operand::Imm(self.comma_imm()?) };
                Op::Store { size, dst, off, src }
            }
            Kind::Atomic(op @ AtomicOp::LoadAcquire, size) => {
                let dst = self.reg()?;
                let (src, off) = self.comma_memory()?;
                Op::Atomic { op, size, dst, off, src }
            }
            Kind::Atomic(op, size) => {
                let (dst, off) = self.memory()?;
                Op::Atomic { op, size, dst, off, src: self.comma_reg()? }
            }
            Kind::LoadAbs(size) => Op::LoadAbs { size, off: self.constant32()? },
            Kind::LoadInd(size) => Op::LoadInd { size, src: self.reg()?, off: self.comma_imm()? },
            Kind::JumpReg => Op::JumpReg { dst: self.reg()? },
            Kind::CallReg => Op::CallReg { dst: self.reg()? },
            Kind::Exit => Op::Exit,
            Kind::Jump | Kind::JumpLong | Kind::JumpIf(..) | Kind::MayGoto | Kind::Call(_) => return self.jumps(kind),
        };
        Ok((op, None))
    }

    fn jumps(&mut self, kind: Kind) -> Parsed<Statement<'s>> {
        match kind {
            Kind::JumpIf(cond, width) => {
                let dst = self.reg()?;
                let src = self.comma_operand()?;
                self.expect(",")?;
                let target = self.mnemonic_target()?;
                jump(target, |off| Op::JumpIf { cond, width, dst, src, off })
            }
            Kind::MayGoto => jump(self.mnemonic_target()?, |off| Op::MayGoto { off }),
            Kind::JumpLong => long_jump(self.mnemonic_target()?),
            _ => jump(self.mnemonic_target()?, |off| Op::Jump { off }),
        }
    }

    fn mnemonic_target(&mut self) -> Parsed<Target<'s>> {
        let span = self.tok.span();
        if self.tok.tok == Tok::Number && !self.word().ends_with(['b', 'f']) {
            let off = self.expr()?;
            return Ok(Target::Distance(off, self.since(&span)));
        }
        self.target()
    }

    /// `lock [fetch] add[32] [%r1+4], %r2`.
    fn locked(&mut self) -> Parsed<Statement<'s>> {
        let span = self.tok.span();
        let fetch = if self.eat_word("fetch") { "fetch " } else { "" };
        let name = format!("lock {fetch}{}", self.word());
        let Some(&(kind, _)) = MNEMONICS.get(&name) else {
            let help = "write `lock [fetch] add|or|and|xor[32] [%rN+off], %rM`, or `lock xchg` and `lock cmpxchg`";
            return wrong_help(self.since(&span), format!("`{}` is no atomic operation", name.trim_end()), help);
        };
        self.bump();
        self.operands(kind, false)
    }

    /// `call 1`, `call helper 1`, `call local label`, `call kfunc 5`, `call %r2`.
    fn mnemonic_call(&mut self) -> Parsed<Statement<'s>> {
        let next = self.peek();
        let word = self.word();
        let prefixed = matches!(next.tok, Tok::Name | Tok::Number | Tok::Op([b'+' | b'-', 0, _]));
        match word {
            "local" if prefixed => {
                self.bump();
                match self.mnemonic_target()? {
                    Target::Label(fix) => Ok((Op::Call(Call::Local(0)), Some(Fix { kind: FixKind::Call, ..fix }))),
                    Target::Distance(off, span) => Ok((Op::Call(Call::Local(imm_from(off, Width::W64, span)?)), None)),
                }
            }
            "kfunc" | "runtime" if prefixed => {
                self.bump();
                let id = self.constant32()?;
                let btf = if self.eat(",") { self.constant32()? } else { 0 };
                match i16::try_from(btf) {
                    Ok(btf) => Ok((Op::Call(Call::Kfunc { id, btf }), None)),
                    Err(_) => wrong(next.span(), "a BTF index has 16 bits"),
                }
            }
            _ => {
                self.eat_word("helper");
                if self.tok.tok == op("%") || self.at_register() {
                    return Ok((Op::CallReg { dst: self.reg()? }, None));
                }
                let (span, word) = (self.tok.span(), self.word());
                if self.tok.tok == Tok::Name && self.constant(word).is_none() {
                    self.bump();
                    return Ok((Op::Call(Call::Helper(0)), Some(Fix { name: word, span, kind: FixKind::Call })));
                }
                Ok((Op::Call(Call::Helper(self.constant32()?)), None))
            }
        }
    }

    /// `%r1`; the percent sign may be left out.
    fn reg(&mut self) -> Parsed<Reg> {
        let start = self.tok.span();
        self.eat("%");
        match register(self.word()) {
            Some((Width::W64, _)) => self.wide_register(),
            _ => wrong_help(
                self.tok.span().start.min(start.start)..self.tok.span().end,
                format!("expected a register, found {}", self.shown()),
                "registers are %r0 to %r10",
            ),
        }
    }

    fn comma_reg(&mut self) -> Parsed<Reg> {
        self.expect(",")?;
        self.reg()
    }

    /// A 32-bit constant, signed or unsigned.
    fn constant32(&mut self) -> Parsed<i32> {
        self.imm(Width::W32)
    }

    fn comma_imm(&mut self) -> Parsed<i32> {
        self.expect(",")?;
        self.constant32()
    }

    fn comma_operand(&mut self) -> Parsed<Operand> {
        self.expect(",")?;
        let register = self.tok.tok == op("%") || self.at_register();
        if register { self.reg().map(Operand::Reg) } else { self.constant32().map(Operand::Imm) }
    }

    /// `[%r1+4]`.
    fn memory(&mut self) -> Parsed<(Reg, i16)> {
        self.expect("[")?;
        let reg = self.reg()?;
        let start = self.tok.span();
        let off = self.offset()?;
        let Ok(off) = i16::try_from(off) else {
            return wrong(self.since(&start), "the offset does not fit into 16 bits");
        };
        self.expect("]")?;
        Ok((reg, off))
    }

    fn comma_memory(&mut self) -> Parsed<(Reg, i16)> {
        self.expect(",")?;
        self.memory()
    }

    /// The constants of `lddw` and its pseudo forms.
    fn wide_constant(&mut self, pseudo: u8) -> Parsed<Imm64> {
        self.expect(",")?;
        if pseudo == 0 {
            let start = self.tok.span();
            let value = self.expr()?;
            return super::insn::imm64_from(value, Width::W64, self.since(&start)).map(Imm64::Value);
        }
        let low = self.constant32()?;
        let high = if self.eat(",") { self.constant32()? } else { 0 };
        let off = high.cast_unsigned();
        Ok(match pseudo {
            crate::insn::PSEUDO_MAP_VALUE => Imm64::MapValue { fd: low, off },
            crate::insn::PSEUDO_BTF_ID => Imm64::BtfId { id: low, btf_fd: high },
            crate::insn::PSEUDO_MAP_IDX_VALUE => Imm64::MapIdxValue { idx: low, off },
            crate::insn::PSEUDO_FUNC => Imm64::Func(low),
            crate::insn::PSEUDO_MAP_IDX => Imm64::MapIdx(low),
            _ => Imm64::MapFd(low),
        })
    }
}

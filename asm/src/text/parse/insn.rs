//! Stage: text in. Instructions in pseudo-C.
//!
//! Input: tokens. Output: an [`Op`], and what must still be filled in ([`Fix`]): a label's distance or a symbol's address.
//! What the verifier's log writes differently from LLVM (`goto pc+3`, `(b7)` before an instruction) is read too.
//! Memory and atomics are in `mem.rs`. Next: `mem.rs`.

use std::ops::Range;

use super::expr::imm_from;
use super::{Parsed, Parser, wrong, wrong_help};
use crate::insn::{AluOp, Bits, Call, Cond, Endian, Imm64, Op, Operand, Reg, Width};
use crate::text::lex::{Tok, op};
use crate::text::unit::{Fix, FixKind};

/// An operation, and what is still open in it.
pub(super) type Statement<'s> = (Op, Option<Fix<'s>>);

/// Where a jump goes.
pub(super) enum Target<'s> {
    /// So many slots from the next instruction.
    Distance(i128, Range<usize>),
    Label(Fix<'s>),
}

pub(super) const fn assignment(text: [u8; 3]) -> Option<AluOp> {
    Some(match &text {
        b"=\0\0" => AluOp::Mov,
        b"+=\0" => AluOp::Add,
        b"-=\0" => AluOp::Sub,
        b"*=\0" => AluOp::Mul,
        b"/=\0" => AluOp::Div,
        b"|=\0" => AluOp::Or,
        b"&=\0" => AluOp::And,
        b"<<=" => AluOp::Lsh,
        b">>=" => AluOp::Rsh,
        b"%=\0" => AluOp::Mod,
        b"^=\0" => AluOp::Xor,
        _ => return None,
    })
}

const fn comparison(text: [u8; 3], signed: bool) -> Option<Cond> {
    Some(match (&text, signed) {
        (b"==\0", false) => Cond::Eq,
        (b"!=\0", false) => Cond::Ne,
        (b"&\0\0", false) => Cond::Set,
        (b">\0\0", false) => Cond::Gt,
        (b">=\0", false) => Cond::Ge,
        (b"<\0\0", false) => Cond::Lt,
        (b"<=\0", false) => Cond::Le,
        (b">\0\0", true) => Cond::Sgt,
        (b">=\0", true) => Cond::Sge,
        (b"<\0\0", true) => Cond::Slt,
        (b"<=\0", true) => Cond::Sle,
        _ => return None,
    })
}

/// Byte-order operations by name.
pub(super) fn endian(name: &str) -> Option<(Endian, Bits)> {
    Some(match name {
        "le16" => (Endian::Le, Bits::B16),
        "le32" => (Endian::Le, Bits::B32),
        "le64" => (Endian::Le, Bits::B64),
        "be16" => (Endian::Be, Bits::B16),
        "be32" => (Endian::Be, Bits::B32),
        "be64" => (Endian::Be, Bits::B64),
        "bswap16" => (Endian::Swap, Bits::B16),
        "bswap32" => (Endian::Swap, Bits::B32),
        "bswap64" => (Endian::Swap, Bits::B64),
        _ => return None,
    })
}

impl<'s> Parser<'s> {
    /// One instruction.
    pub(super) fn instruction(&mut self) -> Parsed<Statement<'s>> {
        self.skip_log_opcode()?;
        if self.tok.tok == op("*") {
            return self.store().map(|op| (op, None));
        }
        let (span, word) = (self.tok.span(), self.word());
        if self.tok.tok == Tok::Name && self.register_named(word).is_some() {
            let (width, dst) = self.any_register()?;
            return self.assign(width, dst);
        }
        self.bump();
        let plain = |op| Ok((op, None));
        match word {
            "if" => self.branch(),
            "goto" => self.goto(),
            "gotol" => {
                let target = self.target()?;
                long_jump(target)
            }
            "may_goto" => {
                let target = self.target()?;
                jump(target, |off| Op::MayGoto { off })
            }
            "gotox" => plain(Op::JumpReg { dst: self.wide_register()? }),
            "call" => self.call(),
            "callx" => plain(Op::CallReg { dst: self.wide_register()? }),
            "exit" => plain(Op::Exit),
            "lock" => self.lock().and_then(plain),
            "store_release" => self.store_release().and_then(plain),
            "ld_pseudo" => self.ld_pseudo().and_then(plain),
            _ => {
                let shown = self.text.get(span.clone()).unwrap_or_default();
                wrong_help(span, format!("`{shown}` starts no instruction"), what_instead(word))
            }
        }
    }

    /// `(b7)`, as the verifier's log puts the opcode before the instruction.
    fn skip_log_opcode(&mut self) -> Parsed<()> {
        if self.eat("(") {
            self.bump();
            self.expect(")")?;
        }
        Ok(())
    }

    fn assign(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        let span = self.tok.span();
        let signed = self.eat_word("s");
        let Tok::Op(text) = self.tok.tok else {
            return wrong(
                self.tok.span(),
                format!("expected an assignment such as `=` or `+=`, found {}", self.shown()),
            );
        };
        let alu = match (assignment(text), signed) {
            (Some(AluOp::Rsh), true) => AluOp::Arsh,
            (Some(AluOp::Div), true) => AluOp::Sdiv,
            (Some(AluOp::Mod), true) => AluOp::Smod,
            (Some(alu), false) => alu,
            _ => {
                let help = "assignments are = += -= *= /= %= &= |= ^= <<= >>= s>>= s/= s%=";
                return wrong_help(span, format!("{} is no assignment", self.shown()), help);
            }
        };
        self.bump();
        if alu == AluOp::Mov && !self.at_register() {
            return self.value(width, dst);
        }
        Ok((Op::Alu { op: alu, width, dst, src: self.operand(width)? }, None))
    }

    /// What follows `dst =`, when it is no register.
    fn value(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        let next = self.peek();
        match self.tok.tok {
            Tok::Op([b'*', 0, _]) => self.load(width, dst).map(|op| (op, None)),
            Tok::Op([b'-', 0, _]) if next.tok == Tok::Name && self.register_named(self.lexer.text(next)).is_some() => {
                self.bump();
                self.negate(width, dst)
            }
            Tok::Op([b'(', 0, _]) if matches!(self.lexer.text(next), "s8" | "s16" | "s32") => {
                self.sign_extend(width, dst)
            }
            Tok::Name => self.named_value(width, dst),
            _ => self.number_value(width, dst),
        }
    }

    fn negate(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        self.same_register(width, dst, "the negated register")?;
        Ok((Op::Neg { width, dst }, None))
    }

    /// A register that must be the destination once more.
    fn same_register(&mut self, width: Width, dst: Reg, what: &str) -> Parsed<()> {
        let span = self.tok.span();
        let src = self.register_of(width)?;
        if src == dst {
            return Ok(());
        }
        let help = format!("the operation changes its register in place; first `{dst} = {src}`, then this with {dst}");
        wrong_help(span, format!("{what} must be the assigned one, {dst}"), help)
    }

    fn sign_extend(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        self.bump();
        let span = self.tok.span();
        let bits = match self.word() {
            "s8" => Bits::B8,
            "s16" => Bits::B16,
            _ if width == Width::W64 => Bits::B32,
            _ => {
                return wrong_help(span, "32 bits are all of a w register", "write `r1 = (s32)r2`, or plain `w1 = w2`");
            }
        };
        self.bump();
        self.expect(")")?;
        Ok((Op::MovSx { width, bits, dst, src: self.register_of(width)? }, None))
    }

    fn number_value(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        let start = self.tok.span();
        let value = self.expr()?;
        let span = self.since(&start);
        if self.eat_word("ll") {
            return Ok((Op::LoadImm64 { dst, value: Imm64::Value(imm64_from(value, width, span)?) }, None));
        }
        let src = Operand::Imm(imm_from(value, width, span)?);
        Ok((Op::Alu { op: AluOp::Mov, width, dst, src }, None))
    }

    fn named_value(&mut self, width: Width, dst: Reg) -> Parsed<Statement<'s>> {
        let (span, name) = (self.tok.span(), self.word());
        if let Some((order, bits)) = endian(name) {
            self.bump();
            self.same_register(Width::W64, dst, "the swapped register")?;
            if width == Width::W32 {
                return wrong_help(span, "byte order is changed in a 64-bit register", format!("write {dst}"));
            }
            return Ok((Op::Endian { order, bits, dst }, None));
        }
        if self.peek().tok == op("(") && name != "sizeof" {
            return self.function_value(width, dst, name, &span);
        }
        if self.peek().tok != op("[") && (name == "sizeof" || self.constant(name).is_some()) {
            return self.number_value(width, dst);
        }
        let (value, fix) = self.symbol_value(name, span.clone())?;
        if width == Width::W32 {
            return wrong_help(span, "an address has 64 bits", format!("write {dst}"));
        }
        Ok((Op::LoadImm64 { dst, value }, fix))
    }

    fn branch(&mut self) -> Parsed<Statement<'s>> {
        let (width, dst) = self.any_register()?;
        let span = self.tok.span();
        let signed = self.eat_word("s");
        let cond = match self.tok.tok {
            Tok::Op(text) => comparison(text, signed),
            _ => None,
        };
        let Some(cond) = cond else {
            let help = "comparisons are == != > >= < <= s> s>= s< s<= and & (some bit in common)";
            return wrong_help(span, format!("expected a comparison, found {}", self.shown()), help);
        };
        self.bump();
        let src = self.operand(width)?;
        if !self.eat_word("goto") {
            return wrong(self.tok.span(), format!("expected `goto`, found {}", self.shown()));
        }
        let target = self.target()?;
        jump(target, |off| Op::JumpIf { cond, width, dst, src, off })
    }

    fn goto(&mut self) -> Parsed<Statement<'s>> {
        let target = self.target()?;
        jump(target, |off| Op::Jump { off })
    }

    /// `label`, `1b`, `1f`, `+3`, `-3`, `pc+3`.
    pub(super) fn target(&mut self) -> Parsed<Target<'s>> {
        let (span, word) = (self.tok.span(), self.word());
        if matches!(self.tok.tok, Tok::Op([b'+' | b'-', 0, _])) || (word == "pc" && self.eat_word("pc")) {
            let off = self.offset()?;
            return Ok(Target::Distance(off, self.since(&span)));
        }
        match self.tok.tok {
            Tok::Number if !word.ends_with(['b', 'f']) => {
                let help =
                    format!("write +{word} for a distance in slots, or {word}f and {word}b for the label `{word}:`");
                wrong_help(span, "a jump to a bare number is ambiguous", help)
            }
            Tok::Name | Tok::Number => {
                self.bump();
                Ok(Target::Label(Fix { name: word, span, kind: FixKind::Jump }))
            }
            _ => wrong(span, format!("expected a label, found {}", self.shown())),
        }
    }

    fn call(&mut self) -> Parsed<Statement<'s>> {
        let (span, word) = (self.tok.span(), self.word());
        if word == "pc" && matches!(self.peek().tok, Tok::Op([b'+' | b'-', 0, _])) {
            self.bump();
            let off = self.offset()?;
            let imm = imm_from(off, Width::W64, self.since(&span))?;
            return Ok((Op::Call(Call::Local(imm)), None));
        }
        if word == "kfunc" && self.peek().tok == op("[") {
            return self.call_kfunc();
        }
        if self.tok.tok == Tok::Name && self.constant(word).is_none() {
            self.bump();
            if self.tok.tok == op("(") {
                let help = "put them into r1 to r5, in order, before the call; the result is in r0";
                return wrong_help(self.tok.span(), "a call is written without its arguments", help);
            }
            return Ok((Op::Call(Call::Helper(0)), Some(Fix { name: word, span, kind: FixKind::Call })));
        }
        Ok((Op::Call(Call::Helper(self.imm(Width::W64)?)), None))
    }

    /// `kfunc[123]`, `kfunc[123 btf:1]`, `kfunc[name]`.
    fn call_kfunc(&mut self) -> Parsed<Statement<'s>> {
        self.bump();
        self.bump();
        let span = self.tok.span();
        if matches!(self.tok.tok, Tok::Name | Tok::Str) && self.constant(self.word()).is_none() {
            let name = self.symbol("a kernel function")?;
            self.expect("]")?;
            return Ok((Op::Call(Call::Local(-1)), Some(Fix { name, span, kind: FixKind::Kfunc })));
        }
        let id = self.imm(Width::W64)?;
        let mut btf = 0;
        if self.eat_word("btf") {
            self.expect(":")?;
            let start = self.tok.span();
            let value = self.expr()?;
            let Ok(index) = i16::try_from(value) else {
                return wrong(self.since(&start), "a BTF index has 16 bits");
            };
            btf = index;
        }
        self.expect("]")?;
        Ok((Op::Call(Call::Kfunc { id, btf }), None))
    }
}

/// What to write instead of a word that starts no instruction.
fn what_instead(word: &str) -> &'static str {
    match word {
        "return" | "ret" => "`exit` leaves the function, and what it returns is in r0",
        "jmp" | "ja" | "b" | "br" => "a jump is `goto label`",
        _ if super::ubpf::is_mnemonic(word) => {
            "that is the other language; here it is `r1 = 5`, `r1 += r2`, `r1 = *(u32 *)(r2 + 4)`, `if r1 == 5 goto out`"
        }
        _ => "an instruction is `r1 = …`, `*(u32 *)(r1 + 0) = …`, `if … goto …`, `goto`, `call`, `lock` or `exit`",
    }
}

/// A jump with a 16-bit distance.
pub(super) fn jump<'s>(target: Target<'s>, op: impl FnOnce(i16) -> Op) -> Parsed<Statement<'s>> {
    match target {
        Target::Label(fix) => Ok((op(0), Some(fix))),
        Target::Distance(off, span) => match i16::try_from(off) {
            Ok(off) => Ok((op(off), None)),
            Err(_) => wrong_help(span, "a jump reaches from -32768 to 32767 slots", "use `gotol` (Linux 6.6)"),
        },
    }
}

/// A jump with a 32-bit distance.
pub(super) fn long_jump(target: Target<'_>) -> Parsed<Statement<'_>> {
    match target {
        Target::Label(fix) => Ok((Op::JumpLong { off: 0 }, Some(Fix { kind: FixKind::LongJump, ..fix }))),
        Target::Distance(off, span) => Ok((Op::JumpLong { off: imm_from(off, Width::W64, span)? }, None)),
    }
}

/// Fits a constant into 64 bits.
pub(super) fn imm64_from(value: i128, width: Width, span: Range<usize>) -> Parsed<u64> {
    if width == Width::W32 {
        return wrong_help(span, "`ll` loads 64 bits, but a w register has 32", "write r, or leave `ll` away");
    }
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => Ok(value),
        (_, Ok(value)) => Ok(value.cast_unsigned()),
        _ => wrong(span, format!("{value} does not fit into 64 bits")),
    }
}

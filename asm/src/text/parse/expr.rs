//! Stage: text in. Constants, registers and addresses.
//!
//! Input: tokens. Output: numbers, [`Reg`] and offsets, checked for range. Arithmetic is on 128 bits and checked, so no
//! constant wraps unseen. Next: `insn.rs`.

use std::ops::Range;

use super::{Constant, Parsed, Parser, wrong, wrong_help};
use crate::insn::{Operand, Reg, Width};
use crate::text::diag::nearest;
use crate::text::lex::{Tok, op};

/// Expressions nest this deep at most, so that a hostile text cannot exhaust the stack.
const MAX_DEPTH: u32 = 64;

/// Binary operators, loosest first.
const LEVELS: [&[&str]; 5] = [&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"]];

/// Value of a number token: decimal, `0x`, `0o`, `0b`; `_` may group digits.
pub(super) fn number(text: &str) -> Option<i128> {
    let clean;
    let text = if text.contains('_') {
        clean = text.replace('_', "");
        &clean
    } else {
        text
    };
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', _, ..] => (&text[2..], 2),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok().map(i128::from)
}

/// `r0`–`r10`, `w0`–`w10`. `Some(Err(n))` for a register that does not exist.
pub(super) fn register(text: &str) -> Option<(Width, Result<Reg, u32>)> {
    let (width, digits) = match text.as_bytes() {
        [b'r', digits @ ..] => (Width::W64, digits),
        [b'w', digits @ ..] => (Width::W32, digits),
        _ => return None,
    };
    let number = match *digits {
        [a @ b'0'..=b'9'] => u32::from(a - b'0'),
        [a @ b'1'..=b'9', b @ b'0'..=b'9'] => u32::from(a - b'0') * 10 + u32::from(b - b'0'),
        _ => return None,
    };
    let reg = u8::try_from(number).ok().and_then(Reg::new);
    Some((width, reg.ok_or(number)))
}

impl<'s> Parser<'s> {
    /// The register this name stands for, by itself or through `.equ`.
    pub(super) fn register_named(&self, name: &str) -> Option<(Width, Result<Reg, u32>)> {
        register(name).or_else(|| match self.equs.get(name) {
            Some(&Constant::Register(width, reg)) => Some((width, Ok(reg))),
            _ => None,
        })
    }

    /// Is the current token a register?
    pub(super) fn at_register(&self) -> bool {
        self.tok.tok == Tok::Name && self.register_named(self.word()).is_some()
    }

    /// A register of either width.
    pub(super) fn any_register(&mut self) -> Parsed<(Width, Reg)> {
        let span = self.tok.span();
        match self.register_named(self.word()) {
            Some((width, Ok(reg))) => {
                self.bump();
                Ok((width, reg))
            }
            Some((_, Err(number))) => {
                wrong_help(span, format!("there is no register {number}"), "registers are r0 to r10, and w0 to w10")
            }
            None => {
                let message = format!("expected a register, found {}", self.shown());
                match (self.tok.tok, self.word()) {
                    (_, "fp" | "sp") => wrong_help(span, message, "the frame pointer is r10"),
                    (Tok::Op([b'(', ..]), _) => wrong_help(span, message, "leave the parentheses away"),
                    (Tok::Number, _) => wrong_help(span, message, "put the constant into a register first"),
                    _ => wrong_help(span, message, "registers are r0 to r10, and w0 to w10 for their low 32 bits"),
                }
            }
        }
    }

    /// A register that must be of this width.
    pub(super) fn register_of(&mut self, width: Width) -> Parsed<Reg> {
        let span = self.tok.span();
        let (got, reg) = self.any_register()?;
        if got == width {
            return Ok(reg);
        }
        let (number, right) = (reg.num(), if width == Width::W64 { 'r' } else { 'w' });
        let message = "both sides must have the same width: r (64 bits) or w (the low 32 bits)";
        wrong_help(span, message, format!("write {right}{number}"))
    }

    /// A 64-bit register.
    pub(super) fn wide_register(&mut self) -> Parsed<Reg> {
        self.register_of(Width::W64)
    }

    /// A register of this width, or a constant.
    pub(super) fn operand(&mut self, width: Width) -> Parsed<Operand> {
        if self.at_register() { self.register_of(width).map(Operand::Reg) } else { self.imm(width).map(Operand::Imm) }
    }

    /// A constant for a 32-bit field of an operation of this width.
    pub(super) fn imm(&mut self, width: Width) -> Parsed<i32> {
        let start = self.tok.span();
        let value = self.expr()?;
        imm_from(value, width, self.since(&start))
    }

    /// A constant expression.
    pub(super) fn expr(&mut self) -> Parsed<i128> {
        // The common case, a bare number, without the climb.
        if self.tok.tok == Tok::Number {
            let next = self.peek();
            if !matches!(next.tok, Tok::Op([b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'^' | b'&' | b'<' | b'>', ..])) {
                return self.primary(0);
            }
        }
        self.binary(0, 0)
    }

    fn binary(&mut self, level: usize, depth: u32) -> Parsed<i128> {
        let Some(operators) = LEVELS.get(level) else { return self.term(depth) };
        let start = self.tok.span();
        let mut left = self.binary(level + 1, depth)?;
        while let Some(&symbol) = operators.iter().find(|symbol| self.tok.tok == op(symbol)) {
            self.bump();
            let right = self.binary(level + 1, depth)?;
            left = self.apply(symbol, left, right, &start)?;
        }
        Ok(left)
    }

    /// Products of unary expressions; also what follows a `+` or `-` in an address.
    pub(super) fn term(&mut self, depth: u32) -> Parsed<i128> {
        let start = self.tok.span();
        let mut left = self.unary(depth)?;
        while let Some(&symbol) = ["*", "/", "%"].iter().find(|symbol| self.tok.tok == op(symbol)) {
            self.bump();
            let right = self.unary(depth)?;
            left = self.apply(symbol, left, right, &start)?;
        }
        Ok(left)
    }

    fn apply(&self, symbol: &str, left: i128, right: i128, start: &Range<usize>) -> Parsed<i128> {
        let amount = u32::try_from(right).ok().filter(|n| *n < 64);
        let value = match symbol {
            "|" => Some(left | right),
            "^" => Some(left ^ right),
            "&" => Some(left & right),
            "<<" => amount.and_then(|n| left.checked_mul(1i128 << n)),
            ">>" => amount.map(|n| left >> n),
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        match value {
            Some(value) => Ok(value),
            None => wrong(self.since(start), format!("`{left} {symbol} {right}` has no value")),
        }
    }

    fn unary(&mut self, depth: u32) -> Parsed<i128> {
        if depth > MAX_DEPTH {
            return wrong(self.tok.span(), format!("expressions nest at most {MAX_DEPTH} deep"));
        }
        if self.eat("-") {
            return Ok(self.unary(depth + 1)?.wrapping_neg());
        }
        if self.eat("+") {
            return self.unary(depth + 1);
        }
        if self.eat("~") {
            return Ok(!self.unary(depth + 1)?);
        }
        self.primary(depth)
    }

    fn primary(&mut self, depth: u32) -> Parsed<i128> {
        let (span, word) = (self.tok.span(), self.word());
        match self.tok.tok {
            Tok::Number => {
                let Some(value) = number(word) else {
                    let help = "numbers are decimal, 0x…, 0o… or 0b…, below 2^64";
                    return wrong_help(span, format!("`{word}` is no number"), help);
                };
                self.bump();
                Ok(value)
            }
            Tok::Char => {
                let text = self.lexer.text(self.tok);
                let Some(value) = char_value(&text[1..text.len() - 1]) else {
                    return wrong(span, "a character constant is one ASCII character, such as 'a' or '\\n'");
                };
                self.bump();
                Ok(value.into())
            }
            Tok::Name => self.named_constant(word, span),
            Tok::Op([b'(', ..]) => {
                self.bump();
                let value = self.binary(0, depth + 1)?;
                self.expect(")")?;
                Ok(value)
            }
            Tok::Op([b'[', ..]) => {
                let help = "memory is read like this: `r1 = *(u32 *)(r2 + 4)`";
                wrong_help(span, format!("expected a number, found {}", self.shown()), help)
            }
            _ => wrong(span, format!("expected a number, found {}", self.shown())),
        }
    }

    /// `sizeof(T)`, a struct's field as its offset, an enumerator, or a name from `.equ`.
    fn named_constant(&mut self, name: &'s str, span: Range<usize>) -> Parsed<i128> {
        if name == "sizeof" && self.peek().tok == op("(") {
            self.bump();
            self.bump();
            let size = self.type_expr()?.size;
            self.expect(")")?;
            return Ok(size.into());
        }
        if let Some(value) = self.constant(name) {
            self.bump();
            return Ok(value);
        }
        if self.register_named(name).is_some() {
            let help = "an operation takes a register or a constant; put a sum into a register first";
            return wrong_help(span, format!("the register `{name}` cannot stand in a constant"), help);
        }
        let fields = self.file.types.fields_of(name);
        let known = self.equs.keys().copied().chain(fields.iter().map(String::as_str));
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("define it before its use: `.equ {name}, 1`; an address is written `{name} ll`"),
        };
        wrong_help(span, format!("`{name}` is no constant"), help)
    }

    /// The number a name stands for.
    pub(super) fn constant(&self, name: &str) -> Option<i128> {
        match self.equs.get(name) {
            Some(&Constant::Number(value)) => Some(value),
            Some(Constant::Register(..)) => None,
            None => self.file.types.constant(name),
        }
    }

    /// `(r1 + 4)` without its parentheses: a register, and a sum of constants.
    pub(super) fn address(&mut self) -> Parsed<(Reg, i16)> {
        let reg = self.wide_register()?;
        let start = self.tok.span();
        let off = self.offset()?;
        match i16::try_from(off) {
            Ok(off) => Ok((reg, off)),
            Err(_) => {
                let help = format!("offsets go from -32768 to 32767; add the rest to {reg} first");
                wrong_help(self.since(&start), format!("the offset {off} does not fit into 16 bits"), help)
            }
        }
    }

    /// `+ 4 - 2`, or nothing.
    pub(super) fn offset(&mut self) -> Parsed<i128> {
        let start = self.tok.span();
        let mut off = 0i128;
        while let Tok::Op([sign @ (b'+' | b'-'), 0, _]) = self.tok.tok {
            self.bump();
            let term = self.term(0)?;
            off = self.apply(if sign == b'+' { "+" } else { "-" }, off, term, &start)?;
        }
        Ok(off)
    }
}

/// Fits a constant into 32 bits, sign-extended at 64-bit width.
pub(super) fn imm_from(value: i128, width: Width, span: Range<usize>) -> Parsed<i32> {
    if let Ok(imm) = i32::try_from(value) {
        return Ok(imm);
    }
    let help = match (u32::try_from(value), width) {
        (Ok(unsigned), Width::W32) => return Ok(unsigned.cast_signed()),
        (Ok(unsigned), Width::W64) => {
            let same = unsigned.cast_signed();
            format!("constants are sign-extended to 64 bits: write {same}, or load it with `rN = {value:#x} ll`")
        }
        _ => "load it into a register with `rN = … ll` first".to_owned(),
    };
    wrong_help(span, format!("{value} does not fit into a signed 32-bit constant"), help)
}

fn char_value(text: &str) -> Option<u8> {
    match *text.as_bytes() {
        [c @ 0x20..=0x7e] if c != b'\\' => Some(c),
        [b'\\', c] => escape(c),
        _ => None,
    }
}

/// The byte behind `\n` and its like.
pub(super) fn escape(c: u8) -> Option<u8> {
    Some(match c {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'0' => 0,
        b'\\' | b'\'' | b'"' => c,
        _ => return None,
    })
}

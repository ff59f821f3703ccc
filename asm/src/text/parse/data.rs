//! Stage: text in. Variables: `.var` with a type, and bytes as other assemblers write them.
//!
//! Input: tokens in a data section. Output: bytes and names in [`Data`](crate::text::file::Data). Next: `map.rs`.

use std::ops::Range;

use super::expr::escape;
use super::{Parsed, Parser, wrong, wrong_help};
use crate::text::declare::MAX_NUMBERS;
use crate::text::diag::nearest;
use crate::text::file::{MAX_DATA, Var};
use crate::text::lex::{Tok, op};
use crate::text::types::{Form, Leaf, Type};
use crate::text::unit::Known;

/// What to do when a file holds more data than a text may.
const TOO_MUCH: &str = "a map has room for so much, and is made by the loader";

impl<'s> Parser<'s> {
    /// `.var [static] name: type [= value]`; what is not given is zero.
    pub(super) fn declare_var(&mut self) -> Parsed<()> {
        let is_static = self.word() == "static" && self.peek().tok == Tok::Name;
        if is_static {
            self.bump();
        }
        let span = self.tok.span();
        let name = self.name("the variable's name")?;
        self.expect(":")?;
        let ty = self.type_expr()?;
        let tags = self.decl_tags()?;
        let room = MAX_DATA.saturating_sub(self.file.data_len());
        let (section, data) = self.file.data(&span)?;
        // A `.balign` right before the variable is about the variable.
        let (aligned, at) = data.aligned;
        let asked = if at == data.bytes.len() { aligned } else { 1 };
        let align = ty.align.max(asked).max(1);
        let at = data.bytes.len().next_multiple_of(align as usize);
        let end = at.saturating_add(ty.size as usize);
        if ty.size == 0 {
            return wrong_help(span, "a variable has at least one byte", "a pointer to something is `*T`");
        }
        if end - data.bytes.len() > room {
            return wrong_help(span, format!("the file's data outgrow {MAX_DATA} bytes"), TOO_MUCH);
        }
        let is_bss = section.starts_with(".bss");
        data.bytes.resize(end, 0);
        let var = Var::untyped(name, span.clone(), at, align);
        data.vars.push(Var { ty: Some(ty.clone()), is_static, tags, ..var });
        self.file.take_name(name, Known::Variable, &span)?;
        if self.tok.tok == op("=") && is_bss {
            return wrong_help(self.tok.span(), "a variable in `.bss` starts as zeros", "put it into `.data`");
        }
        if self.eat("=") { self.initial_values(&ty, at, &span) } else { Ok(()) }
    }

    /// What a variable starts as: a text, `{ field: value }`, `bytes 1, 2`, or the numbers in it one after the other.
    fn initial_values(&mut self, ty: &Type, at: usize, span: &Range<usize>) -> Parsed<()> {
        if self.tok.tok == Tok::Str || self.tok.tok == op("{") {
            return self.initial_value(ty, at, at, span);
        }
        let mut leaves = Vec::new();
        if self.word() == "bytes" && self.constant("bytes").is_none() {
            self.bump();
            leaves.extend((0..ty.size).map(|at| Leaf { at, size: 1, big_endian: false }));
        } else if ty.leaves(0, &mut { MAX_NUMBERS }, &mut leaves).is_none() {
            let help = "give it `{ field: value }`, or `bytes 1, 2`";
            return wrong_help(span.clone(), "a variable with bit fields or so many numbers needs another form", help);
        }
        let mut leaves = leaves.into_iter();
        loop {
            let start = self.tok.span();
            let value = self.expr()?;
            let Some(leaf) = leaves.next() else {
                return wrong(self.since(&start), "the type has no room for so many numbers");
            };
            let bytes = fit(value, leaf.size as usize, leaf.big_endian, self.since(&start))?;
            self.put(at + leaf.at as usize, &bytes, span)?;
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    /// One value of a variable that begins at `var`, for its part of type `ty` at `at`.
    fn initial_value(&mut self, ty: &Type, var: usize, at: usize, span: &Range<usize>) -> Parsed<()> {
        let start = self.tok.span();
        if self.tok.tok == Tok::Str {
            let text = self.string()?;
            if !matches!(&ty.bare().form, Form::Array(elem, _) if elem.size == 1) || text.len() > ty.size as usize {
                let help = format!("this text takes `u8[{}]`", text.len());
                return wrong_help(start, "a text needs an array of bytes that is long enough", help);
            }
            return self.put(at, &text, span);
        }
        if self.tok.tok == op("{") {
            return self.block(|p| p.initial_field(ty, var, at, span));
        }
        let is_pointer = matches!(ty.bare().form, Form::Ptr(_));
        if is_pointer && self.tok.tok == Tok::Name && self.constant(self.word()).is_none() {
            let name = self.name("a function")?;
            let (_, data) = self.file.data(span)?;
            let last = data.vars.last_mut().map(|var| &mut var.pointers);
            let offset = u32::try_from(at - var).unwrap_or(u32::MAX);
            last.into_iter().for_each(|pointers| pointers.push((offset, name, start.clone())));
            return Ok(());
        }
        if !is_pointer && !matches!(ty.bare().form, Form::Base(_) | Form::Enum(_)) {
            return wrong_help(
                start,
                "this part is no number",
                "a struct is given as `{ field: value }`, bytes as a text",
            );
        }
        let value = self.expr()?;
        if value != 0 && matches!(&ty.bare().form, Form::Base(base) if base.int.is_none()) {
            let help = "give the whole variable as `bytes 1, 2`";
            return wrong_help(self.since(&start), "a floating point number is not written here", help);
        }
        let bytes = fit(value, ty.size as usize, ty.is_big_endian(), self.since(&start))?;
        self.put(at, &bytes, span)
    }

    /// `field: value`.
    fn initial_field(&mut self, ty: &Type, var: usize, at: usize, span: &Range<usize>) -> Parsed<()> {
        let start = self.tok.span();
        let name = self.name("a field")?;
        let Some((offset, field)) = ty.field(name) else {
            let known = ty.fields().iter().map(|field| &*field.name);
            let help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            let help = help.unwrap_or_else(|| "a struct is given as `{ field: value }`".to_owned());
            return wrong_help(start, format!("the type has no field `{name}`"), help);
        };
        self.expect(":")?;
        let Some(bits) = field.place.bits else {
            return self.initial_value(&field.ty, var, at + offset as usize, span);
        };
        let value_span = self.tok.span();
        let value = self.expr()?;
        let (low, high) = (-(1i128 << (bits.get() - 1)), 1i128 << bits.get());
        if value < low || value >= high {
            return wrong(self.since(&value_span), format!("{value} does not fit into {bits} bits"));
        }
        let first = (field.place.bit % 8) as usize;
        let (_, data) = self.file.data(span)?;
        for bit in (0..usize::from(bits.get())).filter(|bit| value >> bit & 1 == 1) {
            let place = at + offset as usize + (first + bit) / 8;
            data.bytes[place] |= 1 << ((first + bit) % 8);
        }
        Ok(())
    }

    /// Bytes of a variable that has its room already.
    fn put(&mut self, at: usize, bytes: &[u8], span: &Range<usize>) -> Parsed<()> {
        let (_, data) = self.file.data(span)?;
        data.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// A string, its escapes replaced.
    pub(super) fn string(&mut self) -> Parsed<Vec<u8>> {
        let span = self.tok.span();
        if self.tok.tok != Tok::Str {
            return wrong(span, format!("expected a text in quotes, found {}", self.shown()));
        }
        let quoted = self.lexer.text(self.tok).as_bytes();
        let mut bytes = quoted[1..quoted.len() - 1].iter();
        let mut out = Vec::with_capacity(quoted.len());
        while let Some(&byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            match bytes.next().and_then(|&c| escape(c)) {
                Some(byte) => out.push(byte),
                None => return wrong_help(span, "unknown escape in a text", "known are \\n \\t \\r \\0 \\\\ \\\" \\'"),
            }
        }
        self.bump();
        Ok(out)
    }

    fn append(&mut self, span: &Range<usize>, bytes: &[u8]) -> Parsed<()> {
        let room = MAX_DATA.saturating_sub(self.file.data_len());
        let (section, data) = self.file.data(span)?;
        if bytes.len() > room {
            return wrong_help(span.clone(), format!("the file's data outgrow {MAX_DATA} bytes"), TOO_MUCH);
        }
        if section.starts_with(".bss") && bytes.iter().any(|byte| *byte != 0) {
            return wrong_help(span.clone(), "`.bss` holds zeros only", "use `.data`");
        }
        data.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// `.byte 1, 2`, `.long 5`: numbers of `size` bytes.
    pub(super) fn numbers(&mut self, size: usize, span: &Range<usize>) -> Parsed<()> {
        loop {
            let start = self.tok.span();
            let value = self.expr()?;
            let bytes = fit(value, size, false, self.since(&start))?;
            self.append(span, &bytes)?;
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    /// `.ascii "text"`, `.asciz "text"`.
    pub(super) fn ascii(&mut self, zero: bool, span: &Range<usize>) -> Parsed<()> {
        loop {
            let mut text = self.string()?;
            if zero {
                text.push(0);
            }
            self.append(span, &text)?;
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    /// `.zero 16`.
    pub(super) fn zeros(&mut self, span: &Range<usize>) -> Parsed<()> {
        let start = self.tok.span();
        let value = self.expr()?;
        match usize::try_from(value) {
            Ok(count) if count <= MAX_DATA => self.append(span, &vec![0; count]),
            _ => wrong(self.since(&start), format!("between 0 and {MAX_DATA} bytes")),
        }
    }

    /// `.balign 8`, or with `power` `.p2align 3`. In code it says nothing: instructions are aligned.
    pub(super) fn align(&mut self, power: bool, span: &Range<usize>) -> Parsed<()> {
        let start = self.tok.span();
        let value = self.expr()?;
        let bytes =
            if power { u32::try_from(value).ok().and_then(|n| 1u32.checked_shl(n)) } else { u32::try_from(value).ok() };
        let Some(bytes) = bytes.filter(|bytes| bytes.is_power_of_two() && *bytes <= 4096) else {
            return wrong(self.since(&start), "an alignment is a power of two, at most 4096");
        };
        let Ok((_, data)) = self.file.data(span) else { return Ok(()) };
        let missing = data.bytes.len().next_multiple_of(bytes as usize) - data.bytes.len();
        self.append(span, &vec![0; missing])?;
        let (_, data) = self.file.data(span)?;
        data.aligned = (bytes, data.bytes.len());
        Ok(())
    }
}

/// A number in `size` bytes, signed or not, the least significant byte first unless it is to be the last.
fn fit(value: i128, size: usize, big_endian: bool, span: Range<usize>) -> Parsed<Vec<u8>> {
    let bits = size.saturating_mul(8);
    let (low, high) = (-(1i128 << (bits - 1)), 1i128 << bits);
    if value < low || value >= high {
        return wrong(span, format!("{value} does not fit into {size} bytes"));
    }
    let mut bytes = value.to_le_bytes()[..size].to_vec();
    if big_endian {
        bytes.reverse();
    }
    Ok(bytes)
}

//! Stage: text in. The declarations `.struct`, `.union`, `.enum`, `.typedef`, `.basetype`, `.func`, `.extern`.
//!
//! Input: tokens. Output: entries of [`Types`](crate::text::types::Types), prototypes, names of the kernel's. Next: `data.rs`.
//!
//! ```text
//! .struct Eth {
//!     dst: u8[6]
//!     src: u8[6]
//!     proto: be16
//! }
//! .func balance(ctx: *xdp_md) -> s32
//! .extern config CONFIG_HZ: u32
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::{Parsed, Parser, wrong, wrong_help};
use crate::btf::Int;
use crate::text::file::Prototype;
use crate::text::lex::{Tok, op};
use crate::text::program::External;
use crate::text::types::{Enum, Proto, Type};
use crate::text::unit::Known;

/// The sizes of integers and of enumerations.
fn size_of(bytes: u32) -> bool {
    matches!(bytes, 1 | 2 | 4 | 8 | 16)
}

impl<'s> Parser<'s> {
    /// `.struct Name [decl_tag("…")] [packed] [size N] { … }`, `.union …`.
    pub(super) fn declare_struct(&mut self, union: bool) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the struct's name")?;
        let tags = self.decl_tags()?;
        let ty = self.struct_body(name, union, tags, &span, 0)?;
        self.add_type(name, ty, span)
    }

    /// `.enum name { A, B = 5 }`.
    pub(super) fn declare_enum(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the enumeration's name")?;
        let ty = self.enum_body(name)?;
        self.add_type(name, ty, span)
    }

    /// `[decl_tag("…")] [wide] [signed|unsigned] [size N] { A, B = 5 }`. What is not said follows from the values.
    pub(super) fn enum_body(&mut self, name: &str) -> Parsed<Type> {
        let span = self.tok.span();
        let tags = self.decl_tags()?;
        let wide = self.eat_word("wide");
        let sign = if self.eat_word("signed") { Some(true) } else { self.eat_word("unsigned").then_some(false) };
        let size = if self.eat_word("size") { Some(self.unsigned()?) } else { None };
        if size.is_some_and(|size| !size_of(size) || size > 8) {
            return wrong(self.since(&span), "an enumeration takes 1, 2, 4 or 8 bytes");
        }
        let mut values: Vec<(Arc<str>, i128)> = Vec::new();
        self.block(|p| {
            let start = p.tok.span();
            let enumerator = p.name("an enumerator")?;
            let next = values.last().map_or(0, |(_, last)| last + 1);
            let value = if p.eat("=") { p.expr()? } else { next };
            if i64::try_from(value).is_err() && u64::try_from(value).is_err() {
                return wrong(p.since(&start), "an enumerator has 64 bits");
            }
            values.push((enumerator.into(), value));
            Ok(())
        })?;
        let signed = sign.unwrap_or_else(|| values.iter().any(|(_, value)| *value < 0));
        let fits = |value: &i128| if signed { i32::try_from(*value).is_ok() } else { u32::try_from(*value).is_ok() };
        let wide = wide || !values.iter().all(|(_, value)| fits(value));
        let whole = |value: &i128| if signed { i64::try_from(*value).is_ok() } else { u64::try_from(*value).is_ok() };
        if !values.iter().all(|(_, value)| whole(value)) {
            return wrong_help(span, "these values do not fit into 64 bits together", "negative ones make all signed");
        }
        Ok(Type::enumeration(Enum { name: name.into(), values, signed, wide, keyword: false, tags }, size))
    }

    /// `.typedef name = type`.
    pub(super) fn declare_typedef(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the new name")?;
        self.expect("=")?;
        let to = self.type_expr()?;
        let tags = self.decl_tags()?;
        self.add_type(name, to.named(name, tags), span)
    }

    /// `.basetype name int 4 [signed] [char] [bool] [bits N [@ N]]`, `.basetype name float 8`: a number as a compiler has it.
    pub(super) fn declare_base(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.symbol("the number's name")?;
        let float = self.eat_word("float");
        if !float && !self.eat_word("int") {
            return wrong_help(self.tok.span(), "a number is int or float", "write `.basetype name int 4 signed`");
        }
        let size_span = self.tok.span();
        let size = self.unsigned()?;
        let fine = if float { matches!(size, 2 | 4 | 8 | 12 | 16) } else { size_of(size) };
        if !fine {
            return wrong(self.since(&size_span), "a number takes 1, 2, 4, 8 or 16 bytes, a float 2, 4, 8, 12 or 16");
        }
        let ty = if float { Type::float(name, size) } else { Type::int(name, self.int_of(size)?) };
        self.add_type(name, ty, span)
    }

    fn int_of(&mut self, size: u32) -> Parsed<Int> {
        let (signed, char, bool) = (self.eat_word("signed"), self.eat_word("char"), self.eat_word("bool"));
        let span = self.tok.span();
        let bits = if self.eat_word("bits") { self.unsigned()? } else { size * 8 };
        let at = if self.eat("@") { self.unsigned()? } else { 0 };
        match (u8::try_from(bits), u8::try_from(at)) {
            (Ok(bits), Ok(bit_offset)) => Ok(Int { size, signed, char, bool, bit_offset, bits }),
            _ => wrong(self.since(&span), "bits of a number are counted up to 255"),
        }
    }

    fn add_type(&mut self, name: &'s str, ty: Type, span: Range<usize>) -> Parsed<()> {
        if self.file.types.add(name, ty) { Ok(()) } else { wrong(span, format!("there is a type `{name}` already")) }
    }

    /// `.func [static] name[(a: u32, b: *T)] [-> type]`.
    pub(super) fn declare_func(&mut self) -> Parsed<()> {
        let is_static = self.eat_word("static");
        let span = self.tok.span();
        let name = self.name("the function's name")?;
        let has_params = self.tok.tok == op("(");
        let proto = self.signature()?;
        if proto.params.len() > 12 {
            return wrong_help(span, "too many parameters", "functions take at most five, in r1 to r5");
        }
        let tags = self.decl_tags()?;
        let proto = Prototype { proto, has_params, is_static, tags, span: span.clone() };
        match self.file.protos.insert(name, proto) {
            None => Ok(()),
            Some(_) => wrong(span, format!("`{name}` has a prototype already")),
        }
    }

    /// `(a: T) -> T`, either of which may be missing.
    fn signature(&mut self) -> Parsed<Proto> {
        let (params, variadic) = if self.tok.tok == op("(") { self.params(0)? } else { (Vec::new(), false) };
        let ret = if self.eat("->") { self.type_expr()? } else { Type::builtin("int").unwrap_or_else(Type::void) };
        Ok(Proto { params, variadic, ret })
    }

    /// `.extern func name(a: T) -> T`, `.extern var name: T`, `.extern config name: T`; each with `weak` behind `.extern`.
    pub(super) fn declare_extern(&mut self) -> Parsed<()> {
        let weak = self.eat_word("weak");
        let (what, next) = (self.word(), self.peek());
        if !matches!(what, "func" | "var" | "config") || next.tok != Tok::Name {
            let help =
                "write `.extern func name(a: u32) -> u64`, `.extern var name: u64` or `.extern config CONFIG_HZ: u32`";
            return wrong_help(self.tok.span(), "what the kernel has is a func, a var or a config", help);
        }
        self.bump();
        let span = self.tok.span();
        let name = self.name("a name of the kernel's")?;
        let external = if what == "func" {
            let proto = self.signature()?;
            External::Func { proto, tags: self.decl_tags()? }
        } else {
            self.expect(":")?;
            let ty = self.type_expr()?;
            if what == "var" { External::Var(ty) } else { External::Config(ty) }
        };
        let known = if what == "func" { Known::Kfunc } else { Known::Ksym };
        self.file.take_name(name, known, &span)?;
        self.file.externs.push((name, weak, external));
        Ok(())
    }
}

//! Stage: text in. Type expressions, and the declarations `.struct`, `.union`, `.enum`, `.typedef`, `.func`, `.extern`.
//!
//! Input: tokens. Output: entries of [`Types`](crate::text::types::Types) and prototypes. Next: `data.rs`.
//!
//! ```text
//! .struct Eth {
//!     dst: u8[6]
//!     src: u8[6]
//!     proto: be16
//! }
//! .func balance(ctx: *xdp_md) -> s32
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::{Parsed, Parser, wrong, wrong_help};
use crate::object::ExternDef;
use crate::text::diag::nearest;
use crate::text::file::Proto;
use crate::text::lex::{Tok, op};
use crate::text::program::Param;
use crate::text::types::{Form, Qualifier, Rules, TAG, Type, Wanted, builtin_names, lay_out};
use crate::text::unit::Known;

/// Pointers and arrays nest this deep at most.
const MAX_DEPTH: u32 = 32;

/// BTF counts members in 16 bits.
const MAX_MEMBERS: usize = 0xffff;

impl<'s> Parser<'s> {
    /// `u32`, `Eth`, `*T`, `T[4]`.
    pub(super) fn type_expr(&mut self) -> Parsed<Type> {
        self.type_at(0)
    }

    fn type_at(&mut self, depth: u32) -> Parsed<Type> {
        let span = self.tok.span();
        if depth > MAX_DEPTH {
            return wrong(span, format!("types nest at most {MAX_DEPTH} deep"));
        }
        if self.eat("*") {
            return self.pointer(depth);
        }
        if let Some(qualifier) = Qualifier::ALL.into_iter().find(|q| self.eat_word(q.word())) {
            return Ok(self.type_at(depth + 1)?.qualified(qualifier));
        }
        if self.eat_word(TAG) {
            return self.tagged(depth);
        }
        let base = if self.eat("(") {
            let inside = self.type_at(depth + 1)?;
            self.expect(")")?;
            inside
        } else {
            self.named_type()?
        };
        self.arrays_of(base, &span)
    }

    /// `("kptr") T`, behind `tag`.
    fn tagged(&mut self, depth: u32) -> Parsed<Type> {
        self.expect("(")?;
        let tag = self.symbol("the tag")?;
        self.expect(")")?;
        Ok(self.type_at(depth + 1)?.tagged(tag))
    }

    fn pointer(&mut self, depth: u32) -> Parsed<Type> {
        if self.eat_word("struct") {
            return Ok(Type::pointer(self.struct_or_fwd()?));
        }
        let known = match self.tok.tok {
            Tok::Name if self.word() == TAG || Qualifier::ALL.iter().any(|q| q.word() == self.word()) => true,
            Tok::Name => self.word() == "void" || self.file.types.get(self.word()).is_some(),
            _ => true,
        };
        let to = if known { self.type_at(depth + 1)? } else { self.struct_or_fwd()? };
        Ok(Type::pointer(to))
    }

    /// A type by its name; names with blanks are in quotes.
    fn named_type(&mut self) -> Parsed<Type> {
        let span = self.tok.span();
        self.eat_word("struct");
        match self.symbol("a type")? {
            "void" => Ok(Type::void()),
            name => match self.file.types.get(name) {
                Some(ty) => Ok(ty),
                None => self.unknown_type(name, span),
            },
        }
    }

    /// `[4][2]` behind a type.
    fn arrays_of(&mut self, base: Type, span: &Range<usize>) -> Parsed<Type> {
        let mut lens = Vec::new();
        while self.tok.tok == op("[") {
            if lens.len() >= MAX_DEPTH as usize {
                return wrong(span.clone(), format!("arrays nest at most {MAX_DEPTH} deep"));
            }
            lens.push(self.array_len()?);
        }
        let array = |ty: Type, len: &u32| ty.array(*len);
        match lens.iter().rev().try_fold(base, array) {
            Some(ty) => Ok(ty),
            None => wrong(self.since(span), "this type outgrows 4 GiB"),
        }
    }

    fn unknown_type(&self, name: &str, span: Range<usize>) -> Parsed<Type> {
        let mut names: Vec<&str> = builtin_names().collect();
        names.extend(self.file.types.names());
        let help = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "types are u8 to u64, s8 to s64, be16 to be64, bool, char, *T, T[n], and what `.struct` declares".into()
            }
        };
        wrong_help(span, format!("there is no type `{name}`"), help)
    }

    fn struct_or_fwd(&mut self) -> Parsed<Type> {
        let name = self.name("a struct")?;
        Ok(self.file.types.get(name).unwrap_or_else(|| Type::forward(name)))
    }

    fn array_len(&mut self) -> Parsed<u32> {
        self.expect("[")?;
        let len = self.unsigned()?;
        self.expect("]")?;
        Ok(len)
    }

    /// A number of 32 bits, not negative.
    pub(super) fn unsigned(&mut self) -> Parsed<u32> {
        let start = self.tok.span();
        let value = self.expr()?;
        match u32::try_from(value) {
            Ok(number) => Ok(number),
            Err(_) => wrong(self.since(&start), format!("{value} does not fit into 32 bits")),
        }
    }

    /// The inside of `{ … }`: items on lines of their own or with commas between them.
    pub(super) fn block(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        let open = self.tok.span();
        self.expect("{")?;
        let mut count = 0usize;
        loop {
            while self.tok.tok == Tok::Line || self.tok.tok == op(",") {
                self.bump();
            }
            if self.eat("}") {
                return Ok(());
            }
            if self.tok.tok == Tok::End {
                return wrong_help(open, "this `{` is never closed", "end the block with `}`");
            }
            count += 1;
            if count > MAX_MEMBERS {
                return wrong(self.tok.span(), format!("a block has at most {MAX_MEMBERS} items"));
            }
            // A mistake in one item is filed, and the block goes on in the next line.
            if let Err(error) = item(self) {
                self.report(*error);
                while !matches!(self.tok.tok, Tok::Line | Tok::End) && self.tok.tok != op("}") {
                    self.bump();
                }
            }
        }
    }

    /// `.struct Name [packed] [size N] { field: type [@ offset] … }`, `.union …`.
    pub(super) fn declare_struct(&mut self, union: bool) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the struct's name")?;
        let packed = self.eat_word("packed");
        let size = if self.eat_word("size") { Some(self.unsigned()?) } else { None };
        let mut fields: Vec<Wanted> = Vec::new();
        self.block(|p| {
            let at = p.tok.span();
            let field = p.name("a field's name")?;
            if fields.iter().any(|(name, ..)| &**name == field) {
                return wrong(at, format!("the field `{field}` is there already"));
            }
            p.expect(":")?;
            let ty = p.type_expr()?;
            if ty.size == 0 && matches!(ty.form, Form::Void | Form::Fwd(_)) {
                return wrong_help(at, format!("the field `{field}` has no size"), "a pointer to it is `*T`");
            }
            let offset = if p.eat("@") { Some(p.unsigned()?) } else { None };
            fields.push((field.into(), ty, offset));
            Ok(())
        })?;
        let Some(ty) = lay_out(name, fields, Rules { union, packed, size }) else {
            return wrong(span, "the fields outgrow the struct's size, or 4 GiB");
        };
        self.add_type(name, ty, span)
    }

    /// `.enum name { A, B = 5 }`.
    pub(super) fn declare_enum(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the enumeration's name")?;
        let mut values: Vec<(Arc<str>, i64)> = Vec::new();
        self.block(|p| {
            let start = p.tok.span();
            let enumerator = p.name("an enumerator")?;
            let next = values.last().map_or(Some(0), |(_, last)| last.checked_add(1)).map(i128::from);
            let value = if p.eat("=") { Some(p.expr()?) } else { next };
            match value.and_then(|value| i64::try_from(value).ok()) {
                Some(value) => values.push((enumerator.into(), value)),
                None => return wrong(p.since(&start), "an enumerator has 64 bits"),
            }
            Ok(())
        })?;
        self.add_type(name, Type::enumeration(name, values), span)
    }

    /// `.typedef name = type`.
    pub(super) fn declare_typedef(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the new name")?;
        self.expect("=")?;
        let to = self.type_expr()?;
        self.add_type(name, to.named(name), span)
    }

    fn add_type(&mut self, name: &'s str, ty: Type, span: Range<usize>) -> Parsed<()> {
        if self.file.types.add(name, ty) { Ok(()) } else { wrong(span, format!("there is a type `{name}` already")) }
    }

    /// `.func [static] name[(a: u32, b: *T)] [-> type]`.
    pub(super) fn declare_func(&mut self) -> Parsed<()> {
        let is_static = self.eat_word("static");
        let span = self.tok.span();
        let name = self.name("the function's name")?;
        let (params, ret) = self.signature()?;
        let proto = Proto { params, ret, is_static, span: span.clone() };
        match self.file.protos.insert(name, proto) {
            None => Ok(()),
            Some(_) => wrong(span, format!("`{name}` has a prototype already")),
        }
    }

    fn signature(&mut self) -> Parsed<(Option<Vec<Param>>, Type)> {
        let params = if self.tok.tok == op("(") { Some(self.params()?) } else { None };
        let ret = if self.eat("->") { self.type_expr()? } else { Type::builtin("int").unwrap_or_else(Type::void) };
        Ok((params, ret))
    }

    fn params(&mut self) -> Parsed<Vec<Param>> {
        let start = self.tok.span();
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.eat(")") {
            if !params.is_empty() {
                self.expect(",")?;
            }
            let name = self.name("a parameter")?.into();
            self.expect(":")?;
            params.push(Param { name, ty: self.type_expr()? });
            if params.len() > 12 {
                return wrong_help(
                    self.since(&start),
                    "too many parameters",
                    "functions take at most five, in r1 to r5",
                );
            }
        }
        Ok(params)
    }

    /// `.extern func name(a: T) -> T`, `.extern var name: T`, either with `weak` behind `.extern`.
    pub(super) fn declare_extern(&mut self) -> Parsed<()> {
        let weak = self.eat_word("weak");
        let is_func = self.eat_word("func");
        if !is_func && !self.eat_word("var") {
            let help = "write `.extern func name(a: u32) -> u64` or `.extern var name: u64`";
            return wrong_help(self.tok.span(), "a name of the kernel's is a func or a var", help);
        }
        let span = self.tok.span();
        let name = self.name("a name of the kernel's")?;
        let (known, mut def) = if is_func {
            let (params, ret) = self.signature()?;
            let def = ExternDef::kfunc(name, ret.ty());
            let with = |def: ExternDef, param: Param| def.param(&param.name, param.ty.ty());
            (Known::Kfunc, params.into_iter().flatten().fold(def, with))
        } else {
            self.expect(":")?;
            (Known::Ksym, ExternDef::ksym(name, self.type_expr()?.ty()))
        };
        if weak {
            def = def.weak();
        }
        self.file.take_name(name, known, &span)?;
        self.file.externs.push((name, known, def));
        Ok(())
    }
}

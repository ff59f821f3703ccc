//! Stage: text in. Type expressions.
//!
//! Input: tokens. Output: [`Type`]. The declarations that give types names are in `declare.rs`. Next: `declare.rs`.
//!
//! ```text
//! u32    *Eth    u8[6]    (*Eth)[4]    const "unsigned int"    tag("kptr") T    struct Eth
//! *fn(sk: *sock, u32) -> int
//! union { whole: u32, half: u16[2] }
//! ```

use std::ops::Range;

use super::{Parsed, Parser, wrong, wrong_help};
use crate::text::diag::nearest;
use crate::text::lex::{Tok, op};
use crate::text::types::{
    Bits, Form, MAX_DEPTH, Param, Proto, Qualifier, Rules, Tag, Type, Wanted, builtin_names, lay_out,
};

/// BTF counts members in 16 bits.
const MAX_MEMBERS: usize = 0xffff;

impl<'s> Parser<'s> {
    /// A type.
    pub(super) fn type_expr(&mut self) -> Parsed<Type> {
        self.type_at(0, false)
    }

    /// A type so deep in others; behind a star it may be a struct that is declared later, or nowhere.
    fn type_at(&mut self, depth: u16, pointee: bool) -> Parsed<Type> {
        let span = self.tok.span();
        let ty = if depth > MAX_DEPTH { None } else { Some(self.type_here(depth, pointee)?) };
        match ty {
            Some(ty) if ty.depth <= MAX_DEPTH => Ok(ty),
            _ => wrong(span, format!("types nest at most {MAX_DEPTH} deep")),
        }
    }

    fn type_here(&mut self, depth: u16, pointee: bool) -> Parsed<Type> {
        let span = self.tok.span();
        if self.eat("*") {
            return Ok(Type::pointer(self.type_at(depth + 1, true)?));
        }
        if let Some(qualifier) = Qualifier::ALL.into_iter().find(|q| self.eat_word(q.word())) {
            return Ok(self.type_at(depth + 1, pointee)?.qualified(qualifier));
        }
        let opened = self.peek().tok == op("(");
        match self.word() {
            word @ ("tag" | "attr") if opened => {
                self.bump();
                let tag = self.tag_text(word == "attr")?;
                Ok(self.type_at(depth + 1, pointee)?.tagged(tag))
            }
            "fn" if opened => {
                self.bump();
                self.prototype(depth)
            }
            _ => {
                let base = if self.eat("(") {
                    let inside = self.type_at(depth + 1, pointee)?;
                    self.expect(")")?;
                    inside
                } else {
                    self.named_type(depth, pointee)?
                };
                self.arrays_of(base, &span)
            }
        }
    }

    /// `("kptr")`, behind `tag`, `attr`, `decl_tag` and `decl_attr`.
    fn tag_text(&mut self, attr: bool) -> Parsed<Tag> {
        self.expect("(")?;
        let text = self.utf8()?;
        self.expect(")")?;
        Ok(Tag { text: text.into(), attr })
    }

    /// `decl_tag("…")` behind a declaration, any number of times.
    pub(super) fn decl_tags(&mut self) -> Parsed<Vec<Tag>> {
        let mut tags = Vec::new();
        while matches!(self.word(), "decl_tag" | "decl_attr") {
            let attr = self.word() == "decl_attr";
            self.bump();
            tags.push(self.tag_text(attr)?);
        }
        Ok(tags)
    }

    /// `fn(a: T, U, ...) -> R`, from its parenthesis on.
    fn prototype(&mut self, depth: u16) -> Parsed<Type> {
        let (params, variadic) = self.params(depth)?;
        let ret = if self.eat("->") { self.type_at(depth + 1, false)? } else { Type::void() };
        Ok(Type::proto(Proto { params, variadic, ret }))
    }

    /// `(a: T, U, ...)`: parameters, and whether more may follow.
    pub(super) fn params(&mut self, depth: u16) -> Parsed<(Vec<Param>, bool)> {
        self.expect("(")?;
        let (mut params, mut variadic) = (Vec::new(), false);
        while !self.eat(")") {
            if variadic || !params.is_empty() {
                self.expect(",")?;
            }
            if self.eat_word("...") {
                variadic = true;
                self.expect(")")?;
                break;
            }
            let named = self.tok.tok == Tok::Name && self.peek().tok == op(":");
            let name = if named { self.name("a parameter")? } else { "" };
            if named {
                self.expect(":")?;
            }
            let ty = self.type_at(depth + 1, false)?;
            params.push(Param { name: name.into(), ty, tags: self.decl_tags()? });
            if params.len() > MAX_MEMBERS {
                return wrong(self.tok.span(), "too many parameters");
            }
        }
        Ok((params, variadic))
    }

    /// A type by its name (names with blanks are in quotes), or a nameless one.
    fn named_type(&mut self, depth: u16, pointee: bool) -> Parsed<Type> {
        let span = self.tok.span();
        match self.word() {
            word @ ("struct" | "union") => {
                self.bump();
                self.struct_type(word == "union", depth)
            }
            "enum" => {
                self.bump();
                self.enum_type(span)
            }
            _ => match self.symbol("a type")? {
                "void" => Ok(Type::void()),
                name => match self.file.types.get(name) {
                    Some(ty) => Ok(ty),
                    None if pointee => Ok(Type::forward(name, false, false)),
                    None => self.unknown_type(name, span),
                },
            },
        }
    }

    /// Behind `struct` or `union`: a name, or a body.
    fn struct_type(&mut self, union: bool, depth: u16) -> Parsed<Type> {
        let span = self.tok.span();
        let next = self.peek();
        let body = self.tok.tok == op("{")
            || (matches!(self.word(), "packed" | "size") && (next.tok == op("{") || next.tok == Tok::Number))
            || (self.word() == "packed" && self.lexer.text(next) == "size");
        if body {
            return self.struct_body("", union, Vec::new(), &span, depth);
        }
        let name = self.name("a struct")?;
        Ok(self.file.types.tagged(name).unwrap_or_else(|| Type::forward(name, union, true)))
    }

    /// Behind `enum`: a name, or a body.
    fn enum_type(&mut self, span: Range<usize>) -> Parsed<Type> {
        let next = self.peek();
        let body = self.tok.tok == op("{")
            || (matches!(self.word(), "size" | "signed" | "unsigned" | "wide")
                && (next.tok == op("{") || matches!(next.tok, Tok::Number | Tok::Name)));
        if body {
            let ty = self.enum_body("")?;
            self.file.types.note_enumerators(&ty);
            return Ok(ty);
        }
        let name = self.name("an enumeration")?;
        match self.file.types.tagged(name) {
            Some(ty) => Ok(ty),
            None => self.unknown_type(name, span),
        }
    }

    /// `[4][2]` behind a type.
    fn arrays_of(&mut self, base: Type, span: &Range<usize>) -> Parsed<Type> {
        let mut lens = Vec::new();
        while self.tok.tok == op("[") {
            if lens.len() >= MAX_DEPTH.into() {
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

    /// `[packed] [size N] { field: type [: bits] [@ byte[:bit]] … }`.
    pub(super) fn struct_body(
        &mut self,
        name: &str,
        union: bool,
        tags: Vec<Tag>,
        span: &Range<usize>,
        depth: u16,
    ) -> Parsed<Type> {
        let packed = self.eat_word("packed");
        let size = if self.eat_word("size") { Some(self.unsigned()?) } else { None };
        let mut fields: Vec<Wanted> = Vec::new();
        self.block(|p| {
            let field = p.field(&fields, depth)?;
            fields.push(field);
            Ok(())
        })?;
        match lay_out(name, fields, Rules { union, packed, size, keyword: false }, tags) {
            Some(ty) => Ok(ty),
            None => wrong(span.clone(), "the fields outgrow the struct's size, or 4 GiB"),
        }
    }

    /// One field; without a name it is a struct or union whose fields are reached as if they were here.
    fn field(&mut self, before: &[Wanted], depth: u16) -> Parsed<Wanted> {
        let at = self.tok.span();
        let named = self.peek().tok == op(":");
        let name = if named { self.name("a field's name")? } else { "" };
        if named {
            if before.iter().any(|field| *field.name == *name) {
                return wrong(at, format!("the field `{name}` is there already"));
            }
            self.expect(":")?;
        }
        let ty = self.type_at(depth + 1, false)?;
        if ty.size == 0 && matches!(ty.bare().form, Form::Void | Form::Fwd(_) | Form::Proto(_)) {
            return wrong_help(at, format!("the field `{name}` has no size"), "a pointer to it is `*T`");
        }
        if !named && !matches!(ty.bare().form, Form::Struct(_)) {
            let help = "write `name: type`; only a struct or union may go without a name";
            return wrong_help(at, "this field has no name", help);
        }
        let bits = if named && self.eat(":") { self.field_bits(&ty)? } else { None };
        let bit = if self.eat("@") { Some(self.bit_offset()?) } else { None };
        Ok(Wanted { name: name.into(), ty, bits, bit, tags: self.decl_tags()? })
    }

    /// How many bits a bit field has.
    fn field_bits(&mut self, ty: &Type) -> Parsed<Bits> {
        let span = self.tok.span();
        let bits = self.unsigned()?;
        let number = matches!(&ty.bare().form, Form::Enum(_))
            || matches!(&ty.bare().form, Form::Base(base) if base.int.is_some());
        if !number {
            return wrong(self.since(&span), "a bit field is an integer or an enumeration");
        }
        match u8::try_from(bits).ok().filter(|bits| u32::from(*bits) <= ty.size.saturating_mul(8)) {
            Some(bits) if bits > 0 => Ok(std::num::NonZeroU8::new(bits)),
            _ => wrong(
                self.since(&span),
                format!("a bit field of this type has 1 to {} bits", ty.size.saturating_mul(8)),
            ),
        }
    }

    /// `4`, or `4:3` for the fourth bit of byte 4; in bits.
    fn bit_offset(&mut self) -> Parsed<u32> {
        let span = self.tok.span();
        let byte = self.unsigned()?;
        let bit = if self.eat(":") { self.unsigned()? } else { 0 };
        match byte.checked_mul(8).and_then(|bits| bits.checked_add(bit)) {
            Some(bits) => Ok(bits),
            None => wrong(self.since(&span), "fields begin in the first 512 MiB of a struct"),
        }
    }
}

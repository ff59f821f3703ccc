//! Stage: text out. Types as the assembler reads them.
//!
//! Input: [`Type`]. Output: expressions, and declarations of what has a name. Next: `../parse/types.rs`, which reads them.

use std::fmt::{Display, Formatter, Result};

use super::{Quoted, is_plain};
use crate::text::types::{Enum, Field, Form, Param, Proto, Struct, Tag, Type};

/// A type as an expression.
pub(super) struct Expr<'t>(pub(super) &'t Type);

impl Display for Expr<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.0.form {
            Form::Void => f.write_str("void"),
            Form::Base(base) if is_plain(&base.name) => f.write_str(&base.name),
            Form::Base(base) => write!(f, "\"{}\"", base.name),
            Form::Ptr(to) => write!(f, "*{}", Expr(to)),
            Form::Fwd(fwd) if !fwd.keyword => f.write_str(&fwd.name),
            Form::Fwd(fwd) => write!(f, "{} {}", keyword(fwd.union), fwd.name),
            Form::Struct(def) if def.name.is_empty() => {
                f.write_str(keyword(def.rules.union))?;
                write!(f, "{}", Body { def, size: self.0.size, before: " ", after: " " })
            }
            Form::Struct(def) if def.rules.keyword => write!(f, "{} {}", keyword(def.rules.union), def.name),
            Form::Struct(def) => f.write_str(&def.name),
            Form::Enum(def) if def.name.is_empty() => write!(f, "enum{}", Values { def, size: self.0.size, gap: " " }),
            Form::Enum(def) if def.keyword => write!(f, "enum {}", def.name),
            Form::Enum(def) => f.write_str(&def.name),
            Form::Typedef(def) => f.write_str(self.0.builtin_name().unwrap_or(&def.name)),
            Form::Qualified(qualifier, ty) => write!(f, "{} {}", qualifier.word(), Expr(ty)),
            Form::Tagged(tag, ty) => write!(f, "{} {}", Mark { tag, words: ["tag", "attr"] }, Expr(ty)),
            Form::Proto(proto) => write!(f, "fn{}", Signature(proto)),
            Form::Array(..) => array(f, self.0),
        }
    }
}

fn array(f: &mut Formatter<'_>, ty: &Type) -> Result {
    let (mut base, mut lens) = (ty, Vec::new());
    while let Form::Array(elem, len) = &base.form {
        lens.push(*len);
        base = elem;
    }
    // A star, a qualifier or a result reaches over the brackets behind it.
    let open = matches!(base.form, Form::Ptr(_) | Form::Qualified(..) | Form::Tagged(..) | Form::Proto(_));
    if open {
        write!(f, "({})", Expr(base))?
    } else {
        write!(f, "{}", Expr(base))?
    }
    lens.iter().try_for_each(|len| write!(f, "[{len}]"))
}

const fn keyword(union: bool) -> &'static str {
    if union { "union" } else { "struct" }
}

/// A type that has a name, as a declaration.
pub(super) struct Declared<'t>(pub(super) &'t Type);

impl Display for Declared<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let size = self.0.size;
        match &self.0.form {
            Form::Struct(def) => {
                write!(f, ".{} {}{}", keyword(def.rules.union), def.name, Tagged(&def.tags))?;
                write!(f, "{}", Body { def, size, before: "\n    ", after: "\n" })
            }
            Form::Enum(def) => write!(f, ".enum {}{}", def.name, Values { def, size, gap: "\n" }),
            Form::Typedef(def) => write!(f, ".typedef {} = {}{}", def.name, Expr(&def.to), Tagged(&def.tags)),
            Form::Base(base) => {
                let name = Name(&base.name);
                let Some(int) = base.int else { return write!(f, ".basetype {name} float {size}") };
                write!(f, ".basetype {name} int {size}")?;
                for (is, word) in [(int.signed, " signed"), (int.char, " char"), (int.bool, " bool")] {
                    f.write_str(if is { word } else { "" })?;
                }
                if u64::from(int.bits) != u64::from(size) * 8 {
                    write!(f, " bits {}", int.bits)?;
                }
                if int.bit_offset != 0 { write!(f, " @ {}", int.bit_offset) } else { Ok(()) }
            }
            _ => write!(f, "// {}", Expr(self.0)),
        }
    }
}

/// A name, in quotes where it is no plain one.
struct Name<'n>(&'n str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if is_plain(self.0) { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0) }
    }
}

/// What stands behind the name of a struct.
struct Body<'t> {
    def: &'t Struct,
    size: u32,
    /// Before each field.
    before: &'static str,
    /// Behind the last one.
    after: &'static str,
}

impl Display for Body<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let rules = self.def.rules;
        if rules.packed {
            f.write_str(" packed")?;
        }
        if rules.size.is_some() {
            write!(f, " size {}", self.size)?;
        }
        f.write_str(" {")?;
        for (place, field) in self.def.fields.iter().enumerate() {
            let comma = if place > 0 && !self.before.starts_with('\n') { "," } else { "" };
            write!(f, "{comma}{}{}", self.before, Member { field, placed: rules.size.is_some() })?;
        }
        write!(f, "{}}}", self.after)
    }
}

/// A field; with its place where the layout does not follow from the fields.
struct Member<'t> {
    field: &'t Field,
    placed: bool,
}

impl Display for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Field { name, place, ty, tags } = self.field;
        if !name.is_empty() {
            write!(f, "{name}: ")?;
        }
        write!(f, "{}", Expr(ty))?;
        if let Some(bits) = place.bits {
            write!(f, " : {bits}")?;
        }
        if self.placed {
            write!(f, " @ {}", place.byte())?;
            if place.bit % 8 != 0 {
                write!(f, ":{}", place.bit % 8)?;
            }
        }
        write!(f, "{}", Tagged(tags))
    }
}

/// What stands behind the name of an enumeration: only what does not follow from the values is said.
struct Values<'t> {
    def: &'t Enum,
    size: u32,
    /// Between the values.
    gap: &'static str,
}

impl Display for Values<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Enum { values, signed, wide, tags, .. } = self.def;
        write!(f, "{}", Tagged(tags))?;
        let fits = |value: &i128| if *signed { i32::try_from(*value).is_ok() } else { u32::try_from(*value).is_ok() };
        if *wide && values.iter().all(|(_, value)| fits(value)) {
            f.write_str(" wide")?;
        }
        if *signed != values.iter().any(|(_, value)| *value < 0) {
            f.write_str(if *signed { " signed" } else { " unsigned" })?;
        }
        if self.size != if *wide { 8 } else { 4 } {
            write!(f, " size {}", self.size)?;
        }
        f.write_str(" {")?;
        let (before, after) = if self.gap == "\n" { ("\n    ", "\n") } else { (" ", " ") };
        for (place, (name, value)) in values.iter().enumerate() {
            let comma = if place > 0 && self.gap != "\n" { "," } else { "" };
            write!(f, "{comma}{before}{name} = {value}")?;
        }
        write!(f, "{after}}}")
    }
}

/// `(a: T, U, ...) -> R`.
pub(super) struct Signature<'t>(pub(super) &'t Proto);

impl Display for Signature<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("(")?;
        for (place, Param { name, ty, tags }) in self.0.params.iter().enumerate() {
            f.write_str(if place > 0 { ", " } else { "" })?;
            if !name.is_empty() {
                write!(f, "{name}: ")?;
            }
            write!(f, "{}{}", Expr(ty), Tagged(tags))?;
        }
        if self.0.variadic {
            f.write_str(if self.0.params.is_empty() { "..." } else { ", ..." })?;
        }
        write!(f, ") -> {}", Expr(&self.0.ret))
    }
}

/// The marks of a declaration, each with a blank before it.
pub(super) struct Tagged<'t>(pub(super) &'t [Tag]);

impl Display for Tagged<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.iter().try_for_each(|tag| write!(f, " {}", Mark { tag, words: ["decl_tag", "decl_attr"] }))
    }
}

/// `tag("text")`; `words` are those for a plain tag and for an attribute.
struct Mark<'t> {
    tag: &'t Tag,
    words: [&'static str; 2],
}

impl Display for Mark<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}({})", self.words[usize::from(self.tag.attr)], Quoted(&self.tag.text))
    }
}

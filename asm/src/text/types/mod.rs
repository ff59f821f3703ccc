//! Stage: text in. Types that a text declares, laid out as C does.
//!
//! Input: expressions read by `parse/types.rs`, or the types of an object by way of `declare/`. Output: sizes and offsets of
//! fields for constants, and BTF through [`crate::object::Ty`]. Next: `layout.rs`, `names.rs`, `describe.rs`.

use std::sync::Arc;

use crate::btf::Int;

mod describe;
mod layout;
mod names;

pub(super) use layout::{Bits, Place, Rules, Wanted, lay_out};
pub(super) use names::{Tags, Types};

/// Types lie in each other this deep at most: pointers, arrays, fields.
pub(super) const MAX_DEPTH: u16 = 64;

/// A type with its size and alignment in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) size: u32,
    pub(super) align: u32,
    /// How many types lie in each other here; a text may not go beyond [`MAX_DEPTH`].
    pub(super) depth: u16,
    pub(super) form: Form,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Void,
    Base(Arc<Base>),
    Ptr(Arc<Type>),
    Array(Arc<Type>, u32),
    Struct(Arc<Struct>),
    Fwd(Fwd),
    Enum(Arc<Enum>),
    Typedef(Arc<Typedef>),
    Qualified(Qualifier, Arc<Type>),
    /// A tag that the kernel reads, such as `kptr` behind a map's pointer.
    Tagged(Tag, Arc<Type>),
    Proto(Arc<Proto>),
}

/// A number that the compiler knows by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) name: Arc<str>,
    /// Nothing for a floating point number.
    pub(super) int: Option<Int>,
}

/// A struct or union by its name: declared later in the file, or nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fwd {
    pub(super) name: Arc<str>,
    pub(super) union: bool,
    /// Does `struct` or `union` stand before the name?
    pub(super) keyword: bool,
}

/// What may stand before a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Const,
    Volatile,
    Restrict,
}

impl Qualifier {
    pub(super) const ALL: [Self; 3] = [Self::Const, Self::Volatile, Self::Restrict];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Const => "const",
            Self::Volatile => "volatile",
            Self::Restrict => "restrict",
        }
    }
}

/// A text that a type or declaration is marked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) text: Arc<str>,
    /// An attribute of the compiler's rather than a plain tag (the kind's flag, Linux 6.15).
    pub(super) attr: bool,
}

impl Tag {
    /// The struct that a list or tree marked with `contains:STRUCT:FIELD` consists of. Nothing else in the types names it.
    pub(super) fn content(&self) -> Option<&str> {
        self.text.strip_prefix("contains:")?.split(':').next()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Struct {
    /// Empty where it has none.
    pub(super) name: Arc<str>,
    pub(super) rules: Rules,
    pub(super) fields: Vec<Field>,
    pub(super) tags: Vec<Tag>,
    /// As [`Type::weight`].
    weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Empty where it has none: its own fields are reached without it.
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) ty: Type,
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enum {
    /// Empty where it has none.
    pub(super) name: Arc<str>,
    pub(super) values: Vec<(Arc<str>, i128)>,
    pub(super) signed: bool,
    /// Values have 64 bits (`BTF_KIND_ENUM64`), whatever the enumeration's size.
    pub(super) wide: bool,
    /// As [`Rules::keyword`].
    pub(super) keyword: bool,
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typedef {
    pub(super) name: Arc<str>,
    pub(super) to: Type,
    pub(super) tags: Vec<Tag>,
}

/// Parameters and result of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proto {
    pub(super) params: Vec<Param>,
    /// Ends with `...`.
    pub(super) variadic: bool,
    pub(super) ret: Type,
}

/// A parameter; its name may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Param {
    pub(super) name: Arc<str>,
    pub(super) ty: Type,
    pub(super) tags: Vec<Tag>,
}

/// Integer types: names of kernel headers, of Rust, and of C compilers (these have blanks, so they are quoted); bytes, signed.
#[rustfmt::skip]
const INTS: &[(&str, u32, bool)] = &[
    ("u8", 1, false), ("u16", 2, false), ("u32", 4, false), ("u64", 8, false), ("u128", 16, false),
    ("s8", 1, true), ("s16", 2, true), ("s32", 4, true), ("s64", 8, true),
    ("i8", 1, true), ("i16", 2, true), ("i32", 4, true), ("i64", 8, true), ("i128", 16, true),
    ("char", 1, true), ("short", 2, true), ("int", 4, true), ("long", 8, true),
    ("signed char", 1, true), ("unsigned char", 1, false), ("unsigned short", 2, false), ("unsigned int", 4, false),
    ("unsigned long", 8, false), ("long long", 8, true), ("unsigned long long", 8, false),
    ("short int", 2, true), ("short unsigned int", 2, false), ("long int", 8, true), ("long unsigned int", 8, false),
    ("long long int", 8, true), ("long long unsigned int", 8, false), ("__int128", 16, true),
    ("unsigned __int128", 16, false),
];

/// Floating point types, and their bytes.
const FLOATS: &[(&str, u32)] = &[("_Float16", 2), ("float", 4), ("double", 8), ("long double", 16)];

/// Integers of packets and files: name here, name in BTF, type behind it.
const ORDERED: &[(&str, &str, &str)] = &[
    ("be16", "__be16", "u16"),
    ("be32", "__be32", "u32"),
    ("be64", "__be64", "u64"),
    ("le16", "__le16", "u16"),
    ("le32", "__le32", "u32"),
    ("le64", "__le64", "u64"),
];

/// A number somewhere inside a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    /// Where it begins, in bytes.
    pub(super) at: u32,
    /// Bytes.
    pub(super) size: u32,
    /// Most significant byte first, whatever the machine.
    pub(super) big_endian: bool,
}

/// Names of all types that need no declaration.
pub(super) fn builtin_names() -> impl Iterator<Item = &'static str> {
    let ordered = ORDERED.iter().flat_map(|row| [row.0, row.1]);
    let numbers = INTS.iter().map(|int| int.0).chain(FLOATS.iter().map(|float| float.0));
    numbers.chain(ordered).chain(["bool", "_Bool", "void"])
}

impl Type {
    fn new(size: u32, align: u32, form: Form) -> Self {
        Self { size, align, depth: 1, form }
    }

    /// As [`Type::new`], over a type that lies inside.
    fn over(size: u32, align: u32, inside: &Self, form: Form) -> Self {
        Self { size, align, depth: inside.depth.saturating_add(1), form }
    }

    pub(super) fn void() -> Self {
        Self::new(0, 1, Form::Void)
    }

    pub(super) fn int(name: &str, int: Int) -> Self {
        let align = int.size.clamp(1, 16).next_power_of_two();
        Self::new(int.size, align, Form::Base(Arc::new(Base { name: name.into(), int: Some(int) })))
    }

    pub(super) fn float(name: &str, size: u32) -> Self {
        let align = size.clamp(1, 16).next_power_of_two();
        Self::new(size, align, Form::Base(Arc::new(Base { name: name.into(), int: None })))
    }

    /// The type with this name that needs no declaration.
    pub(super) fn builtin(name: &str) -> Option<Self> {
        if let "bool" | "_Bool" = name {
            return Some(Self::int(name, Int { size: 1, bits: 8, bool: true, ..Int::default() }));
        }
        if let Some((_, btf, of)) = ORDERED.iter().find(|row| row.0 == name || row.1 == name) {
            return Some(Self::builtin(of)?.named(btf, Vec::new()));
        }
        if let Some(&(name, size)) = FLOATS.iter().find(|float| float.0 == name) {
            return Some(Self::float(name, size));
        }
        let &(name, size, signed) = INTS.iter().find(|int| int.0 == name)?;
        let bits = u8::try_from(size * 8).unwrap_or(u8::MAX);
        Some(Self::int(name, Int { size, bits, signed, ..Int::default() }))
    }

    /// The name it has without a declaration, if it has one.
    pub(super) fn builtin_name(&self) -> Option<&'static str> {
        builtin_names().find(|name| Self::builtin(name).as_ref() == Some(self))
    }

    /// Another name for this type.
    pub(super) fn named(self, name: &str, tags: Vec<Tag>) -> Self {
        let to = Typedef { name: name.into(), to: self, tags };
        Self::over(to.to.size, to.to.align, &to.to, Form::Void).with(|_| Form::Typedef(Arc::new(to)))
    }

    fn with(self, form: impl FnOnce(&Self) -> Form) -> Self {
        let form = form(&self);
        Self { form, ..self }
    }

    pub(super) fn qualified(self, qualifier: Qualifier) -> Self {
        let inside = Arc::new(self);
        Self::over(inside.size, inside.align, &inside, Form::Qualified(qualifier, inside.clone()))
    }

    pub(super) fn tagged(self, tag: Tag) -> Self {
        let inside = Arc::new(self);
        Self::over(inside.size, inside.align, &inside, Form::Tagged(tag, inside.clone()))
    }

    pub(super) fn forward(name: &str, union: bool, keyword: bool) -> Self {
        Self::new(0, 1, Form::Fwd(Fwd { name: name.into(), union, keyword }))
    }

    /// A pointer. To a struct that lies deep already it goes by the name, so that chains of any length can be said.
    pub(super) fn pointer(to: Self) -> Self {
        let to = match &to.form {
            Form::Struct(def) if to.depth > MAX_DEPTH / 2 && !def.name.is_empty() => {
                Self::forward(&def.name, def.rules.union, def.rules.keyword)
            }
            _ => to,
        };
        let inside = Arc::new(to);
        Self::over(8, 8, &inside, Form::Ptr(inside.clone()))
    }

    /// `len` of these; nothing when that outgrows 32 bits.
    pub(super) fn array(self, len: u32) -> Option<Self> {
        let size = self.size.checked_mul(len)?;
        let inside = Arc::new(self);
        Some(Self::over(size, inside.align, &inside, Form::Array(inside.clone(), len)))
    }

    pub(super) fn proto(proto: Proto) -> Self {
        let inside = proto.params.iter().map(|param| param.ty.depth).chain([proto.ret.depth]).max();
        let depth = inside.unwrap_or(0).saturating_add(1);
        Self { depth, ..Self::new(0, 1, Form::Proto(Arc::new(proto))) }
    }

    /// An enumeration of `size` bytes; without it of four, or of eight where a value needs them.
    pub(super) fn enumeration(def: Enum, size: Option<u32>) -> Self {
        let size = size.unwrap_or(if def.wide { 8 } else { 4 });
        Self::new(size, size.clamp(1, 8).next_power_of_two(), Form::Enum(Arc::new(def)))
    }

    /// The type behind typedefs, qualifiers and tags.
    pub(super) fn bare(&self) -> &Self {
        match &self.form {
            Form::Typedef(def) => def.to.bare(),
            Form::Qualified(_, to) | Form::Tagged(_, to) => to.bare(),
            _ => self,
        }
    }

    pub(super) fn fields(&self) -> &[Field] {
        match &self.bare().form {
            Form::Struct(def) => &def.fields,
            _ => &[],
        }
    }

    /// The field of this name and where it begins, in bytes; fields of nameless fields are fields too.
    pub(super) fn field(&self, name: &str) -> Option<(u32, &Field)> {
        self.fields().iter().find_map(|field| match field.ty.field(name) {
            _ if *field.name == *name => Some((field.place.byte(), field)),
            Some((at, inner)) if field.name.is_empty() => Some((field.place.byte().saturating_add(at), inner)),
            _ => None,
        })
    }

    /// How many words its expression takes, about: what has a name takes one.
    pub(super) fn weight(&self) -> u32 {
        match &self.form {
            Form::Ptr(to) | Form::Array(to, _) | Form::Qualified(_, to) | Form::Tagged(_, to) => {
                to.weight().saturating_add(1)
            }
            Form::Struct(def) if def.name.is_empty() => def.weight,
            Form::Enum(def) if def.name.is_empty() => u32::try_from(def.values.len()).unwrap_or(u32::MAX),
            Form::Proto(def) => {
                def.params.iter().fold(def.ret.weight(), |all, param| all.saturating_add(param.ty.weight()))
            }
            _ => 1,
        }
    }

    /// Is it a number whose most significant byte comes first, on every machine: `be16`, `__be32`?
    pub(super) fn is_big_endian(&self) -> bool {
        match &self.form {
            Form::Typedef(def) => {
                ORDERED.iter().any(|row| row.0.starts_with("be") && *def.name == *row.1) || def.to.is_big_endian()
            }
            Form::Qualified(_, to) | Form::Tagged(_, to) => to.is_big_endian(),
            _ => false,
        }
    }

    /// Each number inside, in order. Nothing when that takes more than `steps`, or there are bit fields.
    pub(super) fn leaves(&self, at: u32, steps: &mut usize, out: &mut Vec<Leaf>) -> Option<()> {
        *steps = steps.checked_sub(1)?;
        match &self.form {
            Form::Typedef(def) => {
                let first = out.len();
                def.to.leaves(at, steps, out)?;
                let big_endian = self.is_big_endian();
                out[first..].iter_mut().for_each(|leaf| leaf.big_endian |= big_endian);
            }
            Form::Qualified(_, to) | Form::Tagged(_, to) => to.leaves(at, steps, out)?,
            Form::Array(elem, len) => {
                for i in 0..*len {
                    elem.leaves(at + i * elem.size, steps, out)?;
                }
            }
            Form::Struct(def) => {
                let shown = if def.rules.union { 1 } else { def.fields.len() };
                for field in def.fields.iter().take(shown) {
                    if field.place.bits.is_some() {
                        return None;
                    }
                    field.ty.leaves(at + field.place.byte(), steps, out)?;
                }
            }
            Form::Void | Form::Fwd(_) | Form::Proto(_) => {}
            Form::Base(_) | Form::Ptr(_) | Form::Enum(_) => out.push(Leaf { at, size: self.size, big_endian: false }),
        }
        Some(())
    }
}

//! Stage: text in. Types that a text declares, laid out as C does.
//!
//! Input: declarations read by `parse/types.rs`. Output: sizes and field offsets for constants, and BTF through
//! [`crate::object::Ty`]. Next: `parse/types.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::btf::{BtfBuilder, Int, Type as Btf, TypeId};
use crate::object::Ty;

/// A type with its size and alignment in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) size: u32,
    pub(super) align: u32,
    pub(super) form: Form,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Void,
    Int {
        name: Arc<str>,
        signed: bool,
        bool: bool,
    },
    Ptr(Arc<Type>),
    Array(Arc<Type>, u32),
    Struct(Arc<Struct>),
    /// A struct that is named but not declared (yet).
    Fwd(Arc<str>),
    Enum(Arc<Enum>),
    Typedef(Arc<str>, Arc<Type>),
    Qualified(Qualifier, Arc<Type>),
    /// A tag that the kernel reads, such as `kptr` behind a map's pointer.
    Tagged(Arc<str>, Arc<Type>),
}

/// What may stand before a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Const,
    Volatile,
    Restrict,
}

/// What stands before a tagged type: `tag("kptr") T`.
pub(super) const TAG: &str = "tag";

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

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Struct {
    pub(super) name: Arc<str>,
    pub(super) union: bool,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Arc<str>,
    pub(super) offset: u32,
    pub(super) ty: Type,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enum {
    pub(super) name: Arc<str>,
    pub(super) values: Vec<(Arc<str>, i64)>,
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

/// Integers of packets and files: name here, name in BTF, type behind it.
const ORDERED: &[(&str, &str, &str)] = &[
    ("be16", "__be16", "u16"),
    ("be32", "__be32", "u32"),
    ("be64", "__be64", "u64"),
    ("le16", "__le16", "u16"),
    ("le32", "__le32", "u32"),
    ("le64", "__le64", "u64"),
];

/// Names of all types that need no declaration.
pub(super) fn builtin_names() -> impl Iterator<Item = &'static str> {
    let ordered = ORDERED.iter().flat_map(|row| [row.0, row.1]);
    INTS.iter().map(|int| int.0).chain(ordered).chain(["bool", "_Bool", "void"])
}

impl Type {
    pub(super) fn void() -> Self {
        Self { size: 0, align: 1, form: Form::Void }
    }

    /// The type with this name that needs no declaration.
    pub(super) fn builtin(name: &str) -> Option<Self> {
        if let "bool" | "_Bool" = name {
            return Some(Self { size: 1, align: 1, form: Form::Int { name: name.into(), signed: false, bool: true } });
        }
        if let Some((_, btf, of)) = ORDERED.iter().find(|row| row.0 == name || row.1 == name) {
            return Some(Self::builtin(of)?.named(btf));
        }
        let &(name, size, signed) = INTS.iter().find(|int| int.0 == name)?;
        Some(Self { size, align: size, form: Form::Int { name: name.into(), signed, bool: false } })
    }

    /// The name it has without a declaration, if it has one.
    pub(super) fn builtin_name(&self) -> Option<&'static str> {
        builtin_names().find(|name| Self::builtin(name).as_ref() == Some(self))
    }

    /// Another name for this type.
    pub(super) fn named(self, name: &str) -> Self {
        Self { size: self.size, align: self.align, form: Form::Typedef(name.into(), Arc::new(self)) }
    }

    pub(super) fn qualified(self, qualifier: Qualifier) -> Self {
        Self { size: self.size, align: self.align, form: Form::Qualified(qualifier, Arc::new(self)) }
    }

    pub(super) fn tagged(self, tag: &str) -> Self {
        Self { size: self.size, align: self.align, form: Form::Tagged(tag.into(), Arc::new(self)) }
    }

    pub(super) fn forward(name: &str) -> Self {
        Self { size: 0, align: 1, form: Form::Fwd(name.into()) }
    }

    pub(super) fn pointer(to: Self) -> Self {
        Self { size: 8, align: 8, form: Form::Ptr(Arc::new(to)) }
    }

    /// `len` of these; nothing when that outgrows 32 bits.
    pub(super) fn array(self, len: u32) -> Option<Self> {
        let size = self.size.checked_mul(len)?;
        Some(Self { size, align: self.align, form: Form::Array(Arc::new(self), len) })
    }

    pub(super) fn enumeration(name: &str, values: Vec<(Arc<str>, i64)>) -> Self {
        let wide = values.iter().any(|(_, v)| i32::try_from(*v).is_err() && u32::try_from(*v).is_err());
        let size = if wide { 8 } else { 4 };
        Self { size, align: size, form: Form::Enum(Arc::new(Enum { name: name.into(), values })) }
    }

    /// The type behind typedefs and qualifiers.
    pub(super) fn bare(&self) -> &Self {
        match &self.form {
            Form::Typedef(_, to) | Form::Qualified(_, to) | Form::Tagged(_, to) => to.bare(),
            _ => self,
        }
    }

    pub(super) fn fields(&self) -> &[Field] {
        match &self.bare().form {
            Form::Struct(def) => &def.fields,
            _ => &[],
        }
    }

    /// Offset and size of each number inside, in order; nothing when there are more than `limit`.
    pub(super) fn leaves(&self, at: u32, limit: usize, out: &mut Vec<(u32, u32)>) -> Option<()> {
        match &self.form {
            Form::Typedef(_, to) | Form::Qualified(_, to) | Form::Tagged(_, to) => to.leaves(at, limit, out)?,
            Form::Array(elem, len) => {
                for i in 0..*len {
                    elem.leaves(at + i * elem.size, limit, out)?;
                }
            }
            Form::Struct(def) => {
                let shown = if def.union { 1 } else { def.fields.len() };
                for field in def.fields.iter().take(shown) {
                    field.ty.leaves(at + field.offset, limit, out)?;
                }
            }
            Form::Void | Form::Fwd(_) => {}
            Form::Int { .. } | Form::Ptr(_) | Form::Enum(_) => out.push((at, self.size)),
        }
        if out.len() > limit { None } else { Some(()) }
    }

    /// The type for the object layer.
    pub(super) fn ty(&self) -> Ty {
        let this = self.clone();
        Ty::with(self.size, move |b| this.describe(b))
    }

    fn describe(&self, b: &mut BtfBuilder) -> TypeId {
        match &self.form {
            Form::Void => TypeId::VOID,
            Form::Int { name, signed, bool } => {
                let bits = u8::try_from(self.size * 8).unwrap_or(u8::MAX);
                b.add(Btf::Int {
                    name,
                    int: Int { size: self.size, signed: *signed, bool: *bool, bits, ..Int::default() },
                })
            }
            Form::Ptr(to) => {
                let to = to.describe(b);
                b.ptr(to)
            }
            Form::Array(elem, len) => {
                let elem = elem.describe(b);
                b.array(elem, *len)
            }
            Form::Struct(def) => describe_struct(b, self.size, def),
            Form::Fwd(name) => b.fwd(name),
            Form::Enum(def) => describe_enum(b, self.size, def),
            Form::Typedef(name, to) => {
                let to = to.describe(b);
                b.typedef(name, to)
            }
            Form::Qualified(qualifier, to) => {
                let ty = to.describe(b);
                b.add(match qualifier {
                    Qualifier::Const => Btf::Const { ty },
                    Qualifier::Volatile => Btf::Volatile { ty },
                    Qualifier::Restrict => Btf::Restrict { ty },
                })
            }
            Form::Tagged(name, to) => {
                let ty = to.describe(b);
                b.add(Btf::TypeTag { name, ty, attr: false })
            }
        }
    }
}

fn describe_struct(b: &mut BtfBuilder, size: u32, def: &Struct) -> TypeId {
    let ids: Vec<TypeId> = def.fields.iter().map(|field| field.ty.describe(b)).collect();
    let fields = def.fields.iter().zip(ids);
    let members = fields
        .map(|(field, ty)| crate::btf::Member {
            name: &*field.name,
            ty,
            bit_offset: field.offset.saturating_mul(8),
            bits: 0,
        })
        .collect();
    let name = &*def.name;
    b.add(if def.union { Btf::Union { name, size, members } } else { Btf::Struct { name, size, members } })
}

fn describe_enum(b: &mut BtfBuilder, size: u32, def: &Enum) -> TypeId {
    let (name, signed) = (&*def.name, def.values.iter().any(|(_, value)| *value < 0));
    let values = def.values.iter().map(|(name, value)| (&**name, value.cast_unsigned()));
    if size == 8 {
        return b.add(Btf::Enum64 { name, size, signed, values: values.collect() });
    }
    #[expect(clippy::cast_possible_truncation, reason = "an enumeration of 4 bytes holds values of 4 bytes")]
    let values = values.map(|(name, value)| (name, value as u32)).collect();
    b.add(Btf::Enum { name, size, signed, values })
}

/// The named types of a file, and what names of fields and enumerators stand for.
#[derive(Debug, Default)]
pub(super) struct Types<'s> {
    named: HashMap<&'s str, Type>,
    enumerators: HashMap<Arc<str>, i64>,
    order: Vec<&'s str>,
}

impl<'s> Types<'s> {
    pub(super) fn get(&self, name: &str) -> Option<Type> {
        self.named.get(name).cloned().or_else(|| Type::builtin(name))
    }

    /// Adds a named type; false when the name is taken.
    pub(super) fn add(&mut self, name: &'s str, ty: Type) -> bool {
        if self.get(name).is_some() {
            return false;
        }
        if let Form::Enum(def) = &ty.form {
            self.enumerators.extend(def.values.iter().cloned());
        }
        self.named.insert(name, ty);
        self.order.push(name);
        true
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'s str> {
        self.order.iter().copied()
    }

    /// `Eth.proto`: the offset of a field; or the value of an enumerator.
    pub(super) fn constant(&self, name: &str) -> Option<i128> {
        if self.named.is_empty() {
            return None;
        }
        if let Some(value) = self.enumerators.get(name) {
            return Some((*value).into());
        }
        let mut parts = name.split('.');
        let mut ty = self.named.get(parts.next()?)?;
        let mut offset = None;
        for part in parts {
            let field = ty.fields().iter().find(|field| &*field.name == part)?;
            offset = Some(offset.unwrap_or(0) + i128::from(field.offset));
            ty = &field.ty;
        }
        offset
    }

    /// Field names of the struct in `Eth.prto`, for "did you mean".
    pub(super) fn fields_of(&self, name: &str) -> Vec<String> {
        let Some((base, _)) = name.rsplit_once('.') else { return Vec::new() };
        let mut parts = base.split('.');
        let mut ty = parts.next().and_then(|first| self.named.get(first));
        for part in parts {
            ty = ty.and_then(|ty| ty.fields().iter().find(|field| &*field.name == part).map(|field| &field.ty));
        }
        ty.map_or_else(Vec::new, |ty| ty.fields().iter().map(|field| format!("{base}.{}", field.name)).collect())
    }
}

/// How a struct is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// All fields at 0.
    pub(super) union: bool,
    /// No padding, unless a field says where it is.
    pub(super) packed: bool,
    /// Bytes, when they do not follow from the fields.
    pub(super) size: Option<u32>,
}

/// A field to be laid out: name, type, and the offset where that does not follow from the fields before it.
pub(super) type Wanted = (Arc<str>, Type, Option<u32>);

/// Lays fields out as C does. Nothing when that outgrows 32 bits, or a field ends behind the size that was asked for.
pub(super) fn lay_out(name: &str, fields: Vec<Wanted>, rules: Rules) -> Option<Type> {
    let (mut at, mut end, mut align) = (0u32, 0u32, 1u32);
    let mut out = Vec::with_capacity(fields.len());
    for (name, ty, wanted) in fields {
        let field_align = if rules.packed { 1 } else { ty.align.max(1) };
        let natural = if rules.union { 0 } else { at.checked_next_multiple_of(field_align)? };
        let offset = wanted.unwrap_or(natural);
        at = offset.checked_add(ty.size)?;
        (end, align) = (end.max(at), align.max(field_align));
        out.push(Field { name, offset, ty });
    }
    let size = rules.size.unwrap_or(end.checked_next_multiple_of(align)?);
    let def = Struct { name: name.into(), union: rules.union, fields: out };
    (end <= size).then(|| Type { size, align, form: Form::Struct(Arc::new(def)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(name: &str) -> Type {
        Type::builtin(name).unwrap()
    }

    fn plain(name: &str, fields: Vec<Wanted>) -> Option<Type> {
        lay_out(name, fields, Rules::default())
    }

    #[test]
    fn offsets_and_sizes_can_be_given() {
        let fields = vec![("a".into(), ty("u8"), Some(3)), ("b".into(), ty("u16"), None)];
        let got = lay_out("s", fields.clone(), Rules { size: Some(9), ..Rules::default() }).unwrap();
        assert_eq!((got.size, got.fields()[0].offset, got.fields()[1].offset), (9, 3, 4));
        assert!(lay_out("s", fields, Rules { size: Some(5), ..Rules::default() }).is_none());
    }

    #[test]
    fn structs_are_laid_out_as_in_c() {
        let fields = || -> Vec<Wanted> {
            let shorts = ty("u16").array(3).unwrap();
            vec![("a".into(), ty("u8"), None), ("b".into(), ty("u64"), None), ("c".into(), shorts, None)]
        };
        let offsets = |t: &Type| t.fields().iter().map(|f| f.offset).collect::<Vec<_>>();
        let plain = lay_out("s", fields(), Rules::default()).unwrap();
        assert_eq!((plain.size, plain.align, offsets(&plain)), (24, 8, vec![0, 8, 16]));
        let packed = lay_out("s", fields(), Rules { packed: true, ..Rules::default() }).unwrap();
        assert_eq!((packed.size, packed.align, offsets(&packed)), (15, 1, vec![0, 1, 9]));
        let union = lay_out("s", fields(), Rules { union: true, ..Rules::default() }).unwrap();
        assert_eq!((union.size, offsets(&union)), (8, vec![0, 0, 0]));
    }

    #[test]
    fn field_names_are_constants() {
        let mut types = Types::default();
        let inner = plain("In", vec![("x".into(), ty("u16"), None), ("y".into(), ty("u16"), None)]).unwrap();
        let outer = plain("Out", vec![("a".into(), ty("u32"), None), ("in".into(), inner, None)]).unwrap();
        assert!(types.add("Out", outer.clone()));
        assert!(!types.add("Out", outer));
        assert_eq!(types.constant("Out.in.y"), Some(6));
        assert_eq!(types.constant("Out.nope"), None);
        assert_eq!(types.constant("Out"), None);
        assert_eq!(types.fields_of("Out.in.z"), ["Out.in.x", "Out.in.y"]);
    }

    #[test]
    fn sizes_do_not_wrap() {
        assert!(ty("u64").array(u32::MAX).is_none());
        let half = ty("u8").array(u32::MAX - 1).unwrap();
        assert!(plain("s", vec![("a".into(), half.clone(), None), ("b".into(), half, None)]).is_none());
    }
}

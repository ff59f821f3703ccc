//! Stage: text out. Types of an object in the assembler's own terms, everything they name declared.
//!
//! Input: type ids of a [`Btf`](crate::btf::Btf). Output: [`Type`]s, and declarations in the order in which they can be read.
//! What only a pointer names is declared at the end, so that circles come out whole. Next: `show.rs`.

use std::num::NonZeroU8;
use std::sync::Arc;

use super::show::Declared;
use super::{Declarations, is_word};
use crate::btf::{Kind as BtfKind, Member, Param as BtfParam, Type as Kind, TypeId};
use crate::text::types::{
    Enum, Form, MAX_DEPTH, Param, Proto, Qualifier, Rules, Tag, Type, Wanted, builtin_names, lay_out,
};

/// Nameless types are written out where they stand; this many words of them are too many.
const MAX_WEIGHT: u32 = 4096;

/// What a name stands for in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A type that needs no declaration, or has one.
    Type(Type),
    /// A struct that will be declared.
    Promised(TypeId),
}

/// Words that cannot be names of types.
const KEYWORDS: [&str; 7] = ["struct", "union", "enum", "void", "const", "volatile", "restrict"];

/// The name and the other spelling of a number that needs no declaration: `__be16` is `be16`.
fn spellings(ty: &Type) -> Option<(&'static str, &'static str)> {
    let name = ty.builtin_name()?;
    let other = builtin_names().find(|other| *other != name && Type::builtin(other).as_ref() == Some(ty));
    Some((name, other.unwrap_or(name)))
}

impl Declarations<'_> {
    /// The type in the assembler's own terms, everything it names declared.
    pub(super) fn import(&mut self, id: TypeId) -> Option<Type> {
        if id == TypeId::VOID {
            return Some(Type::void());
        }
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        if self.open.is_empty() {
            self.blocked = false;
        }
        if self.open.len() >= MAX_DEPTH.into() || self.open.contains(&id) {
            self.blocked = true;
            return None;
        }
        self.steps = self.steps.checked_sub(1)?;
        self.open.push(id);
        let ty = self.import_new(id).filter(|ty| ty.depth <= MAX_DEPTH && ty.weight() <= MAX_WEIGHT);
        self.open.pop();
        if ty.is_some() || !self.blocked || self.open.is_empty() {
            self.known.insert(id, ty.clone());
        }
        ty
    }

    fn import_new(&mut self, id: TypeId) -> Option<Type> {
        match self.btf.get(id).ok()? {
            Kind::Int { name, int } => self.import_named(name, Type::int(name, int)),
            Kind::Float { name, size } => self.import_named(name, Type::float(name, size)),
            Kind::Ptr { ty } => Some(Type::pointer(self.pointee(ty)?)),
            Kind::Array { elem, len, .. } => self.import(elem)?.array(len),
            Kind::Struct { name, size, members } => self.import_struct(id, name, size, &members, false),
            Kind::Union { name, size, members } => self.import_struct(id, name, size, &members, true),
            Kind::Enum { name, size, signed, values } => {
                let value = |v: u32| if signed { i128::from(v.cast_signed()) } else { i128::from(v) };
                let values = values.iter().map(|&(name, v)| (name, value(v))).collect();
                self.import_enum(id, name, size, (signed, false), values)
            }
            Kind::Enum64 { name, size, signed, values } => {
                let value = |v: u64| if signed { i128::from(v.cast_signed()) } else { i128::from(v) };
                let values = values.iter().map(|&(name, v)| (name, value(v))).collect();
                self.import_enum(id, name, size, (signed, true), values)
            }
            Kind::Fwd { name, union } => self.import_fwd(name, union),
            Kind::Typedef { name, ty } => {
                let tags = self.tags_of(id, None)?;
                let ty = self.import(ty)?.named(name, tags);
                self.import_named(name, ty)
            }
            Kind::Const { ty } => Some(self.import(ty)?.qualified(Qualifier::Const)),
            Kind::Volatile { ty } => Some(self.import(ty)?.qualified(Qualifier::Volatile)),
            Kind::Restrict { ty } => Some(self.import(ty)?.qualified(Qualifier::Restrict)),
            Kind::TypeTag { name, ty, attr } => Some(self.import(ty)?.tagged(Tag { text: name.into(), attr })),
            Kind::FuncProto { ret, params } => self.import_proto(ret, &params),
            _ => None,
        }
    }

    /// What a pointer points to. A struct that is being read, or needs one that is, or lies too deep, goes by its name and is
    /// declared later; what cannot be said is void.
    fn pointee(&mut self, id: TypeId) -> Option<Type> {
        let (name, union) = match self.btf.get(id).ok()? {
            Kind::Struct { name, .. } => (name, false),
            Kind::Union { name, .. } => (name, true),
            _ => ("", false),
        };
        if self.names.get(&(true, name.to_owned())) == Some(&Claim::Promised(id)) && !name.is_empty() {
            return Some(Type::forward(name, union, self.needs_keyword(name)));
        }
        let room = name.is_empty() || self.open.len() <= usize::from(MAX_DEPTH / 2) || self.known.contains_key(&id);
        if room && !(name.is_empty() && self.open.contains(&id)) {
            let ty = self.import(id);
            // Without a name, it has to wait together with what contains it.
            if ty.is_some() || (self.blocked && name.is_empty()) {
                return ty;
            }
        }
        self.blocked = false;
        if !is_word(name) || self.known.contains_key(&id) {
            return Some(Type::void());
        }
        if self.names.contains_key(&(true, name.to_owned())) {
            return Some(Type::void());
        }
        self.names.insert((true, name.to_owned()), Claim::Promised(id));
        self.queue.push_back(id);
        Some(Type::forward(name, union, self.needs_keyword(name)))
    }

    /// A struct that only a mark names is declared at the end.
    fn want(&mut self, name: &str) {
        let key = (true, name.to_owned());
        let Some(id) = self.btf.find(name, BtfKind::STRUCT).filter(|_| is_word(name)) else { return };
        if !self.known.contains_key(&id) && !self.names.contains_key(&key) {
            self.names.insert(key, Claim::Promised(id));
            self.queue.push_back(id);
        }
    }

    /// Would this name alone stand for a typedef or a number?
    fn needs_keyword(&self, name: &str) -> bool {
        let plain = |id| matches!(self.btf.kind(id), Ok(BtfKind::TYPEDEF | BtfKind::INT | BtfKind::FLOAT));
        builtin_names().any(|builtin| builtin == name) || self.btf.find_name(name).any(plain)
    }

    fn import_fwd(&mut self, name: &str, union: bool) -> Option<Type> {
        if !is_word(name) || KEYWORDS.contains(&name) {
            return None;
        }
        // Where the object knows more about a struct of that name, so does the text.
        let kind = if union { BtfKind::UNION } else { BtfKind::STRUCT };
        if let Some(whole) = self.btf.find(name, kind) {
            return self.pointee(whole);
        }
        Some(Type::forward(name, union, true))
    }

    /// Takes a name for a type; false when it stands for another one.
    fn claim(&mut self, tagged: bool, name: &str, ty: &Type) -> bool {
        let claim = Claim::Type(ty.clone());
        *self.names.entry((tagged, name.to_owned())).or_insert_with(|| claim.clone()) == claim
    }

    /// A typedef or number: one that needs no declaration, or one that gets it.
    fn import_named(&mut self, name: &str, ty: Type) -> Option<Type> {
        if let Some((one, other)) = spellings(&ty) {
            return (self.claim(false, one, &ty) && self.claim(false, other, &ty)).then_some(ty);
        }
        let is_new = !self.names.contains_key(&(false, name.to_owned()));
        let sayable = match &ty.form {
            Form::Base(_) => {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_graphic() || c == ' ')
                    && !name.contains(['"', '\\'])
            }
            _ => is_word(name),
        };
        if !sayable || KEYWORDS.contains(&name) || !self.claim(false, name, &ty) {
            return None;
        }
        if is_new {
            self.declare(&ty);
        }
        Some(ty)
    }

    /// A struct, union or enumeration that has a name: declared, or declared before.
    fn import_tagged(&mut self, id: TypeId, name: &str, ty: Type) -> Option<Type> {
        if !is_word(name) || KEYWORDS.contains(&name) {
            return None;
        }
        let key = (true, name.to_owned());
        match self.names.get(&key) {
            Some(Claim::Type(other)) => return (*other == ty).then_some(ty),
            Some(Claim::Promised(other)) if *other != id => return None,
            _ => {}
        }
        self.names.insert(key, Claim::Type(ty.clone()));
        self.declare(&ty);
        Some(ty)
    }

    fn declare(&mut self, ty: &Type) {
        self.text += &Declared(ty).to_string();
        self.text.push('\n');
    }

    fn import_struct(
        &mut self,
        id: TypeId,
        name: &str,
        size: u32,
        members: &[Member<&str>],
        union: bool,
    ) -> Option<Type> {
        let mut fields: Vec<Wanted> = Vec::new();
        for (member, place) in members.iter().zip(0..) {
            let ty = self.import(member.ty)?;
            let nameless = member.name.is_empty() && matches!(ty.bare().form, Form::Struct(_)) && member.bits == 0;
            let twice = !member.name.is_empty() && fields.iter().any(|field| *field.name == *member.name);
            if twice || !(nameless || is_word(member.name)) || (member.bits == 0 && member.bit_offset % 8 != 0) {
                return None;
            }
            let (bits, tags) = (NonZeroU8::new(member.bits), self.tags_of(id, Some(place))?);
            tags.iter().filter_map(Tag::content).for_each(|name| self.want(name));
            fields.push(Wanted { name: member.name.into(), ty, bits, bit: Some(member.bit_offset), tags });
        }
        let tags = self.tags_of(id, None)?;
        let keyword = !name.is_empty() && self.needs_keyword(name);
        let ty = shortest(name, fields, Rules { union, packed: false, size: Some(size), keyword }, &tags)?;
        if name.is_empty() { tags.is_empty().then_some(ty) } else { self.import_tagged(id, name, ty) }
    }

    fn import_enum(
        &mut self,
        id: TypeId,
        name: &str,
        size: u32,
        (signed, wide): (bool, bool),
        values: Vec<(&str, i128)>,
    ) -> Option<Type> {
        if !values.iter().all(|(name, _)| is_word(name)) || !matches!(size, 1 | 2 | 4 | 8) {
            return None;
        }
        let values: Vec<(Arc<str>, i128)> = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let tags = self.tags_of(id, None)?;
        let keyword = !name.is_empty() && self.needs_keyword(name);
        let ty = Type::enumeration(Enum { name: name.into(), values, signed, wide, keyword, tags }, Some(size));
        if name.is_empty() { Some(ty) } else { self.import_tagged(id, name, ty) }
    }

    fn import_proto(&mut self, ret: TypeId, params: &[BtfParam<&str>]) -> Option<Type> {
        let ret = self.import(ret)?;
        let is_last = |param: &BtfParam<&str>| param.name.is_empty() && param.ty == TypeId::VOID;
        let (params, variadic) = match params.split_last() {
            Some((last, others)) if is_last(last) => (others, true),
            _ => (params, false),
        };
        let mut all = Vec::with_capacity(params.len());
        for param in params {
            if !param.name.is_empty() && !is_word(param.name) {
                return None;
            }
            all.push(Param { name: param.name.into(), ty: self.import(param.ty)?, tags: Vec::new() });
        }
        Some(Type::proto(Proto { params: all, variadic, ret }))
    }
}

/// The shortest way to say a struct that gives the same layout: by C's rules, packed, or with every offset.
fn shortest(name: &str, fields: Vec<Wanted>, exact: Rules, tags: &[Tag]) -> Option<Type> {
    let want = lay_out(name, fields.clone(), exact, tags.to_vec())?;
    let plain = Rules { size: None, ..exact };
    for rules in [plain, Rules { packed: true, ..plain }] {
        let unsaid = fields.iter().map(|field| Wanted { bit: None, ..field.clone() }).collect();
        let same = |ty: &Type| ty.size == want.size && ty.fields() == want.fields();
        if let Some(ty) = lay_out(name, unsaid, rules, tags.to_vec()).filter(same) {
            return Some(ty);
        }
    }
    Some(want)
}

//! Types → bytes of `.BTF`.
//!
//! Stage: writing. Input: [`Type`] values, pushed one after the other; their numbers are handed out at once. Output: a
//! little-endian section, the same bytes for the same calls. Only what 5.10 reads is assumed: no layout records, at most
//! 65,535 members. Next: `ext.rs`.

use std::collections::HashMap;

use thiserror::Error;
use zerocopy::{Immutable, IntoBytes};

use super::strings::{StrOff, StringTable};
use super::types::{Int, Kind, Linkage, Member, Param, Type, TypeId, VarSecinfo};
use super::wire;

/// Why types cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A name or line with a zero byte in it, or strings of more than 4 GiB.
    #[error("the text {text:?} cannot be written: it holds a zero byte, or the strings outgrow 4 GiB")]
    Text {
        /// The text.
        text: String,
    },
    /// A reference to a type that was never pushed.
    #[error("type {id} ({kind}) refers to type {to}, but the last type is [{last}]")]
    NoSuchType {
        /// The type that refers.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// What it refers to.
        to: TypeId,
        /// The highest number.
        last: usize,
    },
    /// More members, values or parameters than fit.
    #[error("type {id} ({kind}) has {count} elements; at most {} can be written", wire::MAX_VLEN)]
    TooManyElements {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// How many it has.
        count: usize,
    },
    /// A struct with bit fields that is too long for them.
    #[error(
        "type {id} has bit fields, so member {member} cannot start at bit {bit_offset}: at most {} fit",
        wire::MAX_BITFIELD_OFFSET
    )]
    BitOffset {
        /// The struct or union.
        id: TypeId,
        /// The member's place, from 0.
        member: usize,
        /// Its offset in bits.
        bit_offset: u32,
    },
    /// A type that was declared but never defined.
    #[error("type {id} was declared but never defined")]
    Undefined {
        /// Its number.
        id: TypeId,
    },
    /// The types outgrow 4 GiB.
    #[error("the types outgrow 4 GiB")]
    TooLarge,
}

/// Collects types and strings, and writes them.
///
/// Errors are kept until [`BtfBuilder::encode`], so that building reads like a description.
#[derive(Debug, Clone, Default)]
pub struct BtfBuilder {
    types: Vec<Option<Type<StrOff>>>,
    seen: HashMap<Type<StrOff>, TypeId>,
    strings: StringTable,
    /// Types that were begun by key: their numbers, once they have one.
    keyed: HashMap<usize, Option<TypeId>>,
    first_error: Option<EncodeError>,
}

impl BtfBuilder {
    /// Nothing yet: the first type will be 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `ty`: that of an equal type pushed by `add` before, or a new one.
    pub fn add(&mut self, ty: Type<&str>) -> TypeId {
        let ty = self.intern(ty);
        if ty == Type::Void {
            return TypeId::VOID;
        }
        if let Some(&id) = self.seen.get(&ty) {
            return id;
        }
        let id = self.next_id();
        self.seen.insert(ty.clone(), id);
        self.types.push(Some(ty));
        id
    }

    /// Adds `ty` as it is, under a new number, even when there is an equal one.
    pub fn push(&mut self, ty: Type<&str>) -> TypeId {
        let id = self.declare();
        self.define(id, ty);
        id
    }

    /// A number for a type that is [defined](Self::define) later, so that types can refer to each other in circles.
    pub fn declare(&mut self) -> TypeId {
        let id = self.next_id();
        self.types.push(None);
        id
    }

    /// Gives a declared number its type; replaces the type of a number that has one.
    pub fn define(&mut self, id: TypeId, ty: Type<&str>) {
        let ty = self.intern(ty);
        let place = usize::try_from(id.0).ok().and_then(|id| id.checked_sub(1));
        match place.and_then(|place| self.types.get_mut(place)) {
            Some(slot) => *slot = Some(ty),
            None => self.fail(EncodeError::Undefined { id }),
        }
    }

    /// Begins the type under `key`, unless it was begun before: then its number. What is added until [`BtfBuilder::end`] may
    /// ask for it again, and so close a circle.
    pub(crate) fn begin(&mut self, key: usize) -> Option<TypeId> {
        if self.keyed.contains_key(&key) {
            return Some(self.promise(key).0);
        }
        self.keyed.insert(key, None);
        None
    }

    /// Ends the type under `key`: gives it the number that was asked for in between, or that of an equal type, or a new one.
    pub(crate) fn end(&mut self, key: usize, ty: Type<&str>) -> TypeId {
        let id = match self.keyed.get(&key).copied().flatten() {
            Some(id) => {
                self.define(id, ty);
                id
            }
            None => self.add(ty),
        };
        self.keyed.insert(key, Some(id));
        id
    }

    /// The number of the type under `key`, and whether it is a new one that somebody has to define.
    pub(crate) fn promise(&mut self, key: usize) -> (TypeId, bool) {
        match self.keyed.get(&key).copied() {
            Some(Some(id)) => (id, false),
            begun => {
                let id = self.declare();
                self.keyed.insert(key, Some(id));
                (id, begun.is_none())
            }
        }
    }

    /// The place of a string, for `.BTF.ext` and for others that name strings of this section.
    pub fn string(&mut self, text: &str) -> StrOff {
        match self.strings.add(text) {
            Some(place) => place,
            None => {
                self.fail(EncodeError::Text { text: text.to_owned() });
                StrOff::default()
            }
        }
    }

    /// An integer whose bits fill `size` bytes.
    pub fn int(&mut self, name: &str, size: u32, signed: bool) -> TypeId {
        let bits = u8::try_from(size.saturating_mul(8)).unwrap_or(u8::MAX);
        self.add(Type::Int { name, int: Int { size, signed, bits, ..Int::default() } })
    }

    /// A pointer.
    pub fn ptr(&mut self, ty: TypeId) -> TypeId {
        self.add(Type::Ptr { ty })
    }

    /// An array of `len` elements.
    pub fn array(&mut self, elem: TypeId, len: u32) -> TypeId {
        let index = self.int("__ARRAY_SIZE_TYPE__", 4, false);
        self.add(Type::Array { elem, index, len })
    }

    /// A struct of `size` bytes; each member is name, type and offset in bytes.
    pub fn struct_(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
        let each =
            |&(name, ty, offset): &(_, _, u32)| Member { name, ty, bit_offset: offset.saturating_mul(8), bits: 0 };
        self.add(Type::Struct { name, size, members: members.iter().map(each).collect() })
    }

    /// Another name for a type.
    pub fn typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(Type::Typedef { name, ty })
    }

    /// A struct that is only named.
    pub fn fwd(&mut self, name: &str) -> TypeId {
        self.add(Type::Fwd { name, union: false })
    }

    /// A prototype; each parameter is name and type.
    pub fn func_proto(&mut self, ret: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        self.add(Type::FuncProto { ret, params: params.iter().map(|&(name, ty)| Param { name, ty }).collect() })
    }

    /// A function.
    pub fn func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.push(Type::Func { name, proto, linkage })
    }

    /// A variable.
    pub fn var(&mut self, name: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        self.push(Type::Var { name, ty, linkage })
    }

    /// A data section of `size` bytes; its variables must be in order of offset.
    pub fn datasec(&mut self, name: &str, size: u32, vars: &[VarSecinfo]) -> TypeId {
        self.push(Type::DataSec { name, size, vars: vars.to_vec() })
    }

    /// The section's bytes, little-endian.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong: a text with a zero byte, a reference to a type that is not there, too many elements.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        if let Some(error) = &self.first_error {
            return Err(error.clone());
        }
        let mut types = Vec::with_capacity(self.types.len() * 16);
        for (place, ty) in self.types.iter().enumerate() {
            let id = TypeId(u32::try_from(place + 1).map_err(|_| EncodeError::TooLarge)?);
            let ty = ty.as_ref().ok_or(EncodeError::Undefined { id })?;
            self.check_ids(id, ty)?;
            encode_type(id, ty, &mut types)?;
        }
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLarge);
        let header = wire::Header {
            magic: wire::MAGIC.into(),
            version: wire::VERSION,
            flags: 0,
            hdr_len: 24.into(),
            type_off: 0.into(),
            type_len: len(&types)?.into(),
            str_off: len(&types)?.into(),
            str_len: len(self.strings.as_bytes())?.into(),
        };
        Ok([header.as_bytes(), &types, self.strings.as_bytes()].concat())
    }

    /// Every type referred to must be there.
    fn check_ids(&self, id: TypeId, ty: &Type<StrOff>) -> Result<(), EncodeError> {
        let last = self.types.len();
        let mut wrong = None;
        ty.for_each_id(|to| {
            if usize::try_from(to.0).is_ok_and(|to| to > last) {
                wrong.get_or_insert(to);
            }
        });
        wrong.map_or(Ok(()), |to| Err(EncodeError::NoSuchType { id, kind: ty.kind(), to, last }))
    }

    /// The number that the next type gets.
    fn next_id(&self) -> TypeId {
        TypeId(u32::try_from(self.types.len() + 1).unwrap_or(u32::MAX))
    }

    /// The same type with its names in the string table.
    fn intern(&mut self, ty: Type<&str>) -> Type<StrOff> {
        match ty.try_map_names(|name| Ok::<_, std::convert::Infallible>(self.string(name))) {
            Ok(ty) => ty,
            Err(never) => match never {},
        }
    }

    /// Notes the first error.
    fn fail(&mut self, error: EncodeError) {
        self.first_error.get_or_insert(error);
    }
}

/// Appends one type with its records.
fn encode_type(id: TypeId, ty: &Type<StrOff>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (count, flag, size_type) = head(ty);
    let vlen = u32::try_from(count).ok().filter(|&vlen| vlen <= wire::MAX_VLEN);
    let vlen = vlen.ok_or(EncodeError::TooManyElements { id, kind: ty.kind(), count })?;
    let name_off = ty.name().map_or(0, |name| name.0).into();
    let info = u32::from(flag) << 31 | u32::from(ty.kind().0) << 24 | vlen;
    put(out, &wire::Type { name_off, info: info.into(), size_type: size_type.into() });
    match ty {
        Type::Int { int, .. } => put(out, &wire::Int { info: encode_int(*int).into() }),
        Type::Array { elem, index, len } => {
            put(out, &wire::Array { elem: elem.0.into(), index: index.0.into(), len: (*len).into() })
        }
        Type::Struct { members, .. } | Type::Union { members, .. } => encode_members(id, members, flag, out)?,
        Type::Enum { values, .. } => {
            values
                .iter()
                .for_each(|&(n, v)| put(out, &wire::Enum { name_off: n.0.into(), val: v.cast_signed().into() }));
        }
        Type::FuncProto { params, .. } => {
            params.iter().for_each(|p| put(out, &wire::Param { name_off: p.name.0.into(), ty: p.ty.0.into() }));
        }
        Type::Var { linkage, .. } => put(out, &wire::Var { linkage: linkage.0.into() }),
        Type::DataSec { vars, .. } => {
            let each =
                |v: &VarSecinfo| wire::VarSecinfo { ty: v.ty.0.into(), offset: v.offset.into(), size: v.size.into() };
            vars.iter().for_each(|v| put(out, &each(v)));
        }
        Type::DeclTag { component, .. } => {
            put(out, &wire::DeclTag { component_idx: component.map_or(-1, u32::cast_signed).into() })
        }
        Type::Enum64 { values, .. } => values.iter().for_each(|&(n, v)| put(out, &enum64(n, v))),
        _ => {}
    }
    Ok(())
}

/// What goes into a type's header: number of elements (or linkage), the kind's flag, size or type.
fn head(ty: &Type<StrOff>) -> (usize, bool, u32) {
    match ty {
        Type::Void | Type::Array { .. } => (0, false, 0),
        Type::Int { int, .. } => (0, false, int.size),
        Type::Ptr { ty }
        | Type::Volatile { ty }
        | Type::Const { ty }
        | Type::Restrict { ty }
        | Type::Typedef { ty, .. }
        | Type::Var { ty, .. } => (0, false, ty.0),
        Type::DeclTag { ty, attr, .. } | Type::TypeTag { ty, attr, .. } => (0, *attr, ty.0),
        Type::Struct { size, members, .. } | Type::Union { size, members, .. } => {
            (members.len(), members.iter().any(|m| m.bits != 0), *size)
        }
        Type::Enum { size, signed, values, .. } => (values.len(), *signed, *size),
        Type::Enum64 { size, signed, values, .. } => (values.len(), *signed, *size),
        Type::Fwd { union, .. } => (0, *union, 0),
        Type::Func { proto, linkage, .. } => (usize::try_from(linkage.0).unwrap_or(usize::MAX), false, proto.0),
        Type::FuncProto { ret, params } => (params.len(), false, ret.0),
        Type::DataSec { size, vars, .. } => (vars.len(), false, *size),
        Type::Float { size, .. } => (0, false, *size),
    }
}

/// One value of a 64-bit enumeration.
fn enum64(name: StrOff, value: u64) -> wire::Enum64 {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    let (lo, hi) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    wire::Enum64 { name_off: name.0.into(), val_lo32: lo.into(), val_hi32: hi.into() }
}

/// The word that follows an integer.
fn encode_int(int: Int) -> u32 {
    let encoding = u8::from(int.signed) | u8::from(int.char) << 1 | u8::from(int.bool) << 2;
    u32::from_be_bytes([encoding, int.bit_offset, 0, int.bits])
}

/// The members of a struct or union.
fn encode_members(
    id: TypeId,
    members: &[Member<StrOff>],
    bitfields: bool,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    for (member, m) in members.iter().enumerate() {
        if bitfields && m.bit_offset > wire::MAX_BITFIELD_OFFSET {
            return Err(EncodeError::BitOffset { id, member, bit_offset: m.bit_offset });
        }
        let offset = u32::from(m.bits) << 24 | m.bit_offset;
        put(out, &wire::Member { name_off: m.name.0.into(), ty: m.ty.0.into(), offset: offset.into() });
    }
    Ok(())
}

/// Appends a wire structure.
fn put<T: IntoBytes + Immutable>(out: &mut Vec<u8>, wire: &T) {
    out.extend_from_slice(wire.as_bytes());
}

//! Bytes of `.BTF` → an index over them.
//!
//! Stage: reading. Input: a section of either byte order, from anybody. Output: a [`Btf`], which keeps the bytes and four
//! bytes a type: where it starts. Everything that could lead out of the bytes is checked here once; types are decoded one
//! by one when asked for. Next: `query.rs`, what can be asked.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::error::{Error, MAX_NAME};
use super::header::{Sections, is_big_endian, swap_header, swap_words};
use super::names::NameIndex;
use super::strings::{StrOff, until_zero};
use super::types::{Int, Kind, Linkage, Member, Param, Type, TypeId, VarSecinfo};
use super::wire;

/// Types of an object, of a kernel or of a module: an index over their bytes.
///
/// Types are numbered from 1. Those of a module continue the numbers (and strings) of its base, the kernel.
#[derive(Debug, Clone)]
pub struct Btf<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Where the types lie.
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    /// Where each type starts in the bytes.
    pub(super) offsets: Vec<u32>,
    pub(super) base: Option<Arc<Btf<'a>>>,
    /// Made when first asked for.
    pub(super) by_name: OnceLock<NameIndex>,
    pub(super) big_endian: bool,
}

impl<'a> Btf<'a> {
    /// Reads a `.BTF` section of either byte order; borrows the bytes when they are little-endian.
    ///
    /// # Errors
    ///
    /// Anything in the header or in the order of records that is wrong, and a name outside of the strings, with its offset. Type ids inside
    /// types are checked when they are followed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::read(Cow::Borrowed(bytes), None)
    }

    /// As [`Btf::parse`], for a module's types: they go on where those of `base` end.
    ///
    /// # Errors
    ///
    /// As [`Btf::parse`].
    pub fn parse_split(bytes: &'a [u8], base: Arc<Btf<'a>>) -> Result<Self, Error> {
        Self::read(Cow::Borrowed(bytes), Some(base))
    }

    /// As [`Btf::parse`], for bytes that the result shall own.
    ///
    /// # Errors
    ///
    /// As [`Btf::parse`].
    pub fn from_vec(bytes: Vec<u8>) -> Result<Btf<'static>, Error> {
        Btf::read(Cow::Owned(bytes), None)
    }

    /// As [`Btf::parse_split`], for bytes that the result shall own.
    ///
    /// # Errors
    ///
    /// As [`Btf::parse`].
    pub fn from_vec_split(bytes: Vec<u8>, base: Arc<Btf<'static>>) -> Result<Btf<'static>, Error> {
        Btf::read(Cow::Owned(bytes), Some(base))
    }

    /// The one road for all of them.
    fn read(mut bytes: Cow<'a, [u8]>, base: Option<Arc<Btf<'a>>>) -> Result<Self, Error> {
        let big_endian = is_big_endian(&bytes)?;
        let sections = if big_endian { swap_header(bytes.to_mut()) } else { Sections::read(&bytes) }?;
        if big_endian {
            swap_words(sections.types.clone(), bytes.to_mut());
        }
        let mut btf = Self {
            bytes,
            types: sections.types,
            strings: sections.strings,
            offsets: Vec::new(),
            base,
            by_name: OnceLock::new(),
            big_endian,
        };
        btf.check_strings()?;
        btf.index(&sections.layout)?;
        Ok(btf)
    }

    /// The strings must be closed by a zero, so that every offset inside starts a string.
    fn check_strings(&self) -> Result<(), Error> {
        let strings = self.strings_bytes();
        let split = self.base.is_some();
        let fine = match (strings.first(), strings.last()) {
            (Some(first), Some(0)) => split || *first == 0,
            _ => split,
        };
        if fine { Ok(()) } else { Err(Error::Strings { offset: self.strings.start }) }
    }

    /// Walks over all types once and notes where each starts. A kernel has 100,000 types and more, and whoever asks for one
    /// of them waits for this: what is the same for all is made out before.
    fn index(&mut self, layout: &Range<usize>) -> Result<(), Error> {
        let known = self.layouts(layout);
        let strings = self.strings_len();
        let types = self.bytes.get(self.types.clone()).unwrap_or_default();
        // A type takes twelve bytes at least.
        let mut offsets = Vec::with_capacity(types.len() / size_of::<wire::Type>());
        let mut tail = types;
        while !tail.is_empty() {
            let id = TypeId(self.first_id() + u32::try_from(offsets.len()).unwrap_or(u32::MAX));
            let at = self.types.end - tail.len();
            let size = size_in_file(id, tail, at, &known, strings)?;
            offsets.push(u32::try_from(at).map_err(|_| Error::TooLarge { id })?);
            tail = tail.get(size..).unwrap_or_default();
        }
        self.offsets = offsets;
        Ok(())
    }

    /// For each kind the bytes of a type without records, and of each record: as we know them, or as the file tells.
    fn layouts(&self, told: &Range<usize>) -> [Option<(usize, usize)>; KINDS] {
        let told = self.bytes.get(told.clone()).and_then(|bytes| <[wire::Layout]>::ref_from_bytes(bytes).ok());
        let told =
            |kind: usize| told?.get(kind).map(|layout| (usize::from(layout.info_size), usize::from(layout.elem_size)));
        std::array::from_fn(|number| {
            let kind = Kind(u8::try_from(number).ok()?);
            let known = if kind == Kind::VOID { None } else { kind.layout().or_else(|| told(number)) };
            known.map(|(info, elem)| (size_of::<wire::Type>() + info, elem))
        })
    }

    /// The number of the first type of its own.
    pub(super) fn first_id(&self) -> u32 {
        self.base.as_ref().map_or(1, |base| base.len())
    }

    /// Bytes of the own strings.
    pub(super) fn strings_bytes(&self) -> &[u8] {
        self.bytes.get(self.strings.clone()).unwrap_or_default()
    }

    /// Header and following records of a type of its own or of its base.
    fn raw(&self, id: TypeId) -> Result<(&wire::Type, &[u8]), Error> {
        let missing = Error::NoSuchType { id, last: self.len() - 1 };
        let Some(own) = id.0.checked_sub(self.first_id()) else {
            return self.base.as_ref().ok_or(missing)?.raw(id);
        };
        let at =
            usize::try_from(own).ok().and_then(|own| self.offsets.get(own)).and_then(|&at| usize::try_from(at).ok());
        let tail = at.and_then(|at| self.bytes.get(at..self.types.end)).ok_or(missing.clone())?;
        wire::Type::ref_from_prefix(tail).map_err(|_| missing)
    }

    /// The kind of a type, without decoding it.
    ///
    /// # Errors
    ///
    /// There is no such type.
    pub fn kind(&self, id: TypeId) -> Result<Kind, Error> {
        if id == TypeId::VOID {
            return Ok(Kind::VOID);
        }
        Ok(Kind(self.raw(id)?.0.kind()))
    }

    /// The name of a type, without decoding it; empty when it has none.
    ///
    /// # Errors
    ///
    /// There is no such type.
    pub fn name(&self, id: TypeId) -> Result<&str, Error> {
        if id == TypeId::VOID {
            return Ok("");
        }
        self.name_at(id, StrOff(self.raw(id)?.0.name_off.get()))
    }

    /// The size that a type of a kind with one says itself, without decoding its members.
    pub(super) fn own_size(&self, id: TypeId) -> Result<Option<u32>, Error> {
        if id == TypeId::VOID {
            return Ok(None);
        }
        let header = self.raw(id)?.0;
        Ok(match Kind(header.kind()) {
            Kind::INT | Kind::STRUCT | Kind::UNION | Kind::ENUM | Kind::ENUM64 | Kind::FLOAT | Kind::DATASEC => {
                Some(header.size_type.get())
            }
            _ => None,
        })
    }

    /// A type, decoded. Names are borrowed from the file.
    ///
    /// # Errors
    ///
    /// There is no such type; a name of a member is wrong; the kind is known only by its length.
    pub fn get(&self, id: TypeId) -> Result<Type<&str>, Error> {
        if id == TypeId::VOID {
            return Ok(Type::Void);
        }
        if let (Some(base), true) = (&self.base, id.0 < self.first_id()) {
            return base.get(id);
        }
        let (header, tail) = self.raw(id)?;
        let ty = decode(header, tail).ok_or_else(|| {
            let offset = self.types.end - tail.len() - size_of::<wire::Type>();
            Error::UnknownKind { id, kind: Kind(header.kind()), offset }
        })?;
        ty.try_map_names(|&name| self.name_at(id, name))
    }

    /// Its own types that have a name, with the strings from there on; the name ends at the first zero.
    pub(super) fn own_names(&self) -> impl Iterator<Item = (TypeId, &[u8])> {
        // Asked for each of 100,000 types and more: what is the same for all is made out before.
        let (bytes, strings) = (&*self.bytes, self.strings_bytes());
        let of_base = self.base.as_ref().map_or(0, |base| base.strings_len());
        (self.first_id()..).zip(&self.offsets).filter_map(move |(id, &at)| {
            // The name is the first word of a type.
            let name = u32::from_le_bytes(*bytes.get(usize::try_from(at).ok()?..)?.first_chunk()?);
            let tail = match name.checked_sub(of_base) {
                _ if name == 0 => None,
                Some(own) => strings.get(usize::try_from(own).ok()?..),
                None => self.string_tail(StrOff(name)),
            };
            Some((TypeId(id), tail?))
        })
    }

    /// A name, checked to be short text.
    pub(super) fn name_at(&self, id: TypeId, at: StrOff) -> Result<&str, Error> {
        let bytes = self.string_tail(at).and_then(|tail| until_zero(tail.get(..=MAX_NAME).unwrap_or(tail)));
        bytes.and_then(|b| std::str::from_utf8(b).ok()).ok_or(Error::Name { id, name: at.0 })
    }

    /// A string, such as a line of source text; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// The offset is outside of the strings.
    pub fn string(&self, at: StrOff) -> Result<Cow<'_, str>, Error> {
        let bytes = self.string_tail(at).and_then(until_zero).ok_or(Error::NoSuchString(at.0))?;
        Ok(String::from_utf8_lossy(bytes))
    }

    /// The strings from an offset on; offsets below the own strings are the base's.
    fn string_tail(&self, at: StrOff) -> Option<&[u8]> {
        let base_len = self.base.as_ref().map_or(0, |base| base.strings_len());
        match at.0.checked_sub(base_len) {
            Some(own) => self.strings_bytes().get(usize::try_from(own).ok()?..),
            None => self.base.as_ref()?.string_tail(at),
        }
    }

    /// Bytes of all strings, the base's included.
    fn strings_len(&self) -> u32 {
        let own = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        own.saturating_add(self.base.as_ref().map_or(0, |base| base.strings_len()))
    }
}

/// How many kinds a header can name.
const KINDS: usize = 1 << 7;

/// Bytes that the type at the start of `tail` takes with all its records.
fn size_in_file(
    id: TypeId,
    tail: &[u8],
    offset: usize,
    known: &[Option<(usize, usize)>; KINDS],
    strings: u32,
) -> Result<usize, Error> {
    let have = tail.len();
    let Ok((header, _)) = wire::Type::ref_from_prefix(tail) else {
        return Err(Error::TruncatedType { id, kind: Kind::VOID, offset, need: 12, have });
    };
    let kind = Kind(header.kind());
    let layout = known.get(usize::from(kind.0)).copied().flatten();
    let (fixed, record) = layout.ok_or(Error::UnknownKind { id, kind, offset })?;
    let vlen = usize::try_from(header.vlen()).unwrap_or(usize::MAX);
    let need = record.saturating_mul(vlen).saturating_add(fixed);
    if need > have {
        return Err(Error::TruncatedType { id, kind, offset, need, have });
    }
    // The strings end with a zero, so inside of them every offset is a string; what it holds is checked when asked for.
    let name = header.name_off.get();
    if name > strings {
        return Err(Error::Name { id, name });
    }
    Ok(need)
}

/// Decodes one type. `None` when its kind is not known (or when records are missing, which the index rules out).
fn decode(header: &wire::Type, tail: &[u8]) -> Option<Type<StrOff>> {
    let name = StrOff(header.name_off.get());
    let size = header.size_type.get();
    let ty = TypeId(size);
    let flag = header.kind_flag();
    Some(match Kind(header.kind()) {
        Kind::INT => Type::Int { name, int: decode_int(size, first::<wire::Int>(tail)?.info.get()) },
        Kind::PTR => Type::Ptr { ty },
        Kind::ARRAY => {
            let a = first::<wire::Array>(tail)?;
            Type::Array { elem: TypeId(a.elem.get()), index: TypeId(a.index.get()), len: a.len.get() }
        }
        Kind::STRUCT => Type::Struct { name, size, members: decode_members(header, tail)? },
        Kind::UNION => Type::Union { name, size, members: decode_members(header, tail)? },
        Kind::ENUM => {
            let each = |e: &wire::Enum| (StrOff(e.name_off.get()), e.val.get().cast_unsigned());
            Type::Enum { name, size, signed: flag, values: elements(header, tail)?.iter().map(each).collect() }
        }
        Kind::FWD => Type::Fwd { name, union: flag },
        Kind::TYPEDEF => Type::Typedef { name, ty },
        Kind::VOLATILE => Type::Volatile { ty },
        Kind::CONST => Type::Const { ty },
        Kind::RESTRICT => Type::Restrict { ty },
        Kind::FUNC => Type::Func { name, proto: ty, linkage: Linkage(header.vlen()) },
        Kind::FUNC_PROTO => {
            let each = |p: &wire::Param| Param { name: StrOff(p.name_off.get()), ty: TypeId(p.ty.get()) };
            Type::FuncProto { ret: ty, params: elements(header, tail)?.iter().map(each).collect() }
        }
        Kind::VAR => Type::Var { name, ty, linkage: Linkage(first::<wire::Var>(tail)?.linkage.get()) },
        Kind::DATASEC => {
            let each = |v: &wire::VarSecinfo| VarSecinfo {
                ty: TypeId(v.ty.get()),
                offset: v.offset.get(),
                size: v.size.get(),
            };
            Type::DataSec { name, size, vars: elements(header, tail)?.iter().map(each).collect() }
        }
        Kind::FLOAT => Type::Float { name, size },
        Kind::DECL_TAG => {
            let component = u32::try_from(first::<wire::DeclTag>(tail)?.component_idx.get()).ok();
            Type::DeclTag { name, ty, component, attr: flag }
        }
        Kind::TYPE_TAG => Type::TypeTag { name, ty, attr: flag },
        Kind::ENUM64 => {
            let value = |e: &wire::Enum64| u64::from(e.val_hi32.get()) << 32 | u64::from(e.val_lo32.get());
            let each = |e: &wire::Enum64| (StrOff(e.name_off.get()), value(e));
            Type::Enum64 { name, size, signed: flag, values: elements(header, tail)?.iter().map(each).collect() }
        }
        _ => return None,
    })
}

/// The word that follows an integer.
fn decode_int(size: u32, info: u32) -> Int {
    let [encoding, bit_offset, _, bits] = info.to_be_bytes();
    Int { size, signed: encoding & 1 != 0, char: encoding & 2 != 0, bool: encoding & 4 != 0, bit_offset, bits }
}

/// The members of a struct or union.
fn decode_members(header: &wire::Type, tail: &[u8]) -> Option<Vec<Member<StrOff>>> {
    let bitfields = header.kind_flag();
    let each = |m: &wire::Member| {
        let offset = m.offset.get();
        let [bits, ..] = offset.to_be_bytes();
        let (bit_offset, bits) = if bitfields { (offset & wire::MAX_BITFIELD_OFFSET, bits) } else { (offset, 0) };
        Member { name: StrOff(m.name_off.get()), ty: TypeId(m.ty.get()), bit_offset, bits }
    };
    Some(elements::<wire::Member>(header, tail)?.iter().map(each).collect())
}

/// The structure that follows a type once.
fn first<T: FromBytes + Immutable + KnownLayout + Unaligned>(tail: &[u8]) -> Option<&T> {
    T::ref_from_prefix(tail).ok().map(|(first, _)| first)
}

/// The structures that follow a type, `vlen` of them.
fn elements<'b, T: FromBytes + Immutable + KnownLayout + Unaligned>(
    header: &wire::Type,
    tail: &'b [u8],
) -> Option<&'b [T]> {
    let count = usize::try_from(header.vlen()).ok()?;
    <[T]>::ref_from_prefix_with_elems(tail, count).ok().map(|(all, _)| all)
}

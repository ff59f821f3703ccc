//! Bytes of `.BTF` → an index over them.
//!
//! Stage: reading. Input: a section of either byte order, from anybody. Output: a [`Btf`], which keeps the bytes and four
//! bytes a type: where it starts. Everything that could lead out of the bytes is checked here once; types are decoded one
//! by one when asked for. Next: `query.rs`, what can be asked.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use thiserror::Error as ThisError;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::strings::{StrOff, bytes_at};
use super::types::{Int, Kind, Linkage, Member, Param, Type, TypeId, VarSecinfo};
use super::wire;

/// Longest name of a type or member that is read; kernels stop at 511.
pub(super) const MAX_NAME: usize = 4096;

/// Why bytes are not BTF, or why a question to it has no answer. Offsets are bytes from the start of the section.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The file ends inside something.
    #[error("{what} at offset {offset} needs {need} bytes, but only {have} are left: the file is cut off or damaged")]
    Truncated {
        /// Name of the part.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// Its size.
        need: usize,
        /// What is there.
        have: usize,
    },
    /// The first two bytes are wrong.
    #[error("this is not BTF: it starts with {found:#06x} where {:#06x} should be", wire::MAGIC)]
    Magic {
        /// The first two bytes, read as little-endian.
        found: u16,
    },
    /// A version that nobody has described yet.
    #[error("BTF version {found} is not known, only version 1 is")]
    Version {
        /// The version given.
        found: u8,
    },
    /// A header that contradicts itself or the size of the file.
    #[error("the header says that the {what} take {len} bytes at offset {offset}, but the file has {total}")]
    Section {
        /// Name of the section.
        what: &'static str,
        /// Where it is said to start.
        offset: u64,
        /// How long it is said to be.
        len: u64,
        /// Bytes of the whole file.
        total: usize,
    },
    /// A section that must consist of 32-bit words does not.
    #[error("the {what} start at offset {offset} and take {len} bytes; both must be multiples of four")]
    Misaligned {
        /// Name of the section.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// How long it is.
        len: usize,
    },
    /// The string section does not start and end with a zero byte.
    #[error("the strings must start and end with a zero byte; this file's, at offset {offset}, do not")]
    Strings {
        /// Where they start.
        offset: usize,
    },
    /// A type whose records do not fit in the section.
    #[error("type {id} ({kind}) at offset {offset} needs {need} bytes, but the types end after {have}")]
    TruncatedType {
        /// Its number.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Where it starts.
        offset: usize,
        /// Bytes of the type with all its records.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// A kind that is not known, so that what follows cannot be found.
    #[error("type {id} at offset {offset} is of an unknown kind ({}), and the file does not say how long it is; a newer version of this reader may know it", kind.0)]
    UnknownKind {
        /// Its number.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Where it starts.
        offset: usize,
    },
    /// A name outside of the strings, too long, or not UTF-8.
    #[error("type {id} has a name at string offset {name}, where there is no text of at most {MAX_NAME} bytes")]
    Name {
        /// The type with that name, or with a member of that name.
        id: TypeId,
        /// The offset.
        name: u32,
    },
    /// A string outside of the strings.
    #[error("string offset {0} is outside of the strings")]
    NoSuchString(u32),
    /// A number that no type has.
    #[error("there is no type {id}: the last one is [{last}]")]
    NoSuchType {
        /// The number asked for, or found in another type.
        id: TypeId,
        /// The highest number.
        last: u32,
    },
    /// A type that contains itself, or is nested deeper than any compiler does.
    #[error("type {id} refers to itself, or is nested too deeply")]
    Loop {
        /// Where the walk began.
        id: TypeId,
    },
    /// A size was asked of something that has none.
    #[error("type {id} ({kind}) has no size")]
    NoSize {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
    },
    /// An array of more than 4 GiB.
    #[error("type {id} is larger than 4 GiB")]
    TooLarge {
        /// The type.
        id: TypeId,
    },
    /// A record of `.BTF.ext` that is shorter than the smallest there has been.
    #[error("the {what} at offset {offset} are said to be {found} bytes each, but need at least {need}")]
    RecordSize {
        /// Which records.
        what: &'static str,
        /// Where the size stands.
        offset: usize,
        /// The size given.
        found: u32,
        /// The smallest size.
        need: usize,
    },
}

/// Types of an object, of a kernel or of a module: an index over their bytes.
///
/// Types are numbered from 1. Those of a module continue the numbers (and strings) of its base, the kernel.
#[derive(Debug, Clone)]
pub struct Btf<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) types_at: usize,
    pub(super) strings: std::ops::Range<usize>,
    /// Where each type starts, in bytes from the start of the types.
    pub(super) offsets: Vec<u32>,
    pub(super) base: Option<Arc<Btf<'a>>>,
    /// Own type numbers, less the first, ordered by name; made when first asked for.
    pub(super) by_name: OnceLock<Vec<u32>>,
    pub(super) big_endian: bool,
}

impl<'a> Btf<'a> {
    /// Reads a `.BTF` section of either byte order; borrows the bytes when they are little-endian.
    ///
    /// # Errors
    ///
    /// Anything in the header, in the order of records or in a type's name that is wrong, with its offset. Type ids inside
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
            types_at: sections.types.start,
            strings: sections.strings,
            offsets: Vec::new(),
            base,
            by_name: OnceLock::new(),
            big_endian,
        };
        btf.check_strings()?;
        btf.index(sections.types.len(), sections.layout)?;
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

    /// Walks over all types once and notes where each starts.
    fn index(&mut self, len: usize, layout: std::ops::Range<usize>) -> Result<(), Error> {
        let mut at = 0;
        while at < len {
            let id = TypeId(self.first_id() + u32::try_from(self.offsets.len()).unwrap_or(u32::MAX));
            let tail = self.bytes.get(self.types_at + at..self.types_at + len).unwrap_or_default();
            let size = self.size_in_file(id, tail, at, &layout)?;
            self.offsets.push(u32::try_from(at).map_err(|_| Error::TooLarge { id })?);
            at += size;
        }
        Ok(())
    }

    /// Bytes that the type at the start of `tail` takes with all its records.
    fn size_in_file(
        &self,
        id: TypeId,
        tail: &[u8],
        at: usize,
        layout: &std::ops::Range<usize>,
    ) -> Result<usize, Error> {
        let offset = self.types_at + at;
        let have = tail.len();
        let Ok((header, _)) = wire::Type::ref_from_prefix(tail) else {
            return Err(Error::TruncatedType { id, kind: Kind::VOID, offset, need: 12, have });
        };
        let kind = Kind(header.kind());
        let told = || {
            let records = <[wire::Layout]>::ref_from_bytes(self.bytes.get(layout.clone())?).ok()?;
            records.get(usize::from(kind.0)).map(|l| (usize::from(l.info_size), usize::from(l.elem_size)))
        };
        let known = if kind == Kind::VOID { None } else { kind.layout().or_else(told) };
        let (info, elem) = known.ok_or(Error::UnknownKind { id, kind, offset })?;
        let vlen = usize::try_from(header.vlen()).unwrap_or(usize::MAX);
        let need = elem.saturating_mul(vlen).saturating_add(info + size_of::<wire::Type>());
        if need > have {
            return Err(Error::TruncatedType { id, kind, offset, need, have });
        }
        self.name_at(id, StrOff(header.name_off.get()))?;
        Ok(need)
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
        let tail = at.and_then(|at| self.bytes.get(self.types_at + at..)).ok_or(missing.clone())?;
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

    /// A type, decoded. Names are borrowed from the file.
    ///
    /// # Errors
    ///
    /// There is no such type; a name of a member is wrong; the kind is known only by its length.
    pub fn get(&self, id: TypeId) -> Result<Type<&str>, Error> {
        if id == TypeId::VOID {
            return Ok(Type::Void);
        }
        let (header, tail) = self.raw(id)?;
        let offset =
            || self.offsets.get((id.0 - self.first_id()) as usize).map_or(0, |&at| self.types_at + at as usize);
        let ty = decode(header, tail).ok_or_else(|| Error::UnknownKind {
            id,
            kind: Kind(header.kind()),
            offset: offset(),
        })?;
        ty.try_map_names(|&name| self.name_at(id, name))
    }

    /// A name, checked to be short text.
    pub(super) fn name_at(&self, id: TypeId, at: StrOff) -> Result<&str, Error> {
        let bytes = self.string_tail(at).and_then(|tail| bytes_at(tail.get(..=MAX_NAME).unwrap_or(tail), 0));
        bytes.and_then(|b| std::str::from_utf8(b).ok()).ok_or(Error::Name { id, name: at.0 })
    }

    /// A string, such as a line of source text; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// The offset is outside of the strings.
    pub fn string(&self, at: StrOff) -> Result<Cow<'_, str>, Error> {
        let bytes = self.string_tail(at).and_then(|tail| bytes_at(tail, 0)).ok_or(Error::NoSuchString(at.0))?;
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

/// Where the parts of a section lie, in bytes from its start.
struct Sections {
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
    layout: std::ops::Range<usize>,
}

impl Sections {
    /// Reads a little-endian header.
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (header, rest) = prefix::<wire::Header>("the BTF header", bytes, 0)?;
        if header.version != wire::VERSION {
            return Err(Error::Version { found: header.version });
        }
        let hdr_len = header.hdr_len.get();
        let place = |what, off: u32, len: u32| range(what, bytes.len(), hdr_len, off, len);
        let types = place("types", header.type_off.get(), header.type_len.get())?;
        if types.start % 4 != 0 || types.len() % 4 != 0 {
            return Err(Error::Misaligned { what: "types", offset: types.start, len: types.len() });
        }
        let strings = place("strings", header.str_off.get(), header.str_len.get())?;
        let layout = match wire::LayoutHeader::ref_from_prefix(rest) {
            Ok((l, _)) if hdr_len >= 32 => place("layout records", l.layout_off.get(), l.layout_len.get())?,
            _ => 0..0,
        };
        Ok(Self { types, strings, layout })
    }
}

/// A part's place, checked against the size of the file. A header that is shorter than the first one ever is refused here too.
pub(super) fn range(
    what: &'static str,
    total: usize,
    hdr_len: u32,
    off: u32,
    len: u32,
) -> Result<std::ops::Range<usize>, Error> {
    let wrong = Error::Section { what, offset: u64::from(hdr_len) + u64::from(off), len: u64::from(len), total };
    let start = u64::from(hdr_len) + u64::from(off);
    let end = start + u64::from(len);
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if end <= total && hdr_len >= 24 => Ok(start..end),
        _ => Err(wrong),
    }
}

/// A wire structure at the start of `bytes`, which start at `offset` of the file, and what follows it.
pub(super) fn prefix<'b, T>(what: &'static str, bytes: &'b [u8], offset: usize) -> Result<(&'b T, &'b [u8]), Error>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    T::ref_from_prefix(bytes).map_err(|_| Error::Truncated { what, offset, need: size_of::<T>(), have: bytes.len() })
}

/// The byte order, by the first two bytes.
pub(super) fn is_big_endian(bytes: &[u8]) -> Result<bool, Error> {
    let (magic, _) = prefix::<zerocopy::little_endian::U16>("the BTF magic number", bytes, 0)?;
    match magic.get() {
        wire::MAGIC => Ok(false),
        found if found.swap_bytes() == wire::MAGIC => Ok(true),
        found => Err(Error::Magic { found }),
    }
}

/// Turns a big-endian header into a little-endian one, in place, and reads it.
fn swap_header(bytes: &mut [u8]) -> Result<Sections, Error> {
    swap_header_words(bytes);
    let sections = Sections::read(bytes)?;
    for record in bytes.get_mut(sections.layout.clone()).unwrap_or_default().chunks_exact_mut(4) {
        record.swap(2, 3);
    }
    Ok(sections)
}

/// Swaps the magic number and the 32-bit words of a header of `.BTF` or `.BTF.ext`; both start alike.
pub(super) fn swap_header_words(bytes: &mut [u8]) {
    if let Some(magic) = bytes.get_mut(..2) {
        magic.reverse();
    }
    swap_words(4..24.min(bytes.len().max(4)), bytes);
    let hdr_len = bytes.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    if hdr_len >= 32 {
        swap_words(24..32, bytes);
    }
}

/// Swaps the bytes of every whole 32-bit word in the range.
pub(super) fn swap_words(range: std::ops::Range<usize>, bytes: &mut [u8]) {
    for word in bytes.get_mut(range).unwrap_or_default().chunks_exact_mut(4) {
        word.reverse();
    }
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

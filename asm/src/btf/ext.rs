//! `.BTF.ext`: which function, which source line and which relocation belongs to which instruction.
//!
//! Stage: beside `.BTF`, whose types and strings it names. Input and output: the section's bytes, and a [`BtfExt`]. The
//! kernel takes function and line records for every function of a program or for none; `object` sees to that. Next:
//! `describe.rs`.

use std::fmt;
use std::ops::Range;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::encode::EncodeError;
use super::error::Error;
use super::header::{is_big_endian, prefix, range, swap_header_words, swap_words};
use super::strings::StrOff;
use super::types::TypeId;
use super::wire;

/// The records of one program section.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SectionInfo<T> {
    /// Name of the section, in the strings of `.BTF`.
    pub section: StrOff,
    /// In order of their instructions.
    pub records: Vec<T>,
}

/// Which function starts at an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FuncInfo {
    /// Bytes from the start of the section.
    pub insn_off: u32,
    /// The function's type.
    pub ty: TypeId,
}

/// Which source line the instructions from here on come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LineInfo {
    /// Bytes from the start of the section.
    pub insn_off: u32,
    /// Name of the file.
    pub file: StrOff,
    /// The line's text; empty when it is not known.
    pub text: StrOff,
    /// From 1; at most 4,194,303.
    pub line: u32,
    /// From 1; 0 when it is not known, at most 1023.
    pub col: u32,
}

/// What to put into an instruction when the kernel's types are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoreRelo {
    /// Bytes from the start of the section.
    pub insn_off: u32,
    /// The local type that is looked for in the kernel.
    pub ty: TypeId,
    /// The path from there, such as `0:1:2`.
    pub access: StrOff,
    /// What is asked about its end.
    pub kind: CoreReloKind,
}

/// What a CO-RE relocation asks for (`enum bpf_core_relo_kind`). Unknown numbers survive reading and printing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreReloKind(pub u32);

/// Declares the relocation kinds: constant, number, name in dumps.
macro_rules! core_relo_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl CoreReloKind {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every kind with a name, by number.
            pub const ALL: &'static [Self] = &[$(Self($number)),*];

            /// The kind that prints as `name`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self($number)),)* _ => None }
            }
        }

        impl fmt::Display for CoreReloKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 { $($number => f.write_str($text),)* other => write!(f, "core_relo {other}") }
            }
        }
    };
}

core_relo_kinds! {
    /// Offset of a field in bytes.
    FIELD_BYTE_OFFSET = 0, "byte_off";
    /// Size of a field in bytes.
    FIELD_BYTE_SIZE = 1, "byte_sz";
    /// Whether a field is there: 1 or 0.
    FIELD_EXISTS = 2, "field_exists";
    /// Whether a field is signed: 1 or 0.
    FIELD_SIGNED = 3, "signed";
    /// How far to shift left to get at a bit field.
    FIELD_LSHIFT_U64 = 4, "lshift_u64";
    /// How far to shift right to get at a bit field.
    FIELD_RSHIFT_U64 = 5, "rshift_u64";
    /// Id of the type in the object.
    TYPE_ID_LOCAL = 6, "local_type_id";
    /// Id of the type in the kernel.
    TYPE_ID_TARGET = 7, "target_type_id";
    /// Whether a type is there: 1 or 0.
    TYPE_EXISTS = 8, "type_exists";
    /// Size of a type in bytes.
    TYPE_SIZE = 9, "type_size";
    /// Whether an enumeration has a value: 1 or 0.
    ENUMVAL_EXISTS = 10, "enumval_exists";
    /// A value of an enumeration.
    ENUMVAL_VALUE = 11, "enumval_value";
    /// Whether a type is there and matches: 1 or 0.
    TYPE_MATCHES = 12, "type_matches";
}

impl fmt::Debug for CoreReloKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The contents of `.BTF.ext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// Functions, by section.
    pub funcs: Vec<SectionInfo<FuncInfo>>,
    /// Source lines, by section.
    pub lines: Vec<SectionInfo<LineInfo>>,
    /// CO-RE relocations, by section.
    pub core_relos: Vec<SectionInfo<CoreRelo>>,
}

impl BtfExt {
    /// Reads a section of either byte order. Records longer than those known here are cut to what is known.
    ///
    /// # Errors
    ///
    /// Anything in the header or in the order of records that is wrong, with its offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if is_big_endian(bytes)? {
            let mut bytes = bytes.to_vec();
            swap_header_words(&mut bytes);
            let hdr_len = usize::try_from(prefix::<wire::ExtHeader>("the BTF.ext header", &bytes, 0)?.0.hdr_len.get());
            let end = bytes.len();
            swap_words(hdr_len.unwrap_or(end)..end, &mut bytes);
            return Self::read(&bytes);
        }
        Self::read(bytes)
    }

    /// Reads a little-endian section.
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (header, rest) = prefix::<wire::ExtHeader>("the BTF.ext header", bytes, 0)?;
        if header.version != wire::VERSION {
            return Err(Error::Version { found: header.version });
        }
        let hdr_len = header.hdr_len.get();
        let place = |what, off: U32, len: U32| range(what, bytes.len(), hdr_len, off.get(), len.get());
        let funcs = place("function records", header.func_info_off, header.func_info_len)?;
        let lines = place("line records", header.line_info_off, header.line_info_len)?;
        let core = match wire::ExtCoreHeader::ref_from_prefix(rest) {
            Ok((core, _)) if hdr_len >= 32 => place("CO-RE relocations", core.core_relo_off, core.core_relo_len)?,
            _ => 0..0,
        };
        Ok(Self {
            funcs: read_table("function records", bytes, funcs)?,
            lines: read_table("line records", bytes, lines)?,
            core_relos: read_table("CO-RE relocations", bytes, core)?,
        })
    }

    /// The section's bytes, little-endian.
    ///
    /// # Errors
    ///
    /// The records outgrow 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let tables = [write_table(&self.funcs)?, write_table(&self.lines)?, write_table(&self.core_relos)?];
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLarge);
        let [funcs, lines, core] = [len(&tables[0])?, len(&tables[1])?, len(&tables[2])?];
        let lines_end = funcs.checked_add(lines).ok_or(EncodeError::TooLarge)?;
        let header = wire::ExtHeader {
            magic: wire::MAGIC.into(),
            version: wire::VERSION,
            flags: 0,
            hdr_len: 32.into(),
            func_info_off: 0.into(),
            func_info_len: funcs.into(),
            line_info_off: funcs.into(),
            line_info_len: lines.into(),
        };
        let core = wire::ExtCoreHeader { core_relo_off: lines_end.into(), core_relo_len: core.into() };
        Ok([header.as_bytes(), core.as_bytes(), &tables.concat()].concat())
    }
}

/// A record as bytes and as a value.
trait Record: Sized {
    type Wire: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;
    fn from_wire(wire: &Self::Wire) -> Self;
    fn to_wire(&self) -> Self::Wire;
}

impl Record for FuncInfo {
    type Wire = wire::FuncInfo;

    fn from_wire(w: &wire::FuncInfo) -> Self {
        Self { insn_off: w.insn_off.get(), ty: TypeId(w.type_id.get()) }
    }

    fn to_wire(&self) -> wire::FuncInfo {
        wire::FuncInfo { insn_off: self.insn_off.into(), type_id: self.ty.0.into() }
    }
}

impl Record for LineInfo {
    type Wire = wire::LineInfo;

    fn from_wire(w: &wire::LineInfo) -> Self {
        let (file, text) = (StrOff(w.file_name_off.get()), StrOff(w.line_off.get()));
        Self { insn_off: w.insn_off.get(), file, text, line: w.line_col.get() >> 10, col: w.line_col.get() & 0x3ff }
    }

    fn to_wire(&self) -> wire::LineInfo {
        let line_col = self.line.min(0x003f_ffff) << 10 | self.col.min(0x3ff);
        let (file_name_off, line_off) = (self.file.0.into(), self.text.0.into());
        wire::LineInfo { insn_off: self.insn_off.into(), file_name_off, line_off, line_col: line_col.into() }
    }
}

impl Record for CoreRelo {
    type Wire = wire::CoreRelo;

    fn from_wire(w: &wire::CoreRelo) -> Self {
        let (ty, access) = (TypeId(w.type_id.get()), StrOff(w.access_str_off.get()));
        Self { insn_off: w.insn_off.get(), ty, access, kind: CoreReloKind(w.kind.get()) }
    }

    fn to_wire(&self) -> wire::CoreRelo {
        let (type_id, access_str_off) = (self.ty.0.into(), self.access.0.into());
        wire::CoreRelo { insn_off: self.insn_off.into(), type_id, access_str_off, kind: self.kind.0.into() }
    }
}

/// One table: the size of a record, then for each section a header and its records.
fn read_table<T: Record>(what: &'static str, bytes: &[u8], place: Range<usize>) -> Result<Vec<SectionInfo<T>>, Error> {
    let mut sections = Vec::new();
    let end = place.end;
    let mut rest = bytes.get(place.clone()).unwrap_or_default();
    if rest.is_empty() {
        return Ok(sections);
    }
    let (record_size, tail) = prefix::<U32>(what, rest, place.start)?;
    let size = usize::try_from(record_size.get()).unwrap_or(usize::MAX);
    let need = size_of::<T::Wire>();
    if size < need || size % 4 != 0 {
        return Err(Error::RecordSize { what, offset: place.start, found: record_size.get(), need });
    }
    rest = tail;
    while !rest.is_empty() {
        let (header, tail) = prefix::<wire::ExtSection>(what, rest, end - rest.len())?;
        let count = usize::try_from(header.num_info.get()).unwrap_or(usize::MAX);
        let need = count.saturating_mul(size);
        let truncated = Error::Truncated { what, offset: end - tail.len(), need, have: tail.len() };
        let (records, tail) = tail.split_at_checked(need).ok_or(truncated)?;
        let each = |r: &[u8]| T::Wire::ref_from_prefix(r).ok().map(|(wire, _)| T::from_wire(wire));
        sections.push(SectionInfo {
            section: StrOff(header.sec_name_off.get()),
            records: records.chunks_exact(size).filter_map(each).collect(),
        });
        rest = tail;
    }
    Ok(sections)
}

/// The inverse of [`read_table`]; nothing at all for an empty table.
fn write_table<T: Record>(sections: &[SectionInfo<T>]) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let count = |len: usize| u32::try_from(len).map_err(|_| EncodeError::TooLarge);
    for section in sections {
        if out.is_empty() {
            out.extend_from_slice(&count(size_of::<T::Wire>())?.to_le_bytes());
        }
        let header =
            wire::ExtSection { sec_name_off: section.section.0.into(), num_info: count(section.records.len())?.into() };
        out.extend_from_slice(header.as_bytes());
        section.records.iter().for_each(|r| out.extend_from_slice(r.to_wire().as_bytes()));
    }
    Ok(out)
}

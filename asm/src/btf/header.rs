//! Headers and byte order.
//!
//! Stage: first look at the bytes of `.BTF` and `.BTF.ext`. Input: a whole section. Output: where its parts lie, checked
//! against its size; big-endian words turned over in place. Next: `decode.rs`.

use std::ops::Range;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::error::Error;
use super::wire;

/// Where the parts of a section lie, in bytes from its start.
pub(super) struct Sections {
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    pub(super) layout: Range<usize>,
}

impl Sections {
    /// Reads a little-endian header.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
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
pub(super) fn range(what: &'static str, total: usize, hdr_len: u32, off: u32, len: u32) -> Result<Range<usize>, Error> {
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
pub(super) fn swap_header(bytes: &mut [u8]) -> Result<Sections, Error> {
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
pub(super) fn swap_words(range: Range<usize>, bytes: &mut [u8]) {
    for word in bytes.get_mut(range).unwrap_or_default().chunks_exact_mut(4) {
        word.reverse();
    }
}

//! The string section of BTF.
//!
//! Stage: shared by `encode.rs` and `ext.rs` (writing) and `decode.rs` (reading). A string is named by the offset of its
//! first byte and ends at the next zero byte. Next: `encode.rs`.

use std::collections::HashMap;
use std::ffi::CStr;

/// Place of a string in the string section. Offset 0 is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrOff(pub u32);

/// A string section being written. Each string is kept once, in the order of first use, so the bytes are the same each time.
#[derive(Clone, Debug)]
pub struct StringTable {
    bytes: Vec<u8>,
    places: HashMap<Box<str>, StrOff>,
}

impl Default for StringTable {
    fn default() -> Self {
        Self { bytes: vec![0], places: HashMap::new() }
    }
}

impl StringTable {
    /// The place of `text`, which is added unless it is there already. `None` when it holds a zero byte, or when the section
    /// would outgrow 32 bits.
    pub fn add(&mut self, text: &str) -> Option<StrOff> {
        if text.is_empty() {
            return Some(StrOff(0));
        }
        if let Some(&place) = self.places.get(text) {
            return Some(place);
        }
        let place = StrOff(u32::try_from(self.bytes.len()).ok()?);
        if text.as_bytes().contains(&0) || u32::try_from(self.bytes.len() + text.len() + 1).is_err() {
            return None;
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.places.insert(text.into(), place);
        Some(place)
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The string at the start of `tail`, without the zero. `None` when no zero follows.
pub(super) fn until_zero(tail: &[u8]) -> Option<&[u8]> {
    CStr::from_bytes_until_nul(tail).ok().map(CStr::to_bytes)
}

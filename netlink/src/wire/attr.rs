//! Stage: attributes, the type-length-value records that follow a message's fixed header, and may hold further attributes.
//! Input: payload bytes; output: [`RawAttr`] one by one ([`attrs`]), or the way back ([`Writer`]). Next: `wire/table.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{WireError, align};

/// The header of each attribute (`struct nlattr`).
#[doc(alias = "nlattr")]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AttrHeader {
    /// Bytes of the attribute, this header included, padding after it not.
    len: u16,
    /// Kind in the low 14 bits, [`NESTED`] and [`NET_BYTE_ORDER`] above.
    kind: u16,
}

/// Bytes of an attribute's header.
pub const ATTR_HEADER_LEN: usize = size_of::<AttrHeader>();

/// Flag in the kind: the payload is attributes (`NLA_F_NESTED`). Old messages nest without saying so.
pub const NESTED: u16 = 1 << 15;
/// Flag in the kind: the payload is in network byte order (`NLA_F_NET_BYTEORDER`).
pub const NET_BYTE_ORDER: u16 = 1 << 14;
const FLAGS: u16 = NESTED | NET_BYTE_ORDER;

/// One attribute, not yet understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawAttr<'a> {
    /// What it is; the number means something only inside its table.
    pub kind: u16,
    /// [`NESTED`], [`NET_BYTE_ORDER`] or 0.
    pub flags: u16,
    /// The value, without padding.
    pub payload: &'a [u8],
    /// Offset of its header from the start of the bytes that are walked.
    pub at: usize,
}

/// Walks attributes; ends after the first error. Padding after the last attribute may be missing.
#[must_use]
pub fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { bytes, at: 0 }
}

/// Iterator made by [`attrs`].
#[derive(Debug, Clone)]
pub struct Attrs<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<RawAttr<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        self.at = self.bytes.len();
        let Ok((header, _)) = AttrHeader::read_from_prefix(rest) else {
            return Some(Err(WireError::ShortAttr { at, have: rest.len() }));
        };
        let kind = header.kind & !FLAGS;
        let Some(payload) = rest.get(ATTR_HEADER_LEN..usize::from(header.len)) else {
            return Some(Err(WireError::AttrLength { at, kind, len: header.len, have: rest.len() }));
        };
        self.at = at + align(usize::from(header.len));
        Some(Ok(RawAttr { kind, flags: header.kind & FLAGS, payload, at }))
    }
}

/// Writes fixed headers and attributes one after the other, padded, nested to any depth.
///
/// A value too long for its 16-bit length does not stop the writing; [`finish`](Writer::finish) reports the first one.
///
/// ```
/// use netlink::wire::Writer;
/// let mut w = Writer::new();
/// w.attr(3, 0, |w| w.bytes(b"lo\0"));
/// assert_eq!(w.finish()?.len(), 8); // 4 of header, 3 of value, 1 of padding
/// # Ok::<(), netlink::wire::WireError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Writer {
    buf: Vec<u8>,
    error: Option<WireError>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Appends zeroes up to the next multiple of four.
    pub fn pad(&mut self) {
        self.buf.resize(align(self.buf.len()), 0);
    }

    /// Appends one attribute, whose value `value` writes: bytes, or further attributes.
    pub fn attr(&mut self, kind: u16, flags: u16, value: impl FnOnce(&mut Writer)) {
        let start = self.buf.len();
        self.bytes(AttrHeader { len: 0, kind: (kind & !FLAGS) | flags }.as_bytes());
        value(self);
        let len = self.buf.len() - start;
        match u16::try_from(len) {
            Ok(len) => self.buf[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.error = self.error.take().or(Some(WireError::TooLong { kind, len })),
        }
        self.pad();
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// What was written.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when a value did not fit the 16 bits of its length.
    pub fn finish(self) -> Result<Vec<u8>, WireError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.buf),
        }
    }
}

//! Why bytes are not BTF.
//!
//! Stage: what every reader of this module returns. Next: `header.rs`.

use thiserror::Error as ThisError;

use super::types::{Kind, TypeId};
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

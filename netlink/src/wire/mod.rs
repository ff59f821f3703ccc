//! Stage: the wire format of netlink, without a socket. Input: bytes; output: typed messages that print as text; and back.
//!
//! | file | holds |
//! |---|---|
//! | `header.rs` | messages in a datagram |
//! | `attr.rs` | attributes in a message: reader and writer |
//! | `table.rs` | one row an attribute, from which reading, writing, printing and naming are made |
//! | `value.rs` | the types an attribute's value may have |
//! | `ack.rs` | errors and extended acknowledgements |
//! | `message.rs` | fixed header + attributes = one message; requests |
//!
//! Everything here is pure: no system call, and no input makes it panic. Next: `wire/header.rs`.

mod ack;
mod attr;
mod header;
mod message;
mod table;
mod value;

pub use ack::{Ack, AckAttr, PolicyAttr};
pub use attr::{ATTR_HEADER_LEN, Attrs, NESTED, NET_BYTE_ORDER, RawAttr, Writer, attrs};
pub use header::{ALIGN, Flags, Header, Message, Messages, align, control, messages};
pub use message::{Body, FixedHeader, Request};
pub use table::{Attribute, Items, Nest, Payload, Row, Unknown, locate, read_attrs};
pub(crate) use table::{attributes, print_label, printed};
pub use value::{Bytes, Flag, HwAddr, Mac, MacParseError, Text, Words};

/// Why bytes are no netlink message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than a message header has.
    #[error("byte {at}: a message header has 16 bytes, only {have} are left")]
    ShortHeader {
        /// Offset in the datagram.
        at: usize,
        /// Bytes left there.
        have: usize,
    },
    /// A message's length is shorter than its header or longer than the datagram.
    #[error("byte {at}: the message says it has {len} bytes, {have} are there")]
    MessageLength {
        /// Offset in the datagram.
        at: usize,
        /// The length it gives.
        len: u32,
        /// Bytes left there.
        have: usize,
    },
    /// A message ends before its fixed header does.
    #[error("{name} has {want} bytes, the message only {have}")]
    ShortFixed {
        /// C name of the fixed header.
        name: &'static str,
        /// Bytes it has.
        want: usize,
        /// Bytes there are.
        have: usize,
    },
    /// Fewer bytes than an attribute header has.
    #[error("byte {at}: an attribute header has 4 bytes, only {have} are left")]
    ShortAttr {
        /// Offset among the attributes.
        at: usize,
        /// Bytes left there.
        have: usize,
    },
    /// An attribute's length is shorter than its header or longer than what is left.
    #[error("byte {at}: attribute {kind} says it has {len} bytes, {have} are there")]
    AttrLength {
        /// Offset among the attributes.
        at: usize,
        /// Its kind.
        kind: u16,
        /// The length it gives.
        len: u16,
        /// Bytes left there.
        have: usize,
    },
    /// A message lacks an attribute without which it says nothing.
    #[error("the message has no usable {name}")]
    Missing {
        /// C name of the attribute.
        name: &'static str,
    },
    /// A value that does not fit the 16-bit length of an attribute.
    #[error("attribute {kind} would have {len} bytes; at most 65535 fit")]
    TooLong {
        /// Its kind.
        kind: u16,
        /// Its length in bytes.
        len: usize,
    },
}

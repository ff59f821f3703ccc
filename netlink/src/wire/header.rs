//! Stage: netlink messages as they lie in a datagram. Input: bytes of one datagram; output: [`Header`] and payload of each
//! message in it. A datagram holds one or more messages, each padded to four bytes. Next: `wire/attr.rs`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::WireError;

/// Messages and attributes start at multiples of this many bytes (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
pub const ALIGN: usize = 4;

/// `len` rounded up to a multiple of [`ALIGN`].
#[must_use]
pub const fn align(len: usize) -> usize {
    len.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}

/// The header of each netlink message (`struct nlmsghdr`), in the byte order of the machine.
#[doc(alias = "nlmsghdr")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Bytes of the message, this header included, padding after it not.
    pub len: u32,
    /// What the message is: below 16 [`control`], above that the protocol's own (`RTM_NEWLINK`, a family's id).
    pub kind: u16,
    /// See [`Flags`].
    pub flags: u16,
    /// Number of the request; the answers to it carry the same one.
    pub seq: u32,
    /// Port (socket address) of the side that asked; 0 in what we send, filled in by the kernel in answers.
    pub port: u32,
}

const _: () = assert!(size_of::<Header>() == Header::LEN);

impl Header {
    /// Bytes of the header.
    pub const LEN: usize = 16;

    /// The flags, unknown ones kept.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags::from_bits_retain(self.flags)
    }
}

/// Kinds of message that belong to netlink itself (`NLMSG_*`).
pub mod control {
    /// Nothing; to be ignored.
    pub const NOOP: u16 = 1;
    /// An error, or with errno 0 the acknowledgement.
    pub const ERROR: u16 = 2;
    /// End of a dump; carries the dump's errno.
    pub const DONE: u16 = 3;
    /// Data was lost.
    pub const OVERRUN: u16 = 4;
}

bitflags::bitflags! {
    /// Flags of a message (`NLM_F_*`). Bits from 0x100 up mean one thing in a "get", another in a "new", another in an error.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u16 {
        /// A request to the kernel.
        const REQUEST = 0x01;
        /// One of several messages, ended by [`control::DONE`].
        const MULTI = 0x02;
        /// Asks for an acknowledgement.
        const ACK = 0x04;
        /// Asks for the notification too.
        const ECHO = 0x08;
        /// In a dump: what was dumped changed meanwhile, ask again.
        const DUMP_INTR = 0x10;
        /// In a dump: it was filtered as the request wished.
        const DUMP_FILTERED = 0x20;
        /// In a "get": all of it.
        const DUMP = 0x300;
        /// In a "new": replace what is there.
        const REPLACE = 0x100;
        /// In a "new": fail when it is there.
        const EXCL = 0x200;
        /// In a "new": make it when it is not there.
        const CREATE = 0x400;
        /// In a "new": add at the end of the list.
        const APPEND = 0x800;
        /// In an error: the request is not repeated in it, but for its header.
        const CAPPED = 0x100;
        /// In an error: attributes follow (extended acknowledgement).
        const ACK_TLVS = 0x200;
        const _ = !0;
    }
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header, without padding.
    pub payload: &'a [u8],
}

/// Walks the messages of one datagram; ends after the first error.
///
/// ```
/// use netlink::wire::{messages, Header};
/// let done = [20, 0, 0, 0, 3, 0, 2, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
/// let all: Vec<_> = messages(&done).collect::<Result<_, _>>()?;
/// # if cfg!(target_endian = "little") {
/// assert_eq!((all[0].header.kind, all[0].header.seq, all[0].payload), (3, 7, &[0u8; 4][..]));
/// # }
/// # Ok::<(), netlink::wire::WireError>(())
/// ```
#[must_use]
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { datagram, at: 0 }
}

/// Iterator made by [`messages`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.datagram.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        self.at = self.datagram.len();
        let Ok((header, _)) = Header::read_from_prefix(rest) else {
            return Some(Err(WireError::ShortHeader { at, have: rest.len() }));
        };
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(Header::LEN..len) else {
            return Some(Err(WireError::MessageLength { at, len: header.len, have: rest.len() }));
        };
        self.at = at.saturating_add(align(len));
        Some(Ok(Message { header, payload }))
    }
}

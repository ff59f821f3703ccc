//! Stage: a whole message: fixed header and attributes. Input: the payload of a netlink message, or values to send; output:
//! [`Body`], [`Request`], and their bytes and text. Next: `socket.rs`, which sends them.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::table::print_attrs;
use super::{Attribute, Flags, Header, Payload, WireError, Writer, align, locate, read_attrs};

/// The struct that stands before the attributes of a protocol's messages (`ifinfomsg`, `rtmsg`, `genlmsghdr`).
pub trait FixedHeader:
    FromBytes + IntoBytes + Immutable + KnownLayout + Copy + fmt::Debug + PartialEq + fmt::Display
{
    /// C name of the struct.
    const NAME: &'static str;

    /// C name of a kind of message of this protocol, such as `RTM_NEWLINK`.
    fn kind_name(kind: u16) -> Option<&'static str>;
}

/// What follows the netlink header: a fixed header, then attributes in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<H, A> {
    /// The fixed header.
    pub header: H,
    /// The attributes, unknown ones included.
    pub attrs: Vec<A>,
}

impl<H: FixedHeader, A: Attribute> Body<H, A> {
    /// A body of these parts.
    #[must_use]
    pub fn new(header: H, attrs: Vec<A>) -> Body<H, A> {
        Body { header, attrs }
    }

    /// Reads the payload of a message.
    ///
    /// # Errors
    /// When it is shorter than the fixed header, or the attributes' lengths do not add up.
    pub fn decode(payload: &[u8]) -> Result<Body<H, A>, WireError> {
        let short = |_| WireError::ShortFixed { name: H::NAME, want: size_of::<H>(), have: payload.len() };
        let (header, _) = H::read_from_prefix(payload).map_err(short)?;
        let attrs = read_attrs(payload.get(align(size_of::<H>())..).unwrap_or_default())?;
        Ok(Body { header, attrs })
    }

    /// The bytes of header and attributes.
    ///
    /// # Errors
    /// When a value is too long for an attribute.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }
}

/// A message inside an attribute (`VETH_INFO_PEER`).
impl<H: FixedHeader, A: Attribute> Payload for Body<H, A> {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        Body::decode(bytes).ok()
    }

    fn write(&self, out: &mut Writer) {
        out.bytes(self.header.as_bytes());
        out.pad();
        self.attrs.iter().for_each(|attr| attr.write(out));
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn locate(&self, at: usize) -> Option<String> {
        locate(&self.attrs, at.checked_sub(align(size_of::<H>()))?)
    }
}

impl<H: FixedHeader, A: Attribute> fmt::Display for Body<H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.header)?;
        print_attrs(&self.attrs, f)
    }
}

/// A message to the kernel, not yet sent. Prints as text, for dry runs and for reading along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<H, A> {
    /// Kind of message (`RTM_NEWLINK`), or a generic family's id.
    pub kind: u16,
    /// Flags beyond `REQUEST` and `ACK`, which the socket sets.
    pub flags: Flags,
    /// Fixed header and attributes.
    pub body: Body<H, A>,
    /// What it does, in words that complete "failed to …".
    pub what: String,
}

impl<H: FixedHeader, A: Attribute> Request<H, A> {
    /// A request of these parts.
    #[must_use]
    pub fn new(kind: u16, flags: Flags, header: H, attrs: Vec<A>, what: String) -> Request<H, A> {
        Request { kind, flags, body: Body::new(header, attrs), what }
    }

    /// The whole message, netlink header included.
    ///
    /// # Errors
    /// When a value is too long for an attribute.
    pub fn encode(&self, extra: Flags, seq: u32, port: u32) -> Result<Vec<u8>, WireError> {
        let body = self.body.encode()?;
        let len = u32::try_from(Header::LEN + body.len());
        let len = len.map_err(|_| WireError::TooLong { kind: self.kind, len: body.len() })?;
        let header = Header { len, kind: self.kind, flags: (self.flags | extra).bits(), seq, port };
        Ok([header.as_bytes(), &body].concat())
    }

    /// Path of the attribute whose header is at byte `offset` of the encoded message (`NLMSGERR_ATTR_OFFS`).
    #[must_use]
    pub fn attribute_at(&self, offset: usize) -> Option<String> {
        self.body.locate(offset.checked_sub(Header::LEN)?)
    }
}

impl<H: FixedHeader, A: Attribute> fmt::Display for Request<H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match H::kind_name(self.kind) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "message {}", self.kind)?,
        }
        let names: &[(Flags, &str)] = match self.flags.contains(Flags::DUMP) && !self.flags.contains(Flags::CREATE) {
            true => &[(Flags::DUMP, "dump")],
            false => &[
                (Flags::CREATE, "create"),
                (Flags::EXCL, "excl"),
                (Flags::REPLACE, "replace"),
                (Flags::APPEND, "append"),
            ],
        };
        names.iter().filter(|(flag, _)| self.flags.contains(*flag)).try_for_each(|(_, name)| write!(f, " {name}"))?;
        write!(f, " {}", self.body)
    }
}

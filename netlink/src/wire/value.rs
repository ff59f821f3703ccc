//! Stage: what an attribute's value may be. Input: the value's bytes; output: numbers, text, addresses; and back, byte for
//! byte. A new type is one `Payload` here. Next: `wire/message.rs`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Payload, Writer};

/// Numbers in the byte order of the machine.
macro_rules! number {
    ($($type:ty),*) => {$(
        impl Payload for $type {
            fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
                bytes.try_into().ok().map(<$type>::from_ne_bytes)
            }

            fn write(&self, out: &mut Writer) {
                out.bytes(&self.to_ne_bytes());
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
number!(u8, u16, u32, u64, i32);

/// Numbers in network byte order, as zerocopy's types.
macro_rules! network_number {
    ($($type:ident),*) => {$(
        impl Payload for zerocopy::big_endian::$type {
            fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_bytes)
            }

            fn write(&self, out: &mut Writer) {
                out.bytes(&self.to_bytes());
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.get(), f)
            }
        }
    )*};
}
network_number!(U16, U32, U64);

/// Bytes whose meaning is left open; printed in hex, at most 32 of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Payload for Bytes {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        (flags == 0).then(|| Bytes(bytes.to_vec()))
    }

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        write!(f, "0x")?;
        self.0.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > SHOWN { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// An attribute that says everything by being there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag;

impl Payload for Flag {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        bytes.is_empty().then_some(Flag)
    }

    fn write(&self, _out: &mut Writer) {}

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set")
    }
}

/// Text that ends with a zero byte. The bytes are kept, for a name need not be UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Vec<u8>);

impl Text {
    /// `text` and a zero byte.
    #[must_use]
    pub fn new(text: &str) -> Text {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        Text(bytes)
    }

    /// Up to the first zero byte; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn as_str(&self) -> Cow<'_, str> {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end])
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Payload for Text {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        Some(Text(bytes.to_vec()))
    }

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().chars().try_for_each(|char| match char.is_control() {
            true => write!(f, "{}", char.escape_default()),
            false => write!(f, "{char}"),
        })
    }
}

/// A link-layer address of any length: 6 bytes for Ethernet, 4 for an IPv4 tunnel, 20 for InfiniBand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HwAddr(pub Vec<u8>);

impl HwAddr {
    /// The address as Ethernet's, if it has six bytes.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        self.0.as_slice().try_into().ok().map(Mac)
    }
}

impl From<Mac> for HwAddr {
    fn from(mac: Mac) -> HwAddr {
        HwAddr(mac.0.to_vec())
    }
}

impl Payload for HwAddr {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        Some(HwAddr(bytes.to_vec()))
    }

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(&self.0, f)
    }
}

/// An Ethernet address.
///
/// ```
/// let mac: netlink::Mac = "02:00:00:00:00:0a".parse()?;
/// assert_eq!(mac.to_string(), "02:00:00:00:00:0a");
/// # Ok::<(), netlink::wire::MacParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(&self.0, f)
    }
}

fn colons(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().enumerate().try_for_each(|(n, byte)| write!(f, "{}{byte:02x}", if n == 0 { "" } else { ":" }))
}

/// Text that is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no Ethernet address; write it as six pairs of hex digits, 02:00:00:00:00:0a")]
pub struct MacParseError {
    /// What was given.
    pub text: String,
}

impl FromStr for Mac {
    type Err = MacParseError;

    fn from_str(text: &str) -> Result<Mac, MacParseError> {
        let wrong = || MacParseError { text: text.to_owned() };
        let byte = |part: &str| match part.len() {
            2 if part.bytes().all(|digit| digit.is_ascii_hexdigit()) => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        bytes.ok_or_else(wrong)?.try_into().map(Mac).map_err(|_| wrong())
    }
}

impl Payload for IpAddr {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        <[u8; 4]>::try_from(bytes)
            .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
            .or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
            .ok()
    }

    fn write(&self, out: &mut Writer) {
        match self {
            IpAddr::V4(ip) => out.bytes(&ip.octets()),
            IpAddr::V6(ip) => out.bytes(&ip.octets()),
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A row of 64-bit counters, to which newer kernels add at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub Vec<u64>);

impl Words {
    /// Counter number `n`, 0 where the kernel does not have it.
    #[must_use]
    pub fn get(&self, n: usize) -> u64 {
        self.0.get(n).copied().unwrap_or(0)
    }
}

impl Payload for Words {
    fn read(bytes: &[u8], _flags: u16) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| Words(words.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }

    fn write(&self, out: &mut Writer) {
        self.0.iter().for_each(|word| out.bytes(&word.to_ne_bytes()));
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

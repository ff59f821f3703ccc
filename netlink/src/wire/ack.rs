//! Stage: the kernel's verdict on a request. Input: the payload of an `NLMSG_ERROR` or `NLMSG_DONE` message; output: errno, and
//! what the extended acknowledgement adds: the driver's own words, the attribute it stumbled over. Next: `error.rs`.

use std::fmt;

use nix::errno::Errno;
use zerocopy::FromBytes;

use super::table::print_attrs;
use super::{Bytes, Flags, Header, Nest, Text, WireError, align, attributes, control, read_attrs};

attributes! {
    /// What the kernel adds to an error (`NETLINK_EXT_ACK`).
    pub enum AckAttr: "NLMSGERR_ATTR_" {
        /// The reason in words; with errno 0 a warning.
        Msg(Text) = 1 "MSG",
        /// Offset of the offending attribute's header from the start of the request, bytes.
        Offs(u32) = 2 "OFFS",
        /// Anything a subsystem likes.
        Cookie(Bytes) = 3 "COOKIE",
        /// What the offending attribute may be (Linux 5.10).
        Policy(Nest<PolicyAttr>) = 4 "POLICY",
        /// Kind of an attribute that is missing (Linux 6.1).
        MissType(u32) = 5 "MISS_TYPE",
        /// Offset of the nest it is missing from; absent at the top level (Linux 6.1).
        MissNest(u32) = 6 "MISS_NEST",
    }
}

attributes! {
    /// What an attribute may be.
    pub enum PolicyAttr: "NL_POLICY_TYPE_ATTR_" {
        /// Type of the value.
        Type(u32) = 1 "TYPE",
        /// Least value, signed.
        MinValueS(u64) = 2 "MIN_VALUE_S",
        /// Greatest value, signed.
        MaxValueS(u64) = 3 "MAX_VALUE_S",
        /// Least value.
        MinValueU(u64) = 4 "MIN_VALUE_U",
        /// Greatest value.
        MaxValueU(u64) = 5 "MAX_VALUE_U",
        /// Least length, bytes.
        MinLength(u32) = 6 "MIN_LENGTH",
        /// Greatest length, bytes.
        MaxLength(u32) = 7 "MAX_LENGTH",
        /// Bits that may be set.
        Mask(u64) = 12 "MASK",
    }
}

/// The end of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// 0 for success, else a positive errno.
    pub errno: i32,
    /// The extended acknowledgement.
    pub attrs: Vec<AckAttr>,
}

impl Ack {
    /// Reads an `NLMSG_ERROR` or `NLMSG_DONE` message: errno, in an error the request or its header, attributes.
    ///
    /// # Errors
    /// When it is too short, or the attributes' lengths do not add up.
    pub fn decode(header: &Header, payload: &[u8]) -> Result<Ack, WireError> {
        let short = |want| WireError::ShortFixed { name: "nlmsgerr", want, have: payload.len() };
        let (errno, rest) = i32::read_from_prefix(payload).map_err(|_| short(4))?;
        let mut attrs = Vec::new();
        if header.flags().contains(Flags::ACK_TLVS) {
            let skip = match header.kind {
                control::ERROR => request_len(header, rest).ok_or_else(|| short(4 + Header::LEN))?,
                _ => 0,
            };
            attrs = read_attrs(rest.get(skip..).unwrap_or_default())?;
        }
        Ok(Ack { errno: errno.saturating_neg(), attrs })
    }

    /// The reason, or the warning, in the kernel's words.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.attrs.iter().find_map(|attr| match attr {
            AckAttr::Msg(text) => Some(text.as_str().into_owned()),
            _ => None,
        })
    }
}

/// `EBUSY { msg XDP program already attached }`, `ok {}`
impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            0 => f.write_str("ok ")?,
            errno => write!(f, "{:?} ", Errno::from_raw(errno))?,
        }
        print_attrs(&self.attrs, f)
    }
}

/// Bytes of the request that the error repeats; only its header when capped.
fn request_len(error: &Header, repeated: &[u8]) -> Option<usize> {
    let (request, _) = Header::read_from_prefix(repeated).ok()?;
    match error.flags().contains(Flags::CAPPED) {
        true => Some(Header::LEN),
        false => usize::try_from(request.len).ok().map(align),
    }
}

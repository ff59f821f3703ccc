//! Stage: what may go wrong. Input: a kernel's refusal, a socket's failure, bytes that are no message; output: one [`Error`]
//! that says what was tried, why it failed in the kernel's own words, and what to do next. Next: `route/mod.rs`.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::wire::WireError;

/// Why a request failed. Each variant holds the request in words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The socket failed.
    #[error("{what}: netlink socket: {source}")]
    Io {
        /// The request in words.
        what: String,
        /// What the system call said.
        #[source]
        source: io::Error,
    },
    /// Bytes that are no message, or a value too long to send.
    #[error("{what}: {source}")]
    Wire {
        /// The request in words.
        what: String,
        /// Where and why.
        #[source]
        source: WireError,
    },
    /// One answer is larger than any that netlink should send.
    #[error("{what}: an answer of {len} bytes; at most {limit} are taken")]
    TooLarge {
        /// The request in words.
        what: String,
        /// Bytes of the answer.
        len: usize,
        /// Bytes taken at most.
        limit: usize,
    },
    /// The answer is to another request than the one sent last.
    #[error("{what}: the answer has sequence {seq} and port {port}, expected {want_seq} and {want_port}")]
    NotOurs {
        /// The request in words.
        what: String,
        /// Sequence number of the answer.
        seq: u32,
        /// Port of the answer.
        port: u32,
        /// Sequence number of the request.
        want_seq: u32,
        /// Port of the socket.
        want_port: u32,
    },
    /// What was dumped changed each time while it was dumped (`NLM_F_DUMP_INTR`).
    #[error("{what}: it changed during each of {tries} dumps; try again when less is going on")]
    Unsettled {
        /// The request in words.
        what: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The kernel acknowledged without giving the answer.
    #[error("{what}: the kernel acknowledged, but sent no answer")]
    NoAnswer {
        /// The request in words.
        what: String,
    },
    /// This kernel cannot do it.
    #[error("{what}: this kernel has no {feature}; it came with Linux {first_kernel}")]
    NotSupported {
        /// The request in words.
        what: String,
        /// What is missing.
        feature: &'static str,
        /// The first kernel with it, or with the option that enables it.
        first_kernel: &'static str,
    },
    /// The device has nothing of that name.
    #[error("{what}: no {kind} named {name:?}{}", nearest(.known))]
    UnknownName {
        /// The request in words.
        what: String,
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// Names there are that resemble it.
        known: Vec<String>,
    },
}

fn nearest(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}

impl Error {
    /// The errno, if the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Refused(refusal) => Some(refusal.errno),
            Error::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// The reason in the words of the kernel or the driver (`NETLINK_EXT_ACK`), verbatim.
    #[must_use]
    pub fn extack(&self) -> Option<&str> {
        match self {
            Error::Refused(refusal) => refusal.message.as_deref(),
            _ => None,
        }
    }

    /// Path of the attribute that the kernel named, such as `IFLA_LINKINFO/IFLA_INFO_KIND`.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Error::Refused(refusal) => refusal.attribute.as_deref(),
            _ => None,
        }
    }

    /// What was tried, in words.
    #[must_use]
    pub fn request(&self) -> &str {
        match self {
            Error::Refused(refusal) => &refusal.what,
            Error::Io { what, .. }
            | Error::Wire { what, .. }
            | Error::TooLarge { what, .. }
            | Error::NotOurs { what, .. }
            | Error::Unsettled { what, .. }
            | Error::NoAnswer { what }
            | Error::NotSupported { what, .. }
            | Error::UnknownName { what, .. } => what,
        }
    }

    /// Whether the kernel said that there is no such thing (`ENOENT`).
    pub(crate) fn is_no_entry(&self) -> bool {
        self.is(Errno::ENOENT)
    }

    /// Whether the kernel refused with this errno.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno as i32)
    }
}

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What was tried, in words: `attach XDP program to ifindex 5 in native mode`.
    pub what: String,
    /// Positive errno.
    pub errno: i32,
    /// The reason in the words of the kernel or the driver, verbatim.
    pub message: Option<String>,
    /// Path of the attribute that the kernel stumbled over.
    pub attribute: Option<String>,
    /// Attribute that the kernel found missing.
    pub missing: Option<String>,
    /// What the attribute may be, as text.
    pub policy: Option<String>,
}

impl Refusal {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let message = self.message.as_deref().unwrap_or_default();
        let fits = |hint: &&Hint| hint.errno as i32 == self.errno && message.contains(hint.message);
        HINTS.iter().find(fits).map(|hint| hint.advice)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = Errno::from_raw(self.errno);
        write!(f, "{}: ", self.what)?;
        match &self.message {
            Some(message) => write!(f, "{message} ({errno:?}: {})", errno.desc())?,
            None => write!(f, "{errno:?}: {}", errno.desc())?,
        }
        if errno == Errno::UnknownErrno {
            write!(f, " (errno {})", self.errno)?;
        }
        for (words, part) in [("at", &self.attribute), ("missing", &self.missing), ("allowed is", &self.policy)] {
            if let Some(part) = part {
                write!(f, ", {words} {part}")?;
            }
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// One row: a refusal that users meet, and the way out.
struct Hint {
    errno: Errno,
    message: &'static str,
    advice: &'static str,
}

const HINTS: &[Hint] = &[
    Hint { errno: Errno::EPERM, message: "", advice: "this needs CAP_NET_ADMIN in the network namespace" },
    Hint {
        errno: Errno::ERANGE,
        message: "Peer MTU is too large",
        advice: "lower the MTU of the veth's peer, or load the program with frags (Linux 5.18)",
    },
    Hint {
        errno: Errno::EOPNOTSUPP,
        message: "does not support XDP in native mode",
        advice: "generic mode works on every driver",
    },
    Hint {
        errno: Errno::EEXIST,
        message: "Native and generic XDP can't be active at the same time",
        advice: "detach the program of the other mode first",
    },
    Hint {
        errno: Errno::EBUSY,
        message: "XDP program already attached",
        advice: "replace it by naming the program expected there, or detach it first",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: Errno, message: Option<&str>) -> Refusal {
        let what = "attach XDP program to ifindex 5 in native mode".to_owned();
        let message = message.map(str::to_owned);
        Refusal { what, errno: errno as i32, message, attribute: None, missing: None, policy: None }
    }

    #[test]
    fn a_refusal_says_what_why_where_and_what_next() {
        let start = "attach XDP program to ifindex 5 in native mode: ";
        let whole = Refusal {
            attribute: Some("IFLA_XDP/IFLA_XDP_FD".to_owned()),
            missing: Some("IFLA_IFNAME".to_owned()),
            policy: Some("{ type 3 }".to_owned()),
            ..refusal(Errno::EINVAL, Some("bad"))
        };
        let cases = [
            (
                refusal(Errno::ERANGE, Some("veth: Peer MTU is too large to set XDP")),
                "veth: Peer MTU is too large to set XDP (ERANGE: Math result not representable); lower the MTU of the veth's \
                 peer, or load the program with frags (Linux 5.18)",
            ),
            (refusal(Errno::EBUSY, None), "EBUSY: Device or resource busy"),
            (
                refusal(Errno::EPERM, None),
                "EPERM: Operation not permitted; this needs CAP_NET_ADMIN in the network namespace",
            ),
            (
                whole,
                "bad (EINVAL: Invalid argument), at IFLA_XDP/IFLA_XDP_FD, missing IFLA_IFNAME, allowed is { type 3 }",
            ),
        ];
        for (refusal, want) in cases {
            assert_eq!(refusal.to_string(), format!("{start}{want}"));
        }
        let strange = Refusal { errno: 524, ..refusal(Errno::EPERM, None) };
        assert!(strange.to_string().ends_with("(errno 524)"), "{strange}");
    }

    #[test]
    fn an_error_gives_its_parts() {
        let error = Error::Refused(Box::new(refusal(Errno::EBUSY, Some("XDP program already attached"))));
        assert!(error.is(Errno::EBUSY));
        assert_eq!(error.errno(), Some(16));
        assert_eq!(error.extack(), Some("XDP program already attached"));
        assert_eq!(error.attribute(), None);
        assert_eq!(error.request(), "attach XDP program to ifindex 5 in native mode");
        let io = Error::Io { what: "list links".to_owned(), source: io::Error::from_raw_os_error(105) };
        assert_eq!(io.to_string(), "list links: netlink socket: No buffer space available (os error 105)");
        assert_eq!(io.errno(), Some(105));
    }
}

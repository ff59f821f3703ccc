//! Stage: errors. Input: a raw errno from the kernel. Output: its name and meaning, 524 included.
//! Read next: `sys/mod.rs`, which makes these values.

use std::fmt;

/// What the kernel answered: an errno, kept as the number it was.
///
/// Unlike libc's table it knows [`Errno::ENOTSUPP`] (524), which BPF code leaks to user space and `strerror` calls
/// "Unknown error 524".
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Errno(i32);

impl Errno {
    /// Not allowed: a capability, a lock-down or a security module.
    pub const EPERM: Self = Self(libc::EPERM);
    /// No such object, key or file.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// A signal came first.
    pub const EINTR: Self = Self(libc::EINTR);
    /// Argument list too long: for bpf(2), the kernel does not know a field that is set.
    pub const E2BIG: Self = Self(libc::E2BIG);
    /// Try again.
    pub const EAGAIN: Self = Self(libc::EAGAIN);
    /// No memory; on kernels before 5.11 also "over the locked-memory limit" for maps.
    pub const ENOMEM: Self = Self(libc::ENOMEM);
    /// Permission denied: for a program, the verifier refused it.
    pub const EACCES: Self = Self(libc::EACCES);
    /// A bad address.
    pub const EFAULT: Self = Self(libc::EFAULT);
    /// The descriptor is not of the kind that was asked for.
    pub const EBADF: Self = Self(libc::EBADF);
    /// Somebody has it already.
    pub const EBUSY: Self = Self(libc::EBUSY);
    /// It exists already.
    pub const EEXIST: Self = Self(libc::EEXIST);
    /// No such device.
    pub const ENODEV: Self = Self(libc::ENODEV);
    /// An argument is wrong.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// No space: a buffer given to the kernel is too small.
    pub const ENOSPC: Self = Self(libc::ENOSPC);
    /// Out of range; veth says this of a peer MTU that is too large for XDP.
    pub const ERANGE: Self = Self(libc::ERANGE);
    /// A link that has been detached already.
    pub const ENOLINK: Self = Self(libc::ENOLINK);
    /// The operation is not supported here.
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// The kernel-internal "not supported", 524, that has no name in user space.
    pub const ENOTSUPP: Self = Self(524);

    /// The errno with this number.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// What the last failed system call of this thread left behind.
    pub(crate) fn last() -> Self {
        Self(nix::errno::Errno::last_raw())
    }

    /// The C name, such as `EPERM`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::ENOTSUPP => "ENOTSUPP".to_owned(),
            // On Linux the two are one number; BPF code means the second.
            Self::EOPNOTSUPP => "EOPNOTSUPP".to_owned(),
            Self(raw) => match nix::errno::Errno::from_raw(raw) {
                nix::errno::Errno::UnknownErrno => "errno".to_owned(),
                known => format!("{known:?}"),
            },
        }
    }

    /// What it means, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ENOTSUPP => "Not supported by this kernel for this kind of map or program",
            // libc's text speaks of transport endpoints.
            Self::EOPNOTSUPP => "Operation not supported",
            Self(raw) => match nix::errno::Errno::from_raw(raw) {
                nix::errno::Errno::UnknownErrno => "an errno without a name",
                known => known.desc(),
            },
        }
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.meaning())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_name_and_meaning() {
        for (errno, want) in [
            (Errno::EPERM, "EPERM (1): Operation not permitted"),
            (Errno::ENOTSUPP, "ENOTSUPP (524): Not supported by this kernel for this kind of map or program"),
            (Errno::EOPNOTSUPP, "EOPNOTSUPP (95): Operation not supported"),
            (Errno::from_raw(9999), "errno (9999): an errno without a name"),
        ] {
            assert_eq!(errno.to_string(), want);
        }
    }
}

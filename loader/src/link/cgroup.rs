//! Stage: attachment to a cgroup. Input: a program and a directory of the cgroup v2 hierarchy. Output: a [`Link`].
//!
//! Several programs may be on one cgroup, each by a link of its own, and those of its ancestors run too: a link never
//! displaces anybody. Read next: `sockmap.rs`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use asm::object::AttachType;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::{Error, Link};
use crate::prog::Prog;
use crate::sys::link::Target;
use crate::sys::{self, Errno};

/// A cgroup, held open.
#[derive(Debug)]
pub struct Cgroup {
    directory: File,
    path: PathBuf,
}

impl Cgroup {
    /// Opens a cgroup by its directory.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`]: there is none, or the directory is no cgroup of version 2.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let failed = |source: std::io::Error| Error::Cgroup { path: path.clone(), source };
        let directory = File::open(&path).map_err(failed)?;
        let kind = fstatfs(&directory).map_err(|errno| failed(errno.into()))?.filesystem_type();
        if kind != CGROUP2_SUPER_MAGIC {
            let not = "not in a cgroup v2 hierarchy; `mount | grep cgroup2` shows where that is";
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, not)));
        }
        Ok(Self { directory, path })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Attaches a program for sockets and processes in this cgroup and below it (Linux 5.7).
    ///
    /// # Errors
    ///
    /// [`Error::Attach`] with the cgroup and what the errno usually means.
    #[doc(alias = "BPF_LINK_CREATE")]
    pub fn attach(&self, prog: &Prog, attach_type: AttachType) -> Result<Link, Error> {
        super::create(prog, Target::Fd(self.as_fd()), attach_type, || format!("cgroup {}", self.path.display()))
    }

    /// The ids of the programs attached here, in the order in which they run; those of the ancestors do not count.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an attach type that is none of cgroups.
    #[doc(alias = "BPF_PROG_QUERY")]
    pub fn progs(&self, attach_type: AttachType) -> Result<Vec<u32>, Errno> {
        sys::attach::query(Target::Fd(self.as_fd()), attach_type.0, 0)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

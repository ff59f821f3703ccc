//! Stage: names that outlive us. Input: objects and a deployment's name. Output: pins on bpffs, in one layout, under a lock.
//!
//! ```text
//! /sys/fs/bpf/loader/<deployment>/maps/<map>
//!                                /progs/<program>
//!                                /links/<link>
//! ```
//!
//! Read next: `pin/deployment.rs`, then `apply/mod.rs`, which fills such a directory.

mod deployment;
mod error;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::statfs::{FsType, statfs};

pub use deployment::{Deployment, list, pin_path};
pub use error::Error;

use crate::sys;

/// Where bpffs is by convention.
pub const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `<linux/magic.h>`.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// The kinds of objects that can be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// In `maps/`.
    Map,
    /// In `progs/`.
    Prog,
    /// In `links/`.
    Link,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Map, Self::Prog, Self::Link];

    /// The directory's name.
    #[must_use]
    pub fn dir(self) -> &'static str {
        match self {
            Self::Map => "maps",
            Self::Prog => "progs",
            Self::Link => "links",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Prog => "program",
            Self::Link => "link",
        })
    }
}

/// Pins an object.
///
/// # Errors
///
/// [`Error::Pin`].
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    sys::obj::pin(object, &c_path(path)?).map_err(|source| Error::Pin { path: path.to_owned(), source })
}

/// Opens a pinned object and makes sure that it is of the wanted kind.
///
/// # Errors
///
/// [`Error::Open`], [`Error::Kind`].
pub fn open(path: &Path, wanted: Kind) -> Result<OwnedFd, Error> {
    let fd = sys::obj::get(&c_path(path)?).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    match kind_of(fd.as_fd()) {
        // Without /proc nothing tells; a wrong kind then fails at the first command.
        Ok(found) | Err(found) if found.is_empty() || found == wanted.to_string() => Ok(fd),
        Ok(found) | Err(found) => Err(Error::Kind { path: path.to_owned(), wanted, found }),
    }
}

/// What a descriptor is, by the name the kernel gives its file: ours as `Ok`, others as `Err`, unknown as `Err("")`.
fn kind_of(fd: BorrowedFd<'_>) -> Result<String, String> {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default();
    let text = link.to_string_lossy();
    for (name, kind) in [("bpf-map", Kind::Map), ("bpf-prog", Kind::Prog), ("bpf_link", Kind::Link)] {
        // Newer kernels say `bpf-link` for links with poll support.
        if text.contains(name) || text.contains(&name.replace('_', "-")) {
            return Ok(kind.to_string());
        }
    }
    Err(text.into_owned())
}

/// Removes a pin. The object lives on while somebody has it open.
///
/// # Errors
///
/// [`Error::Io`], also if there is none.
pub fn unpin(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|source| io_error("cannot remove the pin", path, source))
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Path { path: path.to_owned() })
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { what, path: path.to_owned(), source }
}

/// A mounted BPF file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpffs {
    path: PathBuf,
    mounted: bool,
}

impl Bpffs {
    /// bpffs on [`BPFFS`], mounted now if it was not; [`Bpffs::mounted`] then says so, and so should the caller.
    ///
    /// # Errors
    ///
    /// As [`Bpffs::at`].
    pub fn open() -> Result<Self, Error> {
        Self::at(BPFFS)
    }

    /// bpffs on any directory, mounted now if it was not.
    ///
    /// # Errors
    ///
    /// [`Error::Mount`], [`Error::Io`].
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if Self::is(&path)? {
            return Ok(Self { path, mounted: false });
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
        nix::mount::mount(Some("bpf"), &path, Some("bpf"), flags, Some("mode=0700"))
            .map_err(|errno| Error::Mount { path: path.clone(), source: errno.into() })?;
        Ok(Self { path, mounted: true })
    }

    /// bpffs on [`BPFFS`] if it is mounted; changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn find() -> Result<Option<Self>, Error> {
        let path = PathBuf::from(BPFFS);
        Ok(Self::is(&path)?.then_some(Self { path, mounted: false }))
    }

    /// Whether the directory is on a BPF file system, as the kernel says (`statfs`), not `/proc/mounts`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it does not exist.
    pub fn is(path: &Path) -> Result<bool, Error> {
        let stat = statfs(path).map_err(|errno| io_error("cannot look at", path, errno.into()))?;
        Ok(stat.filesystem_type() == BPF_FS_MAGIC)
    }

    /// The mount point, or any directory on bpffs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Bpffs::open`] mounted it just now.
    #[must_use]
    pub fn mounted(&self) -> bool {
        self.mounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_no_bpffs() {
        assert!(!Bpffs::is(Path::new("/")).unwrap());
        assert!(Bpffs::is(Path::new("/no/such/directory")).is_err());
    }
}

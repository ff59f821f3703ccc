//! Stage: names that outlive us. Input: objects and a deployment's name. Output: pins on bpffs, in one layout, under a lock.
//!
//! ```text
//! /sys/fs/bpf/loader/<deployment>/maps/<map>
//!                                /progs/<program>
//!                                /links/<link>
//! ```
//!
//! Read next: `apply.rs`, which fills such a directory, and `crate::link`.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;
use nix::sys::statfs::{FsType, statfs};

use crate::sys::{self, Errno};

/// Where bpffs is by convention.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The directory of all deployments, relative to bpffs.
const ROOT: &str = "loader";
/// `BPF_FS_MAGIC` of `<linux/magic.h>`.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// What can go wrong with pins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel did not pin.
    #[error("{path} was not pinned{}", pin_hint(*source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// The kernel did not open the pin.
    #[error("the pin {path} was not opened")]
    Open {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// The pin holds another kind of object.
    #[error("{path} holds a {found}, not a {wanted}")]
    Kind {
        /// Where.
        path: PathBuf,
        /// What was wanted.
        wanted: Kind,
        /// What it is.
        found: String,
    },
    /// The path cannot be given to the kernel.
    #[error("{path} is no path for a pin: it has a zero byte")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A file or directory operation failed.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// bpffs is not there and could not be mounted.
    #[error("{path} is not a BPF file system, and mounting one there failed{}", mount_hint(*source))]
    Mount {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// A deployment's or an object's name is not fit for a file on bpffs.
    #[error("`{name}` is no name for a pin: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody else is at work on the deployment.
    #[error("another loader is at work on `{deployment}` (it holds the lock on {path}); try again when it is done")]
    Locked {
        /// The deployment.
        deployment: String,
        /// Its directory.
        path: PathBuf,
    },
}

fn pin_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => " (is that directory on a BPF file system, and the name without a dot?)",
        Errno::EEXIST => " (there is a pin of that name already)",
        Errno::ENOENT => " (the directory does not exist)",
        _ => "",
    }
}

fn mount_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => " (that needs root in the machine's own user namespace)",
        Errno::ENOENT => " (is sysfs mounted on /sys?)",
        Errno::ENODEV => " (this kernel has no BPF)",
        _ => "",
    }
}

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

    /// The names of all deployments that have a directory, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn deployments(&self) -> Result<Vec<String>, Error> {
        names_in(&self.path.join(ROOT))
    }

    /// The directory of a deployment, which may not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn deployment_path(&self, name: &str) -> Result<PathBuf, Error> {
        check_name(name)?;
        Ok(self.path.join(ROOT).join(name))
    }

    /// Creates the directories of a deployment where missing, and locks it against other loaders.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another loader holds it, [`Error::Name`], [`Error::Io`].
    pub fn lock(&self, name: &str) -> Result<Deployment, Error> {
        let dir = self.deployment_path(name)?;
        // Whoever removes an empty deployment does so under its lock; then our lock is on a directory that is gone.
        for _ in 0..16 {
            for sub in Kind::ALL {
                make_dir(&dir.join(sub.dir()))?;
            }
            let Ok(file) = File::open(&dir) else { continue };
            let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                nix::errno::Errno::EWOULDBLOCK => Error::Locked { deployment: name.to_owned(), path: dir.clone() },
                errno => io_error("cannot lock", &dir, errno.into()),
            })?;
            if same_file(&lock, &dir) {
                return Ok(Deployment { name: name.to_owned(), dir, _lock: lock });
            }
        }
        Err(Error::Locked { deployment: name.to_owned(), path: dir })
    }
}

/// Whether the path still names the open directory.
fn same_file(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(path)) = (open.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (path.dev(), path.ino())
}

fn make_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| io_error("cannot create the directory", path, source))
}

/// bpffs refuses names with a dot; a slash would be a directory.
fn check_name(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > 255 {
        "it has over 255 bytes"
    } else if name.contains(['.', '/', '\0']) {
        "bpffs allows no dot, slash or zero byte"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.to_owned(), why })
}

/// The names in a directory, sorted; none if it does not exist.
fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("cannot list", dir, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error("cannot list", dir, source))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A deployment's directory on bpffs, locked against other loaders until this is dropped.
#[derive(Debug)]
pub struct Deployment {
    name: String,
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Deployment {
    /// The deployment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where an object of it is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn pin_path(&self, kind: Kind, name: &str) -> Result<PathBuf, Error> {
        pin_path(&self.dir, kind, name)
    }

    /// The names of its pins of one kind, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn list(&self, kind: Kind) -> Result<Vec<String>, Error> {
        list(&self.dir, kind)
    }

    /// Removes the directories of the deployment, if no pin is left in them; says whether they are gone.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn remove_if_empty(self) -> Result<bool, Error> {
        let subs = Kind::ALL.map(|kind| self.dir.join(kind.dir()));
        for path in subs.iter().chain([&self.dir]) {
            match fs::remove_dir(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(false),
                Err(error) => return Err(io_error("cannot remove", path, error)),
            }
        }
        // The directory of all deployments goes with the last one.
        if let Some(root) = self.dir.parent() {
            drop(fs::remove_dir(root));
        }
        Ok(true)
    }
}

/// Where an object is pinned below a deployment's directory.
///
/// A dot, which bpffs refuses, becomes `_`: the map `.rodata` is pinned as `_rodata`.
///
/// # Errors
///
/// [`Error::Name`].
pub fn pin_path(deployment: &Path, kind: Kind, name: &str) -> Result<PathBuf, Error> {
    let file = name.replace('.', "_");
    check_name(&file)?;
    Ok(deployment.join(kind.dir()).join(file))
}

/// The names of the pins of one kind below a deployment's directory, sorted; for looking without a lock.
///
/// # Errors
///
/// [`Error::Io`].
pub fn list(deployment: &Path, kind: Kind) -> Result<Vec<String>, Error> {
    names_in(&deployment.join(kind.dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_pins() {
        for (name, fits) in
            [("lb", true), ("with-dash_1", true), ("", false), ("a/b", false), ("..", false), ("a.b", false)]
        {
            assert_eq!(check_name(name).is_ok(), fits, "{name:?}");
        }
        let path = pin_path(Path::new("/d"), Kind::Map, ".rodata").unwrap();
        assert_eq!(path, Path::new("/d/maps/_rodata"));
    }

    #[test]
    fn an_ordinary_directory_is_no_bpffs() {
        assert!(!Bpffs::is(Path::new("/")).unwrap());
        assert!(Bpffs::is(Path::new("/no/such/directory")).is_err());
    }
}

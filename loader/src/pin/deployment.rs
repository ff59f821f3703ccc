//! Stage: names that outlive us. Input: a mounted bpffs and a deployment's name. Output: its directory, locked.
//! Read next: `crate::apply`, which fills such a directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::{Bpffs, Error, Kind, io_error};

/// The directory of all deployments, relative to bpffs.
const ROOT: &str = "loader";

impl Bpffs {
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
}

//! What was downloaded and unpacked before, kept by content.
//!
//! In: the environment. Out: paths below one directory: `$QEMU_CI_CACHE`, else `$XDG_CACHE_HOME/qemu-ci`, else
//! `~/.cache/qemu-ci`. Everything in it is written under another name and then renamed, so it is there whole or not at
//! all; several runs may share it, and the one that writes is a [`Writer`]. Next to read: `fetch.rs`.
//!
//! ```text
//! deb/<sha256>.deb                  packages, checked when they are taken out
//! img/<release>-<sha256, 12 digits> unpacked kernels, see image.rs
//! apt/<suite>-<architecture>        private apt roots
//! cross/<version>                   a compiler for another architecture, see cross.rs
//! part                              what is being written; a killed run's leftovers go with the next that writes
//! tmp                               scratch directories of other commands
//! ```

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

/// The cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user.
    ///
    /// # Errors
    /// There is neither `$QEMU_CI_CACHE` nor `$XDG_CACHE_HOME` nor `$HOME`, or the directory cannot be made.
    pub fn of_user() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("QEMU_CI_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("qemu-ci")))
            .or_else(|| Some(set("HOME")?.join(".cache/qemu-ci")))
            .context("nowhere to keep kernels: set QEMU_CI_CACHE to a directory")?;
        Self::at(&root)
    }

    /// A cache in this directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn at(root: &Path) -> Result<Self> {
        for below in ["deb", "img", "apt", "cross", "part", "tmp"] {
            fs::create_dir_all(root.join(below)).with_context(|| format!("create {}", root.join(below).display()))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Where private apt roots are.
    pub fn apt(&self) -> PathBuf {
        self.root.join("apt")
    }

    /// Where a package is kept.
    pub fn deb(&self, sha256: &str) -> PathBuf {
        self.root.join("deb").join(format!("{sha256}.deb"))
    }

    /// Where an unpacked kernel is kept.
    pub fn image(&self, release: &str, sha256: &str) -> PathBuf {
        self.root.join("img").join(format!("{release}-{}", sha256.get(..12).unwrap_or(sha256)))
    }

    /// Where a compiler for another architecture is kept.
    pub fn cross(&self, version: &str) -> PathBuf {
        self.root.join("cross").join(version)
    }

    /// A fresh directory, gone when dropped, for who does not write into the cache.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self) -> Result<TempDir> {
        scratch(&self.root.join("tmp"))
    }

    /// Waits until no other process writes into the cache, and keeps them out.
    ///
    /// # Errors
    /// The lock file cannot be opened, or what a killed run left cannot be removed.
    pub fn writer(&self) -> Result<Writer> {
        let path = self.root.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive);
        let lock = lock.map_err(|(_, error)| anyhow!(error).context("lock the kernel cache"))?;
        let writer = Writer { cache: self.clone(), _lock: lock };
        let part = writer.part();
        fs::remove_dir_all(&part)
            .and_then(|()| fs::create_dir(&part))
            .with_context(|| format!("empty {}", part.display()))?;
        Ok(writer)
    }

    /// The package with this checksum; `None` when it is not here or is damaged, and then it is removed.
    ///
    /// # Errors
    /// It is here but cannot be read.
    pub fn take_deb(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        let path = self.deb(sha256);
        if !path.exists() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("read {}", path.display()))?;
        if checksum(&bytes) == sha256 {
            return Ok(Some(bytes));
        }
        fs::remove_file(&path).with_context(|| format!("remove the damaged {}", path.display()))?;
        Ok(None)
    }
}

/// The right to write into a cache, which one process at a time has; its threads share it.
#[derive(Debug)]
pub struct Writer {
    cache: Cache,
    _lock: Flock<File>,
}

impl Writer {
    /// What it writes into.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Where everything is written before it is renamed to its place.
    fn part(&self) -> PathBuf {
        self.cache.root.join("part")
    }

    /// A fresh directory on the cache's file system, gone when dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self) -> Result<TempDir> {
        scratch(&self.part())
    }

    /// Keeps a package.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub fn put_deb(&self, bytes: &[u8]) -> Result<()> {
        let path = self.cache.deb(&checksum(bytes));
        let mut file = NamedTempFile::new_in(self.part()).context("scratch file")?;
        file.write_all(bytes).and_then(|()| file.flush()).with_context(|| format!("write {}", path.display()))?;
        file.persist(&path).with_context(|| format!("rename to {}", path.display()))?;
        Ok(())
    }
}

/// A fresh directory in this one.
fn scratch(inside: &Path) -> Result<TempDir> {
    tempfile::tempdir_in(inside).with_context(|| format!("scratch directory in {}", inside.display()))
}

/// SHA-256 in hex.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_package_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let sum = checksum(b"abc");
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(cache.take_deb(&sum).unwrap(), None);
        cache.writer().unwrap().put_deb(b"abc").unwrap();
        assert_eq!(cache.take_deb(&sum).unwrap().as_deref(), Some(b"abc".as_slice()));
        fs::write(cache.deb(&sum), b"abd").unwrap();
        assert_eq!(cache.take_deb(&sum).unwrap(), None);
        assert!(!cache.deb(&sum).exists());
    }

    #[test]
    fn one_writes_at_a_time_and_tidies_up_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let first = cache.writer().unwrap();
        let left = first.scratch().unwrap().keep();
        drop(first);
        let other = cache.scratch().unwrap();
        let second = cache.writer().unwrap();
        assert!(!left.exists(), "what a killed run left is removed");
        assert!(other.path().exists(), "what is not the cache's own is not");
        assert!(second.scratch().unwrap().path().exists());
    }
}

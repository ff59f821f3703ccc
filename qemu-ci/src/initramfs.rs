//! The guest's root file system: a cpio archive that the kernel unpacks into memory.
//!
//! In: files by path. Out: a "newc" archive. Archives may stand behind each other: what all guests share is written once,
//! and each kernel's modules and plan follow it. The same tree gives the same bytes. Next to read: `qemu.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File {
        bytes: Vec<u8>,
        executable: bool,
    },
    Link {
        target: String,
    },
    /// A character device, by major and minor number.
    Device {
        major: u32,
        minor: u32,
    },
}

/// A tree of files. Paths are as in the guest; directories on the way are made.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree with what process 1 finds before it mounts anything: the console, and the directories it mounts on.
    pub fn of_guest() -> Self {
        let mut tree = Self::new();
        tree.console();
        for directory in ["/proc", "/sys", "/dev", "/tmp", "/run", "/bin", "/root"] {
            tree.directory(directory);
        }
        tree
    }

    /// Puts a node and the directories above it.
    fn put(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.put(path, Node::Directory);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>) {
        self.put(path, Node::File { bytes, executable: false });
    }

    /// Adds a program.
    pub fn program(&mut self, path: &str, bytes: Vec<u8>) {
        self.put(path, Node::File { bytes, executable: true });
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.put(path, Node::Link { target: target.to_owned() });
    }

    /// Adds the console device. The kernel opens it for process 1 before anything is mounted.
    pub fn console(&mut self) {
        self.put("/dev/console", Node::Device { major: 5, minor: 1 });
    }

    /// Copies a program of the host.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn copy_program(&mut self, path: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.program(path, bytes);
        Ok(())
    }

    /// Copies a file or, with everything in it, a directory of the host. Programs stay programs.
    ///
    /// # Errors
    /// Something in it cannot be read.
    pub fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let reading = || format!("read {}", from.display());
        if from.is_dir() {
            self.directory(path);
            for entry in fs::read_dir(from).with_context(reading)? {
                let entry = entry.with_context(reading)?;
                self.copy(&format!("{path}/{}", entry.file_name().to_string_lossy()), &entry.path())?;
            }
            return Ok(());
        }
        use std::os::unix::fs::PermissionsExt;
        let executable = from.metadata().with_context(reading)?.permissions().mode() & 0o111 != 0;
        self.put(path, Node::File { bytes: fs::read(from).with_context(reading)?, executable });
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// The disk is full, or the like; or a file is larger than the format allows.
    pub fn write(&self, mut out: impl Write) -> Result<()> {
        for (ino, (path, node)) in self.nodes.iter().enumerate() {
            let ino = u32::try_from(ino + 1).context("too many files")?;
            let (kind, permissions, bytes) = match node {
                Node::Directory => (ModeFileType::Directory, 0o755, [].as_slice()),
                Node::File { bytes, executable: true } => (ModeFileType::Regular, 0o755, bytes.as_slice()),
                Node::File { bytes, executable: false } => (ModeFileType::Regular, 0o644, bytes.as_slice()),
                Node::Link { target } => (ModeFileType::Symlink, 0o777, target.as_bytes()),
                Node::Device { .. } => (ModeFileType::Char, 0o600, [].as_slice()),
            };
            let mut header = Builder::new(path).ino(ino).mode(permissions).nlink(1).set_mode_file_type(kind);
            if let Node::Device { major, minor } = node {
                header = header.rdev_major(*major).rdev_minor(*minor);
            }
            let size = u32::try_from(bytes.len()).ok().filter(|&size| size < 1 << 31);
            let size = size.with_context(|| format!("{path} is too large for an initramfs"))?;
            let mut entry = header.write(&mut out, size);
            entry.write_all(bytes).and_then(|()| entry.finish().map(drop)).with_context(|| format!("write {path}"))?;
        }
        trailer(&mut out).context("end of the initramfs")?;
        Ok(())
    }
}

/// The archive of a tree, as bytes. Its length is a multiple of four, as the kernel wants it before the next archive.
///
/// # Errors
/// See [`Tree::write`].
pub fn archive(tree: &Tree) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tree.write(&mut bytes)?;
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    ensure!(bytes.len() % 4 == 0, "an archive of {} bytes", bytes.len());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use cpio::newc::Reader;
    use proptest::prelude::*;

    use super::*;

    /// Path, mode and contents of each entry.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let mut reader = Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            found.push((name, mode, contents));
            bytes = reader.finish().unwrap();
        }
    }

    #[test]
    fn a_tree_has_its_directories_and_kinds() {
        let mut tree = Tree::new();
        tree.program("/init", b"elf".to_vec());
        tree.file("/a/b/c", b"x".to_vec());
        tree.link("/bin/sh", "busybox");
        tree.console();
        let modes: Vec<_> = entries(&archive(&tree).unwrap()).into_iter().map(|(name, mode, _)| (name, mode)).collect();
        let want = [
            ("a", 0o040_755),
            ("a/b", 0o040_755),
            ("a/b/c", 0o100_644),
            ("bin", 0o040_755),
            ("bin/sh", 0o120_777),
            ("dev", 0o040_755),
            ("dev/console", 0o020_600),
            ("init", 0o100_755),
        ];
        assert_eq!(modes, want.map(|(name, mode)| (name.to_owned(), mode)));
    }

    proptest! {
        #[test]
        fn files_come_back_and_the_bytes_are_the_same_twice(
            files in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..300), 0..6)
        ) {
            let mut tree = Tree::new();
            for (name, bytes) in &files {
                tree.file(name, bytes.clone());
            }
            let first = archive(&tree).unwrap();
            prop_assert_eq!(&first, &archive(&tree).unwrap());
            let back: BTreeMap<_, _> = entries(&first).into_iter().map(|(name, _, bytes)| (name, bytes)).collect();
            prop_assert_eq!(back, files);
        }
    }
}

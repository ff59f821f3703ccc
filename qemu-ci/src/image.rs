//! A kernel, unpacked for booting: vmlinux, its modules, its configuration.
//!
//! In: its packages. Out: a directory of the cache. Next to read: `modules.rs`.
//!
//! ```text
//! vmlinux          uncompressed ELF, or `bzImage` as it was shipped when it could not be extracted; ARM's `Image`;
//!                  `linux`, a kernel that is a program
//! config           the kernel's build configuration
//! modules.builtin  paths of the modules that are built in
//! modules/x.ko[.xz]
//! ```

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cache::{Cache, Writer};
use crate::{deb, vmlinux};

/// Offset of the magic number in an image for 64-bit ARM, which is not compressed.
const ARM_MAGIC: usize = 56;

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// Unpacks packages into the cache, or finds them unpacked there.
    ///
    /// # Errors
    /// A package is damaged, has no kernel in it, or the disk is full.
    pub fn unpack(writer: &Writer, release: &str, sha256: &str, packages: &[Vec<u8>]) -> Result<Self> {
        let directory = writer.cache().image(release, sha256);
        if !directory.is_dir() {
            let scratch = writer.scratch()?;
            let inside = scratch.path().join("image");
            fs::create_dir_all(inside.join("modules")).context("create the image's directory")?;
            for package in packages {
                deb::files(package, |path, contents| keep(&inside, path, contents))?;
            }
            ensure!(kernel_of(&inside).is_some(), "no vmlinuz in the packages of {release}");
            let renamed = fs::rename(&inside, &directory);
            // Two names may be the same kernel, and another thread has just unpacked it.
            if !directory.is_dir() {
                renamed.with_context(|| format!("rename to {}", directory.display()))?;
            }
        }
        Ok(Self { directory })
    }

    /// The image that was unpacked before; `None` when it was not.
    pub fn find(cache: &Cache, release: &str, sha256: &str) -> Option<Self> {
        let directory = cache.image(release, sha256);
        kernel_of(&directory).is_some().then_some(Self { directory })
    }

    /// The file that QEMU starts.
    ///
    /// # Errors
    /// Somebody has emptied the cache meanwhile.
    pub fn kernel(&self) -> Result<PathBuf> {
        kernel_of(&self.directory).with_context(|| format!("no kernel in {}", self.directory.display()))
    }

    /// The kernel's build configuration; empty when the packages had none.
    pub fn config(&self) -> String {
        fs::read_to_string(self.directory.join("config")).unwrap_or_default()
    }

    /// Paths of the built-in modules, one a line; empty when the packages had none.
    pub fn builtin(&self) -> String {
        fs::read_to_string(self.directory.join("modules.builtin")).unwrap_or_default()
    }

    /// The directory of the modules' files.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }
}

/// The kernel's file in an image's directory.
fn kernel_of(directory: &Path) -> Option<PathBuf> {
    ["vmlinux", "bzImage", "Image", "linux"].map(|name| directory.join(name)).into_iter().find(|path| path.is_file())
}

/// Keeps a package's file if it is of use. Only its last component is used, so no path leads out of the directory.
fn keep(directory: &Path, path: &str, contents: &mut dyn Read) -> Result<()> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut bytes = Vec::new();
    let write = |to: PathBuf, bytes: &[u8]| fs::write(&to, bytes).with_context(|| format!("write {}", to.display()));
    if name.starts_with("vmlinuz") {
        contents.read_to_end(&mut bytes)?;
        if bytes.get(ARM_MAGIC..ARM_MAGIC + 4) == Some(b"ARM\x64") {
            return write(directory.join("Image"), &bytes);
        }
        // The boot loader's way works for any image; it only takes the guest half a second longer.
        match vmlinux::extract(&bytes) {
            Ok(kernel) => write(directory.join("vmlinux"), &kernel),
            Err(error) => {
                eprintln!("{path}: {error:#}; booting it as it is");
                write(directory.join("bzImage"), &bytes)
            }
        }
    } else if name == "linux.uml" {
        contents.read_to_end(&mut bytes)?;
        let kernel = directory.join("linux");
        write(kernel.clone(), &bytes)?;
        fs::set_permissions(&kernel, fs::Permissions::from_mode(0o755)).context("make the kernel a program")
    } else if name == "config" || name.starts_with("config-") {
        contents.read_to_end(&mut bytes)?;
        write(directory.join("config"), &bytes)
    } else if name == "modules.builtin" {
        contents.read_to_end(&mut bytes)?;
        write(directory.join(name), &bytes)
    } else if path.contains("/kernel/") && [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| name.ends_with(end))
    {
        contents.read_to_end(&mut bytes)?;
        write(directory.join("modules").join(name.replace('-', "_")), &bytes)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::tests::deb;

    #[test]
    fn what_a_guest_needs_is_kept() {
        let cache = tempfile::tempdir().unwrap();
        let cache = Cache::at(cache.path()).unwrap();
        let modules = "lib/modules/6.1.0-1-cloud-amd64";
        let files = [
            ("boot/vmlinuz-6.1.0-1-cloud-amd64".to_owned(), b"no bzImage".to_vec()),
            ("boot/config-6.1.0-1-cloud-amd64".to_owned(), b"CONFIG_BPF=y\n".to_vec()),
            (format!("{modules}/kernel/net/x-y.ko"), b"module".to_vec()),
            (format!("{modules}/modules.builtin"), b"kernel/a.ko\n".to_vec()),
            ("usr/share/doc/readme".to_owned(), b"no".to_vec()),
        ];
        let sum = "0123456789abcdef";
        assert!(Image::find(&cache, "r", sum).is_none());
        let writer = cache.writer().unwrap();
        let image = Image::unpack(&writer, "r", sum, &[deb(&files, ".xz")]).unwrap();
        assert!(image.kernel().unwrap().ends_with("bzImage"));
        assert_eq!(image.config(), "CONFIG_BPF=y\n");
        assert_eq!(image.builtin(), "kernel/a.ko\n");
        assert_eq!(fs::read(image.modules().join("x_y.ko")).unwrap(), b"module");
        assert!(Image::find(&cache, "r", sum).is_some());
        let empty = Image::unpack(&writer, "q", sum, &[deb(&files[1..], ".gz")]);
        assert!(empty.unwrap_err().to_string().contains("no vmlinuz"));
    }
}

//! A driver that is in none of Debian's kernels, compiled for one of them.
//!
//! In: where the driver lies in the kernel's source, and an unpacked kernel. Out: its module among those of the kernel, where
//! `modules.rs` finds it. It is compiled against the kernel's own headers by this machine's compiler; those packages are
//! unpacked beside, nothing is installed, and root is not needed. Next to read: `matrix.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::apt::Suite;
use crate::cache::{Cache, Writer};
use crate::config::Locked;
use crate::fetch::Obtained;
use crate::source;
use crate::sources::Mirror;
use crate::tools;
use crate::version::Kernel;

/// A driver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The directory of its source; the last word of it is the module's name.
    pub source: String,
    /// The option that it is built by.
    pub config: String,
}

impl Driver {
    /// The module's name.
    fn name(&self) -> &str {
        self.source.rsplit('/').next().unwrap_or(&self.source)
    }

    /// Sees to it that an unpacked kernel has the driver's module.
    ///
    /// # Errors
    /// The kernel's headers or its source are not to be had, or it does not compile here.
    pub fn bring(&self, kernel: &Obtained) -> Result<()> {
        let place = kernel.image.modules().join(format!("{}.ko", self.name()));
        if place.is_file() {
            return Ok(());
        }
        tools::ensure(&[tools::LINKER, tools::MAKE])?;
        let writer = Cache::of_user()?.writer()?;
        let scratch = writer.scratch()?;
        let compiled = self.compile(&writer, &kernel.kernel, scratch.path());
        let compiled = compiled.with_context(|| format!("driver {} for {}", self.name(), kernel.kernel.release))?;
        fs::rename(&compiled, &place).with_context(|| format!("rename to {}", place.display()))
    }

    /// Compiles it in a scratch directory and returns the module's path.
    fn compile(&self, writer: &Writer, kernel: &Locked, scratch: &Path) -> Result<PathBuf> {
        let root = scratch.join("root");
        let headers = headers(writer, kernel, &root)?;
        source::unpack(writer, kernel, scratch, |path| path.starts_with(&format!("{}/", self.source)))?;
        let directory = scratch.join(&self.source);
        eprintln!("compiling {}", self.name());
        let mut make = Command::new("make");
        make.arg("-C").arg(&headers).arg(format!("M={}", directory.display()));
        // The headers name the compiler by its version.
        make.args([&format!("{}=m", self.config), "CC=gcc", "modules"]).env("LC_ALL", "C");
        let done = make.output().context("start make")?;
        if !done.status.success() {
            bail!("make: {}", complaint(&String::from_utf8_lossy(&done.stderr)));
        }
        Ok(directory.join(format!("{}.ko", self.name())))
    }
}

/// Unpacks what modules of a kernel are compiled against, and returns the directory to do it from.
fn headers(writer: &Writer, kernel: &Locked, root: &Path) -> Result<PathBuf> {
    let suite = Suite::open(&writer.cache().apt(), &Mirror::of_machine()?, &kernel.suite, kernel.arch.debian())?;
    for package in packages(&kernel.release)? {
        suite.unpack_named(writer, &package, Some(&kernel.version), root)?;
    }
    let headers = root.join("usr/src").join(format!("linux-headers-{}", kernel.release));
    let makefile = headers.join("Makefile");
    // It names its other half where it would have been installed.
    let text = fs::read_to_string(&makefile).with_context(|| format!("read {}", makefile.display()))?;
    let text = text.replace("/usr/src/", &format!("{}/usr/src/", root.display()));
    fs::write(&makefile, text).with_context(|| format!("write {}", makefile.display()))?;
    Ok(headers)
}

/// The packages: headers of the flavour and of all flavours, and the programs that compile.
fn packages(release: &str) -> Result<[String; 3]> {
    let mut words = release.splitn(3, '-');
    let (Some(version), Some(abi), Some(_)) = (words.next(), words.next(), words.next()) else {
        bail!("{release}: how the packages of its headers are called is known up to Linux 6.1 only");
    };
    let series: Kernel = release.parse()?;
    Ok([
        format!("linux-headers-{release}"),
        format!("linux-headers-{version}-{abi}-common"),
        format!("linux-kbuild-{series}"),
    ])
}

/// The first line that says what is wrong; the last one when none is marked.
fn complaint(stderr: &str) -> String {
    let marked = stderr.lines().find(|line| line.contains("error") || line.contains("not found"));
    marked.or(stderr.lines().last()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_headers_have_names() {
        assert_eq!(
            packages("6.1.0-56-cloud-amd64").unwrap(),
            ["linux-headers-6.1.0-56-cloud-amd64", "linux-headers-6.1.0-56-common", "linux-kbuild-6.1"]
        );
        assert!(packages("6.12.117+deb13").unwrap_err().to_string().contains("up to Linux 6.1"));
    }

    #[test]
    fn compilers_are_quoted_in_short() {
        assert_eq!(complaint("make: x\na.c:1:1: error: no\nmake: *** [a.o]\n"), "a.c:1:1: error: no");
        assert_eq!(complaint("one\nlast\n"), "last");
        assert_eq!(complaint(""), "");
    }
}

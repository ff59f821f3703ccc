//! The source of a kernel, as Debian packages it beside the kernel itself.
//!
//! In: a kernel. Out: those files of its source that are asked for. They are input only: nothing of them is kept in the
//! repository. Next to read: `selftests.rs` and `driver.rs`, which compile parts of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::apt::Suite;
use crate::cache::Writer;
use crate::config::Locked;
use crate::deb;
use crate::sources::Mirror;
use crate::version::Kernel;

/// Writes the files whose path in the source is `needed` below `directory`; the source is of the very version that is booted.
///
/// # Errors
/// The package is not to be had or is damaged, or the disk is full.
pub fn unpack(writer: &Writer, kernel: &Locked, directory: &Path, needed: impl Fn(&str) -> bool) -> Result<()> {
    let package = package(writer, kernel)?;
    eprintln!("unpacking the source");
    let mut archive = None;
    deb::files(&package, |path, contents| {
        if path.ends_with(".tar.xz") {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes)?;
            archive = Some((path.to_owned(), bytes));
        }
        Ok(())
    })?;
    let (name, bytes) = archive.context("no source archive in the package")?;
    deb::tar(&name, &bytes, |path, contents| {
        let place = path.split_once('/').map(|(_, place)| place);
        let Some(place) = place.filter(|place| leads_inside(place) && needed(place)) else { return Ok(()) };
        let to = directory.join(place);
        let parent = to.parent().context("a file has a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        let mut file = fs::File::create(&to).with_context(|| format!("write {}", to.display()))?;
        std::io::copy(contents, &mut file).with_context(|| format!("write {}", to.display()))?;
        Ok(())
    })
}

/// The bytes of the source package.
fn package(writer: &Writer, kernel: &Locked) -> Result<Vec<u8>> {
    let series: Kernel = kernel.release.parse()?;
    let name = format!("linux-source-{series}");
    eprintln!("downloading {name} {}", kernel.version);
    let suite = Suite::open(&writer.cache().apt(), &Mirror::of_machine()?, &kernel.suite, kernel.arch.debian())?;
    let scratch = writer.scratch()?;
    let path = suite.download_named(&name, Some(&kernel.version), scratch.path())?;
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// False for a path that leads out of the directory it is unpacked to.
fn leads_inside(path: &str) -> bool {
    !path.starts_with('/') && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        for (path, want) in [("tools/lib/bpf/x.h", true), ("tools/lib/../../../etc/x.h", false), ("/etc/x.h", false)] {
            assert_eq!(leads_inside(path), want, "{path}");
        }
    }
}

//! Which kernels are wanted, and which those are today.
//!
//! In: `kernels.toml` (the intent, written by people) and `kernels.lock` (the facts, written by `cargo ci resolve`).
//! Out: [`Wanted`] and [`Locked`]. Neither names a host. Next to read: `apt.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::version::Series;

/// One `[[kernel]]` of `kernels.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What `--kernel` takes; an architecture has each name once.
    pub name: String,
    /// What it runs on.
    #[serde(default)]
    pub arch: Arch,
    /// Which versions it may be.
    pub series: Series,
    /// The end of the package's name, for example `cloud-amd64`; its whole name for a kernel that is a program.
    pub flavour: String,
    /// Suites of the archive, the preferred first.
    pub suites: Vec<String>,
    /// Part of every run; red when it cannot be had.
    pub required: bool,
    /// The oldest that a suite still has, in place of the newest.
    #[serde(default)]
    pub oldest: bool,
    /// Beginnings of the names of the tests that make sense on it; without any, all do.
    #[serde(default)]
    pub only: Vec<String>,
}

/// One `[[kernel]]` of `kernels.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// [`Wanted::name`].
    pub name: String,
    /// [`Wanted::arch`].
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    pub arch: Arch,
    /// What the kernel calls itself (`uname -r`).
    pub release: String,
    /// Debian's version of its packages.
    pub version: String,
    /// Where it was found.
    pub suite: String,
    /// What it consists of.
    pub package: Vec<Package>,
}

/// A kernel as wanted, and what the lock says of it.
pub type Choice = (Wanted, Option<Locked>);

/// One package of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Debian's version.
    pub version: String,
    /// Where it lies in the archive, counted from the mirror's base.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of the whole file, in hex.
    pub sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Intent {
    kernel: Vec<Wanted>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    #[serde(default)]
    kernel: Vec<Locked>,
}

/// Reads `kernels.toml`.
///
/// # Errors
/// It is missing, has an unknown field, or names a kernel twice.
pub fn wanted(path: &Path) -> Result<Vec<Wanted>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse_wanted(&text).with_context(|| path.display().to_string())
}

/// The text of `kernels.toml`, read and checked.
pub(crate) fn parse_wanted(text: &str) -> Result<Vec<Wanted>> {
    let Intent { kernel } = toml::from_str(text)?;
    for (index, one) in kernel.iter().enumerate() {
        ensure!(!one.suites.is_empty(), "kernel {}: no suite to look in", one.name);
        let same = |other: &&Wanted| (other.arch, &other.name) == (one.arch, &one.name);
        ensure!(kernel[..index].iter().find(same).is_none(), "kernel {} stands there twice", one.label());
    }
    Ok(kernel)
}

/// Reads `kernels.lock`; empty when there is none yet.
///
/// # Errors
/// It is there but cannot be read.
pub fn locked(path: &Path) -> Result<Vec<Locked>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse_locked(&text).with_context(|| path.display().to_string())
}

/// The text of `kernels.lock`, read.
pub(crate) fn parse_locked(text: &str) -> Result<Vec<Locked>> {
    let LockFile { kernel } = toml::from_str(text)?;
    Ok(kernel)
}

/// Writes `kernels.lock`, in the order given.
///
/// # Errors
/// The file cannot be written.
pub fn write_locked(path: &Path, kernel: &[Locked]) -> Result<()> {
    fs::write(path, lock_text(kernel)?).with_context(|| format!("write {}", path.display()))
}

/// The text of `kernels.lock`.
fn lock_text(kernel: &[Locked]) -> Result<String> {
    let body = toml::to_string(&LockFile { kernel: kernel.to_vec() }).context("encode the lock")?;
    Ok(format!(
        "# What the kernels of kernels.toml were when `cargo ci resolve` last looked. Not edited by hand.\n\n{body}"
    ))
}

impl Wanted {
    /// Its name among those of all architectures, also that of its directory.
    pub fn label(&self) -> String {
        if self.arch.is_default() { self.name.clone() } else { format!("{}-{}", self.arch, self.name) }
    }

    /// True when a test of this name makes sense on it.
    pub fn suits(&self, test: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|begin| test.starts_with(begin.as_str()))
    }

    /// True when the lock's row is about this kernel.
    pub fn is(&self, locked: &Locked) -> bool {
        (self.arch, &self.name) == (locked.arch, &locked.name)
    }
}

/// Picks kernels of an architecture by `--kernel`: names with commas, `all` for every one, nothing for the required ones,
/// which only the default architecture has; of the others nothing means every one too.
///
/// # Errors
/// A name that `kernels.toml` does not have.
pub fn pick(wanted: &[Wanted], arch: Arch, names: Option<&str>) -> Result<Vec<Wanted>> {
    let wanted: Vec<_> = wanted.iter().filter(|one| one.arch == arch).cloned().collect();
    let Some(names) = names else {
        return Ok(wanted.into_iter().filter(|one| one.required || !arch.is_default()).collect());
    };
    if names == "all" {
        return Ok(wanted);
    }
    let mut picked = Vec::new();
    for name in names.split(',').map(str::trim) {
        match wanted.iter().find(|one| one.name == name) {
            Some(one) => picked.push(one.clone()),
            None => {
                let known: Vec<_> = wanted.iter().map(|one| one.name.as_str()).collect();
                bail!("no kernel `{name}` for {arch}; kernels.toml has {}", known.join(", "));
            }
        }
    }
    Ok(picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intent_of_the_repository_holds_the_required_set() {
        let text = include_str!("../kernels.toml");
        let kernels = parse_wanted(text).unwrap();
        let names = |kernels: Vec<Wanted>| kernels.into_iter().map(|one| one.name).collect::<Vec<_>>().join(" ");
        let pick = |arch, names| pick(&kernels, arch, names);
        assert_eq!(names(pick(Arch::X86_64, None).unwrap()), "5.10 6.1 6.12 6.18 7");
        assert_eq!(names(pick(Arch::X86_64, Some("6.1, 5.10")).unwrap()), "6.1 5.10");
        assert_eq!(names(pick(Arch::Aarch64, None).unwrap()), "6.1 6.12 6.18 7");
        let all: usize = Arch::ALL.into_iter().map(|arch| pick(arch, Some("all")).unwrap().len()).sum();
        assert_eq!(all, kernels.len());
        assert!(pick(Arch::Um, Some("4.19")).unwrap_err().to_string().contains("no kernel `4.19` for um"));
        assert!(!text.contains("://"), "a host in kernels.toml");
    }

    #[test]
    fn public_ci_has_a_job_for_each_kernel() {
        let workflow = include_str!("../../.github/workflows/ci.yml");
        let kernels = parse_wanted(include_str!("../kernels.toml")).unwrap();
        let required: Vec<_> = pick(&kernels, Arch::X86_64, None).unwrap().into_iter().map(|one| one.name).collect();
        assert!(workflow.contains(&format!("kernel: {required:?}")), "{required:?}");
        for kernel in kernels.iter().filter(|one| !one.required) {
            let rows = workflow.lines().filter(|line| line.contains(&format!("arch: {},", kernel.arch)));
            let mut names = rows.filter_map(|line| Some(line.split('"').nth(1)?.split(',')));
            assert!(
                names.any(|mut names| names.any(|name| name == kernel.name)),
                "{} is in no weekly job",
                kernel.label()
            );
        }
    }

    #[test]
    fn mistakes_in_the_intent_are_named() {
        let row = "[[kernel]]\nname = \"a\"\nseries = \"6.1\"\nflavour = \"c\"\nsuites = [\"s\"]\nrequired = true\n";
        for (text, want) in [
            (format!("{row}{row}"), "twice"),
            (row.replace("[\"s\"]", "[]"), "no suite"),
            (format!("{row}colour = 1\n"), "unknown field `colour`"),
            (row.replace("6.1", "six"), "series `six`"),
        ] {
            let error = format!("{:#}", parse_wanted(&text).unwrap_err());
            assert!(error.contains(want), "{want}: {error}");
        }
    }

    #[test]
    fn the_lock_comes_back_as_it_was_written() {
        let package = Package {
            name: "linux-image-6.12.1+deb13-cloud-amd64".into(),
            version: "6.12.1-1".into(),
            path: "pool/main/l/x.deb".into(),
            size: 5,
            sha256: "00".repeat(32),
        };
        let lock = vec![Locked {
            name: "6.12".into(),
            arch: Arch::Aarch64,
            release: "6.12.1+deb13-cloud-amd64".into(),
            version: "6.12.1-1".into(),
            suite: "trixie".into(),
            package: vec![package],
        }];
        let text = lock_text(&lock).unwrap();
        assert_eq!(toml::from_str::<LockFile>(&text).unwrap().kernel, lock);
        let committed = include_str!("../kernels.lock");
        assert!(!committed.contains("://"), "a host in kernels.lock");
    }
}

//! The archive, asked through apt with a root of its own.
//!
//! In: the mirror this machine's apt is configured with, and a suite. Out: what packages the suite has, and the packages
//! themselves. apt checks the indexes' signatures with Debian's keyring and each download against its index. Nothing of
//! the machine's own apt state is read or changed but its settings for downloads (proxies and the like).
//! Next to read: `sources.rs` for the mirror, `fetch.rs` for the use of all this.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::cache::Writer;
use crate::config::{Locked, Package, Wanted};
use crate::sources::Mirror;
use crate::version::{Kernel, compare_debian};

/// A private apt root for one suite.
#[derive(Debug)]
pub struct Suite {
    name: String,
    config: PathBuf,
    /// One program of apt at a time: they share the root's cache of the index.
    turn: Mutex<()>,
}

impl Suite {
    /// Makes the root below `directory` and brings its index up to date.
    ///
    /// # Errors
    /// No index: no network, no such suite, a bad signature. The text is apt's own.
    pub fn open(directory: &Path, mirror: &Mirror, name: &str, architecture: &str) -> Result<Self> {
        let root = directory.join(format!("{name}-{architecture}"));
        for below in ["state/lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(root.join(below)).with_context(|| format!("create {}", root.join(below).display()))?;
        }
        let line = format!(
            "deb [arch={architecture} signed-by={}] {} {name} main\n",
            mirror.keyring.display(),
            mirror.base_of(name)?
        );
        let config = root.join("apt.conf");
        fs::write(root.join("sources.list"), line)
            .and_then(|()| fs::write(&config, settings(&root, architecture)?))
            .with_context(|| format!("write {}", root.display()))?;
        let suite = Self { name: name.to_owned(), config, turn: Mutex::default() };
        suite.run("apt-get", &["update"], &root).with_context(|| format!("index of {name}"))?;
        Ok(suite)
    }

    /// Runs a program of apt in this root.
    fn run(&self, program: &str, arguments: &[&str], directory: &Path) -> Result<String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C.UTF-8").current_dir(directory).args(arguments);
        let Output { status, stdout, stderr } = command.output().with_context(|| format!("start {program}"))?;
        let stderr = String::from_utf8_lossy(&stderr);
        // An index that cannot be had is only a warning to `apt-get update`.
        if !status.success() || stderr.lines().any(|line| line.starts_with("W: Failed to fetch")) {
            bail!("{program} {}: {}", arguments.first().unwrap_or(&""), complaint(&stderr));
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// The newest complete kernel of the series and flavour; `None` when the suite has none.
    ///
    /// # Errors
    /// apt cannot read the index it has just written.
    pub fn newest(&self, wanted: &Wanted) -> Result<Option<Locked>> {
        let directory = self.config.parent().context("root of the suite")?;
        let begin = if wanted.arch == Arch::Um { &wanted.flavour } else { "linux-" };
        let names = self.run("apt-cache", &["pkgnames", begin], directory)?;
        let names: Vec<_> = names.lines().filter(|name| part_of(name, wanted).is_some()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let stanzas = self.run("apt-cache", &[&["show"], names.as_slice()].concat(), directory)?;
        Ok(newest(&parse_stanzas(&stanzas), wanted, &self.name))
    }

    /// Downloads one package into `directory`, which must be empty, and returns its path.
    ///
    /// # Errors
    /// The index does not have this version, or the file cannot be had. The text is apt's own.
    pub fn download(&self, package: &Package, directory: &Path) -> Result<PathBuf> {
        self.download_named(&package.name, Some(&package.version), directory)
    }

    /// Downloads a package by name, the newest when no version is given, into `directory`, which must be empty.
    ///
    /// # Errors
    /// As of [`Suite::download`].
    pub fn download_named(&self, name: &str, version: Option<&str>, directory: &Path) -> Result<PathBuf> {
        let which = version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}"));
        self.run("apt-get", &["download", &which], directory)?;
        let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
        let mut files = entries.flatten().map(|entry| entry.path());
        let deb = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        deb.with_context(|| format!("apt-get download {which} left no file"))
    }

    /// Downloads a package by name and unpacks it, with its links and directories, below `root`.
    ///
    /// # Errors
    /// As of [`Suite::download`], or the package cannot be unpacked.
    pub fn unpack_named(&self, writer: &Writer, name: &str, version: Option<&str>, root: &Path) -> Result<()> {
        eprintln!("downloading {name}");
        let scratch = writer.scratch()?;
        let deb = self.download_named(name, version, scratch.path())?;
        let status = Command::new("dpkg-deb").arg("-x").arg(&deb).arg(root).status().context("start dpkg-deb")?;
        ensure!(status.success(), "dpkg-deb -x {name}: {status}");
        Ok(())
    }
}

/// The lines of apt's messages that say what went wrong; all of them when none is marked.
fn complaint(stderr: &str) -> String {
    let marked = |line: &&str| line.starts_with("E: ") || line.starts_with("W: ");
    let said: Vec<_> = stderr.lines().filter(marked).filter(|line| !line.contains("Some index files failed")).collect();
    if said.is_empty() { stderr.trim().to_owned() } else { said.join("; ") }
}

/// The configuration of a private root. The machine's settings for downloads are taken over; its hooks, which clean or
/// index the machine's own state, are not.
fn settings(root: &Path, architecture: &str) -> std::io::Result<String> {
    let machine = Command::new("apt-config").arg("dump").output()?;
    let machine = String::from_utf8_lossy(&machine.stdout).into_owned();
    let downloads = machine.lines().filter(|line| line.starts_with("Acquire::") && !line.contains("IndexTargets"));
    let mut text: String = downloads.map(|line| format!("{line}\n")).collect();
    let root = root.display();
    text.push_str(&format!(
        "Dir::State \"{root}/state\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{root}/cache\";\n\
         Dir::Etc::sourcelist \"{root}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         Dir::Etc::main \"-\";\nDir::Etc::parts \"{root}/parts\";\nDir::Etc::preferences \"-\";\n\
         Dir::Etc::preferencesparts \"-\";\nAPT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\nAPT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\nAcquire::Retries \"2\";\n"
    ));
    Ok(text)
}

/// What a package is to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Image and modules in one; from 7.x on an empty package that names the others.
    Image,
    /// The image alone.
    Binary,
    /// The modules alone.
    Modules,
    /// Configuration and the list of built-in modules.
    Base,
}

/// Reads a package's name: what part of which release it is, if it is one of a wanted kernel. A kernel that is a program
/// is a package of its own, and only that package's version tells its series.
fn part_of<'a>(name: &'a str, wanted: &Wanted) -> Option<(Part, &'a str)> {
    if wanted.arch == Arch::Um {
        return (name == wanted.flavour).then_some((Part::Image, name));
    }
    let (part, release) = [
        ("linux-image-", Part::Image),
        ("linux-binary-", Part::Binary),
        ("linux-modules-", Part::Modules),
        ("linux-base-", Part::Base),
    ]
    .iter()
    .find_map(|(prefix, part)| Some((*part, name.strip_prefix(prefix)?)))?;
    let version = release.strip_suffix(&wanted.flavour)?.strip_suffix('-')?;
    // `linux-image-6.1-cloud-amd64` is a name for the newest of a series: it has no third number.
    let exact = version.split(['.', '+', '-']).count() > 2;
    // `6.12.9+deb13-rt` is another flavour that ends in the same words.
    let of_flavour =
        version.split('-').all(|word| word.starts_with(|c: char| c.is_ascii_digit()) || word.starts_with("rc"));
    let kernel: Kernel = version.parse().ok()?;
    (exact && of_flavour && wanted.series.contains(kernel)).then_some((part, release))
}

/// A stanza of an index, as far as it is of interest.
fn parse_stanzas(text: &str) -> Vec<Package> {
    let field = |stanza: &str, name: &str| {
        let mut lines = stanza.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim().to_owned()))
    };
    let parse = |stanza: &str| {
        Some(Package {
            name: field(stanza, "Package")?,
            version: field(stanza, "Version")?,
            path: field(stanza, "Filename")?,
            size: field(stanza, "Size")?.parse().ok()?,
            sha256: field(stanza, "SHA256")?,
        })
    };
    text.split("\n\n").filter_map(parse).collect()
}

/// The newest kernel of which image and modules are there; the oldest where that is wanted.
fn newest(packages: &[Package], wanted: &Wanted, suite: &str) -> Option<Locked> {
    let mut found: Option<Locked> = None;
    for package in packages {
        let Some((Part::Image | Part::Binary, release)) = part_of(&package.name, wanted) else { continue };
        if wanted.arch == Arch::Um && !package.version.parse().is_ok_and(|kernel| wanted.series.contains(kernel)) {
            continue;
        }
        let Some(kernel) = complete(packages, release, &package.version, wanted) else { continue };
        let wins = if wanted.oldest { Ordering::Less } else { Ordering::Greater };
        if found.as_ref().is_none_or(|found| compare_debian(&package.version, &found.version) == wins) {
            found = Some(Locked {
                name: wanted.name.clone(),
                arch: wanted.arch,
                release: release.to_owned(),
                version: package.version.clone(),
                suite: suite.to_owned(),
                package: kernel,
            });
        }
    }
    found
}

/// The packages of one release in one version; `None` when image or modules are missing.
fn complete(packages: &[Package], release: &str, version: &str, wanted: &Wanted) -> Option<Vec<Package>> {
    let of = |part: Part| {
        let mut same = packages.iter().filter(|package| package.version == version);
        same.find(|package| part_of(&package.name, wanted) == Some((part, release))).cloned()
    };
    match of(Part::Binary) {
        Some(binary) => Some([Some(binary), Some(of(Part::Modules)?), of(Part::Base)].into_iter().flatten().collect()),
        None => Some([Some(of(Part::Image)?), of(Part::Base)].into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(series: &str) -> Wanted {
        Wanted {
            name: series.to_owned(),
            arch: Arch::default(),
            series: series.to_owned().try_into().unwrap(),
            flavour: "cloud-amd64".into(),
            suites: vec!["s".into()],
            required: true,
            oldest: false,
            only: Vec::new(),
        }
    }

    #[test]
    fn apt_is_quoted_in_short() {
        let stderr = "Reading…\nW: Failed to fetch x  Could not resolve\nW: Some index files failed to download.\n";
        assert_eq!(complaint(stderr), "W: Failed to fetch x  Could not resolve");
        assert_eq!(complaint("apt: odd\n"), "apt: odd");
    }

    #[test]
    fn names_of_packages_are_read() {
        for (name, series, want) in [
            ("linux-image-5.10.0-46-cloud-amd64", "5.10", Some((Part::Image, "5.10.0-46-cloud-amd64"))),
            ("linux-image-6.1-cloud-amd64", "6.1", None),
            ("linux-image-cloud-amd64", "6.1", None),
            ("linux-image-5.10.0-46-cloud-amd64-unsigned", "5.10", None),
            ("linux-image-5.10.0-46-cloud-amd64-dbg", "5.10", None),
            ("linux-image-6.12.9+deb13-amd64", "6.12", None),
            ("linux-image-6.12.9+deb13-rt-cloud-amd64", "6.12", None),
            ("linux-binary-7.3.4+deb13-cloud-amd64", "7", Some((Part::Binary, "7.3.4+deb13-cloud-amd64"))),
            ("linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "7", None),
            ("linux-headers-7.3.4+deb13-cloud-amd64", "7", None),
        ] {
            assert_eq!(part_of(name, &wanted(series)), want, "{name}");
        }
    }

    fn stanza(name: &str, version: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nDescription: x\n more: y\nFilename: pool/{name}.deb\nSize: 12\n\
             SHA256: {}\n\n",
            "ab".repeat(32)
        )
    }

    #[test]
    fn the_newest_complete_kernel_is_taken() {
        let old_style = [
            stanza("linux-image-6.12.9+deb13-cloud-amd64", "6.12.9-1"),
            stanza("linux-image-6.12.10+deb13-cloud-amd64", "6.12.10-1"),
        ]
        .concat();
        // Of 7.3.5 the modules are missing, as when an archive has dropped half of a superseded kernel.
        let split = ["binary", "modules", "base", "image"]
            .map(|part| stanza(&format!("linux-{part}-7.3.4+deb13-cloud-amd64"), "7.3.4-1"))
            .concat();
        let half = stanza("linux-binary-7.3.5+deb13-cloud-amd64", "7.3.5-1");
        for (index, series, want) in [
            (&old_style, "6.12", Some(("6.12.10+deb13-cloud-amd64", 1))),
            (&format!("{split}{half}"), "7", Some(("7.3.4+deb13-cloud-amd64", 3))),
            (&half, "7", None),
            (&String::new(), "6.1", None),
        ] {
            let kernel = newest(&parse_stanzas(index), &wanted(series), "s");
            let oldest = newest(&parse_stanzas(index), &Wanted { oldest: true, ..wanted(series) }, "s");
            if series == "6.12" {
                assert_eq!(oldest.map(|kernel| kernel.version).as_deref(), Some("6.12.9-1"));
            }
            let kernel = kernel.as_ref().map(|kernel| (kernel.release.as_str(), kernel.package.len()));
            assert_eq!(kernel, want, "{series}: {index}");
        }
    }
}

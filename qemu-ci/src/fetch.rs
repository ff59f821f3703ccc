//! From an intent to a kernel on disk.
//!
//! In: a [`Wanted`] kernel and what the lock says of it. Out: an [`Obtained`] one. The order: the cache, by checksum; the
//! locked version, from the archive; the newest of the series in the same suite; the other suites. Whatever differs from
//! the lock is told. Next to read: `image.rs`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Suite;
use crate::arch::Arch;
use crate::cache::{Cache, checksum};
use crate::config::{Locked, Wanted};
use crate::image::Image;
use crate::sources::Mirror;
use crate::version::compare_debian;

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// What it is.
    pub kernel: Locked,
    /// Where it is.
    pub image: Image,
    /// How it differs from the lock; `None` when it does not.
    pub drift: Option<String>,
}

/// The archive and the cache.
#[derive(Debug)]
pub struct Fetcher {
    cache: Cache,
    /// Opened when first needed: with a warm cache no program of apt is started.
    suites: BTreeMap<String, std::result::Result<Suite, String>>,
    /// Refuse what differs from the lock.
    strict: bool,
}

impl Fetcher {
    /// A fetcher; with `strict`, what differs from the lock is an error.
    pub fn new(cache: Cache, strict: bool) -> Self {
        Self { cache, suites: BTreeMap::new(), strict }
    }

    /// Finds today's newest kernel for each intent.
    ///
    /// # Errors
    /// No suite has it; the text tells what each of them said.
    pub fn resolve(&mut self, wanted: &Wanted) -> Result<Locked> {
        let mut found: Option<Locked> = None;
        let mut said = Vec::new();
        for suite in &wanted.suites {
            match self.newest(suite, wanted) {
                Ok(kernel) => {
                    let newer = |old: &Locked| compare_debian(&kernel.version, &old.version).is_gt();
                    if found.as_ref().is_none_or(newer) {
                        found = Some(kernel);
                    }
                    // An open series is looked for everywhere, a closed one only until it is found.
                    if !wanted.series.is_open() {
                        break;
                    }
                }
                Err(error) => said.push(format!("{error:#}")),
            }
        }
        found.with_context(|| format!("kernel {} is not to be had: {}", wanted.name, said.join("; ")))
    }

    /// Sees to it that a kernel is in the cache.
    ///
    /// # Errors
    /// It is to be had nowhere; the text tells each attempt and why it failed.
    pub fn obtain(&mut self, wanted: &Wanted, locked: Option<&Locked>) -> Result<Obtained> {
        let _guard = self.cache.lock()?;
        let mut said = Vec::new();
        if let Some(kernel) = locked {
            match self.bring(kernel) {
                Ok(image) => return Ok(Obtained { kernel: kernel.clone(), image, drift: None }),
                Err(error) => said.push(format!("locked {} in {}: {error:#}", kernel.version, kernel.suite)),
            }
        }
        let lock_says = locked.map_or_else(|| "nothing".to_owned(), |kernel| kernel.version.clone());
        if self.strict {
            bail!("kernel {}: --locked, and the lock says {lock_says}; {}", wanted.name, said.join("; "));
        }
        let mut suites = wanted.suites.clone();
        if let Some(at) = locked.and_then(|kernel| suites.iter().position(|suite| *suite == kernel.suite)) {
            suites[..=at].rotate_right(1);
        }
        for suite in &suites {
            let brought = self.newest(suite, wanted).and_then(|kernel| Ok((self.bring(&kernel)?, kernel)));
            match brought {
                Ok((image, kernel)) => {
                    let drift = format!("{} of {suite} instead of {lock_says}", kernel.version);
                    return Ok(Obtained { kernel, image, drift: Some(drift) });
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    let known = said.iter().any(|said| said.ends_with(&why));
                    said.push(format!("newest in {suite}: {}", if known { "the same" } else { &why }));
                }
            }
        }
        bail!("kernel {} is not to be had:\n    {}", wanted.name, said.join("\n    "))
    }

    /// The newest of a series in one suite.
    fn newest(&mut self, suite: &str, wanted: &Wanted) -> Result<Locked> {
        let newest = self.suite(suite, wanted.arch)?.newest(wanted)?;
        newest.with_context(|| format!("{suite} has no kernel {}", wanted.name))
    }

    /// The suite's apt root. A suite that could not be reached is not tried again.
    fn suite(&mut self, name: &str, arch: Arch) -> Result<&Suite> {
        let architecture = arch.debian();
        let key = format!("{name}/{architecture}");
        if !self.suites.contains_key(&key) {
            eprintln!("reading the index of {name} for {architecture}");
            let opened =
                Mirror::of_machine().and_then(|mirror| Suite::open(&self.cache.apt(), &mirror, name, architecture));
            self.suites.insert(key.clone(), opened.map_err(|error| format!("{error:#}")));
        }
        match self.suites.get(&key) {
            Some(Ok(suite)) => Ok(suite),
            Some(Err(error)) => bail!("{error}"),
            None => bail!("suite {name} was not opened"),
        }
    }

    /// The image of a kernel: unpacked before, or from cached packages, or from the archive.
    fn bring(&mut self, kernel: &Locked) -> Result<Image> {
        let first = kernel.package.first().context("the lock names no package")?;
        if let Some(image) = Image::find(&self.cache, &kernel.release, &first.sha256) {
            return Ok(image);
        }
        let mut packages = Vec::new();
        for package in &kernel.package {
            if let Some(bytes) = self.cache.take_deb(&package.sha256)? {
                packages.push(bytes);
                continue;
            }
            eprintln!("downloading {} {} ({} MB)", package.name, package.version, package.size.div_ceil(1_000_000));
            let scratch = self.cache.scratch()?;
            let path = self.suite(&kernel.suite, kernel.arch)?.download(package, scratch.path())?;
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let sum = checksum(&bytes);
            ensure!(sum == package.sha256, "{}: sha256 is {sum}, the lock says {}", package.path, package.sha256);
            self.cache.put_deb(&bytes)?;
            packages.push(bytes);
        }
        eprintln!("unpacking {}", kernel.release);
        Image::unpack(&self.cache, &kernel.release, &first.sha256, &packages)
    }
}

//! From an intent to a kernel on disk.
//!
//! In: a [`Wanted`] kernel and what the lock says of it. Out: an [`Obtained`] one. The order: the cache, by checksum; the
//! locked version, from the archive; the newest of the series in the same suite; the other suites. Whatever differs from
//! the lock is told. Several kernels are brought at a time. Next to read: `image.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::slice;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::apt::Suite;
use crate::arch::Arch;
use crate::cache::{Cache, Writer, checksum};
use crate::config::{Choice, Locked, Wanted};
use crate::crew;
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
    /// By suite and architecture.
    suites: Mutex<BTreeMap<String, Arc<Opened>>>,
    /// Refuse what differs from the lock.
    strict: bool,
}

/// A suite, opened when first needed: with a warm cache no program of apt is started. One that could not be reached is not
/// tried again.
type Opened = OnceLock<std::result::Result<Arc<Suite>, String>>;

impl Fetcher {
    /// A fetcher; with `strict`, what differs from the lock is an error.
    pub fn new(cache: Cache, strict: bool) -> Self {
        Self { cache, suites: Mutex::default(), strict }
    }

    /// Finds today's newest kernel for each intent.
    ///
    /// # Errors
    /// No suite has it; the text tells what each of them said.
    pub fn resolve(&self, wanted: &Wanted) -> Result<Locked> {
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
    pub fn obtain(&self, choice: &Choice) -> Result<Obtained> {
        self.obtain_all(slice::from_ref(choice), 1).pop().context("no kernel was chosen")?
    }

    /// Sees to it that kernels are in the cache, so many at a time; each has its own result, in the order of the kernels.
    pub fn obtain_all(&self, chosen: &[Choice], jobs: usize) -> Vec<Result<Obtained>> {
        let unpacked: Option<Vec<_>> = chosen.iter().map(|(_, locked)| self.unpacked(locked.as_ref()?)).collect();
        // Who needs nothing from the archive waits for nobody.
        if let Some(unpacked) = unpacked {
            return unpacked.into_iter().map(Ok).collect();
        }
        let writer = match self.cache.writer() {
            Ok(writer) => writer,
            Err(error) => return chosen.iter().map(|_| Err(anyhow!("{error:#}"))).collect(),
        };
        let brought = crew::each(chosen, jobs, |(wanted, locked)| self.bring_any(&writer, wanted, locked.as_ref()));
        let panicked = || Err(anyhow!("the thread that fetches it has panicked"));
        brought.into_iter().map(|brought| brought.unwrap_or_else(panicked)).collect()
    }

    /// A kernel as the lock has it, if it was unpacked before.
    fn unpacked(&self, kernel: &Locked) -> Option<Obtained> {
        let image = Image::find(&self.cache, &kernel.release, &kernel.package.first()?.sha256)?;
        Some(Obtained { kernel: kernel.clone(), image, drift: None })
    }

    /// The locked kernel, else the next best that is to be had.
    fn bring_any(&self, writer: &Writer, wanted: &Wanted, locked: Option<&Locked>) -> Result<Obtained> {
        let mut said = Vec::new();
        if let Some(kernel) = locked {
            match self.bring(writer, kernel) {
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
            let brought = self.newest(suite, wanted).and_then(|kernel| Ok((self.bring(writer, &kernel)?, kernel)));
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
    fn newest(&self, suite: &str, wanted: &Wanted) -> Result<Locked> {
        let newest = self.suite(suite, wanted.arch)?.newest(wanted)?;
        newest.with_context(|| format!("{suite} has no kernel {}", wanted.name))
    }

    /// The suite's apt root. Whoever asks for one that another thread is just opening waits for it.
    fn suite(&self, name: &str, arch: Arch) -> Result<Arc<Suite>> {
        let architecture = arch.debian();
        let mut suites = self.suites.lock().unwrap_or_else(PoisonError::into_inner);
        let suite = Arc::clone(suites.entry(format!("{name}/{architecture}")).or_default());
        drop(suites);
        let opened = suite.get_or_init(|| {
            eprintln!("reading the index of {name} for {architecture}");
            let mirror = Mirror::of_machine();
            let opened = mirror.and_then(|mirror| Suite::open(&self.cache.apt(), &mirror, name, architecture));
            opened.map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        opened.clone().map_err(|error| anyhow!(error))
    }

    /// The image of a kernel: unpacked before, or from cached packages, or from the archive.
    fn bring(&self, writer: &Writer, kernel: &Locked) -> Result<Image> {
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
            let scratch = writer.scratch()?;
            let path = self.suite(&kernel.suite, kernel.arch)?.download(package, scratch.path())?;
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let sum = checksum(&bytes);
            ensure!(sum == package.sha256, "{}: sha256 is {sum}, the lock says {}", package.path, package.sha256);
            writer.put_deb(&bytes)?;
            packages.push(bytes);
        }
        eprintln!("unpacking {}", kernel.release);
        Image::unpack(writer, &kernel.release, &first.sha256, &packages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Package;
    use crate::deb::tests::deb;

    /// A kernel of one package with these files, which is in the cache.
    fn locked(writer: &Writer, name: &str, bytes: &[u8]) -> Choice {
        writer.put_deb(bytes).unwrap();
        let row = format!(
            "[[kernel]]\nname = \"{name}\"\nseries = \"6.1\"\nflavour = \"c\"\nsuites = [\"s\"]\nrequired = true\n"
        );
        let wanted = crate::config::parse_wanted(&row).unwrap().remove(0);
        let package = Package {
            name: "linux-image".into(),
            version: "6.1-1".into(),
            path: "pool/x.deb".into(),
            size: 1,
            sha256: checksum(bytes),
        };
        let locked = Locked {
            name: name.into(),
            arch: Arch::default(),
            release: format!("6.1-{name}"),
            version: "6.1-1".into(),
            suite: "s".into(),
            package: vec![package],
        };
        (wanted, Some(locked))
    }

    #[test]
    fn each_kernel_has_its_own_result_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let writer = cache.writer().unwrap();
        let whole = |contents: &str| deb(&[("boot/vmlinuz".to_owned(), contents.into())], ".gz");
        let chosen = [
            locked(&writer, "a", &whole("a")),
            locked(&writer, "damaged", b"no package"),
            locked(&writer, "b", &whole("b")),
            // Another name for the same.
            (locked(&writer, "c", b"").0, locked(&writer, "b", &whole("b")).1),
        ];
        drop(writer);
        let fetcher = Fetcher::new(cache.clone(), true);
        let tell = |result: Result<Obtained>| match result {
            Ok(Obtained { kernel, image, .. }) => format!("{}: {}", kernel.release, image.kernel().unwrap().display()),
            Err(error) => format!("{error:#}"),
        };
        for jobs in [1, 4] {
            let told: Vec<_> = fetcher.obtain_all(&chosen, jobs).into_iter().map(tell).collect();
            assert!(told[0].starts_with("6.1-a: ") && told[2].starts_with("6.1-b: "), "{told:?}");
            assert!(told[1].contains("kernel damaged") && told[1].contains("not a Debian package"), "{told:?}");
            assert_eq!(told[2], told[3]);
        }
        // Unpacked kernels are there for everybody, also while another process fetches others.
        let _writing = cache.writer().unwrap();
        assert!(fetcher.obtain(&chosen[0]).is_ok());
    }
}

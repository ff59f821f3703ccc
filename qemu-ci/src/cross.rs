//! A compiler for another architecture, where this machine's has no standard library for it.
//!
//! In: Debian's compiler for its browser packages, which is a young one, its standard library for the other architecture,
//! and a cross linker: packages, checked by apt against their signed indexes. Out: a directory of the cache with them
//! unpacked, and the environment in which cargo uses them. Nothing is installed and root is not needed.
//! Next to read: `build.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::Suite;
use crate::arch::Arch;
use crate::cache::{Cache, Writer};
use crate::sources::Mirror;

/// The compiler's version. Its parts must be of one and the same.
const RUSTC: &str = "1.96.0+dfsg1-1~deb12u2";

/// What is needed: suite, Debian's architecture, package, version where it matters.
const PACKAGES: [(&str, &str, &str, Option<&str>); 16] = [
    ("bookworm-security", "amd64", "rustc-web", Some(RUSTC)),
    ("bookworm-security", "amd64", "libstd-rust-web-1.96", Some(RUSTC)),
    ("bookworm-security", "amd64", "libstd-rust-web-dev", Some(RUSTC)),
    ("bookworm-security", "arm64", "libstd-rust-web-dev", Some(RUSTC)),
    ("bookworm-security", "amd64", "libllvm22", None),
    ("bookworm", "amd64", "libz3-4", None),
    ("bookworm", "amd64", "gcc-aarch64-linux-gnu", None),
    ("bookworm", "amd64", "gcc-12-aarch64-linux-gnu", None),
    ("bookworm", "amd64", "cpp-12-aarch64-linux-gnu", None),
    ("bookworm", "amd64", "binutils-aarch64-linux-gnu", None),
    ("bookworm", "amd64", "libc6-arm64-cross", None),
    ("bookworm", "amd64", "libc6-dev-arm64-cross", None),
    ("bookworm", "amd64", "libgcc-s1-arm64-cross", None),
    ("bookworm", "amd64", "libgcc-12-dev-arm64-cross", None),
    ("bookworm", "amd64", "linux-libc-dev-arm64-cross", None),
    // Runs a test binary here for the names of its tests.
    ("bookworm", "amd64", "qemu-user", None),
];

/// An unpacked compiler.
#[derive(Clone, Debug)]
pub struct Cross {
    root: PathBuf,
}

impl Cross {
    /// The compiler for an architecture; `None` when this machine's own does.
    ///
    /// # Errors
    /// A package is not to be had or cannot be unpacked.
    pub fn of(arch: Arch) -> Result<Option<Self>> {
        if arch.runs_ours() { Ok(None) } else { Self::in_cache(&Cache::of_user()?).map(Some) }
    }

    /// Finds it in the cache, or brings it there.
    fn in_cache(cache: &Cache) -> Result<Self> {
        let root = cache.cross(RUSTC);
        if !root.is_dir() {
            let writer = cache.writer()?;
            let scratch = writer.scratch()?;
            let inside = scratch.path().join("root");
            fetch(&writer, &inside).context("a compiler for another architecture")?;
            // Another run may have been quicker, while this one waited for its turn.
            let _ = fs::remove_dir_all(&root);
            fs::rename(&inside, &root).with_context(|| format!("rename to {}", root.display()))?;
        }
        Ok(Self { root })
    }

    /// Tells cargo to use it, with these flags for the compiler.
    pub fn apply(&self, cargo: &mut Command, target: &str, flags: &str) {
        let program = |name: &str| self.root.join("usr/bin").join(name);
        let of_target = |what: &str| format!("CARGO_TARGET_{}_{what}", target.to_uppercase().replace('-', "_"));
        cargo.env("RUSTC", program("rustc"));
        cargo.env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu"));
        cargo.env(of_target("LINKER"), program("aarch64-linux-gnu-gcc"));
        // The linker looks for its libraries beside itself, and not where it would have been installed.
        cargo.env("RUSTFLAGS", format!("{flags} -C link-arg=--sysroot=/"));
    }

    /// A command that runs one of the other architecture's static programs here.
    pub fn runner(&self, program: &Path) -> Command {
        let mut command = Command::new(self.root.join("usr/bin/qemu-aarch64"));
        command.arg(program);
        command
    }
}

/// Downloads the packages and unpacks them into `root`.
fn fetch(writer: &Writer, root: &Path) -> Result<()> {
    let mirror = Mirror::of_machine()?;
    let mut open: Option<(&str, &str, Suite)> = None;
    for (suite, architecture, package, version) in PACKAGES {
        if open.as_ref().is_none_or(|(name, of, _)| (*name, *of) != (suite, architecture)) {
            open = Some((suite, architecture, Suite::open(&writer.cache().apt(), &mirror, suite, architecture)?));
        }
        let Some((_, _, suite)) = &open else { continue };
        suite.unpack_named(writer, package, version, root)?;
    }
    Ok(())
}

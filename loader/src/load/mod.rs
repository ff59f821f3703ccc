//! Stage: spec → verified. Input: a [`Spec`] and [`LoadOptions`]. Output: [`Loaded`]: maps made or found, filled and
//! frozen, programs relocated and verified. All or nothing: on an error everything made so far is closed again.
//!
//! The order: what the options change (`options.rs`), what only reads the kernel (`prepare.rs`, also the dry run
//! [`check`]), maps (`maps.rs`), programs (`progs.rs`), pins. Next file: `options.rs`.

mod attach;
mod error;
mod externs;
mod kconfig;
mod maps;
mod options;
mod prepare;
mod progs;

use std::os::fd::OwnedFd;

use crate::btf::handle;
use crate::map::Map;
use crate::prog::Prog;
use crate::spec::Spec;

pub use error::Error;
pub use kconfig::{Config, ConfigError, Probe};
pub use options::{LoadOptions, ProgKind};
pub use prepare::{Prepared, ReadyProg, check};

pub(crate) use attach::symbol;
pub(crate) use externs::same_type;
pub(crate) use options::{Variable, variable};
pub(crate) use progs::place;

/// An object in the kernel. Dropping it closes every descriptor; what is pinned or attached stays.
#[derive(Debug)]
pub struct Loaded {
    maps: Vec<(String, Map)>,
    progs: Vec<(String, Prog)>,
    notes: Vec<String>,
    left_out: Vec<(String, Error)>,
    _btf: Option<OwnedFd>,
}

impl Loaded {
    /// The map of that name; global data bears its section's name (`.rodata`).
    ///
    /// # Errors
    /// [`Error::NoMap`].
    pub fn map(&self, name: &str) -> Result<&Map, Error> {
        let found = self.maps.iter().find(|(own, _)| own == name).map(|(_, map)| map);
        found.ok_or_else(|| Error::NoMap { name: name.to_owned(), known: names(&self.maps) })
    }

    /// The program of that name.
    ///
    /// # Errors
    /// [`Error::NoProg`]: there is none, or it was not to be loaded.
    pub fn prog(&self, name: &str) -> Result<&Prog, Error> {
        let found = self.progs.iter().find(|(own, _)| own == name).map(|(_, prog)| prog);
        found.ok_or_else(|| Error::NoProg { name: name.to_owned(), known: names(&self.progs) })
    }

    /// All maps with their names in the object.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.maps.iter().map(|(name, map)| (name.as_str(), map))
    }

    /// All programs with their names in the object.
    pub fn progs(&self) -> impl Iterator<Item = (&str, &Prog)> {
        self.progs.iter().map(|(name, prog)| (name.as_str(), prog))
    }

    /// The programs of [`LoadOptions::optional`] that are not there, and why.
    #[must_use]
    pub fn left_out(&self) -> &[(String, Error)] {
        &self.left_out
    }

    /// What was done without: for example types that this kernel refused.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn names<T>(all: &[(String, T)]) -> String {
    all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Loads an object.
///
/// ```no_run
/// let spec = loader::Spec::parse(&std::fs::read("lb.o")?)?;
/// let loaded = loader::load(&spec, &loader::LoadOptions::default())?;
/// println!("{}", loaded.prog("balance")?.info()?.tag);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What was refused: by us before anything was made, or by the kernel, with its words. Nothing stays.
#[doc(alias = "BPF_PROG_LOAD")]
pub fn load(spec: &Spec, options: &LoadOptions) -> Result<Loaded, Error> {
    let mut prepared = check(spec, options)?;
    let mut notes = Vec::new();
    let btf = match handle::load(&prepared.spec) {
        Ok(btf) => btf,
        Err(error) => {
            notes.push(format!("loaded without its types: {error}"));
            None
        }
    };
    let maps = maps::make(&prepared.spec, options, btf.as_ref(), &mut notes)?;
    let progs = progs::load(&mut prepared, options, btf.as_ref(), &maps)?;
    maps::fill_with_progs(&prepared, &maps, &progs)?;
    let pinned = maps::pin(&prepared.spec, options, &maps)?;
    pinned.keep();
    let names = prepared.spec.maps.iter().map(|map| map.name.clone());
    let maps = names.zip(maps.into_iter().map(|made| made.map)).collect();
    let names = prepared.progs.iter().map(|prog| prog.name.clone());
    let progs = names.zip(progs).collect();
    Ok(Loaded { maps, progs, notes, left_out: prepared.left_out, _btf: btf })
}

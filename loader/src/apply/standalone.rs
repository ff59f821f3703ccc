//! Stage: apply. One object without a manifest: every program and map of it loaded and pinned, nothing attached.
//!
//! Input: a [`Spec`] and a directory. Output: [`Pinned`], or nothing left behind. Read next: `../load.rs`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::Error;
use super::event::{Event, Tell};
use super::{privilege, store};
use crate::load::{self, LoadOptions, Loaded};
use crate::pin::{BPFFS, Bpffs, Kind, pin_path};
use crate::spec::Spec;

/// What was pinned.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pinned {
    /// The programs, in the order of the object.
    pub programs: Vec<PinnedProg>,
    /// The maps, in the order of the object.
    pub maps: Vec<PinnedMap>,
}

/// One pinned program.
#[derive(Debug, Clone, Serialize)]
pub struct PinnedProg {
    /// Its name in the object.
    pub name: String,
    /// The kernel's id.
    pub id: u32,
    /// The kernel's tag in hex.
    pub tag: String,
    /// Its type, such as `xdp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is pinned.
    pub pin: PathBuf,
}

/// One pinned map.
#[derive(Debug, Clone, Serialize)]
pub struct PinnedMap {
    /// Its name in the object.
    pub name: String,
    /// The kernel's id.
    pub id: u32,
    /// Its type, such as `hash`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
    /// Where it is pinned.
    pub pin: PathBuf,
}

/// Loads every program and map of an object, and pins them as `DIR/progs/NAME` and `DIR/maps/NAME`.
///
/// # Errors
/// What the kernel refuses; then no pin is left, and no directory that was made for one.
pub fn load_and_pin(spec: &Spec, dir: &Path, tell: &mut Tell<'_>) -> Result<Pinned, Error> {
    privilege::check("loader load", false)?;
    if dir.starts_with(BPFFS) && Bpffs::open()?.mounted() {
        tell(Event::Note(format!("mounted bpffs on {BPFFS}, where there was none")));
    }
    let loaded = load::load(spec, &LoadOptions::default())
        .map_err(|source| Error::Load { object: "as a whole".to_owned(), source: Box::new(source) })?;
    let mut made = Made::default();
    match pin_all(spec, &loaded, dir, &mut made) {
        Ok(pinned) => Ok(pinned),
        Err(error) => {
            made.remove();
            Err(error)
        }
    }
}

/// What was made in the file system, in order.
#[derive(Default)]
struct Made {
    dirs: Vec<PathBuf>,
    pins: Vec<PathBuf>,
}

impl Made {
    /// Makes a directory and those above it, remembering which.
    fn dir(&mut self, path: &Path) -> Result<(), Error> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        let made = std::fs::create_dir(path);
        made.map_err(|source| Error::File { what: "make the directory", path: path.to_owned(), source })?;
        self.dirs.push(path.to_owned());
        Ok(())
    }

    fn remove(self) {
        // The error that matters is the one that led here; what cannot be removed shows up as a leftover name.
        self.pins.iter().for_each(|pin| drop(store::forget(pin)));
        self.dirs.iter().rev().for_each(|dir| drop(std::fs::remove_dir(dir)));
    }
}

fn pin_all(spec: &Spec, loaded: &Loaded, dir: &Path, made: &mut Made) -> Result<Pinned, Error> {
    let object = |source| Error::Load { object: "as a whole".to_owned(), source: Box::new(source) };
    let mut pinned = Pinned::default();
    if !spec.maps.is_empty() {
        made.dir(&dir.join(Kind::Map.dir()))?;
    }
    for map in &spec.maps {
        let pin = pin_path(dir, Kind::Map, &map.name)?;
        let loaded = loaded.map(&map.name).map_err(object)?;
        loaded.pin(&pin)?;
        made.pins.push(pin.clone());
        let info = loaded.info()?;
        pinned.maps.push(PinnedMap {
            name: map.name.clone(),
            id: info.id,
            kind: info.map_type.to_string(),
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            pin,
        });
    }
    made.dir(&dir.join(Kind::Prog.dir()))?;
    for prog in spec.progs.iter().filter(|prog| prog.autoload) {
        let pin = pin_path(dir, Kind::Prog, &prog.name)?;
        let loaded = loaded.prog(&prog.name).map_err(object)?;
        loaded.pin(&pin)?;
        made.pins.push(pin.clone());
        let info = loaded.info()?;
        let kind = info.prog_type.to_string();
        pinned.programs.push(PinnedProg { name: prog.name.clone(), id: info.id, tag: info.tag, kind, pin });
    }
    Ok(pinned)
}

//! Stage: apply. The record in its map: written anew and renamed over the old one, so that a reader sees one or the other.
//!
//! Input: a [`Record`] and the deployment's directory. Output: the pin `record`. Read next: `observe.rs`.

use std::path::{Path, PathBuf};

use asm::object::MapType;

use super::error::Error;
use super::record::Record;
use crate::map::{Map, Options};
use crate::pin;
use crate::sys::uapi::{MapFlags, UpdateFlags};

/// The pin's name, beside the directories of maps, programs and links.
const NAME: &str = "record";

/// The name while it is being written.
const NEW: &str = "record-new";

/// The record's pin in a deployment's directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Writes the record: a frozen array of one value, which no program uses.
pub(super) fn write(dir: &Path, record: &Record) -> Result<(), Error> {
    let fault = |source| Error::Record { name: record.name.clone(), path: path(dir), source };
    let bytes = record.to_bytes().map_err(fault)?;
    let options = Options {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        max_entries: 1,
        flags: MapFlags::RDONLY_PROG.bits(),
        ..Options::default()
    };
    let map = Map::create("loader_record", &options)?;
    map.update(&0_u32.to_ne_bytes(), &bytes, UpdateFlags::ANY)?;
    map.freeze()?;
    let new = dir.join(NEW);
    forget(&new)?;
    map.pin(&new)?;
    rename(&new, &path(dir))
}

/// Reads the record; `None` when there is none.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Record>, Error> {
    let path = path(dir);
    if !exists(&path) {
        return Ok(None);
    }
    let map = Map::from_pin(&path)?;
    let bytes = map.lookup(&0_u32.to_ne_bytes())?.unwrap_or_default();
    Record::from_bytes(&bytes).map(Some).map_err(|source| Error::Record { name: name.to_owned(), path, source })
}

/// Removes the record, and what an interrupted write left of one.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    forget(&dir.join(NEW))?;
    forget(&path(dir))
}

/// Whether there is a pin, without following what it is.
pub(super) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Puts a pin in the place of another, in one step.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|source| Error::File { what: "move a pin to", path: to.to_owned(), source })
}

/// Removes a pin that may not be there.
pub(super) fn forget(path: &Path) -> Result<(), Error> {
    match pin::unpin(path) {
        Ok(()) => Ok(()),
        Err(_) if !exists(path) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

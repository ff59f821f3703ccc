//! Stage: loaded maps. Input: a map that is there and the one that is to take its place. Output: its entries in the new one,
//! as far as they fit, counted.
//!
//! Keys and values are carried over field by field where both maps have types, else byte by byte. Programs may write to
//! the old map meanwhile: what they write after an entry was read is not carried over. Read next: `../plan.rs`, which
//! decides when.

use std::collections::BTreeMap;
use std::fmt;

use asm::object::MapType;
use serde::Serialize;

use super::{Entry, Error, Found, Map, Wanted};
use crate::btf::layout::{Layout, Moves};
use crate::sys::Errno;
use crate::sys::uapi::UpdateFlags;

/// The types whose entries user space can read as a whole and write again.
pub(crate) const TYPES: [MapType; 7] = [
    MapType::HASH,
    MapType::PERCPU_HASH,
    MapType::LRU_HASH,
    MapType::LRU_PERCPU_HASH,
    MapType::ARRAY,
    MapType::PERCPU_ARRAY,
    MapType::LPM_TRIE,
];
const PER_CPU: [MapType; 3] = [MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH, MapType::PERCPU_ARRAY];
/// Entries handed to the kernel in one call.
const AT_ONCE: usize = 1024;

/// How the entries of one map become entries of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    key: Carry,
    value: Carry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Carry {
    /// As they are.
    Bytes,
    /// Field by field.
    Fields(Moves),
}

/// What became of a map's entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The map.
    pub map: String,
    /// Its pin name, where it has one.
    #[serde(skip)]
    pub pin: String,
    /// Entries that are in the new map.
    pub copied: u64,
    /// Entries that are not, by the reason.
    pub left: BTreeMap<String, u64>,
    /// Fields of the value that are not carried over.
    pub dropped: Vec<String>,
    /// Fields of the value that are new.
    pub added: Vec<String>,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map {}: {} entries copied", self.map, self.copied)?;
        for (why, count) in &self.left {
            write!(f, ", {count} left behind ({why})")?;
        }
        for (what, fields) in [("without", &self.dropped), ("new", &self.added)] {
            if !fields.is_empty() {
                write!(f, "; {what} {}", fields.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Migration {
    /// Works out how, without asking the kernel.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn new(wanted: &Wanted, found: &Found) -> Result<Self, String> {
        for map_type in [found.info.map_type, wanted.map_type] {
            if !TYPES.contains(&map_type) {
                return Err(format!("entries of a map of type {map_type} cannot be read and written again"));
            }
        }
        if PER_CPU.contains(&found.info.map_type) != PER_CPU.contains(&wanted.map_type) {
            return Err("a value for each CPU does not become one value, nor the other way round".to_owned());
        }
        let key = carry("key", (&found.key, found.info.key_size), (&wanted.key, wanted.key_size))?;
        if let Carry::Fields(moves) = &key
            && !moves.is_complete()
        {
            return Err("the key has other fields".to_owned());
        }
        let value = carry("value", (&found.value, found.info.value_size), (&wanted.value, wanted.value_size))?;
        if let Carry::Fields(moves) = &value
            && moves.is_empty()
        {
            return Err("the values have no field in common".to_owned());
        }
        Ok(Self { key, value })
    }

    /// Copies every entry that fits.
    ///
    /// # Errors
    /// When the old map cannot be read. What the new one does not take is counted, not an error.
    pub fn run(&self, old: &Map, new: &Map) -> Result<Migrated, Error> {
        let mut done = Migrated { map: new.name().to_owned(), ..Migrated::default() };
        if let Carry::Fields(moves) = &self.value {
            (done.dropped, done.added) = (moves.dropped.clone(), moves.added.clone());
        }
        let mut ready = Vec::new();
        for (key, value) in old.entries()? {
            match self.translate(old, new, &key, &value)? {
                Ok(entry) => ready.push(entry),
                Err(why) => *done.left.entry(why).or_default() += 1,
            }
        }
        for chunk in ready.chunks(AT_ONCE) {
            write(new, chunk, &mut done);
        }
        Ok(done)
    }

    /// One entry as the new map wants it; or why it does not fit.
    fn translate(&self, old: &Map, new: &Map, key: &[u8], value: &[u8]) -> Result<Result<Entry, String>, Error> {
        let mut new_key = vec![0; new.key_size()];
        if let Err(why) = self.key.apply("key", key, &mut new_key) {
            return Ok(Err(why));
        }
        // An array has its elements already: new variables keep the values that the object gives them.
        let there = if self.value.may_add() && is_array(new) { new.lookup(&new_key).ok().flatten() } else { None };
        let mut new_value = there.unwrap_or_else(|| vec![0; new.sys().user_value_size()]);
        let (from, to) = (stride(old, value.len()), stride(new, new_value.len()));
        for (value, new_value) in value.chunks(from).zip(new_value.chunks_mut(to)) {
            let (old_size, new_size) = (old.value_size().min(value.len()), new.value_size().min(new_value.len()));
            if let Err(why) = self.value.apply("value", &value[..old_size], &mut new_value[..new_size]) {
                return Ok(Err(why));
            }
        }
        Ok(Ok((new_key, new_value)))
    }
}

impl Carry {
    fn apply(&self, what: &str, old: &[u8], new: &mut [u8]) -> Result<(), String> {
        match self {
            Self::Bytes if old.len() == new.len() => {
                new.copy_from_slice(old);
                Ok(())
            }
            Self::Bytes => Err(format!("{} bytes of {what} do not fit into {}", old.len(), new.len())),
            Self::Fields(moves) => moves.apply(old, new).map_err(|field| match field {
                "" => format!("its {what} does not fit"),
                field => format!("{what} field {field} does not fit"),
            }),
        }
    }

    fn may_add(&self) -> bool {
        matches!(self, Self::Fields(moves) if !moves.added.is_empty())
    }
}

fn is_array(map: &Map) -> bool {
    matches!(map.map_type(), MapType::ARRAY | MapType::PERCPU_ARRAY)
}

/// The bytes of one CPU's value, or of the only one.
fn stride(map: &Map, all: usize) -> usize {
    if map.is_per_cpu() { map.value_size().next_multiple_of(8).max(8) } else { all.max(1) }
}

fn carry(
    what: &str,
    (old, old_size): (&Option<Layout>, u32),
    (new, new_size): (&Option<Layout>, u32),
) -> Result<Carry, String> {
    match (old, new) {
        (Some(old), Some(new)) if old != new || old_size != new_size => Ok(Carry::Fields(Moves::new(old, new))),
        _ if old_size == new_size => Ok(Carry::Bytes),
        _ => Err(format!("without types on both sides nobody knows how {old_size} bytes of {what} become {new_size}")),
    }
}

/// In one call where the kernel can; one by one from the first entry that it refuses.
fn write(new: &Map, entries: &[Entry], done: &mut Migrated) {
    let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key).copied().collect();
    let values: Vec<u8> = entries.iter().flat_map(|(_, value)| value).copied().collect();
    let first = match new.sys().update_batch(&keys, &values, UpdateFlags::ANY) {
        Ok(()) => entries.len(),
        Err((_, written)) => written,
    };
    done.copied += first as u64;
    for (key, value) in &entries[first..] {
        match new.update(key, value, UpdateFlags::ANY) {
            Ok(()) => done.copied += 1,
            Err(Error::Command { source: Errno::E2BIG, .. }) => {
                *done.left.entry("no room".to_owned()).or_default() += 1;
            }
            Err(error) => *done.left.entry(error.to_string()).or_default() += 1,
        }
    }
}

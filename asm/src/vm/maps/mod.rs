//! Maps of the interpreter: what the kernel's map types promise, over the interpreter's checked memory.
//!
//! Input: keys and values as bytes. Output: addresses of values for programs, bytes for hosts, and the errno the kernel
//! would give. Read next: `helpers.rs`, the only road by which a program reaches a map.
//!
//! Values live in one memory region a map, one cell a value (and a CPU), so a program that runs over the end of a
//! value faults even when another value follows.

mod lpm;
mod store;

use lpm::{longest_prefix, lpm_key};
use store::{Record, Store, index_of, is_indexed, is_storage, next_slot, take_slot};

use super::fault::RegionKind;
use super::memory::{Memory, RegionId};
use crate::object::MapType;

/// `BPF_NOEXIST`: an update must create the element.
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`: an update must find the element.
pub const EXIST: u64 = 2;

/// The errno a map operation fails with, as the kernel returns it to programs: negative.
pub type Errno = i64;
/// `-ENOENT`: no such element.
pub const ENOENT: Errno = -2;
/// `-E2BIG`: an index out of range, or a full map.
pub const E2BIG: Errno = -7;
/// `-EEXIST`: [`NOEXIST`] was asked and the element is there.
pub const EEXIST: Errno = -17;
/// `-EINVAL`: flags or an operation that the map type does not know.
pub const EINVAL: Errno = -22;

/// Bytes that the values of one map may take; a larger map is refused when it is made.
pub const MAX_VALUE_BYTES: usize = 256 << 20;

/// Objects that may own an element of a storage map.
const MAX_OWNERS: u32 = 1024;

/// What makes a map: `bpf_map_create` in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSpec {
    /// For traces and [`super::Vm::map`].
    pub name: String,
    /// The type.
    pub map_type: MapType,
    /// Bytes.
    pub key_size: u32,
    /// Bytes, without the rounding to eight.
    pub value_size: u32,
    /// Elements; bytes for a ring buffer.
    pub max_entries: u32,
}

/// A map that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The interpreter has no model of the type.
    #[error("map `{name}`: the interpreter has no map of type {map_type}")]
    Unsupported {
        /// The map.
        name: String,
        /// Its type.
        map_type: MapType,
    },
    /// Sizes that the kernel would refuse too, or values over [`MAX_VALUE_BYTES`].
    #[error("map `{name}`: key of {key_size} bytes, value of {value_size}, {max_entries} entries: {why}")]
    Sizes {
        /// The map.
        name: String,
        /// Bytes.
        key_size: u32,
        /// Bytes.
        value_size: u32,
        /// Elements.
        max_entries: u32,
        /// Which rule was broken.
        why: &'static str,
    },
}

/// A map with its elements.
#[derive(Debug, Clone)]
pub struct Map {
    spec: MapSpec,
    store: Store,
    region: RegionId,
    /// Bytes from one value to the next: `value_size` rounded up to eight.
    stride: usize,
    /// Values an element has: the number of CPUs for per-CPU types, else one.
    copies: usize,
}

impl Map {
    /// Makes the map with index `index` and its region in `memory`.
    pub(super) fn new(mut spec: MapSpec, index: u32, cpus: usize, memory: &mut Memory) -> Result<Self, MapError> {
        let store = Store::of(&spec)?;
        let per_cpu = matches!(
            spec.map_type,
            MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH | MapType::PERCPU_CGROUP_STORAGE
        );
        if is_storage(spec.map_type) {
            // One element for the cgroup that the program is attached to, or one for each owner.
            spec.max_entries = if matches!(store, Store::Array) { 1 } else { MAX_OWNERS };
        }
        let copies = if per_cpu { cpus } else { 1 };
        let stride = (spec.value_size as usize).next_multiple_of(8).max(8);
        let whole = stride.saturating_mul(copies).saturating_mul(spec.max_entries as usize);
        let mut bytes = Vec::new();
        let bounded = matches!(store, Store::Ring { .. } | Store::Handles(_)) || is_storage(spec.map_type);
        if !bounded && whole > MAX_VALUE_BYTES {
            return Err(spec.refuse("its values would take more than 256 MiB"));
        }
        if matches!(store, Store::Array) {
            bytes.resize(whole, 0);
        }
        let region = memory.add_cells(RegionKind::MapValues(index), bytes, spec.value_size as usize, stride);
        Ok(Self { spec, store, region, stride, copies })
    }

    /// What the map was made of.
    #[must_use]
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// The address of the value under `key` on `cpu`, or `None` (null).
    pub fn lookup(&mut self, key: &[u8], cpu: usize) -> Option<u64> {
        let slot = match &mut self.store {
            Store::Array => index_of(key).filter(|i| *i < self.spec.max_entries)?,
            Store::Hash { slots, age, .. } => {
                let slot = *slots.get(key)?;
                if let Some(age) = age {
                    age.touch(key);
                }
                slot
            }
            Store::Lpm { slots, .. } => longest_prefix(slots, key)?,
            _ => return None,
        };
        Some(self.address(slot, cpu))
    }

    fn address(&self, slot: u32, cpu: usize) -> u64 {
        let copy = if self.copies > 1 { cpu % self.copies } else { 0 };
        let offset = (slot as usize * self.copies + copy) * self.stride;
        // Bounded by MAX_VALUE_BYTES.
        self.region.address(u32::try_from(offset).unwrap_or(u32::MAX))
    }

    /// Stores `value` under `key`; `cpu` chooses the copy of a per-CPU map, `None` writes all of them.
    ///
    /// # Errors
    /// The errno that the kernel gives: [`EEXIST`], [`ENOENT`], [`E2BIG`], [`EINVAL`].
    pub fn update(
        &mut self,
        memory: &mut Memory,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: Option<usize>,
    ) -> Result<(), Errno> {
        if flags > EXIST {
            return Err(EINVAL);
        }
        let mut fresh = false;
        let slot = match &mut self.store {
            Store::Array => {
                let slot = index_of(key).filter(|i| *i < self.spec.max_entries).ok_or(E2BIG)?;
                if flags == NOEXIST { Err(EEXIST) } else { Ok(slot) }?
            }
            Store::Hash { slots, free, age } => {
                let found = slots.get(key).copied();
                let slot = match allowed(found, flags)? {
                    Some(slot) => slot,
                    None => take_slot(slots, free, age.as_mut(), self.spec.max_entries)?,
                };
                fresh = found.is_none();
                slots.insert(key.into(), slot);
                if let Some(age) = age {
                    age.touch(key);
                }
                slot
            }
            Store::Lpm { slots, free } => {
                let key = lpm_key(key).ok_or(EINVAL)?;
                let slot = match allowed(slots.get(&key).copied(), flags)? {
                    Some(slot) => slot,
                    None => next_slot(slots.len(), free, self.spec.max_entries).ok_or(ENOSPC)?,
                };
                slots.insert(key, slot);
                slot
            }
            _ => return Err(EINVAL),
        };
        if fresh && cpu.is_some() && self.copies > 1 {
            // A new element starts with zeroes on the other CPUs.
            self.write(memory, slot, &vec![0; value.len()], None);
        }
        self.write(memory, slot, value, cpu);
        Ok(())
    }

    fn write(&self, memory: &mut Memory, slot: u32, value: &[u8], cpu: Option<usize>) {
        let end = (slot as usize + 1) * self.copies * self.stride;
        if memory.region(self.region).len() < end {
            memory.grow(self.region, end);
        }
        let cells = memory.region_mut(self.region);
        let first = slot as usize * self.copies;
        let copies = match cpu {
            Some(cpu) if self.copies > 1 => first + cpu % self.copies..first + cpu % self.copies + 1,
            _ => first..first + self.copies,
        };
        for copy in copies {
            let at = copy * self.stride;
            cells[at..at + value.len()].copy_from_slice(value);
        }
    }

    /// Removes the element under `key`.
    ///
    /// # Errors
    /// [`ENOENT`] when it is not there, [`EINVAL`] for types whose elements cannot be removed.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Errno> {
        let (slot, free) = match &mut self.store {
            Store::Hash { slots, free, age } => {
                if let Some(age) = age {
                    age.forget(key);
                }
                (slots.remove(key).ok_or(ENOENT)?, free)
            }
            Store::Lpm { slots, free } => {
                let key = lpm_key(key).ok_or(EINVAL)?;
                (slots.remove(&key).ok_or(ENOENT)?, free)
            }
            Store::Handles(handles) => return handles.remove(key).map(drop).ok_or(ENOENT),
            _ => return Err(EINVAL),
        };
        free.push(slot);
        Ok(())
    }

    /// The keys, in byte order; an array's are all its indexes.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        match &self.store {
            Store::Array => (0..self.spec.max_entries).map(|i| i.to_le_bytes().to_vec()).collect(),
            Store::Hash { slots, .. } => slots.keys().map(|k| k.to_vec()).collect(),
            Store::Lpm { slots, .. } => slots.keys().map(|(len, k)| [&len.to_le_bytes(), &**k].concat()).collect(),
            Store::Handles(handles) => handles.keys().map(|k| k.to_vec()).collect(),
            _ => Vec::new(),
        }
    }

    /// Puts a host object (a program's, device's, socket's or map's number) under `key`.
    ///
    /// # Errors
    /// [`EINVAL`] when the map does not hold host objects, [`E2BIG`] when `key` is an index out of range.
    pub fn set_handle(&mut self, key: &[u8], handle: u64) -> Result<(), Errno> {
        let (indexed, max) = (is_indexed(self.spec.map_type), self.spec.max_entries);
        let Store::Handles(handles) = &mut self.store else { return Err(EINVAL) };
        if indexed && index_of(key).is_none_or(|i| i >= max) || !indexed && handles.len() >= max as usize {
            return Err(E2BIG);
        }
        handles.insert(key.into(), handle);
        Ok(())
    }

    /// The host object under `key`.
    #[must_use]
    pub fn handle(&self, key: &[u8]) -> Option<u64> {
        match &self.store {
            Store::Handles(handles) => handles.get(key).copied(),
            _ => None,
        }
    }

    /// `bpf_map_push_elem`: adds to a queue, a stack or a bloom filter; `overwrite` drops the oldest of a full queue.
    ///
    /// # Errors
    /// [`E2BIG`] when it is full, [`EINVAL`] for other types.
    pub fn push(&mut self, value: &[u8], overwrite: bool) -> Result<(), Errno> {
        match &mut self.store {
            Store::Queue { items, .. } => {
                if items.len() >= self.spec.max_entries as usize {
                    if !overwrite {
                        return Err(E2BIG);
                    }
                    items.pop_front();
                }
                items.push_back(value.to_vec());
            }
            Store::Bloom(members) => {
                members.insert(value.to_vec());
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    /// `bpf_map_pop_elem` (`remove`) or `bpf_map_peek_elem`: the next value of a queue or stack.
    ///
    /// # Errors
    /// [`ENOENT`] when it is empty, [`EINVAL`] for other types.
    pub fn next(&mut self, remove: bool) -> Result<Vec<u8>, Errno> {
        let Store::Queue { items, lifo } = &mut self.store else { return Err(EINVAL) };
        let value = match (*lifo, remove) {
            (true, true) => items.pop_back(),
            (false, true) => items.pop_front(),
            (true, false) => items.back().cloned(),
            (false, false) => items.front().cloned(),
        };
        value.ok_or(ENOENT)
    }

    /// Whether a bloom filter may hold `value`; this one never errs.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        matches!(&self.store, Store::Bloom(members) if members.contains(value))
    }

    /// Takes room for a ring-buffer record of `size` bytes and gives its number; `None` when the buffer is full.
    pub(super) fn reserve(&mut self, size: usize) -> Option<u64> {
        let Store::Ring { records, taken, consumer, producer } = &mut self.store else { return None };
        // A record has a header of eight bytes and is rounded up to eight; one byte of the buffer stays free.
        let room = (size as u64 + 8).next_multiple_of(8);
        if *producer + room - *consumer >= u64::from(self.spec.max_entries) {
            return None;
        }
        *producer += room;
        records.push_back(Record::Busy { room });
        Some(*taken + records.len() as u64 - 1)
    }

    /// Publishes a reserved record, or (`None`) gives its room back unread.
    pub(super) fn submit(&mut self, number: u64, record: Option<Vec<u8>>) {
        let Store::Ring { records, taken, .. } = &mut self.store else { return };
        let at = number.checked_sub(*taken).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| records.get_mut(at)) {
            let (Record::Busy { room } | Record::Ready { room, .. } | Record::Discarded { room }) = *slot;
            *slot = match record {
                Some(bytes) => Record::Ready { bytes, room },
                None => Record::Discarded { room },
            };
        }
    }

    /// Adds a record of a perf event array, whose readers are never late here.
    pub(super) fn event(&mut self, bytes: Vec<u8>) {
        if let Store::Ring { records, .. } = &mut self.store {
            records.push_back(Record::Ready { bytes, room: 0 });
        }
    }

    /// How far the reader and the writers of a ring buffer are, in bytes since it was made.
    pub(super) fn ring_positions(&self) -> (u64, u64) {
        match self.store {
            Store::Ring { consumer, producer, .. } => (consumer, producer),
            _ => (0, 0),
        }
    }

    /// Takes the records that programs have submitted, oldest first, up to one that is still being written.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let Store::Ring { records, taken, consumer, .. } = &mut self.store else { return Vec::new() };
        let mut drained = Vec::new();
        while let Some(record) = records.pop_front() {
            let room = match record {
                Record::Busy { .. } => {
                    records.push_front(record);
                    break;
                }
                Record::Ready { bytes, room } => {
                    drained.push(bytes);
                    room
                }
                Record::Discarded { room } => room,
            };
            *taken += 1;
            *consumer += room;
        }
        drained
    }
}

impl MapSpec {
    fn refuse(&self, why: &'static str) -> MapError {
        let Self { name, key_size, value_size, max_entries, .. } = self.clone();
        MapError::Sizes { name, key_size, value_size, max_entries, why }
    }
}

/// `-ENOSPC`: a prefix tree is full.
const ENOSPC: Errno = -28;

/// Whether `flags` allow an update of an element that is there (`found`) or not.
fn allowed(found: Option<u32>, flags: u64) -> Result<Option<u32>, Errno> {
    match (found, flags) {
        (Some(_), NOEXIST) => Err(EEXIST),
        (None, EXIST) => Err(ENOENT),
        _ => Ok(found),
    }
}

//! How a map finds its elements: the kernel's map types, reduced to seven shapes.
//!
//! Input: a [`MapSpec`]. Output: a [`Store`], whose slots `mod.rs` turns into addresses. Read next: `lpm.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{E2BIG, Errno, MapError, MapSpec};
use crate::object::MapType;

/// How elements are found.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// The key is the index; every element exists.
    Array,
    /// Key to slot.
    Hash { slots: BTreeMap<Box<[u8]>, u32>, free: Vec<u32>, age: Option<Age> },
    /// (prefix length, masked address) to slot.
    Lpm { slots: BTreeMap<(u32, Box<[u8]>), u32>, free: Vec<u32> },
    /// Index to something outside memory that the host put there: a program, a device, a socket.
    Handles(BTreeMap<Box<[u8]>, u64>),
    /// First in, first out; or last in, first out.
    Queue { items: VecDeque<Vec<u8>>, lifo: bool },
    /// Members only.
    Bloom(BTreeSet<Vec<u8>>),
    /// Records, and how far the reader and the writers are, in bytes.
    Ring { records: VecDeque<Record>, taken: u64, consumer: u64, producer: u64 },
}

/// A record of a ring buffer, in the order of reservation.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// A program is writing it, so nobody reads beyond it.
    Busy { room: u64 },
    /// What a reader gets.
    Ready { bytes: Vec<u8>, room: u64 },
    /// Its room, to be skipped.
    Discarded { room: u64 },
}

/// Order of use, for LRU maps.
#[derive(Debug, Clone, Default)]
pub(super) struct Age {
    now: u64,
    last_use: BTreeMap<Box<[u8]>, u64>,
    by_use: BTreeMap<u64, Box<[u8]>>,
}

impl Age {
    pub(super) fn touch(&mut self, key: &[u8]) {
        self.forget(key);
        self.now += 1;
        self.last_use.insert(key.into(), self.now);
        self.by_use.insert(self.now, key.into());
    }

    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(stamp) = self.last_use.remove(key) {
            self.by_use.remove(&stamp);
        }
    }

    fn oldest(&self) -> Option<Box<[u8]>> {
        self.by_use.values().next().cloned()
    }
}

impl Store {
    pub(super) fn of(spec: &MapSpec) -> Result<Self, MapError> {
        let hash = |age| Self::Hash { slots: BTreeMap::new(), free: Vec::new(), age };
        let store = match spec.map_type {
            MapType::ARRAY | MapType::PERCPU_ARRAY => Self::Array,
            MapType::HASH | MapType::PERCPU_HASH => hash(None),
            MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => hash(Some(Age::default())),
            MapType::LPM_TRIE => Self::Lpm { slots: BTreeMap::new(), free: Vec::new() },
            MapType::QUEUE => Self::Queue { items: VecDeque::new(), lifo: false },
            MapType::STACK => Self::Queue { items: VecDeque::new(), lifo: true },
            MapType::BLOOM_FILTER => Self::Bloom(BTreeSet::new()),
            MapType::RINGBUF | MapType::PERF_EVENT_ARRAY => {
                Self::Ring { records: VecDeque::new(), taken: 0, consumer: 0, producer: 0 }
            }
            MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::TASK_STORAGE | MapType::CGRP_STORAGE => hash(None),
            MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => Self::Array,
            t if holds_handles(t) => Self::Handles(BTreeMap::new()),
            map_type => return Err(MapError::Unsupported { name: spec.name.clone(), map_type }),
        };
        let indexed = is_indexed(spec.map_type);
        if spec.max_entries == 0 && !is_storage(spec.map_type) {
            return Err(spec.refuse("it needs at least one entry"));
        }
        if indexed && spec.key_size != 4 {
            return Err(spec.refuse("the key of an array is a 4-byte index"));
        }
        if matches!(store, Self::Lpm { .. }) && spec.key_size <= 4 {
            return Err(spec.refuse("the key of a prefix tree is a 4-byte prefix length and at least one byte"));
        }
        Ok(store)
    }
}

/// Is the key an index below `max_entries`?
pub(super) fn is_indexed(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::ARRAY
            | MapType::PERCPU_ARRAY
            | MapType::PROG_ARRAY
            | MapType::ARRAY_OF_MAPS
            | MapType::DEVMAP
            | MapType::CPUMAP
            | MapType::XSKMAP
            | MapType::SOCKMAP
    )
}

/// Does a kernel object (a socket, a task, a cgroup) own each element?
pub(super) fn is_storage(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::SK_STORAGE
            | MapType::INODE_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
            | MapType::CGROUP_STORAGE
            | MapType::PERCPU_CGROUP_STORAGE
    )
}

/// Are the values things outside memory, which only the host can put there?
fn holds_handles(map_type: MapType) -> bool {
    let keyed = matches!(map_type, MapType::HASH_OF_MAPS | MapType::DEVMAP_HASH | MapType::SOCKHASH);
    keyed || is_indexed(map_type) && !matches!(map_type, MapType::ARRAY | MapType::PERCPU_ARRAY)
}

pub(super) fn index_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(key.try_into().ok()?))
}

pub(super) fn next_slot(len: usize, free: &mut Vec<u32>, max: u32) -> Option<u32> {
    let fresh = u32::try_from(len).ok().filter(|n| *n < max);
    free.pop().or(fresh)
}

pub(super) fn take_slot(
    slots: &mut BTreeMap<Box<[u8]>, u32>,
    free: &mut Vec<u32>,
    age: Option<&mut Age>,
    max: u32,
) -> Result<u32, Errno> {
    if let Some(slot) = next_slot(slots.len(), free, max) {
        return Ok(slot);
    }
    let age = age.ok_or(E2BIG)?;
    let oldest = age.oldest().ok_or(E2BIG)?;
    age.forget(&oldest);
    slots.remove(&oldest).ok_or(E2BIG)
}

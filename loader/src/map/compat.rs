//! Stage: loaded maps. Input: what an object wants and the map that is pinned. Output: every difference between them.
//! Read next: `crate::prog`.

use std::fmt;

use asm::object::MapType;

use super::{ACCESS_FLAGS, Info};
use crate::sys::uapi::MapFlags;

/// What an object wants of a map that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What kind of map.
    pub map_type: MapType,
    /// Bytes.
    pub key_size: u32,
    /// Bytes.
    pub value_size: u32,
    /// Elements, before what the kernel rounds.
    pub max_entries: u32,
    /// [`MapFlags`] as bits.
    pub flags: u32,
    /// `map_extra`.
    pub extra: u64,
}

/// One property in which a map is not what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which: `type`, `key size`, `value size`, `entries`, `flags` or `extra`.
    pub what: &'static str,
    /// The object's.
    pub wanted: u64,
    /// The map's.
    pub found: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            "type" => {
                let types = [self.wanted, self.found].map(|number| MapType(u32::try_from(number).unwrap_or(u32::MAX)));
                write!(f, "type: wanted {}, found {}", types[0], types[1])
            }
            "flags" => write!(f, "{}: wanted {:#x}, found {:#x}", self.what, self.wanted, self.found),
            _ => write!(f, "{}: wanted {}, found {}", self.what, self.wanted, self.found),
        }
    }
}

/// A page, to which ring buffers are rounded.
const PAGE: u64 = 4096;

/// Every difference that matters; empty if the map can be used again.
///
/// What the kernel itself changes when it makes a map is no difference: device maps become read-only to programs,
/// access flags belong to a descriptor, a ring buffer's size may have been rounded to a power of two of pages.
#[must_use]
pub fn differences(wanted: &Wanted, found: &Info) -> Vec<Difference> {
    let entries = [u64::from(wanted.max_entries), u64::from(found.max_entries)];
    let [wanted_entries, found_entries] = if matches!(wanted.map_type, MapType::RINGBUF | MapType::USER_RINGBUF) {
        entries.map(ring_size)
    } else {
        entries
    };
    [
        ("type", u64::from(wanted.map_type.0), u64::from(found.map_type.0)),
        ("key size", u64::from(wanted.key_size), u64::from(found.key_size)),
        ("value size", u64::from(wanted.value_size), u64::from(found.value_size)),
        ("entries", wanted_entries, found_entries),
        ("flags", u64::from(comparable(wanted.map_type, wanted.flags)), {
            u64::from(comparable(found.map_type, found.flags))
        }),
        ("extra", wanted.extra, found.extra),
    ]
    .into_iter()
    .filter(|(_, wanted, found)| wanted != found)
    .map(|(what, wanted, found)| Difference { what, wanted, found })
    .collect()
}

/// The flags without those that tell nothing.
fn comparable(map_type: MapType, flags: u32) -> u32 {
    let by_kernel =
        if matches!(map_type, MapType::DEVMAP | MapType::DEVMAP_HASH) { MapFlags::RDONLY_PROG.bits() } else { 0 };
    flags & !(ACCESS_FLAGS | by_kernel | MapFlags::NUMA_NODE.bits())
}

/// The size a ring buffer gets: a power of two, at least a page.
fn ring_size(bytes: u64) -> u64 {
    bytes.max(PAGE).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> (Wanted, Info) {
        let wanted =
            Wanted { map_type: MapType::HASH, key_size: 4, value_size: 8, max_entries: 16, flags: 1, extra: 0 };
        (wanted, info(&wanted))
    }

    fn info(wanted: &Wanted) -> Info {
        Info {
            id: 7,
            name: "m".into(),
            map_type: wanted.map_type,
            key_size: wanted.key_size,
            value_size: wanted.value_size,
            max_entries: wanted.max_entries,
            flags: wanted.flags,
            btf_id: 0,
            btf_key_type_id: 0,
            btf_value_type_id: 0,
            extra: wanted.extra,
        }
    }

    #[test]
    fn all_differences_are_listed_at_once() {
        let (wanted, same) = hash();
        assert_eq!(differences(&wanted, &same), []);
        let other = Info {
            map_type: MapType::LRU_HASH,
            key_size: 8,
            value_size: 12,
            max_entries: 17,
            flags: 0,
            extra: 3,
            ..same
        };
        let texts: Vec<String> = differences(&wanted, &other).iter().map(ToString::to_string).collect();
        let want = [
            "type: wanted hash, found lru_hash",
            "key size: wanted 4, found 8",
            "value size: wanted 8, found 12",
            "entries: wanted 16, found 17",
            "flags: wanted 0x1, found 0x0",
            "extra: wanted 0, found 3",
        ];
        assert_eq!(texts, want);
    }

    #[test]
    fn what_the_kernel_changes_is_no_difference() {
        let (hash, _) = hash();
        let devmap = Wanted { map_type: MapType::DEVMAP, ..hash };
        let found = Info { flags: hash.flags | MapFlags::RDONLY_PROG.bits(), ..info(&devmap) };
        assert_eq!(differences(&devmap, &found), [], "devmap");
        let ring = Wanted { map_type: MapType::RINGBUF, key_size: 0, value_size: 0, max_entries: 5000, ..hash };
        assert_eq!(differences(&ring, &Info { max_entries: 8192, ..info(&ring) }), [], "ring");
        let read_only = Info { flags: hash.flags | MapFlags::RDONLY.bits(), ..info(&hash) };
        assert_eq!(differences(&hash, &read_only), [], "descriptor");
    }
}

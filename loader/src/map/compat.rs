//! Stage: loaded maps. Input: what an object wants and the map that is pinned. Output: every difference between them.
//! Read next: `migrate.rs`, which carries the contents over in spite of them.

use std::fmt;

use asm::btf::{Btf, TypeId};
use asm::object::MapType;

use super::{ACCESS_FLAGS, Error, Info, Map};
use crate::btf::{self, layout::Layout};
use crate::spec::MapSpec;
use crate::sys::uapi::MapFlags;

/// What an object wants of a map that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What kind of map.
    pub map_type: MapType,
    /// Bytes.
    pub key_size: u32,
    /// Bytes.
    pub value_size: u32,
    /// Elements, before what the kernel rounds; 0 for any number.
    pub max_entries: u32,
    /// [`MapFlags`] as bits.
    pub flags: u32,
    /// `map_extra`.
    pub extra: u64,
    /// The fields of a key, where the object's types tell.
    pub key: Option<Layout>,
    /// The fields of a value; for global data, its variables.
    pub value: Option<Layout>,
}

/// A map that is there, and the types that it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the kernel says of it.
    pub info: Info,
    /// The fields of a key; `None` for a map without types.
    pub key: Option<Layout>,
    /// The fields of a value.
    pub value: Option<Layout>,
}

impl Wanted {
    /// What an object's definition comes to.
    #[must_use]
    pub fn of(spec: &MapSpec, types: Option<&Btf<'_>>) -> Self {
        let layout = |id: Option<TypeId>| types.zip(id).and_then(|(types, id)| Layout::of(types, id));
        Self {
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            flags: spec.flags,
            extra: spec.map_extra,
            key: layout(spec.key_type),
            value: layout(spec.value_type),
        }
    }
}

impl Found {
    /// Asks the kernel.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn of(map: &Map) -> Result<Self, Error> {
        let info = map.info()?;
        let types = (info.btf_id != 0).then(|| btf::loaded(info.btf_id).ok()).flatten();
        let layout = |id| types.as_ref().filter(|_| id != 0).and_then(|types| Layout::of(types, TypeId(id)));
        let (key, value) = (layout(info.btf_key_type_id), layout(info.btf_value_type_id));
        Ok(Self { info, key, value })
    }
}

/// One property in which a map is not what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which: `type`, `key size`, `value size`, `entries`, `flags`, `extra`, or a field of the key or the value.
    pub what: String,
    /// The object's, in words.
    pub wanted: String,
    /// The map's.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}, found {}", self.what, self.wanted, self.found)
    }
}

/// A page, to which ring buffers are rounded.
const PAGE: u64 = 4096;

/// Every difference that matters; empty if the map can be used again.
///
/// What the kernel itself changes when it makes a map is no difference: device maps become read-only to programs,
/// access flags belong to a descriptor, a ring buffer's size may have been rounded to a power of two of pages. Fields are
/// compared by name, place, width and byte order, where both sides have types.
#[must_use]
pub fn differences(wanted: &Wanted, found: &Found) -> Vec<Difference> {
    let is_ring = matches!(wanted.map_type, MapType::RINGBUF | MapType::USER_RINGBUF);
    let entries = |number: u32| if is_ring { ring_size(number.into()) } else { number.into() };
    // None: as many as the machine has CPUs, or as whoever made the map wanted.
    let wanted_entries = if wanted.max_entries == 0 { found.info.max_entries } else { wanted.max_entries };
    let flags = |map_type, flags| format!("{:#x}", comparable(map_type, flags));
    let info = &found.info;
    let rows = [
        ("type", wanted.map_type.to_string(), info.map_type.to_string()),
        ("key size", wanted.key_size.to_string(), info.key_size.to_string()),
        ("value size", wanted.value_size.to_string(), info.value_size.to_string()),
        ("entries", entries(wanted_entries).to_string(), entries(info.max_entries).to_string()),
        ("flags", flags(wanted.map_type, wanted.flags), flags(info.map_type, info.flags)),
        ("extra", wanted.extra.to_string(), info.extra.to_string()),
    ];
    let rows = rows.into_iter().filter(|(_, wanted, found)| wanted != found);
    let mut all: Vec<_> =
        rows.map(|(what, wanted, found)| Difference { what: what.to_owned(), wanted, found }).collect();
    all.extend(fields("key", wanted.key.as_ref(), found.key.as_ref()));
    all.extend(fields("value", wanted.value.as_ref(), found.value.as_ref()));
    all
}

fn fields(of: &str, wanted: Option<&Layout>, found: Option<&Layout>) -> Vec<Difference> {
    let (Some(wanted), Some(found)) = (wanted, found) else { return Vec::new() };
    let words = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let one = |change: crate::btf::layout::Change| Difference {
        what: if change.path.is_empty() { of.to_owned() } else { format!("{of} field {}", change.path) },
        wanted: words(change.wanted),
        found: words(change.found),
    };
    wanted.changes(found).into_iter().map(one).collect()
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

    fn hash() -> Wanted {
        Wanted {
            map_type: MapType::HASH,
            key_size: 4,
            value_size: 8,
            max_entries: 16,
            flags: 1,
            extra: 0,
            key: None,
            value: None,
        }
    }

    fn found(wanted: &Wanted) -> Found {
        let info = Info {
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
        };
        Found { info, key: wanted.key.clone(), value: wanted.value.clone() }
    }

    #[test]
    fn all_differences_are_listed_at_once() {
        let wanted = hash();
        assert_eq!(differences(&wanted, &found(&wanted)), []);
        let mut other = found(&wanted);
        other.info = Info {
            map_type: MapType::LRU_HASH,
            key_size: 8,
            value_size: 12,
            max_entries: 17,
            flags: 0,
            extra: 3,
            ..other.info
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
    fn fields_in_other_places_are_differences() {
        let layout = |a, b| {
            let mut types = asm::btf::BtfBuilder::new();
            let u32_ = types.int("u32", 4, false);
            let id = types.struct_("value", 8, &[("a", u32_, a), ("b", u32_, b)]);
            Layout::of(&asm::btf::Btf::from_vec(types.encode().unwrap()).unwrap(), id)
        };
        let wanted = Wanted { value: layout(0, 4), ..hash() };
        let swapped = Found { value: layout(4, 0), ..found(&wanted) };
        let texts: Vec<String> = differences(&wanted, &swapped).iter().map(ToString::to_string).collect();
        let want = [
            "value field a: wanted 4 bytes at byte 0, found 4 bytes at byte 4",
            "value field b: wanted 4 bytes at byte 4, found 4 bytes at byte 0",
        ];
        assert_eq!(texts, want);
        assert_eq!(differences(&wanted, &Found { value: None, ..swapped }), [], "without types nothing is known");
    }

    #[test]
    fn what_the_kernel_changes_is_no_difference() {
        let changed = |wanted: &Wanted, max_entries, flags| {
            let mut found = found(wanted);
            (found.info.max_entries, found.info.flags) = (max_entries, flags);
            differences(wanted, &found)
        };
        let devmap = Wanted { map_type: MapType::DEVMAP, ..hash() };
        assert_eq!(changed(&devmap, 16, 1 | MapFlags::RDONLY_PROG.bits()), [], "devmap");
        let ring = Wanted { map_type: MapType::RINGBUF, key_size: 0, value_size: 0, max_entries: 5000, ..hash() };
        assert_eq!(changed(&ring, 8192, 1), [], "ring");
        assert_eq!(changed(&hash(), 16, 1 | MapFlags::RDONLY.bits()), [], "descriptor");
    }
}

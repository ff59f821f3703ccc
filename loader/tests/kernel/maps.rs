//! Maps: create, elements, per-CPU values, batches, typed view, freeze, ids.

use asm::object::MapType;
use loader::map::{Error, Found, Map, Options, Wanted, differences};
use loader::spec::MapSpec;
use loader::sys::Errno;
use loader::sys::map::possible_cpus;
use loader::sys::obj::Kind;
use loader::sys::uapi::UpdateFlags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::support::{gone, need_root};

fn map(name: &str, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    need_root();
    Map::create(name, &Options { map_type, key_size, value_size, max_entries, ..Options::default() })
        .expect("the map is created")
}

fn errno(result: Result<impl std::fmt::Debug, Error>) -> Errno {
    match result {
        Err(Error::Command { source, .. } | Error::Create { source, .. }) => source,
        other => panic!("expected an errno, got {other:?}"),
    }
}

#[test]
fn a_hash_inserts_replaces_deletes_and_lists() {
    let map = map("hash", MapType::HASH, 4, 8, 4);
    let key = 7_u32.to_ne_bytes();
    assert_eq!(map.lookup(&key).unwrap(), None);
    assert!(!map.delete(&key).unwrap());
    map.update(&key, &[1; 8], UpdateFlags::NOEXIST).unwrap();
    assert_eq!(errno(map.update(&key, &[2; 8], UpdateFlags::NOEXIST)), Errno::EEXIST);
    map.update(&key, &[2; 8], UpdateFlags::EXIST).unwrap();
    assert_eq!(map.lookup(&key).unwrap(), Some(vec![2; 8]));
    for n in 0..3_u32 {
        map.update(&n.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    }
    assert_eq!(errno(map.update(&9_u32.to_ne_bytes(), &[0; 8], UpdateFlags::ANY)), Errno::E2BIG, "a fifth of four");
    let mut keys: Vec<Vec<u8>> = map.keys().collect::<Result<_, _>>().unwrap();
    keys.sort();
    let want: Vec<Vec<u8>> = [0_u32, 1, 2, 7].map(|key| key.to_ne_bytes().to_vec()).into();
    assert_eq!(keys, want);
    assert!(map.delete(&key).unwrap());
}

#[test]
fn sizes_are_checked_before_the_kernel_is_asked() {
    let map = map("sizes", MapType::HASH, 4, 8, 4);
    for (name, error) in [
        ("key", map.lookup(&[0; 3]).unwrap_err()),
        ("value", map.update(&[0; 4], &[0; 9], UpdateFlags::ANY).unwrap_err()),
    ] {
        let text = error.to_string();
        assert!(text.contains("map `sizes`") && text.contains(name), "{text}");
    }
}

#[test]
fn values_per_cpu() {
    let cpus = possible_cpus().unwrap();
    for (name, map_type) in [("array", MapType::PERCPU_ARRAY), ("hash", MapType::PERCPU_HASH)] {
        // 12 bytes: the kernel rounds each CPU's value to 16.
        let map = map(name, map_type, 4, 12, 2);
        let key = 1_u32.to_ne_bytes();
        let values: Vec<Vec<u8>> = (0..cpus).map(|cpu| vec![u8::try_from(cpu % 251).unwrap() + 1; 12]).collect();
        let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        map.update_per_cpu(&key, &slices, UpdateFlags::ANY).unwrap();
        assert_eq!(map.lookup_per_cpu(&key).unwrap(), Some(values), "{name}");
        map.update_per_cpu(&key, &[&[9; 12]], UpdateFlags::ANY).unwrap();
        assert_eq!(map.lookup_per_cpu(&key).unwrap(), Some(vec![vec![9; 12]; cpus]), "{name}: one for all");
        assert!(matches!(map.update_per_cpu(&key, &[&[9; 11]], UpdateFlags::ANY), Err(Error::Size { .. })), "{name}");
    }
}

#[derive(Debug, PartialEq, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Value {
    packets: u64,
    bytes: u64,
}

#[test]
fn a_typed_view_checks_sizes_once() {
    let hash = map("typed", MapType::HASH, 4, 16, 8);
    let typed = hash.typed::<u32, Value>().unwrap();
    let value = Value { packets: 1, bytes: 60 };
    typed.set(&3, &value).unwrap();
    assert_eq!(typed.get(&3).unwrap(), Some(value));
    assert_eq!(typed.entries().unwrap(), [(3, value)]);
    assert!(typed.delete(&3).unwrap());
    assert!(hash.typed::<u64, Value>().is_err());
    let per_cpu = map("typed_cpu", MapType::PERCPU_ARRAY, 4, 16, 8);
    let typed = per_cpu.typed::<u32, Value>().unwrap();
    typed.set(&0, &value).unwrap();
    assert_eq!(typed.get_per_cpu(&0).unwrap(), Some(vec![value; possible_cpus().unwrap()]));
}

#[test]
fn batches_write_read_and_delete_many() {
    let map = map("batch", MapType::HASH, 4, 8, 1000);
    let keys: Vec<u8> = (0..1000_u32).flat_map(u32::to_ne_bytes).collect();
    let values: Vec<u8> = (0..1000_u64).flat_map(u64::to_ne_bytes).collect();
    map.sys().update_batch(&keys, &values, UpdateFlags::ANY).unwrap();
    let (mut seen, mut from) = (Vec::new(), None);
    let (mut some_keys, mut some_values) = (vec![0; 4 * 128], vec![0; 8 * 128]);
    loop {
        let batch = map.sys().lookup_batch(from.as_ref(), &mut some_keys, &mut some_values, false).unwrap();
        for (key, value) in some_keys.chunks_exact(4).zip(some_values.chunks_exact(8)).take(batch.count) {
            let (key, value) = (u32::read_from_bytes(key).unwrap(), u64::read_from_bytes(value).unwrap());
            assert_eq!(u64::from(key), value);
            seen.push(key);
        }
        match batch.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..1000));
    map.sys().delete_batch(&keys).unwrap();
    assert_eq!(map.keys().count(), 0);
}

#[test]
fn a_queue_gives_back_in_order() {
    let queue = map("queue", MapType::QUEUE, 0, 4, 4);
    for value in [1_u32, 2, 3] {
        queue.update(&[], &value.to_ne_bytes(), UpdateFlags::ANY).unwrap();
    }
    let mut taken = Vec::new();
    while let Some(value) = queue.take(&[]).unwrap() {
        taken.push(u32::read_from_bytes(&value[..]).unwrap());
    }
    assert_eq!(taken, [1, 2, 3]);
}

#[test]
fn a_frozen_map_is_read_only() {
    let map = map("frozen", MapType::ARRAY, 4, 4, 1);
    let key = 0_u32.to_ne_bytes();
    map.update(&key, &[5; 4], UpdateFlags::ANY).unwrap();
    map.freeze().unwrap();
    assert_eq!(errno(map.update(&key, &[6; 4], UpdateFlags::ANY)), Errno::EPERM);
    assert_eq!(map.lookup(&key).unwrap(), Some(vec![5; 4]));
}

#[test]
fn a_map_is_found_by_id_and_gone_after_drop() {
    let first = map("a_name_of_over_fifteen", MapType::HASH, 4, 8, 4);
    let info = first.info().unwrap();
    assert_eq!(info.name, "a_name_of_over_");
    let again = Map::from_id(info.id).unwrap();
    first.update(&[1; 4], &[2; 8], UpdateFlags::ANY).unwrap();
    assert_eq!(again.lookup(&[1; 4]).unwrap(), Some(vec![2; 8]));
    let spec = MapSpec { map_type: MapType::HASH, key_size: 4, value_size: 8, max_entries: 4, ..MapSpec::default() };
    let (wanted, found) = (Wanted::of(&spec, None), Found::of(&again).unwrap());
    assert_eq!(differences(&wanted, &found), []);
    let differ = differences(&Wanted { value_size: 16, max_entries: 5, ..wanted }, &found);
    assert_eq!(differ.iter().map(|one| &*one.what).collect::<Vec<_>>(), ["value size", "entries"]);
    drop((first, again));
    gone(Kind::Map, info.id);
    assert!(matches!(Map::from_id(info.id), Err(Error::NoId { .. })));
}

#[test]
fn a_refused_map_says_what_was_asked() {
    need_root();
    let error = Map::create("none", &Options { map_type: MapType(9999), ..Options::default() }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("map `none` (map_type 9999") && text.contains("does not know this map type"), "{text}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("EINVAL (22): Invalid argument"));
}

#[test]
fn an_array_can_be_mapped() {
    need_root();
    let flags = loader::sys::uapi::MapFlags::MMAPABLE.bits();
    let options =
        Options { map_type: MapType::ARRAY, key_size: 4, value_size: 8, max_entries: 4, flags, ..Options::default() };
    let map = Map::create("mapped", &options).unwrap();
    let memory = loader::sys::mmap::Mapping::new(std::os::fd::AsFd::as_fd(&map), 4096, 0, true).unwrap();
    map.update(&2_u32.to_ne_bytes(), &7_u64.to_ne_bytes(), UpdateFlags::ANY).unwrap();
    assert_eq!(memory.load_u64(16).unwrap(), 7);
    memory.store_u64(24, 9).unwrap();
    memory.write(0, &[1, 2, 3, 4]).unwrap();
    assert_eq!(map.lookup(&3_u32.to_ne_bytes()).unwrap(), Some(9_u64.to_ne_bytes().to_vec()));
    let mut four = [0; 4];
    memory.read(0, &mut four).unwrap();
    assert_eq!(four, [1, 2, 3, 4]);
    for (name, failed) in [
        ("end", memory.load_u64(4096).unwrap_err()),
        ("unaligned", memory.load_u64(4).unwrap_err()),
        ("wraps", memory.read(usize::MAX, &mut four).unwrap_err()),
    ] {
        assert_eq!(failed, Errno::EINVAL, "{name}");
    }
}

#[test]
fn all_entries_of_every_kind_of_map() {
    for (name, map_type, want) in [
        ("hash", MapType::HASH, 3000),
        ("array", MapType::ARRAY, 3000),
        ("cpu_hash", MapType::PERCPU_HASH, 3000),
        ("cpu_array", MapType::PERCPU_ARRAY, 3000),
        ("lru", MapType::LRU_HASH, 3000),
    ] {
        let map = map(name, map_type, 4, 8, 3000);
        let size = map.sys().user_value_size();
        // An LRU map may drop elements before it is full.
        let entries = if map_type == MapType::LRU_HASH { 100 } else { want };
        for key in 0..entries {
            map.update(&u32::to_ne_bytes(key), &vec![7; size], UpdateFlags::ANY).unwrap();
        }
        let mut found = map.entries().unwrap();
        found.sort();
        found.dedup_by(|a, b| a.0 == b.0);
        assert_eq!(found.len(), usize::try_from(entries).unwrap(), "{name}");
        assert!(found.iter().all(|(_, value)| *value == vec![7; size]), "{name}");
    }
}

#[test]
fn a_low_limit_of_locked_memory_is_no_obstacle() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    need_root();
    // On kernels before 5.11 this would be EPERM; the loader raises the limit by itself.
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, 4096.min(hard), hard).unwrap();
    let large = map("locked", MapType::ARRAY, 4, 4096, 64);
    let prog = crate::support::verdict("locked", 2);
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).unwrap();
    assert!(large.info().is_ok() && prog.info().is_ok());
}

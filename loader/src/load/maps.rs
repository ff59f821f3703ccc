//! Stage: spec → verified, third step: maps. Input: map specs. Output: maps, made or found, filled, frozen, pinned at the
//! very end. Next file: `progs.rs`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use asm::object::section::MapType;

use super::{Error, LoadOptions, Prepared};
use crate::map::{self, Found, Map, Options, Wanted, differences};
use crate::pin;
use crate::prog::Prog;
use crate::spec::{InitValue, MapOrigin, MapSpec, Pinning, Spec};
use crate::sys::map::{Btf, possible_cpus};
use crate::sys::uapi::{OBJ_NAME_LEN, UpdateFlags};

/// A map, and where it comes from.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) map: Map,
    /// It was there before us: not to be filled, not to be pinned.
    is_reused: bool,
}

/// Makes or finds every map, and fills in what does not need programs.
///
/// # Errors
/// The kernel does not make one, or a pinned one is another map.
pub(super) fn make(
    spec: &Spec,
    options: &LoadOptions,
    btf: Option<&OwnedFd>,
    notes: &mut Vec<String>,
) -> Result<Vec<Made>, Error> {
    let mut all = Vec::with_capacity(spec.maps.len());
    for map in &spec.maps {
        let made = match existing(map, spec, options)? {
            Some(map) => Made { map, is_reused: true },
            None => Made { map: create(map, &kernel_name(map, options), btf, notes)?, is_reused: false },
        };
        all.push(made);
    }
    for (map, made) in spec.maps.iter().zip(&all).filter(|(_, made)| !made.is_reused) {
        fill(map, made, &all)?;
    }
    Ok(all)
}

/// The map that stands in for a new one.
fn existing(spec: &MapSpec, object: &Spec, options: &LoadOptions) -> Result<Option<Map>, Error> {
    if let Some(given) = options.reuse.get(&spec.name) {
        return compatible(spec, object, given.try_clone()?, Path::new("")).map(Some);
    }
    let Some(path) = pin_path(spec, options) else { return Ok(None) };
    match path.try_exists() {
        Ok(true) => compatible(spec, object, Map::from_pin(&path)?, &path).map(Some),
        _ => Ok(None),
    }
}

fn pin_path(spec: &MapSpec, options: &LoadOptions) -> Option<PathBuf> {
    let dir = options.map_pins.as_ref().filter(|_| spec.pinning == Pinning::ByName)?;
    Some(dir.join(spec.name.replace('.', "_")))
}

fn compatible(spec: &MapSpec, object: &Spec, map: Map, path: &Path) -> Result<Map, Error> {
    let differences = differences(&Wanted::of(spec, object.btf.as_ref()), &Found::of(&map)?);
    if differences.is_empty() {
        return Ok(map);
    }
    Err(Error::Incompatible { map: spec.name.clone(), path: path.to_owned(), differences })
}

/// The name that other tools will show: global data carries the object's, since all objects have a `.rodata`.
fn kernel_name(spec: &MapSpec, options: &LoadOptions) -> String {
    if !spec.origin.is_data() {
        return spec.name.clone();
    }
    let room = (OBJ_NAME_LEN - 1).saturating_sub(spec.name.len());
    let prefix: String = options.object_name.chars().filter(char::is_ascii).take(room).collect();
    prefix + &spec.name
}

/// A size of zero, where one of this machine's own is meant.
fn entries(spec: &MapSpec) -> Result<u32, Error> {
    let per_cpu = spec.map_type == MapType::PERF_EVENT_ARRAY && spec.max_entries == 0;
    if per_cpu {
        let cpus = possible_cpus().map_err(|source| map::Error::Create {
            name: spec.name.clone(),
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: 0,
            denied: None,
            source,
        })?;
        return Ok(u32::try_from(cpus).unwrap_or(u32::MAX));
    }
    let is_ring = matches!(spec.map_type, MapType::RINGBUF | MapType::USER_RINGBUF);
    if is_ring && spec.max_entries != 0 {
        // The kernel wants a power of two of pages.
        return Ok(spec.max_entries.max(4096).checked_next_power_of_two().unwrap_or(spec.max_entries));
    }
    Ok(spec.max_entries)
}

/// Types whose keys and values the kernel does not let BTF describe.
fn takes_btf(map_type: MapType) -> bool {
    !matches!(
        map_type,
        MapType::PERF_EVENT_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::STACK_TRACE
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::DEVMAP
            | MapType::DEVMAP_HASH
            | MapType::CPUMAP
            | MapType::XSKMAP
            | MapType::SOCKMAP
            | MapType::SOCKHASH
            | MapType::PROG_ARRAY
            | MapType::RINGBUF
            | MapType::USER_RINGBUF
            | MapType::REUSEPORT_SOCKARRAY
            | MapType::QUEUE
            | MapType::STACK
    )
}

fn create(spec: &MapSpec, name: &str, btf: Option<&OwnedFd>, notes: &mut Vec<String>) -> Result<Map, Error> {
    let inner = match &spec.inner {
        Some(inner) => Some(create(inner, &inner.name, btf, notes)?),
        None if matches!(spec.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS) => {
            return Err(Error::NoInner { map: spec.name.clone() });
        }
        None => None,
    };
    let types = (spec.key_type.map_or(0, |id| id.0), spec.value_type.map(|id| id.0));
    let described = match (btf.filter(|_| takes_btf(spec.map_type)), types) {
        (Some(fd), (key, Some(value))) => Some(Btf { fd: fd.as_fd(), key, value }),
        _ => None,
    };
    let mut options = Options {
        map_type: spec.map_type,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: entries(spec)?,
        flags: spec.flags,
        inner: inner.as_ref().map(AsFd::as_fd),
        numa_node: spec.numa_node.unwrap_or(0),
        btf: described,
        extra: spec.map_extra,
    };
    match Map::create(name, &options) {
        Ok(map) => Ok(map),
        Err(first) if options.btf.is_some() => {
            // Some kernels refuse types for some maps; the map itself may do.
            options.btf = None;
            let map = Map::create(name, &options).map_err(|_| first)?;
            notes.push(format!("map `{}` was made without its types", spec.name));
            Ok(map)
        }
        Err(error) => Err(error.into()),
    }
}

/// Global data, and the maps in a map of maps.
fn fill(spec: &MapSpec, made: &Made, all: &[Made]) -> Result<(), Error> {
    if let Some(contents) = &spec.contents {
        made.map.update(&0_u32.to_ne_bytes(), contents, UpdateFlags::ANY)?;
    }
    if spec.origin.is_read_only() {
        made.map.freeze()?;
    }
    for &(index, value) in &spec.init {
        if let InitValue::Map(other) = value
            && let Some(inner) = all.get(other)
        {
            put_fd(&made.map, index, inner.map.as_fd().as_raw_fd())?;
        }
    }
    Ok(())
}

fn put_fd(map: &Map, index: u32, fd: i32) -> Result<(), Error> {
    Ok(map.update(&index.to_ne_bytes(), &fd.to_ne_bytes(), UpdateFlags::ANY)?)
}

/// Puts programs into the program arrays that the object fills itself.
///
/// # Errors
/// The kernel refuses one: all programs of an array have to be of one type.
pub(super) fn fill_with_progs(prepared: &Prepared, maps: &[Made], progs: &[Prog]) -> Result<(), Error> {
    let by_index: BTreeMap<usize, &Prog> = prepared.progs.iter().map(|prog| prog.index).zip(progs).collect();
    for (spec, made) in prepared.spec.maps.iter().zip(maps).filter(|(_, made)| !made.is_reused) {
        for &(index, value) in &spec.init {
            if let InitValue::Prog(prog) = value
                && let Some(prog) = by_index.get(&prog)
            {
                put_fd(&made.map, index, prog.as_fd().as_raw_fd())?;
            }
        }
    }
    Ok(())
}

/// Pins made by this load; taken away again unless kept.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<PathBuf>);

impl Pins {
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        for path in &self.0 {
            // Nothing better can be done with a failure here.
            drop(pin::unpin(path));
        }
    }
}

/// Pins the new maps that the object wants pinned by name.
///
/// # Errors
/// A pin cannot be made; those made before are gone again.
pub(super) fn pin(spec: &Spec, options: &LoadOptions, maps: &[Made]) -> Result<Pins, Error> {
    let mut pins = Pins::default();
    for (spec, made) in spec.maps.iter().zip(maps).filter(|(_, made)| !made.is_reused) {
        if let Some(path) =
            pin_path(spec, options).filter(|_| spec.origin == MapOrigin::Btf || spec.origin == MapOrigin::Legacy)
        {
            made.map.pin(&path)?;
            pins.0.push(path);
        }
    }
    Ok(pins)
}

//! Stage: object → spec. Input: section `maps`, an array of C structs as objects had them before BTF. Output:
//! [`MapSpec`]s. Next file: `externs.rs`.

use asm::object::section::MapType;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::maps::{MapTable, is_of_maps};
use super::raw::{File, Section, Symbol};
use super::sections::{Role, role};
use super::{ElfError, types};
use crate::spec::{MapOrigin, MapSpec, Pinning, Spec};
use asm::btf::{Btf, Type, TypeId};

/// The struct everybody agrees on. C: `struct bpf_map_def`.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Def {
    map_type: U32,
    key_size: U32,
    value_size: U32,
    max_entries: U32,
    flags: U32,
}
const _: () = assert!(size_of::<Def>() == 20);

/// What some loaders add behind it: aya both fields, iproute2 (C: `struct bpf_elf_map`) also [`Inner`].
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Pin {
    id: U32,
    pinning: U32,
}

/// iproute2's map of maps: the definition whose `id` this is describes the values.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Inner {
    id: U32,
    index: U32,
}

/// iproute2: pinned for everybody.
const PIN_GLOBAL: u32 = 2;

/// Reads the section `maps`.
///
/// # Errors
/// Definitions of unequal size, or cut short.
pub(crate) fn maps(file: &File<'_>, spec: &mut Spec, table: &mut MapTable) -> Result<(), ElfError> {
    let Some(section) = file.sections.iter().find(|section| role(section) == Role::LegacyMaps && section.size > 0)
    else {
        return Ok(());
    };
    let mut symbols: Vec<_> = file.symbols.iter().filter(|symbol| is_definition(symbol, section)).collect();
    symbols.sort_by_key(|symbol| symbol.value);
    symbols.dedup_by_key(|symbol| symbol.value);
    let first = spec.maps.len();
    let mut inner_ids = Vec::new();
    for (number, symbol) in symbols.iter().enumerate() {
        let end = symbols.get(number + 1).map_or(section.data.len() as u64, |next| next.value);
        let read = definition(file, section, symbol, end)?;
        table.add(section.index, symbol.value, end - symbol.value, spec.maps.len(), None);
        let mut map = read.map;
        if let Some(btf) = &spec.btf {
            annotate(btf, &mut map)?;
        }
        inner_ids.push((read.id, read.inner));
        spec.maps.push(map);
    }
    nest(spec, first, &inner_ids)
}

fn is_definition(symbol: &Symbol<'_>, section: &Section<'_>) -> bool {
    use goblin::elf::sym::{STT_NOTYPE, STT_OBJECT};
    symbol.section == Some(section.index) && matches!(symbol.kind, STT_OBJECT | STT_NOTYPE)
}

struct Read {
    map: MapSpec,
    id: u32,
    inner: u32,
}

fn definition(file: &File<'_>, section: &Section<'_>, symbol: &Symbol<'_>, end: u64) -> Result<Read, ElfError> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let mut bytes = section.data.get(at(symbol.value)..at(end)).unwrap_or_default().to_vec();
    if file.big_endian {
        bytes.chunks_exact_mut(size_of::<U32>()).for_each(<[u8]>::reverse);
    }
    let (def, rest) = Def::read_from_prefix(&bytes).map_err(|_| ElfError::At {
        section: section.name.to_owned(),
        offset: symbol.value,
        symbol: symbol.name.to_owned(),
        problem: format!("a map definition has 20 bytes or more, this one {}; build the object again", bytes.len()),
    })?;
    let is_iproute2 = rest.len() >= size_of::<Pin>() + size_of::<Inner>();
    let (pin, rest) = Pin::read_from_prefix(rest).map_or((None, rest), |(pin, rest)| (Some(pin), rest));
    let inner = Inner::read_from_prefix(rest).map_or(0, |(inner, _)| inner.id.get());
    let pinning = match pin.map_or(0, |pin| pin.pinning.get()) {
        0 => Pinning::None,
        1 if !is_iproute2 => Pinning::ByName,
        PIN_GLOBAL if is_iproute2 => Pinning::ByName,
        other => Pinning::Other(other),
    };
    let map = MapSpec {
        name: symbol.name.to_owned(),
        origin: MapOrigin::Legacy,
        map_type: MapType(def.map_type.get()),
        key_size: def.key_size.get(),
        value_size: def.value_size.get(),
        max_entries: def.max_entries.get(),
        flags: def.flags.get(),
        pinning,
        ..MapSpec::default()
    };
    Ok(Read { map, id: pin.map_or(0, |pin| pin.id.get()), inner })
}

/// Types of key and value, which `BPF_ANNOTATE_KV_PAIR(name, …)` put into a struct of its own.
fn annotate(btf: &Btf<'_>, map: &mut MapSpec) -> Result<(), ElfError> {
    let name = format!("____btf_map_{}", map.name);
    let Some(id) = btf.find_name(&name).next() else { return Ok(()) };
    let Type::Struct { members, .. } = types::bare(btf, id)?.1 else { return Ok(()) };
    let member = |name| members.iter().find(|member| member.name == name).map(|member| member.ty);
    let (key, value): (Option<TypeId>, Option<TypeId>) = (member("key"), member("value"));
    if let (Some(key), Some(value)) = (key, value)
        && types::size_of(btf, key)? == map.key_size
        && types::size_of(btf, value)? == map.value_size
    {
        (map.key_type, map.value_type) = (Some(key), Some(value));
    }
    Ok(())
}

/// Gives iproute2's maps of maps their inner definition.
fn nest(spec: &mut Spec, first: usize, ids: &[(u32, u32)]) -> Result<(), ElfError> {
    for (number, &(_, inner)) in ids.iter().enumerate() {
        let outer = first + number;
        if inner == 0 || !is_of_maps(spec.maps[outer].map_type) {
            continue;
        }
        let found =
            ids.iter().position(|&(id, _)| id == inner).filter(|&at| !is_of_maps(spec.maps[first + at].map_type));
        let Some(found) = found else {
            return Err(ElfError::Map {
                map: spec.maps[outer].name.clone(),
                section: "maps",
                problem: format!("its inner map has id {inner}, and no plain map of the object has"),
            });
        };
        let inner = MapSpec { name: format!("{}.inner", spec.maps[outer].name), ..spec.maps[first + found].clone() };
        spec.maps[outer].inner = Some(Box::new(inner));
    }
    Ok(())
}

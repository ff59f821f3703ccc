//! Stage: object → spec. Input: the section `.BTF`. Output: the object's types, with what compilers leave to the linker
//! filled in: size of each data section, place of each variable, visibility of each function. Next file: `maps.rs`.

use std::collections::{HashMap, HashSet};

use asm::btf::{Btf, Kind, Linkage, Type, TypeId, wire};
use goblin::elf::sym::{STB_LOCAL, STT_FUNC, STV_HIDDEN, STV_INTERNAL};

use super::ElfError;
use super::raw::{File, Symbol};

/// Parses and completes. Every change keeps the length of every record, so numbers and offsets stay what they were.
///
/// # Errors
/// The section is damaged.
pub(crate) fn complete(file: &File<'_>, bytes: &[u8]) -> Result<Btf<'static>, ElfError> {
    let btf = Btf::parse(bytes).map_err(ElfError::Btf)?;
    let (hidden, places) = (hidden_functions(file), file.named_symbols());
    let mut edits = Vec::new();
    for id in btf.ids() {
        let Some(at) = btf.place(id) else { continue };
        match btf.kind(id).map_err(ElfError::Btf)? {
            Kind::DATASEC => data_section(file, &places, &btf, id, at, &mut edits)?,
            Kind::FUNC if hidden.contains(btf.name(id).map_err(ElfError::Btf)?) => {
                if matches!(btf.get(id), Ok(Type::Func { linkage: Linkage::GLOBAL, .. })) {
                    let info = u32::from(Kind::FUNC.0) << 24 | Linkage::STATIC.0;
                    edits.push((at + std::mem::offset_of!(wire::Type, info), info));
                }
            }
            _ => {}
        }
    }
    if edits.is_empty() {
        return Ok(btf.into_owned());
    }
    let mut bytes = btf.as_bytes().to_vec();
    for (at, word) in edits {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    Btf::from_vec(bytes).map_err(ElfError::Btf)
}

/// Functions which the linker was told to hide: the verifier shall see them as static.
fn hidden_functions<'a>(file: &File<'a>) -> HashSet<&'a str> {
    let hidden = |visibility| matches!(visibility, STV_HIDDEN | STV_INTERNAL);
    let functions = file.symbols.iter().filter(|symbol| symbol.kind == STT_FUNC && symbol.section.is_some());
    functions.filter(|symbol| symbol.bind != STB_LOCAL && hidden(symbol.visibility)).map(|symbol| symbol.name).collect()
}

/// A section's size and its variables' places, in ascending order as the kernel wants them. Sections without a
/// counterpart in the file (`.ksyms`, `.kconfig`) are left to the loader.
fn data_section(
    file: &File<'_>,
    places: &HashMap<(usize, &str), &Symbol<'_>>,
    btf: &Btf<'_>,
    id: TypeId,
    at: usize,
    edits: &mut Vec<(usize, u32)>,
) -> Result<(), ElfError> {
    let Type::DataSec { name, size, mut vars } = btf.get(id).map_err(ElfError::Btf)? else { return Ok(()) };
    let Some(section) = file.section(name) else { return Ok(()) };
    if size == 0 {
        let size = u32::try_from(section.size).unwrap_or(u32::MAX);
        edits.push((at + std::mem::offset_of!(wire::Type, size_type), size));
    }
    for var in &mut vars {
        let name = btf.name(var.ty).map_err(ElfError::Btf)?;
        let place = places.get(&(section.index, name)).and_then(|symbol| u32::try_from(symbol.value).ok());
        var.offset = place.unwrap_or(var.offset);
    }
    vars.sort_by_key(|var| var.offset);
    let mut at = at + size_of::<wire::Type>();
    for word in vars.iter().flat_map(|var| [var.ty.0, var.offset, var.size]) {
        edits.push((at, word));
        at += size_of_val(&word);
    }
    Ok(())
}

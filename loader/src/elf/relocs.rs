//! Stage: object → spec, last step. Input: the relocation tables, and calls inside a section that need none. Output: the
//! [`Reloc`]s of each function, and the initial values of maps. Next file: `../reloc/mod.rs`.

use super::ElfError;
use super::externs::ExternTable;
use super::maps::{MapTable, is_of_maps};
use super::raw::{File, Rel, Section, Symbol};
use super::sections::{FuncTable, INSN, Role, role};
use crate::spec::{InitValue, Reloc, RelocKind, Spec};
use asm::insn::{Insn, PSEUDO_CALL, PSEUDO_FUNC};

/// `call`, 64-bit jump class with a constant.
const CALL: u8 = 0x85;
/// No relocation by its number; old assemblers wrote it for what is `R_BPF_64_64` today.
const R_BPF_NONE: u32 = 0;
/// For `ld_imm64`.
const R_BPF_64_64: u32 = 1;
/// For `call`.
const R_BPF_64_32: u32 = 10;

/// What symbols can mean.
pub(crate) struct Tables {
    pub(crate) funcs: FuncTable,
    pub(crate) maps: MapTable,
    pub(crate) externs: ExternTable,
}

/// Reads every relocation of code and of `.maps`; those of debug information and data are for linkers.
///
/// # Errors
/// A relocation that no loader could carry out, with section, offset and symbol.
pub(crate) fn relocations(file: &File<'_>, tables: &Tables, spec: &mut Spec) -> Result<(), ElfError> {
    for table in file.sections.iter().filter(|section| role(section) == Role::Relocations) {
        let target = usize::try_from(table.info).ok().and_then(|index| file.sections.get(index));
        let Some(target) = target else {
            return Err(ElfError::BadSection {
                section: table.name.to_owned(),
                index: table.index,
                problem: format!("it is for section {}, which does not exist", table.info),
            });
        };
        match role(target) {
            Role::Code => code(file, tables, spec, table, target)?,
            Role::BtfMaps => init_values(file, tables, spec, table, target)?,
            _ => {}
        }
    }
    local_calls(tables, spec)?;
    spec.funcs.iter_mut().for_each(|func| func.relocs.sort_by_key(|reloc| reloc.at));
    match spec.funcs.iter().find_map(|func| Some((func, func.relocs.windows(2).find(|pair| pair[0].at == pair[1].at)?)))
    {
        Some((func, pair)) => Err(ElfError::At {
            section: func.section.clone(),
            offset: byte_off(func.section_off + pair[0].at),
            symbol: func.name.clone(),
            problem: "two relocations for one instruction; build the object again".to_owned(),
        }),
        None => Ok(()),
    }
}

fn code(
    file: &File<'_>,
    tables: &Tables,
    spec: &mut Spec,
    table: &Section<'_>,
    target: &Section<'_>,
) -> Result<(), ElfError> {
    for rel in file.relocations(table)? {
        let symbol = file.symbol(table, &rel)?;
        let place = Place { section: target, offset: rel.offset, symbol };
        if rel.offset % INSN != 0 {
            return Err(place.error("a relocation in the middle of an instruction; build the object again"));
        }
        let index = usize::try_from(rel.offset / INSN).unwrap_or(usize::MAX);
        // Code that belongs to no function is never loaded.
        let Some((func, at)) = tables.funcs.find(target.index, index) else { continue };
        let insns = spec.funcs.get(func).and_then(|func| func.insns.get(at..)).unwrap_or_default();
        let kind = meaning(spec, tables, &place, &rel, insns)?;
        spec.funcs[func].relocs.push(Reloc { at, kind });
    }
    Ok(())
}

/// What the instruction needs. The instruction decides, not the relocation's number: tools disagree about those.
fn meaning(spec: &Spec, tables: &Tables, place: &Place<'_>, rel: &Rel, insns: &[Insn]) -> Result<RelocKind, ElfError> {
    if !matches!(rel.kind, R_BPF_NONE | R_BPF_64_64 | R_BPF_64_32) {
        return Err(place.error(format!("relocation type {} has no meaning for an instruction", rel.kind)));
    }
    match insns {
        [insn, ..] if insn.code() == CALL => call(tables, place, rel, *insn),
        [insn, _, ..] if insn.is_ld_imm64() => address(spec, tables, place, rel, *insn),
        [insn, ..] => Err(place.error(format!("relocation of `{insn}`: only `call` and `ld_imm64` can be relocated"))),
        [] => Err(place.error("relocation outside of the function")),
    }
}

fn call(tables: &Tables, place: &Place<'_>, rel: &Rel, insn: Insn) -> Result<RelocKind, ElfError> {
    let symbol = place.symbol;
    let Some(section) = symbol.section else {
        let found = tables.externs.get(symbol.name).copied();
        return found.map(RelocKind::ExternCall).ok_or_else(|| place.undefined());
    };
    // Against a function's symbol the constant is -1; against its section's it says which instruction.
    let offset = offset(symbol, (i64::from(insn.imm()) + 1).checked_mul(8).and_then(|imm| imm.checked_add(rel.addend)));
    let func = offset
        .filter(|offset| offset % INSN == 0)
        .and_then(|offset| tables.funcs.starting_at(section, usize::try_from(offset / INSN).ok()?));
    func.map(RelocKind::Call)
        .ok_or_else(|| place.error("the call's target is not the start of a function; build the object again"))
}

fn address(spec: &Spec, tables: &Tables, place: &Place<'_>, rel: &Rel, insn: Insn) -> Result<RelocKind, ElfError> {
    let symbol = place.symbol;
    let Some(section) = symbol.section else {
        let found = tables.externs.get(symbol.name).copied();
        return found.map(RelocKind::Extern).ok_or_else(|| place.undefined());
    };
    let out = || place.error("the address is not inside of its section; build the object again");
    let offset = offset(symbol, i64::from(insn.imm()).checked_add(rel.addend)).ok_or_else(out)?;
    if let Some((map, within)) = tables.maps.find(section, offset) {
        if spec.maps.get(map).is_some_and(|map| map.origin.is_data()) {
            return Ok(RelocKind::MapValue { map, off: u32::try_from(within).map_err(|_| out())? });
        }
        return if within == 0 {
            Ok(RelocKind::Map(map))
        } else {
            Err(place.error("the address of a part of a map's definition"))
        };
    }
    let func = (offset % INSN == 0).then(|| usize::try_from(offset / INSN).ok()).flatten();
    if let Some(func) = func.and_then(|insn| tables.funcs.starting_at(section, insn)) {
        return Ok(RelocKind::FuncAddr(func));
    }
    Err(place.error("the address is in a section that is neither data (`.rodata…`, `.data…`, `.bss…`), nor maps, nor the start of a function"))
}

/// Symbol value plus what the instruction adds.
fn offset(symbol: &Symbol<'_>, add: Option<i64>) -> Option<u64> {
    symbol.value.checked_add_signed(add?)
}

/// `.rel.maps`: pointers to programs and maps that the object wants in its maps.
fn init_values(
    file: &File<'_>,
    tables: &Tables,
    spec: &mut Spec,
    table: &Section<'_>,
    target: &Section<'_>,
) -> Result<(), ElfError> {
    for rel in file.relocations(table)? {
        let symbol = file.symbol(table, &rel)?;
        let place = Place { section: target, offset: rel.offset, symbol };
        let (map, index) = tables
            .maps
            .element(target.index, rel.offset)
            .ok_or_else(|| place.error("a pointer that is not an element of a map's `values`"))?;
        let value = init_value(spec, tables, &place, map)?;
        spec.maps[map].init.push((index, value));
    }
    for map in &mut spec.maps {
        map.init.sort_by_key(|&(index, _)| index);
    }
    Ok(())
}

fn init_value(spec: &Spec, tables: &Tables, place: &Place<'_>, map: usize) -> Result<InitValue, ElfError> {
    let symbol = place.symbol;
    let section = symbol.section.ok_or_else(|| place.undefined())?;
    if spec.maps.get(map).is_some_and(|map| is_of_maps(map.map_type)) {
        let found = tables.maps.find(section, symbol.value).filter(|&(_, within)| within == 0);
        return found
            .filter(|&(map, _)| spec.maps.get(map).is_some_and(|map| !map.origin.is_data()))
            .map(|(map, _)| InitValue::Map(map))
            .ok_or_else(|| place.error("an element of a map of maps has to be a map"));
    }
    let func = usize::try_from(symbol.value / INSN).ok().and_then(|insn| tables.funcs.starting_at(section, insn));
    let prog = func.and_then(|func| spec.progs.iter().position(|prog| prog.func == func));
    prog.map(InitValue::Prog).ok_or_else(|| {
        place.error("an element of a program array has to be an entry point (not static, not in `.text`)")
    })
}

/// Calls inside a section carry no relocation: the constant is the distance in the section.
fn local_calls(tables: &Tables, spec: &mut Spec) -> Result<(), ElfError> {
    for func in 0..spec.funcs.len() {
        let found = local_calls_of(tables, spec, func)?;
        spec.funcs[func].relocs.extend(found);
    }
    Ok(())
}

fn local_calls_of(tables: &Tables, spec: &Spec, index: usize) -> Result<Vec<Reloc>, ElfError> {
    let func = &spec.funcs[index];
    let relocated: std::collections::HashSet<usize> = func.relocs.iter().map(|reloc| reloc.at).collect();
    let section = tables.funcs.section_of(index);
    let mut found = Vec::new();
    let mut skip = false;
    for (at, insn) in func.insns.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = insn.is_ld_imm64();
        let is_call = insn.code() == CALL && insn.src() == PSEUDO_CALL;
        let is_addr = insn.is_ld_imm64() && insn.src() == PSEUDO_FUNC;
        if !(is_call || is_addr) || relocated.contains(&at) {
            continue;
        }
        let target = i64::try_from(func.section_off + at).ok().map(|from| from + i64::from(insn.imm()) + 1);
        let target = target.and_then(|target| usize::try_from(target).ok());
        let target = target.zip(section).and_then(|(target, section)| tables.funcs.starting_at(section, target));
        let target = target.ok_or_else(|| ElfError::At {
            section: func.section.clone(),
            offset: byte_off(func.section_off + at),
            symbol: func.name.clone(),
            problem: format!("`{insn}` does not go to the start of a function; build the object again"),
        })?;
        let kind = if is_call { RelocKind::Call(target) } else { RelocKind::FuncAddr(target) };
        found.push(Reloc { at, kind });
    }
    Ok(found)
}

fn byte_off(insn: usize) -> u64 {
    insn as u64 * INSN
}

/// A place to be relocated, for errors.
struct Place<'a> {
    section: &'a Section<'a>,
    offset: u64,
    symbol: &'a Symbol<'a>,
}

impl Place<'_> {
    fn error(&self, problem: impl Into<String>) -> ElfError {
        ElfError::At {
            section: self.section.name.to_owned(),
            offset: self.offset,
            symbol: self.symbol.name.to_owned(),
            problem: problem.into(),
        }
    }

    fn undefined(&self) -> ElfError {
        self.error(
            "the symbol is not defined in the object, and its BTF does not say that the kernel has it: \
             declare it `extern … __ksym` or `__kconfig`, or link the object that defines it",
        )
    }
}

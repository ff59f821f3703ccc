//! Stage: object → spec. Input: the sections and symbols of [`super::raw`]. Output: what each section is for, and the
//! functions that the code sections hold. Next file: `maps.rs`.

use std::collections::HashMap;

use asm::insn::Insn;
use asm::object::section::{self, SectionFlags};
use goblin::elf::section_header::{SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA};
use goblin::elf::sym::{STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STV_HIDDEN, STV_INTERNAL};

use super::ElfError;
use super::raw::{File, Section, Symbol};
use crate::spec::{Func, MapOrigin, ProgSpec, Spec};

/// The section with subprograms that no entry point's section holds.
pub(crate) const TEXT: &str = ".text";
/// Bytes of an instruction.
pub(crate) const INSN: u64 = 8;

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    License,
    Version,
    Btf,
    BtfExt,
    BtfMaps,
    LegacyMaps,
    Data(MapOrigin),
    Code,
    Relocations,
    /// Debug information, notes, other people's metadata.
    Other,
}

/// What this section is for; by name, as every loader does it, and for code by its flag.
pub(crate) fn role(section: &Section<'_>) -> Role {
    match section.name {
        "license" => Role::License,
        "version" => Role::Version,
        ".BTF" => Role::Btf,
        ".BTF.ext" => Role::BtfExt,
        ".maps" => Role::BtfMaps,
        "maps" => Role::LegacyMaps,
        _ if matches!(section.kind, SHT_REL | SHT_RELA) => Role::Relocations,
        _ if section.flags & u64::from(SHF_EXECINSTR) != 0 && section.kind == SHT_PROGBITS => Role::Code,
        name if is_or_under(name, ".rodata") && section.kind == SHT_PROGBITS => Role::Data(MapOrigin::Rodata),
        name if is_or_under(name, ".data") && section.kind == SHT_PROGBITS => Role::Data(MapOrigin::Data),
        name if is_or_under(name, ".bss") && section.kind == SHT_NOBITS => Role::Data(MapOrigin::Bss),
        _ => Role::Other,
    }
}

/// `.data` itself, or `.data.anything`.
fn is_or_under(name: &str, base: &str) -> bool {
    name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Where the functions are, to find them by section and offset.
#[derive(Debug, Default)]
pub(crate) struct FuncTable {
    /// Section index, first instruction, one past the last, position in `Spec::funcs`; sorted.
    rows: Vec<(usize, usize, usize, usize)>,
}

impl FuncTable {
    /// The function that holds instruction `insn` of section number `section`, and the position in that function.
    pub(crate) fn find(&self, section: usize, insn: usize) -> Option<(usize, usize)> {
        let after = self.rows.partition_point(|&(at, start, ..)| (at, start) <= (section, insn));
        let &(at, start, end, func) = self.rows.get(after.checked_sub(1)?)?;
        (at == section && insn < end).then(|| (func, insn - start))
    }

    /// The index of the section that function number `func` is in.
    pub(crate) fn section_of(&self, func: usize) -> Option<usize> {
        self.rows.get(func).map(|row| row.0)
    }

    /// The function that begins exactly there.
    pub(crate) fn starting_at(&self, section: usize, insn: usize) -> Option<usize> {
        self.find(section, insn).filter(|&(_, within)| within == 0).map(|(func, _)| func)
    }
}

/// Takes the code sections apart into functions and entry points.
///
/// # Errors
/// Code that is not whole instructions, functions that overlap or leave their section.
pub(crate) fn functions(file: &File<'_>, spec: &mut Spec) -> Result<FuncTable, ElfError> {
    let mut table = FuncTable::default();
    let mut symbols: HashMap<usize, Vec<&Symbol<'_>>> = HashMap::new();
    for symbol in &file.symbols {
        if let Some(section) = symbol.section {
            symbols.entry(section).or_default().push(symbol);
        }
    }
    for section in file.sections.iter().filter(|section| role(section) == Role::Code) {
        for symbol in function_symbols(symbols.get(&section.index).map_or(&[], Vec::as_slice)) {
            let (start, end) = extent(section, symbol)?;
            if let Some(&(at, _, last_end, _)) = table.rows.last()
                && at == section.index
                && start < last_end
            {
                return Err(at_symbol(section, symbol, "it overlaps the function before it; build the object again"));
            }
            table.rows.push((section.index, start, end, spec.funcs.len()));
            add_function(file, section, symbol, start..end, spec)?;
        }
    }
    Ok(table)
}

/// A section's functions by address. An object of an assembler that sets no symbol types has global labels instead.
fn function_symbols<'s, 'a>(all: &[&'s Symbol<'a>]) -> Vec<&'s Symbol<'a>> {
    let of = |kind| all.iter().copied().filter(move |symbol| symbol.kind == kind);
    let mut symbols: Vec<_> = of(STT_FUNC).collect();
    if symbols.is_empty() {
        symbols = of(STT_NOTYPE).filter(|symbol| matches!(symbol.bind, STB_GLOBAL | STB_WEAK)).collect();
    }
    symbols.sort_by_key(|symbol| symbol.value);
    symbols.dedup_by_key(|symbol| symbol.value);
    symbols
}

/// First instruction and one past the last. A symbol without a size reaches to the section's end.
fn extent(section: &Section<'_>, symbol: &Symbol<'_>) -> Result<(usize, usize), ElfError> {
    let room = (section.data.len() as u64).checked_sub(symbol.value);
    let room = room.ok_or_else(|| {
        at_symbol(section, symbol, "the function begins past the section's end; build the object again")
    })?;
    let size = if symbol.size == 0 { room } else { symbol.size };
    if size > room {
        return Err(at_symbol(section, symbol, "the function reaches past the section's end; build the object again"));
    }
    if !symbol.value.is_multiple_of(INSN) || !size.is_multiple_of(INSN) || size == 0 {
        return Err(at_symbol(
            section,
            symbol,
            "the function is not a whole number of 8-byte instructions; build the object again",
        ));
    }
    let index = |bytes: u64| usize::try_from(bytes / INSN).unwrap_or(usize::MAX);
    Ok((index(symbol.value), index(symbol.value + size)))
}

fn add_function(
    file: &File<'_>,
    section: &Section<'_>,
    symbol: &Symbol<'_>,
    range: std::ops::Range<usize>,
    spec: &mut Spec,
) -> Result<(), ElfError> {
    let bytes = section.data.get(range.start * 8..range.end * 8).unwrap_or_default();
    let read = if file.big_endian { Insn::from_be_bytes } else { Insn::from_bytes };
    let insns = bytes.as_chunks::<8>().0.iter().map(|slot| read(*slot)).collect();
    let is_local = symbol.bind == STB_LOCAL;
    if section.name != TEXT && !is_local {
        spec.progs.push(entry(section.name, symbol.name, spec.funcs.len()));
    }
    spec.funcs.push(Func {
        name: symbol.name.to_owned(),
        section: section.name.to_owned(),
        section_off: range.start,
        global: !is_local && !matches!(symbol.visibility, STV_HIDDEN | STV_INTERNAL),
        insns,
        ..Func::default()
    });
    Ok(())
}

/// What the section's name says about a program.
fn entry(section_name: &str, name: &str, func: usize) -> ProgSpec {
    let bare = section_name.strip_prefix('?').unwrap_or(section_name);
    let found = section::find(bare);
    let def = found.map(|found| found.def);
    ProgSpec {
        name: name.to_owned(),
        section: section_name.to_owned(),
        prog_type: def.map(|def| def.prog_type),
        attach_type: def.and_then(|def| def.attach_type),
        attach_to: found.and_then(|found| found.target).map(str::to_owned),
        flags: def.map_or(SectionFlags::empty(), |def| def.flags),
        func,
        autoload: bare == section_name,
    }
}

fn at_symbol(section: &Section<'_>, symbol: &Symbol<'_>, problem: &str) -> ElfError {
    ElfError::At {
        section: section.name.to_owned(),
        offset: symbol.value,
        symbol: symbol.name.to_owned(),
        problem: problem.to_owned(),
    }
}

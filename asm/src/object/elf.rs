//! The layout as ELF bytes.
//!
//! Stage: last of the object writer. Input: the layout and the types. Output: a relocatable ELF file for the machine
//! `EM_BPF`, little-endian, 64 bits. Next: nothing; a loader reads it.

use object::elf;
use object::write::{self, Relocation, SectionId, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};
use zerocopy::IntoBytes;

use super::Object;
use super::describe::Types;
use super::error::Error;
use super::layout::{CodeSection, DataSection, Item, LICENSE, Layout, Patch, Place, Symbol, TEXT};
use crate::btf::Linkage;

/// What a relocation of a map's slot is called: the address of something, in 64 bits (`R_BPF_64_ABS64`).
const R_BPF_64_ABS64: elf::RelocationType = elf::RelocationType(2);

/// The file being written, and the symbols so far.
struct Writer<'o> {
    object: &'o Object,
    out: write::Object<'static>,
    maps: Vec<SymbolId>,
    progs: Vec<Option<SymbolId>>,
    globals: Vec<Option<SymbolId>>,
    externs: Vec<SymbolId>,
    data: Vec<SectionId>,
    text: Option<SectionId>,
}

/// Writes the file.
pub(super) fn write(object: &Object, layout: &Layout, types: &Types) -> Result<Vec<u8>, Error> {
    let out = write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let (progs, globals) = (vec![None; object.progs.len()], vec![None; object.globals.len()]);
    let mut w =
        Writer { object, out, maps: Vec::new(), progs, globals, externs: Vec::new(), data: Vec::new(), text: None };
    let code: Vec<SectionId> = layout.code.iter().map(|section| w.code(section)).collect();
    w.license();
    let maps = w.maps(layout);
    for section in &layout.data {
        w.data(section);
    }
    w.externs();
    w.section(".BTF", SectionKind::Other, elf::SectionFlags(0), &types.btf, 4);
    w.section(".BTF.ext", SectionKind::Other, elf::SectionFlags(0), &types.ext, 4);
    for (section, id) in layout.code.iter().zip(&code) {
        section.patches.iter().try_for_each(|patch| w.patch(*id, patch))?;
    }
    for (section, id) in layout.data.iter().zip(w.data.clone()) {
        section.pointers.iter().try_for_each(|at| w.relocate(id, at.offset, at.to, R_BPF_64_ABS64))?;
    }
    if let Some(maps) = maps {
        layout.slots.iter().try_for_each(|slot| w.relocate(maps, slot.offset, slot.to, R_BPF_64_ABS64))?;
    }
    w.out.write().map_err(|error| Error::Elf(error.to_string()))
}

impl Writer<'_> {
    /// A section with its bytes.
    fn section(
        &mut self,
        name: &str,
        kind: SectionKind,
        flags: elf::SectionFlags,
        bytes: &[u8],
        align: u64,
    ) -> SectionId {
        let id = self.out.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
        let sh_type = if kind == SectionKind::UninitializedData { elf::SHT_NOBITS } else { elf::SHT_PROGBITS };
        self.out.section_mut(id).flags = SectionFlags::Elf { sh_type, sh_flags: flags };
        if kind != SectionKind::UninitializedData {
            self.out.append_section_data(id, bytes, align);
        }
        id
    }

    /// A symbol at a place in a section.
    fn symbol(&mut self, name: &str, place: Place, section: SectionId, kind: SymbolKind, local: bool) -> SymbolId {
        self.out.add_symbol(write::Symbol {
            name: name.as_bytes().to_vec(),
            value: place.offset.into(),
            size: place.size.into(),
            kind,
            scope: if local { SymbolScope::Compilation } else { SymbolScope::Dynamic },
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// A section of code and its functions.
    fn code(&mut self, section: &CodeSection) -> SectionId {
        let flags = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
        let id = self.section(&section.name, SectionKind::Text, flags, section.insns.as_bytes(), 8);
        if section.name == TEXT {
            self.text = Some(id);
        }
        for place in &section.funcs {
            let Some(prog) = self.object.progs.get(place.item) else { continue };
            let symbol = self.symbol(&prog.name, *place, id, SymbolKind::Text, prog.linkage == Linkage::STATIC);
            if let Some(slot) = self.progs.get_mut(place.item) {
                *slot = Some(symbol);
            }
        }
        id
    }

    /// The license.
    fn license(&mut self) {
        let text = [self.object.license.as_bytes(), &[0]].concat();
        let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let id = self.section("license", SectionKind::Data, elf::SHF_ALLOC | elf::SHF_WRITE, &text, 1);
        self.symbol(LICENSE, Place { item: 0, offset: 0, size }, id, SymbolKind::Data, false);
    }

    /// `.maps`, if there are any.
    fn maps(&mut self, layout: &Layout) -> Option<SectionId> {
        let last = layout.maps.last()?;
        let bytes = vec![0; last.offset as usize + last.size as usize];
        let id = self.section(".maps", SectionKind::Data, elf::SHF_ALLOC | elf::SHF_WRITE, &bytes, 8);
        for place in &layout.maps {
            let Some(map) = self.object.maps.get(place.item) else { continue };
            let symbol = self.symbol(&map.name, *place, id, SymbolKind::Data, false);
            self.maps.push(symbol);
        }
        Some(id)
    }

    /// A section of variables.
    fn data(&mut self, section: &DataSection) {
        let (kind, flags) = match (section.is_bss(), section.is_rodata()) {
            (true, _) => (SectionKind::UninitializedData, elf::SHF_ALLOC | elf::SHF_WRITE),
            (_, true) => (SectionKind::ReadOnlyData, elf::SHF_ALLOC),
            _ => (SectionKind::Data, elf::SHF_ALLOC | elf::SHF_WRITE),
        };
        let id = self.section(&section.name, kind, flags, &section.bytes, section.align.into());
        if section.is_bss() {
            self.out.append_section_bss(id, section.size.into(), section.align.into());
        }
        self.data.push(id);
        for place in &section.vars {
            let Some(global) = self.object.globals.get(place.item) else { continue };
            let local = global.linkage == Linkage::STATIC;
            let symbol = self.symbol(&global.name, *place, id, SymbolKind::Data, local);
            if let Some(slot) = self.globals.get_mut(place.item) {
                *slot = Some(symbol);
            }
        }
    }

    /// Symbols that a loader must find in the kernel.
    fn externs(&mut self) {
        for external in &self.object.externs {
            self.externs.push(self.out.add_symbol(write::Symbol {
                name: external.name.as_bytes().to_vec(),
                value: 0,
                size: 0,
                kind: SymbolKind::Unknown,
                scope: SymbolScope::Unknown,
                weak: external.weak,
                section: SymbolSection::Undefined,
                flags: SymbolFlags::None,
            }));
        }
    }

    /// The symbol of something.
    fn symbol_of(&mut self, to: Symbol) -> Option<SymbolId> {
        match to {
            Symbol::Item(Item::Map(n)) => self.maps.get(n).copied(),
            Symbol::Item(Item::Prog(n)) => self.progs.get(n).copied().flatten(),
            Symbol::Item(Item::Global(n)) => self.globals.get(n).copied().flatten(),
            Symbol::Item(Item::Extern(n)) => self.externs.get(n).copied(),
            Symbol::Text => self.text.map(|section| self.out.section_symbol(section)),
            Symbol::DataSection(n) => self.data.get(n).copied().map(|section| self.out.section_symbol(section)),
        }
    }

    /// A relocation of an instruction.
    fn patch(&mut self, section: SectionId, patch: &Patch) -> Result<(), Error> {
        let r_type = if patch.call { elf::R_BPF_64_32 } else { elf::R_BPF_64_64 };
        self.relocate(section, patch.offset, patch.to, r_type)
    }

    /// Any relocation.
    fn relocate(
        &mut self,
        section: SectionId,
        offset: u32,
        to: Symbol,
        r_type: elf::RelocationType,
    ) -> Result<(), Error> {
        let symbol = self.symbol_of(to).ok_or_else(|| Error::Elf(format!("{to:?} has no symbol")))?;
        let relocation =
            Relocation { offset: offset.into(), symbol, addend: 0, flags: RelocationFlags::Elf { r_type } };
        self.out.add_relocation(section, relocation).map_err(|error| Error::Elf(error.to_string()))
    }
}

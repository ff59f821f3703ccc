//! Stage: object → spec, first step. Input: the file's bytes. Output: [`File`]: sections, symbols and relocations whose
//! every offset lies inside the file. The only file that uses `goblin`. Next file: `sections.rs`.

use std::collections::HashMap;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2MSB, EM_BPF, ET_REL, Header};
use goblin::elf::section_header::{SHN_LORESERVE, SHN_UNDEF, SHN_XINDEX, SHT_NOBITS, SHT_NULL, SHT_RELA, SHT_SYMTAB};
use goblin::elf::{RelocSection, SectionHeader, Sym, Symtab};

use super::ElfError;

/// Old assemblers wrote no machine number at all.
const EM_NONE: u16 = 0;

/// An object file, taken apart. Borrows from its bytes.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// The first section of each name.
    by_name: HashMap<&'a str, usize>,
    /// Is the file for a big-endian machine? Its code and numbers are turned over where they are read.
    pub(crate) big_endian: bool,
    ctx: Ctx,
}

/// A section: `data` is empty where the file holds no bytes for it (`.bss`), `size` is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) index: usize,
    pub(crate) name: &'a str,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) size: u64,
    pub(crate) info: u32,
    pub(crate) data: &'a [u8],
}

/// A symbol and where it points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: u64,
    pub(crate) size: u64,
    /// The section's index; `None` for undefined (extern) and absolute symbols.
    pub(crate) section: Option<usize>,
    pub(crate) undefined: bool,
    pub(crate) kind: u8,
    pub(crate) bind: u8,
    pub(crate) visibility: u8,
}

/// One relocation of a section: `offset` in that section, against symbol number `symbol`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rel {
    pub(crate) offset: u64,
    pub(crate) symbol: usize,
    pub(crate) kind: u32,
    /// Zero in `SHT_REL` sections, where the addend is in the instruction.
    pub(crate) addend: i64,
}

impl<'a> File<'a> {
    /// Reads headers and symbols.
    ///
    /// # Errors
    /// Anything that is not a relocatable 64-bit BPF object, or that points outside of itself.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let header = header(bytes)?;
        let big_endian = header.e_ident[EI_DATA] == ELFDATA2MSB;
        let endian = if big_endian { Endian::Big } else { Endian::Little };
        let ctx = Ctx::new(Container::Big, endian);
        let headers = section_headers(bytes, &header, ctx)?;
        let sections = sections(bytes, &headers, names_index(&header, &headers))?;
        let symbols = symbols(bytes, &headers, &sections, ctx)?;
        let mut by_name = HashMap::new();
        for section in &sections {
            by_name.entry(section.name).or_insert(section.index);
        }
        Ok(Self { sections, symbols, by_name, big_endian, ctx })
    }

    /// The first section of that name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.get(*self.by_name.get(name)?)
    }

    /// Symbols by their section and name.
    pub(crate) fn named_symbols(&self) -> HashMap<(usize, &'a str), &Symbol<'a>> {
        self.symbols.iter().filter_map(|symbol| Some(((symbol.section?, symbol.name), symbol))).collect()
    }

    /// The relocations in `table`, a section of type `SHT_REL` or `SHT_RELA`, in the order of the file.
    ///
    /// # Errors
    /// The table's bytes are not a whole number of entries.
    pub(crate) fn relocations(&self, table: &Section<'a>) -> Result<Vec<Rel>, ElfError> {
        let is_rela = table.kind == SHT_RELA;
        let read = RelocSection::parse(table.data, 0, table.data.len(), is_rela, self.ctx)
            .map_err(|error| bad_section(table.name, table.index, &error))?;
        Ok(read
            .iter()
            .map(|rel| Rel {
                offset: rel.r_offset,
                symbol: rel.r_sym,
                kind: rel.r_type,
                addend: rel.r_addend.unwrap_or(0),
            })
            .collect())
    }

    /// Symbol number `index`, as a relocation in `table` names it.
    ///
    /// # Errors
    /// There is no such symbol.
    pub(crate) fn symbol(&self, table: &Section<'_>, rel: &Rel) -> Result<&Symbol<'a>, ElfError> {
        self.symbols.get(rel.symbol).ok_or_else(|| ElfError::At {
            section: table.name.to_owned(),
            offset: rel.offset,
            symbol: String::new(),
            problem: format!(
                "relocation against symbol number {}, the object has {}; it is damaged, build it again",
                rel.symbol,
                self.symbols.len()
            ),
        })
    }
}

fn header(bytes: &[u8]) -> Result<Header, ElfError> {
    let header = goblin::elf::Elf::parse_header(bytes)
        .map_err(|source| ElfError::NotElf { reason: "its header cannot be read".to_owned(), source: Some(source) })?;
    let not_bpf = |field, found: u16, want: u16| ElfError::NotBpf { field, found: found.into(), want: want.into() };
    if header.e_ident[EI_CLASS] != ELFCLASS64 {
        return Err(not_bpf("e_ident[EI_CLASS]", header.e_ident[EI_CLASS].into(), ELFCLASS64.into()));
    }
    if header.e_machine != EM_BPF && header.e_machine != EM_NONE {
        return Err(not_bpf("e_machine", header.e_machine, EM_BPF));
    }
    if header.e_type != ET_REL {
        return Err(not_bpf("e_type", header.e_type, ET_REL));
    }
    Ok(header)
}

fn section_headers(bytes: &[u8], header: &Header, ctx: Ctx) -> Result<Vec<SectionHeader>, ElfError> {
    let entry = SectionHeader::size(ctx);
    if usize::from(header.e_shentsize) != entry && header.e_shoff != 0 {
        let reason = format!("its section headers have {} bytes each, not {entry}", header.e_shentsize);
        return Err(ElfError::NotElf { reason, source: None });
    }
    let size = u64::from(header.e_shnum) * u64::from(header.e_shentsize);
    let table = range(bytes, "the section header table", header.e_shoff, size)?;
    SectionHeader::parse(bytes, table.start, usize::from(header.e_shnum), ctx).map_err(|source| ElfError::NotElf {
        reason: "its section headers cannot be read".to_owned(),
        source: Some(source),
    })
}

/// Index of the section with the sections' names; past 65,279 sections it stands in the first header.
fn names_index(header: &Header, headers: &[SectionHeader]) -> usize {
    let index = u32::from(header.e_shstrndx);
    let index = if index == SHN_XINDEX { headers.first().map_or(0, |first| first.sh_link) } else { index };
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn sections<'a>(bytes: &'a [u8], headers: &[SectionHeader], names: usize) -> Result<Vec<Section<'a>>, ElfError> {
    let name_table = match headers.get(names) {
        Some(header) => section_data(bytes, header, names, ".shstrtab")?,
        None => &[],
    };
    let mut total = 0_u64;
    let mut sections = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        let name = string(name_table, header.sh_name).ok_or_else(|| ElfError::BadSection {
            section: String::new(),
            index,
            problem: format!("its name, at {:#x} of the name table, is not a string", header.sh_name),
        })?;
        let data = section_data(bytes, header, index, name)?;
        total += data.len() as u64;
        sections.push(Section {
            index,
            name,
            kind: header.sh_type,
            flags: header.sh_flags,
            size: header.sh_size,
            info: header.sh_info,
            data,
        });
    }
    let file_size = bytes.len() as u64;
    if total > file_size {
        return Err(ElfError::Overlap { total, file_size });
    }
    Ok(sections)
}

fn section_data<'a>(bytes: &'a [u8], header: &SectionHeader, index: usize, name: &str) -> Result<&'a [u8], ElfError> {
    if matches!(header.sh_type, SHT_NOBITS | SHT_NULL) {
        return Ok(&[]);
    }
    let what = format!("section `{name}` (index {index})");
    Ok(&bytes[range(bytes, &what, header.sh_offset, header.sh_size)?])
}

fn symbols<'a>(
    bytes: &'a [u8],
    headers: &[SectionHeader],
    sections: &[Section<'a>],
    ctx: Ctx,
) -> Result<Vec<Symbol<'a>>, ElfError> {
    let Some(index) = headers.iter().position(|header| header.sh_type == SHT_SYMTAB) else {
        return Ok(Vec::new());
    };
    let (header, table) = (&headers[index], &sections[index]);
    let strings = usize::try_from(header.sh_link).ok().and_then(|link| sections.get(link));
    let strings = strings.ok_or_else(|| ElfError::BadSection {
        section: table.name.to_owned(),
        index,
        problem: format!("its string table, section {}, does not exist", header.sh_link),
    })?;
    let start = range(bytes, table.name, header.sh_offset, header.sh_size)?.start;
    let count = table.data.len() / Sym::size(ctx.container);
    let read = Symtab::parse(bytes, start, count, ctx).map_err(|error| bad_section(table.name, index, &error))?;
    read.iter().enumerate().map(|(number, sym)| symbol(number, &sym, table, sections, strings)).collect()
}

fn symbol<'a>(
    number: usize,
    sym: &Sym,
    table: &Section<'a>,
    sections: &[Section<'a>],
    strings: &Section<'a>,
) -> Result<Symbol<'a>, ElfError> {
    let bad = |problem| ElfError::BadSection { section: table.name.to_owned(), index: table.index, problem };
    let mut name = string(strings.data, sym.st_name).ok_or_else(|| {
        bad(format!("the name of symbol {number}, at {:#x} of the string table, is not a string", sym.st_name))
    })?;
    let reserved = usize::try_from(SHN_LORESERVE).unwrap_or(usize::MAX);
    let section = (sym.st_shndx != 0 && sym.st_shndx < reserved).then_some(sym.st_shndx);
    if let Some(index) = section {
        let target = sections.get(index).ok_or_else(|| {
            bad(format!("symbol {number} `{name}` is in section {index}, the object has {}", sections.len()))
        })?;
        if name.is_empty() {
            name = target.name;
        }
    }
    Ok(Symbol {
        name,
        value: sym.st_value,
        size: sym.st_size,
        section,
        undefined: u32::try_from(sym.st_shndx) == Ok(SHN_UNDEF),
        kind: sym.st_type(),
        bind: sym.st_bind(),
        visibility: sym.st_visibility(),
    })
}

/// `offset .. offset + size`, if that is inside of the file.
fn range(bytes: &[u8], what: &str, offset: u64, size: u64) -> Result<std::ops::Range<usize>, ElfError> {
    let out = || ElfError::OutOfFile { what: what.to_owned(), offset, size, file_size: bytes.len() as u64 };
    let end = offset.checked_add(size).ok_or_else(out)?;
    let (start, end) = (usize::try_from(offset).map_err(|_| out())?, usize::try_from(end).map_err(|_| out())?);
    if end > bytes.len() { Err(out()) } else { Ok(start..end) }
}

/// The NUL-terminated UTF-8 string at `offset` of a string table.
pub(crate) fn string(table: &[u8], offset: usize) -> Option<&str> {
    if offset == 0 && table.is_empty() {
        return Some("");
    }
    let rest = table.get(offset..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn bad_section(section: &str, index: usize, error: &goblin::error::Error) -> ElfError {
    ElfError::BadSection { section: section.to_owned(), index, problem: error.to_string() }
}

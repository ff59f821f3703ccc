//! ELF files piece by piece, for what other compilers write and ours does not: static functions in program sections, section
//! symbols, legacy maps, damaged tables.

use asm::insn::Insn;
use zerocopy::IntoBytes;

/// Section type and flags of code.
pub(crate) const CODE: (u32, u64) = (1, 6);
/// Section type and flags of data.
pub(crate) const DATA: (u32, u64) = (1, 3);
/// Section type and flags of data without bytes.
pub(crate) const NOBITS: (u32, u64) = (8, 3);
/// Symbol kinds.
pub(crate) const OBJECT: u8 = 1;
pub(crate) const FUNC: u8 = 2;
pub(crate) const SECTION: u8 = 3;
/// Relocation types.
pub(crate) const R_64_64: u32 = 1;
pub(crate) const R_64_32: u32 = 10;

/// An ELF file: sections count from 1, symbols too, in the order in which they are added.
#[derive(Clone, Default)]
pub(crate) struct Elf {
    sections: Vec<Section>,
    symbols: Vec<u8>,
    strings: Vec<u8>,
}

#[derive(Clone)]
struct Section {
    name: String,
    kind: (u32, u64),
    data: Vec<u8>,
    /// Size of a section without bytes.
    size: Option<u64>,
    info: u32,
}

impl Elf {
    pub(crate) fn section(&mut self, name: &str, kind: (u32, u64), data: impl AsRef<[u8]>) -> u16 {
        let data = data.as_ref().to_vec();
        self.sections.push(Section { name: name.into(), kind, data, size: None, info: 0 });
        u16::try_from(self.sections.len()).expect("few sections")
    }

    pub(crate) fn bss(&mut self, name: &str, size: u64) -> u16 {
        let index = self.section(name, NOBITS, []);
        self.sections.last_mut().expect("just added").size = Some(size);
        index
    }

    pub(crate) fn code(&mut self, name: &str, insns: &[Insn]) -> u16 {
        self.section(name, CODE, insns.as_bytes())
    }

    /// A symbol; section 0 is undefined. Local unless `global`.
    pub(crate) fn symbol(&mut self, name: &str, kind: u8, global: bool, section: u16, value: u64, size: u64) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
            self.symbols.extend([0; 24]);
        }
        let name_off = if name.is_empty() { 0 } else { u32::try_from(self.strings.len()).expect("a small file") };
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        self.symbols.extend(name_off.to_le_bytes());
        self.symbols.extend([u8::from(global) << 4 | kind, 0]);
        self.symbols.extend(section.to_le_bytes());
        self.symbols.extend(value.to_le_bytes());
        self.symbols.extend(size.to_le_bytes());
        u32::try_from(self.symbols.len() / 24 - 1).expect("a small file")
    }

    /// A table of relocations for `section`: offset, symbol, type.
    pub(crate) fn relocations(&mut self, section: u16, rows: &[(u64, u32, u32)]) {
        let name = format!(".rel{}", self.sections[usize::from(section) - 1].name);
        let bytes = rows.iter().flat_map(|&(offset, symbol, kind)| {
            [offset.to_le_bytes(), (u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes()].concat()
        });
        let data: Vec<u8> = bytes.collect();
        self.section(&name, (9, 0), data);
        self.sections.last_mut().expect("just added").info = section.into();
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut all = self.sections.clone();
        let strings = u32::try_from(all.len() + 2).expect("a small file");
        let plain = |name: &str, kind, data| Section { name: name.into(), kind: (kind, 0), data, size: None, info: 0 };
        all.push(plain(".symtab", 2, self.symbols.clone()));
        all.push(plain(".strtab", 3, self.strings.clone()));
        let mut names = vec![0_u8];
        let mut name_offs = Vec::new();
        for name in all.iter().map(|section| section.name.as_str()).chain([".shstrtab"]) {
            name_offs.push(u32::try_from(names.len()).expect("a small file"));
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        all.push(plain(".shstrtab", 3, names));
        let mut body = vec![0_u8; 64];
        let mut headers = vec![0_u8; 64];
        for (section, name) in all.iter().zip(name_offs) {
            let (offset, size) = (body.len() as u64, section.size.unwrap_or(section.data.len() as u64));
            body.extend_from_slice(&section.data);
            let link = if section.kind.0 == 2 { strings } else { 0 };
            headers.extend([name.to_le_bytes(), section.kind.0.to_le_bytes()].concat());
            headers.extend([section.kind.1, 0, offset, size].iter().flat_map(|word| word.to_le_bytes()));
            headers.extend([link, section.info].iter().flat_map(|word| word.to_le_bytes()));
            headers
                .extend([8_u64, if section.kind.0 == 9 { 16 } else { 0 }].iter().flat_map(|word| word.to_le_bytes()));
        }
        let table = body.len() as u64;
        body.extend(headers);
        let count = u16::try_from(all.len() + 1).expect("few sections");
        body[..64].copy_from_slice(&Self::header(table, count));
        body
    }

    fn header(table: u64, count: u16) -> [u8; 64] {
        let mut header = Vec::from(*b"\x7fELF");
        header.extend([2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend([1_u16, 247].iter().flat_map(|half| half.to_le_bytes()));
        header.extend(1_u32.to_le_bytes());
        header.extend([0, 0, table].iter().flat_map(|word: &u64| word.to_le_bytes()));
        header.extend(0_u32.to_le_bytes());
        header.extend([64, 0, 0, 64, count, count - 1].iter().flat_map(|half: &u16| half.to_le_bytes()));
        header.try_into().expect("64 bytes")
    }
}

//! Stage: object → spec. Input: `.BTF.ext`. Output: each function's type, source lines and CO-RE relocations, counted
//! from the function's own start. Next file: `externs.rs`.

use asm::btf::{Btf, BtfExt, SectionInfo, StrOff};

use super::ElfError;
use super::raw::{File, Section};
use super::sections::{FuncTable, INSN, Role, role};
use crate::spec::{CoreReloc, Func, Line, Spec};

/// Hands the records of `.BTF.ext` to the functions they are about. Records of code that is in no function are dropped.
///
/// # Errors
/// The section is damaged, or names a type or text that does not exist.
pub(crate) fn records(file: &File<'_>, funcs: &FuncTable, spec: &mut Spec) -> Result<(), ElfError> {
    let Some(section) = file.sections.iter().find(|section| role(section) == Role::BtfExt && !section.data.is_empty())
    else {
        return Ok(());
    };
    let Some(btf) = &spec.btf else { return Err(ElfError::NoBtf { what: "a section `.BTF.ext`" }) };
    let ext = BtfExt::parse(section.data).map_err(ElfError::BtfExt)?;
    hand_out(&Places { file, funcs, btf }, &ext, &mut spec.funcs)
}

/// The three tables, each by position.
fn hand_out(places: &Places<'_, '_>, ext: &BtfExt, all: &mut [Func]) -> Result<(), ElfError> {
    places.each(
        &ext.funcs,
        |info| info.insn_off,
        all,
        |func, at, info| {
            if at == 0 {
                func.btf_type = Some(info.ty);
            }
            Ok(())
        },
    )?;
    places.each(
        &ext.lines,
        |line| line.insn_off,
        all,
        |func, at, line| {
            func.lines.push(Line { at, file: line.file, text: line.text, line: line.line, col: line.col });
            Ok(())
        },
    )?;
    places.each(
        &ext.core_relos,
        |relo| relo.insn_off,
        all,
        |func, at, relo| {
            let access = places.btf.string(relo.access).map_err(ElfError::BtfExt)?.into_owned();
            func.core.push(CoreReloc { at, type_id: relo.ty, access, kind: relo.kind });
            Ok(())
        },
    )?;
    for func in all {
        func.lines.sort_by_key(|line| line.at);
        func.core.sort_by_key(|core| core.at);
    }
    Ok(())
}

struct Places<'f, 'a> {
    file: &'f File<'a>,
    funcs: &'f FuncTable,
    btf: &'f Btf<'f>,
}

impl<'a> Places<'_, 'a> {
    /// Calls `take` with the function and the position in it of each record.
    fn each<T>(
        &self,
        table: &[SectionInfo<T>],
        offset: impl Fn(&T) -> u32,
        funcs: &mut [Func],
        mut take: impl FnMut(&mut Func, usize, &T) -> Result<(), ElfError>,
    ) -> Result<(), ElfError> {
        for info in table {
            let Some(section) = self.section(info.section)? else { continue };
            for record in &info.records {
                let offset = u64::from(offset(record));
                if offset % INSN != 0 {
                    return Err(ElfError::At {
                        section: section.name.to_owned(),
                        offset,
                        symbol: String::new(),
                        problem: "a record of `.BTF.ext` for the middle of an instruction; build the object again"
                            .to_owned(),
                    });
                }
                let insn = usize::try_from(offset / INSN).unwrap_or(usize::MAX);
                let Some((func, at)) = self.funcs.find(section.index, insn) else { continue };
                take(&mut funcs[func], at, record)?;
            }
        }
        Ok(())
    }

    fn section(&self, name: StrOff) -> Result<Option<&Section<'a>>, ElfError> {
        let name = self.btf.string(name).map_err(ElfError::BtfExt)?;
        Ok(self.file.section(&name).filter(|section| role(section) == Role::Code))
    }
}

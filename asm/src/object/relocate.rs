//! Instructions that name something outside of themselves.
//!
//! Stage: second half of the layout, when every function has its place. Input: the relocations of the code. Output: the
//! instructions as compilers leave them for loaders, and what the ELF file says about each. Next: `describe.rs`.

use std::collections::HashMap;

use super::Object;
use super::def::ProgDef;
use super::error::Error;
use super::layout::{CodeSection, Item, Patch, Symbol, TEXT};
use crate::btf::Linkage;
use crate::insn::{Insn, PSEUDO_CALL, Reloc, RelocKind};

/// First slot of a 64-bit load.
const LD_IMM64: u8 = 0x18;
/// Call of a helper, function or kernel function.
const CALL: u8 = 0x85;

/// What relocations can be against.
pub(super) struct Relocator<'o> {
    pub(super) object: &'o Object,
    pub(super) names: HashMap<&'o str, Item>,
    /// Where functions start in their sections, in bytes.
    pub(super) funcs: HashMap<usize, u32>,
    /// Names of the data sections.
    pub(super) data: Vec<String>,
}

impl Relocator<'_> {
    /// Prepares all relocations of one section.
    pub(super) fn relocate(&self, section: &mut CodeSection) -> Result<(), Error> {
        for func in section.funcs.clone() {
            let Some(prog) = self.object.progs.get(func.item) else { continue };
            for reloc in &prog.code.relocs {
                let at = u32::try_from(reloc.at.byte_off()).ok().and_then(|at| func.offset.checked_add(at));
                let slot = at.and_then(|at| section.insns.get_mut(usize::try_from(at).ok()? / size_of::<Insn>()));
                let inside = reloc.at.index() < prog.code.insns.len();
                let (Some(offset), Some(insn), true) = (at, slot, inside) else {
                    return Err(wrong(prog, reloc, "the function is shorter than that"));
                };
                let (to, call, imm) = self.resolve(&reloc.kind).map_err(|problem| wrong(prog, reloc, problem))?;
                prepare(insn, call, imm).map_err(|problem| wrong(prog, reloc, problem))?;
                section.patches.push(Patch { offset, to, call });
            }
        }
        Ok(())
    }

    /// What a relocation is against, whether it is a call, and what the instruction's constant is to be.
    fn resolve(&self, kind: &RelocKind) -> Result<(Symbol, bool, i32), &'static str> {
        let item = self.names.get(&**kind.name()).copied();
        match (kind, item) {
            (RelocKind::Map { .. }, Some(map @ Item::Map(_))) => Ok((Symbol::Item(map), false, 0)),
            (RelocKind::Map { .. }, None) => Err("there is no map of that name: add it to the object"),
            (RelocKind::Map { .. }, _) => Err("that is not a map"),
            (RelocKind::MapValue { off, .. }, Some(var @ Item::Global(_))) => Ok((Symbol::Item(var), false, *off)),
            (RelocKind::MapValue { .. }, Some(Item::Map(_))) => Err(
                "that is a map: its values have addresses only after a lookup; a global variable has one from the start",
            ),
            (RelocKind::MapValue { .. }, Some(_)) => Err("that is not a variable"),
            (RelocKind::MapValue { name, off }, None) => {
                let section = self.data.iter().position(|section| **section == **name);
                let section = section.ok_or("there is no variable or data section of that name")?;
                Ok((Symbol::DataSection(section), false, *off))
            }
            (RelocKind::Call { .. } | RelocKind::Func { .. }, Some(Item::Prog(n))) => self.resolve_func(kind, n),
            (RelocKind::Call { .. } | RelocKind::Func { .. }, None) => {
                Err("there is no function of that name: add it to the object")
            }
            (RelocKind::Call { .. } | RelocKind::Func { .. }, _) => Err("that is not a function"),
            (RelocKind::Kfunc { .. }, Some(kfunc @ Item::Extern(_))) => Ok((Symbol::Item(kfunc), true, -1)),
            (RelocKind::Ksym { .. }, Some(ksym @ Item::Extern(_))) => Ok((Symbol::Item(ksym), false, 0)),
            (RelocKind::Kfunc { .. } | RelocKind::Ksym { .. }, None) => {
                Err("no external of that name says what its type is")
            }
            (RelocKind::Kfunc { .. } | RelocKind::Ksym { .. }, _) => Err("that is not an external"),
        }
    }

    /// A call of a function, or its address. The address of a function that is not global is told as compilers tell it: the
    /// start of `.text`, and in the instruction the distance from there; other loaders know no other way.
    fn resolve_func(&self, kind: &RelocKind, n: usize) -> Result<(Symbol, bool, i32), &'static str> {
        let func = self.object.progs.get(n).filter(|func| &*func.section == TEXT);
        let func = func.ok_or("that is a program: only functions in `.text` can be called")?;
        if matches!(kind, RelocKind::Call { .. }) {
            return Ok((Symbol::Item(Item::Prog(n)), true, -1));
        }
        if func.linkage != Linkage::STATIC {
            return Ok((Symbol::Item(Item::Prog(n)), false, 0));
        }
        let offset = self.funcs.get(&n).and_then(|offset| i32::try_from(*offset).ok());
        Ok((Symbol::Text, false, offset.ok_or("`.text` outgrows 2 GiB")?))
    }
}

/// The error for one relocation.
fn wrong(prog: &ProgDef, reloc: &Reloc, problem: &'static str) -> Error {
    Error::Reloc { func: prog.name.to_string(), at: reloc.at, name: reloc.kind.name().to_string(), problem }
}

/// The instruction as compilers leave it for loaders.
fn prepare(insn: &mut Insn, call: bool, imm: i32) -> Result<(), &'static str> {
    if call && insn.code() != CALL {
        return Err("the instruction is not a call");
    }
    if !call && insn.code() != LD_IMM64 {
        return Err("the instruction does not load 64 bits");
    }
    insn.set_src(if call { PSEUDO_CALL } else { 0 });
    insn.set_imm(imm);
    Ok(())
}

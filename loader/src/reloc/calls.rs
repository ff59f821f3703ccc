//! Stage: spec → relocated, first step. Input: a [`Spec`] and one of its programs. Output: the program's code with every
//! subprogram it can reach behind it, each once, calls and callbacks pointing there, function and line records shifted
//! along. Next file: `core.rs`.

use asm::insn::{Insn, PSEUDO_CALL, PSEUDO_FUNC};

use super::{Linked, MAX_INSNS, Part, RelocError};
use crate::spec::{Func, Line, ProgSpec, RelocKind, Spec};

/// Is the object for machines like this one? Others are read and shown, but not loaded.
///
/// # Errors
/// It is for the other byte order.
pub(crate) fn byte_order(spec: &Spec) -> Result<(), RelocError> {
    match spec.big_endian == cfg!(target_endian = "big") {
        true => Ok(()),
        false => Err(RelocError::ForeignEndian { found: if spec.big_endian { "big" } else { "little" } }),
    }
}

/// Joins a program with its subprograms: the entry point first, then each in the order of the first call met when callees
/// are walked before the rest of their caller. That is libbpf's order, so equal objects give equal program tags.
///
/// # Errors
/// [`RelocError::TooLong`], or a spec that contradicts itself.
pub fn link(spec: &Spec, prog: &ProgSpec) -> Result<Linked, RelocError> {
    byte_order(spec)?;
    let mut linker = Linker { spec, prog, out: Linked::default(), starts: vec![None; spec.funcs.len()] };
    linker.walk(prog.func)?;
    linker.infos();
    Ok(linker.out)
}

struct Linker<'s> {
    spec: &'s Spec,
    prog: &'s ProgSpec,
    out: Linked,
    /// Where each function of the spec begins in the program.
    starts: Vec<Option<usize>>,
}

impl<'s> Linker<'s> {
    /// Depth first without recursion: the depth is the object's to choose.
    fn walk(&mut self, entry: usize) -> Result<(), RelocError> {
        self.append(entry)?;
        let mut stack = vec![(entry, 0)];
        while let Some((func, next)) = stack.last_mut() {
            let func = *func;
            let Some(reloc) = self.spec.funcs[func].relocs.get(*next) else {
                stack.pop();
                continue;
            };
            *next += 1;
            match reloc.kind {
                RelocKind::Call(target) | RelocKind::FuncAddr(target) => {
                    if self.start(target)?.is_none() {
                        self.append(target)?;
                        stack.push((target, 0));
                    }
                    self.point(func, reloc.at, target)?;
                }
                kind => {
                    let at = self.start(func)?.unwrap_or(0) + reloc.at;
                    self.out.relocs.push(crate::spec::Reloc { at, kind });
                }
            }
        }
        self.out.relocs.sort_by_key(|reloc| reloc.at);
        Ok(())
    }

    fn start(&self, func: usize) -> Result<Option<usize>, RelocError> {
        self.starts.get(func).copied().ok_or_else(|| RelocError::NoSuchPart {
            from: format!("program `{}`", self.prog.name),
            what: "function",
            index: func,
        })
    }

    fn append(&mut self, func: usize) -> Result<(), RelocError> {
        self.start(func)?;
        let start = self.out.insns.len();
        let body = &self.spec.funcs[func].insns;
        if start + body.len() > MAX_INSNS {
            return Err(RelocError::TooLong { prog: self.prog.name.clone() });
        }
        self.out.insns.extend_from_slice(body);
        self.out.parts.push(Part { start, func });
        self.starts[func] = Some(start);
        Ok(())
    }

    /// Makes the instruction at `at` of `func` call, or load the address of, `target`.
    fn point(&mut self, func: usize, at: usize, target: usize) -> Result<(), RelocError> {
        let from = self.start(func)?.unwrap_or(0) + at;
        let to = self.start(target)?.unwrap_or(0);
        // Both are below MAX_INSNS.
        let distance = i32::try_from(to).unwrap_or(0) - i32::try_from(from).unwrap_or(0) - 1;
        let name = &self.spec.funcs[func].name;
        let out_of_place = || RelocError::Insn {
            func: name.clone(),
            at,
            insn: self.spec.funcs[func].insns.get(at).map_or_else(String::new, Insn::to_string),
            problem: "it has a relocation for a function, but is neither `call` nor `ld_imm64`".to_owned(),
        };
        match self.out.insns.get_mut(from..).unwrap_or_default() {
            [insn, second, ..] if insn.is_ld_imm64() => {
                insn.set_src(PSEUDO_FUNC);
                insn.set_imm(distance);
                second.set_imm(0);
            }
            [insn, ..] if insn.code() == 0x85 => {
                insn.set_src(PSEUDO_CALL);
                insn.set_imm(distance);
            }
            _ => return Err(out_of_place()),
        }
        Ok(())
    }

    /// The kernel takes records for each function of a program or for none.
    fn infos(&mut self) {
        let parts = self.out.parts.clone();
        let funcs: Vec<&'s Func> = parts.iter().filter_map(|part| self.spec.funcs.get(part.func)).collect();
        let types: Vec<_> = funcs.iter().filter_map(|func| func.btf_type).collect();
        if types.len() == parts.len() {
            self.out.func_types = types;
        }
        if funcs.iter().all(|func| !func.lines.is_empty()) {
            self.out.lines = parts.iter().zip(&funcs).flat_map(|(part, func)| shifted(part.start, func)).collect();
        }
    }
}

/// A function's lines in the program: strictly ascending, never inside an `ld_imm64`, the first one at the function's start.
fn shifted(start: usize, func: &Func) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(func.lines.len());
    for line in &func.lines {
        let at = if lines.is_empty() { 0 } else { line.at };
        let second_half = func.insns.get(at).is_none_or(|insn| insn.code() == 0);
        if second_half || lines.last().is_some_and(|last| last.at >= start + at) {
            continue;
        }
        lines.push(Line { at: start + at, ..*line });
    }
    lines
}

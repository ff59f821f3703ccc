//! Stage: spec → interpreter, the road without a kernel. Input: a [`Spec`] and the name of a program. Output: a machine
//! ([`asm::vm::Vm`]) that runs it, with the object's maps, variables and the programs its tail calls name.
//!
//! The steps are those of `load/mod.rs`; what only a kernel has (its types, variables, configuration) is refused in words.

use asm::insn::{Insn, PSEUDO_MAP_FD, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE, PSEUDO_MAP_VALUE};
use asm::vm::{self, MapError, ProgramError, Vm};

use crate::reloc::{self, Answers, ExternAnswer, RelocError};
use crate::spec::{Extern, ExternKind, InitValue, MapSpec, ProgSpec, Spec};

/// Why an object does not run in the interpreter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// No program of that name.
    #[error("there is no program `{name}`; the object has {known}")]
    NoProg {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Something that only a kernel has.
    #[error("`{name}` is {what}, which only a kernel has")]
    KernelOnly {
        /// The symbol or function.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// The object contradicts itself.
    #[error(transparent)]
    Reloc(#[from] RelocError),
    /// A map that the interpreter cannot make.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A program that the interpreter cannot run.
    #[error("program `{name}`")]
    Program {
        /// The program.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ProgramError,
    },
    /// What the object puts into a map does not fit.
    #[error("map `{map}`: element {index} cannot be set (errno {errno})")]
    Element {
        /// The map.
        map: String,
        /// The index.
        index: u32,
        /// The kernel's number for it, negative.
        errno: i64,
    },
}

/// The interpreter, ready to run the program called `entry`.
///
/// # Errors
/// [`MachineError`].
pub fn machine(spec: &Spec, entry: &str) -> Result<Vm, MachineError> {
    let first = spec.progs.iter().position(|prog| prog.name == entry).ok_or_else(|| {
        let known: Vec<_> = spec.progs.iter().map(|prog| prog.name.as_str()).collect();
        MachineError::NoProg { name: entry.into(), known: known.join(", ") }
    })?;
    let failed = |prog: &ProgSpec| {
        let name = prog.name.clone();
        |source| MachineError::Program { name, source }
    };
    let mut vm = Vm::new(&code(spec, &spec.progs[first])?).map_err(failed(&spec.progs[first]))?;
    // Where each program of the object is among the machine's; the entry is number 0.
    let mut numbers = vec![0; spec.progs.len()];
    for (at, prog) in spec.progs.iter().enumerate().filter(|(at, _)| *at != first && is_target(spec, *at)) {
        numbers[at] = vm.add_program(&code(spec, prog)?).map_err(failed(prog))? as u64;
    }
    for map in &spec.maps {
        vm.add_map(made_of(map))?;
    }
    for (at, map) in spec.maps.iter().enumerate() {
        fill(&mut vm, at, map, &numbers)?;
    }
    Ok(vm)
}

/// Does a program array start with this program in it?
fn is_target(spec: &Spec, prog: usize) -> bool {
    let mut values = spec.maps.iter().flat_map(|map| &map.init);
    values.any(|(_, value)| *value == InitValue::Prog(prog))
}

fn made_of(map: &MapSpec) -> vm::MapSpec {
    let MapSpec { name, map_type, key_size, value_size, max_entries, .. } = map.clone();
    vm::MapSpec { name, map_type, key_size, value_size, max_entries }
}

/// A program with its subprograms; maps are named by their place in the spec, kernel functions by the interpreter's number.
fn code(spec: &Spec, prog: &ProgSpec) -> Result<Vec<Insn>, MachineError> {
    let mut linked = reloc::link(spec, prog)?;
    if let Some(func) = linked.parts.iter().map(|part| &spec.funcs[part.func]).find(|func| !func.core.is_empty()) {
        return Err(MachineError::KernelOnly {
            name: func.name.clone(),
            what: "a function fitted to a kernel's types",
        });
    }
    let maps = (0..spec.maps.len()).map(|at| i32::try_from(at).unwrap_or(i32::MAX)).collect();
    let externs = spec.externs.iter().map(answer).collect::<Result<_, _>>()?;
    linked.fill(spec, &Answers { maps, externs })?;
    let mut at = 0;
    while let Some(insn) = linked.insns.get_mut(at) {
        if !insn.is_ld_imm64() {
            at += 1;
            continue;
        }
        match insn.src() {
            PSEUDO_MAP_FD => insn.set_src(PSEUDO_MAP_IDX),
            PSEUDO_MAP_VALUE => insn.set_src(PSEUDO_MAP_IDX_VALUE),
            _ => {}
        }
        at += 2;
    }
    Ok(linked.insns)
}

/// What an external symbol is here: one of the interpreter's kernel functions, or absent where the program copes.
fn answer(external: &Extern) -> Result<ExternAnswer, MachineError> {
    let what = match external.kind {
        ExternKind::Kfunc(_) => match vm::kfunc(&external.name) {
            Some(id) => return Ok(ExternAnswer::Function { id: id.cast_unsigned(), fd_index: 0 }),
            None => "a kernel function",
        },
        ExternKind::Kconfig { .. } => "a value of a kernel's configuration",
        ExternKind::Ksym | ExternKind::TypedKsym(_) => "a kernel variable",
    };
    if external.weak {
        return Ok(ExternAnswer::Absent);
    }
    Err(MachineError::KernelOnly { name: external.name.clone(), what })
}

/// Global data, programs of a program array, inner maps.
fn fill(vm: &mut Vm, at: usize, spec: &MapSpec, programs: &[u64]) -> Result<(), MachineError> {
    let failed = |index| move |errno| MachineError::Element { map: spec.name.clone(), index, errno };
    let Some((map, memory)) = vm.map_at(at) else { return Ok(()) };
    if let Some(contents) = &spec.contents {
        map.update(memory, &[0; 4], contents, 0, None).map_err(failed(0))?;
    }
    for (index, value) in &spec.init {
        let handle = match value {
            InitValue::Map(map) => *map as u64,
            InitValue::Prog(prog) => programs.get(*prog).copied().unwrap_or(0),
        };
        map.set_handle(&index.to_le_bytes(), handle).map_err(failed(*index))?;
    }
    Ok(())
}

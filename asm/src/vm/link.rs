//! From functions and maps with names to a machine: the interpreter's own small loader.
//!
//! Input: [`Code`] values under their names, and the maps they name. Output: a [`Vm`] whose first program starts at the
//! first function. Read next: `program.rs`.

use super::{MapError, MapSpec, ProgramError, Vm};
use crate::insn::{
    Code, Insn, InsnIdx, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE, RelocKind,
};

/// Why functions and maps do not make a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A name that no function or map given has.
    #[error("function `{function}`, instruction {at}: there is no {what} called `{name}`")]
    Unknown {
        /// Where the name stands.
        function: String,
        /// The instruction.
        at: InsnIdx,
        /// `map` or `function`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A kernel variable, or a kernel function that the interpreter does not have.
    #[error(
        "function `{function}`, instruction {at}: `{name}` belongs to a kernel, and the interpreter does not have it"
    )]
    KernelOnly {
        /// Where the name stands.
        function: String,
        /// The instruction.
        at: InsnIdx,
        /// The name.
        name: String,
    },
    /// No functions.
    #[error("there is no function to run")]
    Empty,
    /// A map that cannot be made.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The linked program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl Vm {
    /// A machine that runs the first of `functions`, which may call the others, with `maps`.
    ///
    /// # Errors
    /// [`LinkError`]: an unknown name, a map or instruction that the interpreter does not have.
    pub fn link(functions: &[(&str, &Code)], maps: Vec<MapSpec>) -> Result<Self, LinkError> {
        if functions.is_empty() {
            return Err(LinkError::Empty);
        }
        let names: Vec<String> = maps.iter().map(|m| m.name.clone()).collect();
        let insns = Linker { functions, maps: &names }.insns()?;
        let mut vm = Self::new(&insns)?;
        for map in maps {
            vm.add_map(map)?;
        }
        Ok(vm)
    }
}

struct Linker<'a> {
    functions: &'a [(&'a str, &'a Code)],
    maps: &'a [String],
}

impl Linker<'_> {
    /// All functions behind each other, with every name replaced by a number.
    fn insns(&self) -> Result<Vec<Insn>, LinkError> {
        let mut all = Vec::new();
        for (function, code) in self.functions {
            let start = all.len();
            all.extend_from_slice(&code.insns);
            for reloc in &code.relocs {
                self.fill(function, start, reloc.at, &reloc.kind, &mut all)?;
            }
        }
        Ok(all)
    }

    fn fill(
        &self,
        function: &str,
        start: usize,
        at: InsnIdx,
        kind: &RelocKind,
        all: &mut [Insn],
    ) -> Result<(), LinkError> {
        let unknown = |what, name: &str| LinkError::Unknown { function: function.into(), at, what, name: name.into() };
        let (src, imm, second) = match kind {
            RelocKind::Map { name } => (PSEUDO_MAP_IDX, self.map(name).ok_or_else(|| unknown("map", name))?, None),
            RelocKind::MapValue { name, off } => {
                (PSEUDO_MAP_IDX_VALUE, self.map(name).ok_or_else(|| unknown("map", name))?, Some(*off))
            }
            RelocKind::Call { name } | RelocKind::Func { name } => {
                let target = self.function(name).ok_or_else(|| unknown("function", name))?;
                let src = if matches!(kind, RelocKind::Call { .. }) { PSEUDO_CALL } else { PSEUDO_FUNC };
                (src, distance(start + at.index() + 1, target), None)
            }
            RelocKind::Kfunc { name } => match super::kfunc(name) {
                Some(id) => (PSEUDO_KFUNC_CALL, id, None),
                None => return Err(LinkError::KernelOnly { function: function.into(), at, name: name.to_string() }),
            },
            RelocKind::Ksym { name } => {
                return Err(LinkError::KernelOnly { function: function.into(), at, name: name.to_string() });
            }
        };
        let slot = start + at.index();
        all[slot].set_src(src);
        all[slot].set_imm(imm);
        if let Some(second) = second {
            all[slot + 1].set_imm(second);
        }
        Ok(())
    }

    fn map(&self, name: &str) -> Option<i32> {
        let index = self.maps.iter().position(|m| m == name)?;
        i32::try_from(index).ok()
    }

    /// The slot at which a function starts.
    fn function(&self, name: &str) -> Option<usize> {
        let index = self.functions.iter().position(|(n, _)| *n == name)?;
        Some(self.functions[..index].iter().map(|(_, code)| code.insns.len()).sum())
    }
}

/// Slots from `from` to `to`; programs are far shorter than 2³¹ slots.
fn distance(from: usize, to: usize) -> i32 {
    let (from, to) = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(to).unwrap_or(i64::MAX));
    i32::try_from(to - from).unwrap_or(i32::MAX)
}

//! Stage: instructions. A finished function: its slots, and what the object layer must know about them.
//!
//! Input: `build.rs` and the assembler. Output: [`Code`], which goes to `object`. Next: `../object/mod.rs`.

use std::sync::Arc;

use super::{Insn, InsnIdx};

/// A finished function, or piece of code: slots, the names they refer to, and where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The slots, in order.
    pub insns: Vec<Insn>,
    /// Slots that a loader has to fill, in order of position.
    pub relocs: Vec<Reloc>,
    /// Source position of each operation, in order; consecutive operations from one place share a record.
    pub lines: Vec<LineRec>,
    /// Named positions, in order; for listings only.
    pub labels: Vec<LabelAt>,
    /// The texts of the files the lines name, where they are known.
    pub sources: Vec<Source>,
}

impl Code {
    /// The text of the source line of a record, if its file is among [`Code::sources`].
    #[must_use]
    pub fn line_text(&self, line: &LineRec) -> Option<&str> {
        let source = self.sources.iter().find(|source| source.file == line.file)?;
        source.text.lines().nth(usize::try_from(line.line).ok()?.checked_sub(1)?)
    }
}

/// A slot that names something outside of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// The `ld_imm64` (its first slot) or `call` to fill.
    pub at: InsnIdx,
    /// What to fill it with.
    pub kind: RelocKind,
}

/// What a slot is to be filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelocKind {
    /// `ld_imm64`: the map of this name.
    Map {
        /// Symbol in `.maps`.
        name: Arc<str>,
    },
    /// `ld_imm64`: an address inside a global variable (or inside the only value of an array map).
    MapValue {
        /// Symbol of the variable, its section, or the map.
        name: Arc<str>,
        /// Bytes from the symbol's start.
        off: i32,
    },
    /// `call`: the function of this name in the same object.
    Call {
        /// Symbol of the function.
        name: Arc<str>,
    },
    /// `ld_imm64`: the address of the function of this name in the same object, for a callback.
    Func {
        /// Symbol of the function.
        name: Arc<str>,
    },
    /// `call`: the kernel's function of this name.
    Kfunc {
        /// Its name in the kernel's BTF.
        name: Arc<str>,
    },
    /// `ld_imm64`: the address of the kernel's variable of this name.
    Ksym {
        /// Its name in the kernel's BTF or symbol table.
        name: Arc<str>,
    },
}

impl RelocKind {
    /// The symbol it names.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Map { name }
            | Self::MapValue { name, .. }
            | Self::Call { name }
            | Self::Func { name }
            | Self::Kfunc { name }
            | Self::Ksym { name } => name,
        }
    }
}

/// From here on, code comes from this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRec {
    /// First slot.
    pub at: InsnIdx,
    /// Path of the source file, as the compiler or the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
}

/// A named position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelAt {
    /// The slot it names.
    pub at: InsnIdx,
    /// Its name.
    pub name: Arc<str>,
}

/// A source file that lines refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path, equal to [`LineRec::file`].
    pub file: Arc<str>,
    /// Whole text.
    pub text: Arc<str>,
}

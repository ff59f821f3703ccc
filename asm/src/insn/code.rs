//! Stage: instructions. A finished function: its slots, and what the object layer must know about them.
//!
//! Input: `build.rs` and the assembler. Output: [`Code`], which goes to `object`. Next: `../object/mod.rs`.

use std::collections::BTreeMap;
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
        self.sources.iter().find(|source| source.file == line.file)?.line(line.line)
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

/// A source file that lines refer to: its lines, or those that are known. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: Arc<str>,
    text: Arc<str>,
    /// Number, start and end in `text` of each line, by number.
    lines: Arc<[(u32, u32, u32)]>,
}

impl Source {
    /// A whole file; its path is that of [`LineRec::file`].
    #[must_use]
    pub fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).chain([text.len()]);
        let mut start = 0;
        let lines =
            ends.zip(1..).map(|(end, number)| (number, narrow(std::mem::replace(&mut start, end + 1)), narrow(end)));
        let lines = lines.collect();
        Self { file: file.into(), text, lines }
    }

    /// Some lines of a file, each with its number from 1; of lines with the same number the last one counts.
    #[must_use]
    pub fn from_lines<'l>(file: impl Into<Arc<str>>, lines: impl IntoIterator<Item = (u32, &'l str)>) -> Self {
        let mut text = String::new();
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let by_number: BTreeMap<u32, &str> = lines.into_iter().collect();
        let mut place = |(number, line): (u32, &str)| {
            let start = narrow(text.len());
            text.push_str(line);
            (number, start, narrow(text.len()))
        };
        let lines = by_number.into_iter().map(&mut place).collect();
        Self { file: file.into(), text: text.into(), lines }
    }

    /// Path, equal to [`LineRec::file`].
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The text of a line, counted from 1, if it is known.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        let at = self.lines.binary_search_by_key(&number, |line| line.0).ok()?;
        let &(_, start, end) = self.lines.get(at)?;
        let line = self.text.get(start as usize..end as usize)?;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_number() {
        let whole = Source::new("a.s", "one\r\n\nthree");
        let got: Vec<_> = (0..5).map(|n| whole.line(n)).collect();
        assert_eq!(got, [None, Some("one"), Some(""), Some("three"), None]);
        let some = Source::from_lines("a.c", [(u32::MAX, "end"), (7, "old"), (7, "new")]);
        assert_eq!((some.line(7), some.line(u32::MAX), some.line(1)), (Some("new"), Some("end"), None));
    }
}

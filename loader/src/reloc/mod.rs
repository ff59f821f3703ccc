//! Stage: spec → relocated. Input: a [`Spec`], and the kernel's answers ([`Answers`]). Output: instructions as the kernel
//! takes them ([`Linked`]). Each step is a pure function of its arguments, tested without a kernel.
//!
//! The order: [`calls`] joins a program with the subprograms it needs, [`core`] fits it to the kernel's types, [`maps`]
//! and [`kfunc`] fill in what was made or found. Next file: `calls.rs`, then `../load.rs`, which asks the questions.

use asm::btf::wire;
use asm::insn::Insn;

use crate::spec::{Line, Reloc, RelocKind, Spec};

pub mod calls;
pub mod core;
pub mod kfunc;
pub mod maps;

pub use calls::link;

/// Most instructions of a program. C: `BPF_COMPLEXITY_LIMIT_INSNS`, Linux 5.2.
pub const MAX_INSNS: usize = 1_000_000;

/// Why a program could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelocError {
    /// A part of the spec names another part that does not exist.
    #[error("{from} names {what} number {index}, which the spec does not have")]
    NoSuchPart {
        /// Who names it.
        from: String,
        /// `function`, `map`, `extern`.
        what: &'static str,
        /// The number.
        index: usize,
    },
    /// The object is for a machine of the other byte order.
    #[error(
        "the object is {found}-endian and this machine is not: compile it for the target `bpfel` or `bpfeb` of this machine"
    )]
    ForeignEndian {
        /// `big` or `little`.
        found: &'static str,
    },
    /// A program with its subprograms is longer than any kernel takes.
    #[error("program `{prog}` has more than {MAX_INSNS} instructions with its subprograms: split it")]
    TooLong {
        /// The program.
        prog: String,
    },
    /// An instruction is not what its relocation says it is.
    #[error("function `{func}`, instruction {at} (`{insn}`): {problem}")]
    Insn {
        /// The function.
        func: String,
        /// Counted from the function's start.
        at: usize,
        /// The instruction.
        insn: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A CO-RE relocation cannot be carried out.
    #[error("function `{func}`, instruction {at}, CO-RE relocation {relo}")]
    Core {
        /// The function.
        func: String,
        /// Counted from the function's start.
        at: usize,
        /// Kind, type and path.
        relo: String,
        /// What is wrong.
        #[source]
        source: Box<crate::btf::MatchError>,
    },
    /// The object needs the kernel's types, and they are not there.
    #[error(
        "function `{func}` depends on the kernel's types, and there are none: \
         boot a kernel with CONFIG_DEBUG_INFO_BTF=y (Linux 5.2) or give a file with its BTF"
    )]
    NoKernelBtf {
        /// The function.
        func: String,
    },
    /// The kernel does not have a symbol that the object insists on.
    #[error(
        "the kernel has no {kind} `{name}`, which function `{func}` needs; declare it weak if the program can do without"
    )]
    NoSymbol {
        /// `variable`, `function`, `configuration value`.
        kind: &'static str,
        /// The symbol.
        name: String,
        /// The function that uses it.
        func: String,
    },
}

/// A program in one piece: its own code, then that of each subprogram, once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Linked {
    /// The code; calls inside are done.
    pub insns: Vec<Insn>,
    /// Which function begins where; the first is the entry point.
    pub parts: Vec<Part>,
    /// Places that are left to fill in, by position in `insns`.
    pub relocs: Vec<Reloc>,
    /// A function type for each part, or none at all.
    pub func_types: Vec<asm::btf::TypeId>,
    /// Source lines, by position in `insns`; each part begins with one, or there are none at all.
    pub lines: Vec<Line>,
    /// Instructions that were made invalid because what they ask for is not in this kernel; only dead code may hold them.
    pub poisoned: Vec<Poisoned>,
}

/// A function in a [`Linked`] program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its first instruction.
    pub start: usize,
    /// Position in [`Spec::funcs`].
    pub func: usize,
}

/// An instruction that the verifier must never reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poisoned {
    /// Position in the program.
    pub at: usize,
    /// What it would have needed.
    pub what: String,
}

/// What only the kernel knows.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The descriptor of each map of [`Spec::maps`].
    pub maps: Vec<i32>,
    /// What each symbol of [`Spec::externs`] is.
    pub externs: Vec<ExternAnswer>,
}

/// What an external symbol is in this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternAnswer {
    /// A configuration value: in map number `map` at `off`.
    Config {
        /// Position in [`Spec::maps`].
        map: usize,
        /// Bytes.
        off: u32,
    },
    /// Its address.
    Address(u64),
    /// A variable: its id in the kernel's BTF, and the BTF's descriptor (0 for the kernel itself).
    Variable {
        /// BTF id.
        id: u32,
        /// Descriptor of a module's BTF, or 0.
        btf_fd: i32,
    },
    /// A function: its id in the kernel's BTF, and the place of the BTF's descriptor in the load's array (0: the kernel).
    Function {
        /// BTF id.
        id: u32,
        /// Index into the descriptors given with the program.
        fd_index: i16,
    },
    /// It is not there, and the program said it copes.
    Absent,
}

impl Linked {
    /// Fills in everything that [`link`] left: maps, global data, the kernel's symbols.
    ///
    /// # Errors
    /// [`RelocError::NoSuchPart`] for a spec that contradicts itself.
    pub fn fill(&mut self, spec: &Spec, answers: &Answers) -> Result<(), RelocError> {
        for reloc in std::mem::take(&mut self.relocs) {
            match reloc.kind {
                RelocKind::Map(_) | RelocKind::MapValue { .. } => maps::apply(self, reloc, answers)?,
                RelocKind::Extern(_) | RelocKind::ExternCall(_) => kfunc::apply(self, spec, reloc, answers)?,
                RelocKind::Call(_) | RelocKind::FuncAddr(_) => {}
            }
        }
        Ok(())
    }

    /// The function that holds an instruction, and the position in that function.
    #[must_use]
    pub fn place(&self, at: usize) -> Option<(usize, usize)> {
        let after = self.parts.partition_point(|part| part.start <= at);
        let part = self.parts.get(after.checked_sub(1)?)?;
        Some((part.func, at - part.start))
    }

    /// The two instructions of an `ld_imm64`.
    fn pair(&mut self, at: usize) -> Option<&mut [Insn; 2]> {
        self.insns.get_mut(at..)?.first_chunk_mut()
    }

    /// Function records for `BPF_PROG_LOAD`.
    #[must_use]
    pub fn func_info(&self) -> Vec<wire::FuncInfo> {
        let records = self.parts.iter().zip(&self.func_types);
        let record = |(part, ty): (&Part, &asm::btf::TypeId)| wire::FuncInfo {
            insn_off: u32::try_from(part.start).unwrap_or(u32::MAX).into(),
            type_id: ty.0.into(),
        };
        records.map(record).collect()
    }

    /// Line records for `BPF_PROG_LOAD`.
    #[must_use]
    pub fn line_info(&self) -> Vec<wire::LineInfo> {
        let record = |line: &Line| wire::LineInfo {
            insn_off: u32::try_from(line.at).unwrap_or(u32::MAX).into(),
            file_name_off: line.file.0.into(),
            line_off: line.text.0.into(),
            line_col: (line.line.min(0x003f_ffff) << 10 | line.col.min(0x3ff)).into(),
        };
        self.lines.iter().map(record).collect()
    }
}

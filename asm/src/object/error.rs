//! Why an object cannot be written.
//!
//! Stage: every file of this module returns these. Next: `def.rs`.

use thiserror::Error as ThisError;

use crate::btf::{EncodeError, Refused};
use crate::insn::InsnIdx;

/// Why an object cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The kernel takes only C identifiers of at most 127 bytes.
    #[error(
        "{what} {name:?}: a name must be a C identifier of at most 127 bytes (letters, digits and `_`, no digit first)"
    )]
    Name {
        /// What has that name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Maps, functions and variables share one space of names.
    #[error("{name:?} names two things: {first}, and {second}; give one of them another name")]
    Duplicate {
        /// The name.
        name: String,
        /// The one, in words, and where it is.
        first: String,
        /// The other.
        second: String,
    },
    /// A section name that means something else.
    #[error("{name:?} cannot hold {what}: {advice}")]
    Section {
        /// What was to go there.
        what: &'static str,
        /// The section.
        name: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// A function without instructions.
    #[error("function {func:?} has no instructions")]
    Empty {
        /// Its name.
        func: String,
    },
    /// The object holds nothing to load.
    #[error("the object has neither a program nor a map nor a variable")]
    Nothing,
    /// A relocation names something that is not there, or is something else.
    #[error("instruction {at} of {func:?} names {name:?}, but {problem}")]
    Reloc {
        /// The function.
        func: String,
        /// The instruction, from the start of the function.
        at: InsnIdx,
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A line record that does not start where an instruction does.
    #[error("a line record of {func:?} stands at slot {at}, where no instruction starts")]
    Line {
        /// The function.
        func: String,
        /// The slot.
        at: InsnIdx,
    },
    /// A CO-RE relocation that does not stand where an instruction starts.
    #[error("a CO-RE relocation of {func:?} stands at slot {at}, where no instruction starts")]
    Core {
        /// The function.
        func: String,
        /// The slot.
        at: InsnIdx,
    },
    /// Initial bytes that do not fit.
    #[error("variable {name:?} is {want} bytes long, but starts as {have} bytes")]
    Bytes {
        /// The variable.
        name: String,
        /// Size of its type.
        want: u32,
        /// Bytes given.
        have: usize,
    },
    /// A variable that is to hold the address of a program, and cannot.
    #[error("variable {variable:?} is to hold the address of {name:?}, but {problem}")]
    Pointer {
        /// The variable.
        variable: String,
        /// The program.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An alignment that is not a power of two.
    #[error("variable {name:?}: alignment {align} is not a power of two")]
    Align {
        /// The variable.
        name: String,
        /// The alignment.
        align: u32,
    },
    /// A map definition that loaders refuse.
    #[error("map {name:?}: {problem}")]
    Map {
        /// The map.
        name: String,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// The license holds a zero byte.
    #[error("the license {license:?} holds a zero byte")]
    License {
        /// The license.
        license: String,
    },
    /// A section outgrows 4 GiB.
    #[error("section {section:?} outgrows 4 GiB")]
    TooLarge {
        /// Its name.
        section: String,
    },
    /// The types cannot be written.
    #[error("the types of the object cannot be written")]
    Btf(#[from] EncodeError),
    /// The kernel would refuse the types.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ELF file cannot be written.
    #[error("the ELF file cannot be written: {0}")]
    Elf(String),
}

//! Stage: BTF, between object and kernel. Input: the object's types and the kernel's. Output: which type is which
//! (`matching.rs`, `path.rs`), the kernel's types as an index (`kernel.rs`), the object's types made fit for this kernel and
//! loaded (`handle.rs`), values of a type for people (`value.rs`), and types as lists of fields (`layout.rs`). Next file: `kernel.rs`.

pub mod handle;
pub mod kernel;
pub mod layout;
pub mod matching;
pub mod path;
pub mod value;

pub use kernel::KernelBtf;

/// The types that were loaded with a program or a map, by their id.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` for types that this loader cannot read by themselves.
pub fn loaded(id: u32) -> Result<asm::btf::Btf<'static>, crate::errno::Errno> {
    let fd = crate::sys::obj::fd_by_id(crate::sys::obj::Kind::Btf, id)?;
    let bytes = crate::sys::info::btf_bytes(std::os::fd::AsFd::as_fd(&fd))?;
    asm::btf::Btf::from_vec(bytes).map_err(|_| crate::errno::Errno::EINVAL)
}

/// Why an object's type could not be matched with a kernel's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// The object's types are damaged.
    #[error("the object's types are damaged: build it again")]
    Local(#[source] asm::btf::Error),
    /// The kernel's types are damaged.
    #[error("the kernel's types are damaged")]
    Target(#[source] asm::btf::Error),
    /// The path of the relocation does not fit the type.
    #[error("the access string `{access}` is wrong: {problem}; build the object again")]
    Access {
        /// The string, or the part of it.
        access: String,
        /// What does not fit.
        problem: String,
    },
    /// Types nested deeper than any source has.
    #[error("the types are nested too deeply")]
    TooDeep,
    /// A type without a name cannot be found in the kernel.
    #[error("the type has no name, so it cannot be found in the kernel: name it")]
    Anonymous,
    /// A number that is no relocation kind.
    #[error("its kind, {0}, is not known: a newer loader may know it")]
    UnknownKind(u32),
    /// Two types of the kernel both fit, and the answers differ.
    #[error(
        "the kernel has more than one type that fits, {first} and {second}, and they say {first_value} and {second_value}"
    )]
    Ambiguous {
        /// One type.
        first: String,
        /// Another one.
        second: String,
        /// What the one says.
        first_value: String,
        /// What the other one says.
        second_value: String,
    },
    /// A bit field that no load of eight bytes covers.
    #[error("a bit field that reaches over eight bytes cannot be read")]
    WideBitField,
    /// A question that cannot be asked about an element of an array.
    #[error("only offset and size of an array's element can be asked for")]
    ArrayElement,
    /// The instruction does not hold what the relocation says it holds.
    #[error("the instruction `{insn}` holds {found}, not {want}: it was changed after compiling")]
    Unexpected {
        /// The instruction.
        insn: String,
        /// What it holds.
        found: u64,
        /// What the object's own types say.
        want: u64,
    },
    /// The answer does not fit the instruction.
    #[error("{value} does not fit the instruction `{insn}`")]
    OutOfRange {
        /// The answer.
        value: u64,
        /// The instruction.
        insn: String,
    },
    /// No instruction that can be relocated.
    #[error("the instruction `{insn}` cannot hold such an answer")]
    BadInsn {
        /// The instruction.
        insn: String,
    },
}

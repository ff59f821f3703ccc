//! Stage: object → spec. What can be wrong with an object file, as facts: section, offset, symbol, and what to do next.
//! Next file: `raw.rs`, the first step.

/// Why an object file could not be read. Offsets are bytes, counted from the start of the named section or of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// Not an ELF file, or its header is cut short.
    #[error("not an ELF object: {reason}; give the object file that the compiler or assembler wrote")]
    NotElf {
        /// What the header reader said.
        reason: String,
        /// The reader's own error, when it was the reader that refused.
        #[source]
        source: Option<goblin::error::Error>,
    },
    /// An ELF file for another machine or of another kind.
    #[error("not a BPF object: {field} is {found}, want {want}; compile for the target `bpf`")]
    NotBpf {
        /// The header field's name.
        field: &'static str,
        /// What the file says.
        found: u32,
        /// What a BPF object says.
        want: u32,
    },
    /// A part of the file points outside of the file.
    #[error(
        "{what} at file offset {offset} needs {size} bytes, the file has {file_size}: it is cut short or damaged; build it again"
    )]
    OutOfFile {
        /// Which part.
        what: String,
        /// Where it should begin.
        offset: u64,
        /// How long it says it is.
        size: u64,
        /// How long the file is.
        file_size: u64,
    },
    /// The sections together are larger than the file.
    #[error("the sections overlap: together they have {total} bytes, the file {file_size}; build the object again")]
    Overlap {
        /// Sum of the sizes in the section headers.
        total: u64,
        /// How long the file is.
        file_size: u64,
    },
    /// A table's size or an index in it makes no sense.
    #[error("section `{section}` (index {index}): {problem}; the object is damaged, build it again")]
    BadSection {
        /// The section's name, possibly empty.
        section: String,
        /// Its index in the section header table.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// A place inside a section is wrong.
    #[error("section `{section}`, offset {offset:#x}{}: {problem}", of_symbol(.symbol))]
    At {
        /// The section's name.
        section: String,
        /// Byte offset in it.
        offset: u64,
        /// The symbol meant there; empty when there is none.
        symbol: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A map's definition is wrong.
    #[error("map `{map}` in section `{section}`: {problem}")]
    Map {
        /// The map's name.
        map: String,
        /// The section that defines it.
        section: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The BTF of the object is missing where the object needs it.
    #[error("the object has {what} but no section `.BTF`: compile it with `-g`")]
    NoBtf {
        /// What needs type information.
        what: &'static str,
    },
    /// `.BTF` cannot be read.
    #[error("section `.BTF` cannot be read: build the object again, with debug information")]
    Btf(#[source] asm::btf::Error),
    /// `.BTF.ext` cannot be read.
    #[error("section `.BTF.ext` cannot be read: build the object again, with debug information")]
    BtfExt(#[source] asm::btf::Error),
    /// No program and no map: nothing to load.
    #[error(
        "the object has neither programs nor maps: nothing to load (do its functions have a section name such as SEC(\"xdp\")?)"
    )]
    Empty,
}

fn of_symbol(symbol: &str) -> String {
    if symbol.is_empty() { String::new() } else { format!(" (symbol `{symbol}`)") }
}

//! Stage: what an object file says, before any kernel is asked. Input: [`crate::elf::parse`]'s findings. Output: plain
//! data ([`Spec`]) that every later stage reads, and that prints as text (`spec/print.rs`). Next file: `reloc/mod.rs`.

use asm::btf::{Btf, CoreReloKind, StrOff, TypeId};
use asm::insn::Insn;
use asm::object::section::{AttachType, MapType, ProgType, SectionFlags};

mod print;

/// One object file: its programs, maps, functions and external symbols, in the order of the file.
///
/// Indices between the parts (`map`, `func`, `extern`) are positions in the vectors here.
///
/// ```
/// let error = loader::Spec::parse(b"not an object").unwrap_err();
/// assert!(error.to_string().starts_with("not an ELF object"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// The section `license`; empty when there is none (the kernel then refuses helpers that are for GPL programs).
    pub license: String,
    /// Is it for a big-endian machine? Code and types are as on any other; bytes of data are as that machine wants them.
    pub big_endian: bool,
    /// The section `version`: only kernels before 5.0 look at it.
    pub kernel_version: u32,
    /// Maps: declared (`.maps`, `maps`), then one for each global data section.
    pub maps: Vec<MapSpec>,
    /// Entry points.
    pub progs: Vec<ProgSpec>,
    /// All functions: the entry points' bodies and the subprograms.
    pub funcs: Vec<Func>,
    /// Symbols that the kernel or the host's configuration defines.
    pub externs: Vec<Extern>,
    /// Type information, sizes and offsets of its data sections filled in.
    pub btf: Option<Btf<'static>>,
}

impl Spec {
    /// Reads an object file. Pure: no system call, the same bytes give the same value.
    ///
    /// # Errors
    /// Whatever is wrong with the object, with section, offset and symbol.
    pub fn parse(bytes: &[u8]) -> Result<Self, crate::elf::ElfError> {
        crate::elf::parse(bytes)
    }

    /// The map of that name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapSpec> {
        self.maps.iter().find(|map| map.name == name)
    }

    /// The map of that name, to change it before it is made.
    pub fn map_mut(&mut self, name: &str) -> Option<&mut MapSpec> {
        self.maps.iter_mut().find(|map| map.name == name)
    }

    /// The program of that name.
    #[must_use]
    pub fn prog(&self, name: &str) -> Option<&ProgSpec> {
        self.progs.iter().find(|prog| prog.name == name)
    }
}

/// A map to be made, or found pinned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MapSpec {
    /// The symbol's name; for global data the section's name (`.rodata`).
    pub name: String,
    /// Where the definition comes from.
    pub origin: MapOrigin,
    /// C: `type`.
    pub map_type: MapType,
    /// Bytes.
    pub key_size: u32,
    /// Bytes; per CPU for the per-CPU types.
    pub value_size: u32,
    /// Elements, or bytes for ring buffers. Zero where whoever loads has to say it.
    pub max_entries: u32,
    /// C: `BPF_F_*` of map creation.
    pub flags: u32,
    /// A number whose meaning depends on the type (bits of a bloom filter's hashes, address of an arena; Linux 5.16).
    pub map_extra: u64,
    /// The NUMA node to allocate on, if the object says so.
    pub numa_node: Option<u32>,
    /// Whether the map is shared through a pin.
    pub pinning: Pinning,
    /// BTF type of a key.
    pub key_type: Option<TypeId>,
    /// BTF type of a value; for global data the `DATASEC`.
    pub value_type: Option<TypeId>,
    /// For a map of maps: what each of its values is.
    pub inner: Option<Box<MapSpec>>,
    /// Values that the object itself puts into a program array or a map of maps: `(index, what)`.
    pub init: Vec<(u32, InitValue)>,
    /// The bytes of a global data section; `None` for `.bss` and for declared maps: zeroes.
    pub contents: Option<Vec<u8>>,
}

/// Where a map's definition stands in the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MapOrigin {
    /// Section `.maps`, by BTF.
    #[default]
    Btf,
    /// Section `maps`: an array of C structs (libbpf before 1.0, iproute2).
    Legacy,
    /// Read-only global data (`.rodata…`): frozen once filled.
    Rodata,
    /// Initialised global data (`.data…`).
    Data,
    /// Zeroed global data (`.bss…`).
    Bss,
    /// Values of the host's configuration (`.kconfig`): read-only, filled by the loader.
    Kconfig,
}

impl MapOrigin {
    /// Whether the map is a section of global data rather than a declared map.
    #[must_use]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::Rodata | Self::Data | Self::Bss | Self::Kconfig)
    }

    /// Whether the programs may only read it, so that it is frozen when filled.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::Rodata | Self::Kconfig)
    }
}

/// How a map is shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Not at all.
    #[default]
    None,
    /// Under its own name in the deployment's directory. C: `LIBBPF_PIN_BY_NAME`.
    ByName,
    /// A value that other loaders gave a meaning of their own: kept, not acted upon.
    Other(u32),
}

/// What an object puts into an element of a map when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitValue {
    /// The map at that position of [`Spec::maps`].
    Map(usize),
    /// The program at that position of [`Spec::progs`].
    Prog(usize),
}

/// An entry point: what kind of program a function is.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgSpec {
    /// The function's name.
    pub name: String,
    /// The section it is in; says type and place of attachment.
    pub section: String,
    /// `None` for a section name that means nothing to us: whoever loads has to say the type.
    pub prog_type: Option<ProgType>,
    /// C: `expected_attach_type`; `None` where the type has none.
    pub attach_type: Option<AttachType>,
    /// What the section name says it is for (`fentry/do_unlinkat` → `do_unlinkat`).
    pub attach_to: Option<String>,
    /// What else the section name says.
    pub flags: SectionFlags,
    /// Position of its body in [`Spec::funcs`].
    pub func: usize,
    /// Whether it is loaded unless somebody says otherwise (section names beginning with `?` are not).
    pub autoload: bool,
}

/// A function: instructions as in the file, and what has to be filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Func {
    /// The symbol's name. Static functions of linked objects may share one.
    pub name: String,
    /// The section it is in.
    pub section: String,
    /// Where it begins in that section, in instructions.
    pub section_off: usize,
    /// Whether other objects can see it: the verifier checks such functions on their own.
    pub global: bool,
    /// The code.
    pub insns: Vec<Insn>,
    /// Places to fill in, by position.
    pub relocs: Vec<Reloc>,
    /// Its BTF type, a `FUNC`.
    pub btf_type: Option<TypeId>,
    /// Source lines, by position.
    pub lines: Vec<Line>,
    /// Places that depend on the layout of the kernel's types, by position.
    pub core: Vec<CoreReloc>,
}

/// A place in a function and what belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloc {
    /// The instruction (the first one of an `ld_imm64`), counted from the function's start.
    pub at: usize,
    /// What belongs there.
    pub kind: RelocKind,
}

/// What a relocation asks for. The numbers are positions in the vectors of [`Spec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocKind {
    /// The map itself.
    Map(usize),
    /// The address of a byte of a global data map.
    MapValue {
        /// Which map.
        map: usize,
        /// Bytes from the start of the section.
        off: u32,
    },
    /// A call of a function of the object.
    Call(usize),
    /// The address of a function of the object (callbacks).
    FuncAddr(usize),
    /// The address or value of an external variable.
    Extern(usize),
    /// A call of a kernel function (kfunc).
    ExternCall(usize),
}

/// A symbol that somebody else defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// Its name.
    pub name: String,
    /// Whether the program copes with its absence.
    pub weak: bool,
    /// Who defines it.
    pub kind: ExternKind,
}

/// Who defines an external symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternKind {
    /// The host's configuration: `CONFIG_*` and a few values of libbpf's making.
    Kconfig {
        /// Bytes from the start of the `.kconfig` map's value.
        off: u32,
        /// Bytes.
        size: u32,
        /// How the value is written.
        value: KconfigType,
    },
    /// A kernel variable without a type: its address, from `/proc/kallsyms`.
    Ksym,
    /// A kernel variable of this BTF type (of the object): its BTF id in the kernel.
    TypedKsym(TypeId),
    /// A kernel function of this BTF type (of the object).
    Kfunc(TypeId),
}

/// The C type of a configuration value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KconfigType {
    /// `bool`: y or n.
    Bool,
    /// `enum libbpf_tristate`: n, y, m as 0, 1, 2.
    Tristate,
    /// `char`: the letter itself.
    Char,
    /// An integer.
    Int {
        /// Whether it may be negative.
        signed: bool,
    },
    /// A `char` array: text, cut to fit, NUL-terminated.
    Text,
}

/// One source line of a function. The texts are in the string table of [`Spec::btf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The first instruction it made, counted from the function's start.
    pub at: usize,
    /// The file's name.
    pub file: StrOff,
    /// The line's text.
    pub text: StrOff,
    /// From 1.
    pub line: u32,
    /// From 1; 0 if unknown.
    pub col: u32,
}

/// A place in the code that holds something about a type of the kernel ("compile once, run everywhere").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreReloc {
    /// The instruction, counted from the function's start.
    pub at: usize,
    /// The type, as the object knows it.
    pub type_id: TypeId,
    /// Which part of it: `0:1:2` = first element, member 1, its member 2; or an enumerator's index.
    pub access: String,
    /// What about it.
    pub kind: CoreReloKind,
}

//! The object file: programs, maps and variables as an ELF file that any eBPF loader reads.
//!
//! Stage: last of this crate. Input: finished [`Code`](crate::insn::Code), and definitions of maps and variables. Output:
//! bytes, the same for the same input: `.text` and program sections with their relocations, `.maps` (BTF-defined),
//! `.rodata`/`.data`/`.bss`, `license`, `.BTF`, `.BTF.ext` (functions and lines of every function), and the symbols.
//!
//! ```
//! use asm::insn::{Builder, R0};
//! use asm::object::{MapDef, MapType, Object, ProgDef};
//!
//! let mut b = Builder::new();
//! b.mov(R0, 2); // XDP_PASS
//! b.exit();
//! let bytes = Object::new("Dual MIT/GPL")
//!     .map(MapDef::new("hits", MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(1))
//!     .prog(ProgDef::new("xdp", "pass", b.finish()?))
//!     .write()?;
//! assert_eq!(&bytes[..4], b"\x7fELF");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: `def.rs` (the input), `layout.rs` and `relocate.rs` (checks, and what lies where), `describe.rs` (types and lines), `elf.rs` (bytes),
//! `section.rs` and `kinds.rs` (names and numbers that loaders share).

mod context;
mod def;
mod describe;
mod elf;
mod error;
mod kinds;
mod layout;
mod relocate;
pub mod section;

pub use def::{DeclTag, ExternDef, GlobalDef, MapDef, Pinning, ProgDef, Ty};
pub use error::Error;
pub use kinds::{AttachType, MapType, ProgType};

/// An object file to be written.
#[derive(Clone, Debug)]
pub struct Object {
    license: String,
    maps: Vec<MapDef>,
    progs: Vec<ProgDef>,
    globals: Vec<GlobalDef>,
    externs: Vec<ExternDef>,
}

impl Object {
    /// An empty object under that license, such as `Dual MIT/GPL`. The kernel keeps some helpers for programs whose license
    /// is one of: `GPL`, `GPL v2`, `GPL and additional rights`, `Dual BSD/GPL`, `Dual MIT/GPL`, `Dual MPL/GPL`.
    #[must_use]
    pub fn new(license: &str) -> Self {
        Self {
            license: license.to_owned(),
            maps: Vec::new(),
            progs: Vec::new(),
            globals: Vec::new(),
            externs: Vec::new(),
        }
    }

    /// Adds a map.
    #[must_use]
    pub fn map(mut self, map: MapDef) -> Self {
        self.maps.push(map);
        self
    }

    /// Adds a program or a function.
    #[must_use]
    pub fn prog(mut self, prog: ProgDef) -> Self {
        self.progs.push(prog);
        self
    }

    /// Adds a global variable.
    #[must_use]
    pub fn global(mut self, global: GlobalDef) -> Self {
        self.globals.push(global);
        self
    }

    /// Adds something of the kernel's that the code names.
    #[must_use]
    pub fn external(mut self, external: ExternDef) -> Self {
        self.externs.push(external);
        self
    }

    /// Adds a constant in `.rodata`: user space may change it up to the load, nobody after.
    #[must_use]
    pub fn rodata(self, name: &str, ty: Ty, bytes: &[u8]) -> Self {
        self.global(GlobalDef::new(".rodata", name, ty, bytes))
    }

    /// Adds a variable in `.data`, which starts as `bytes`.
    #[must_use]
    pub fn data(self, name: &str, ty: Ty, bytes: &[u8]) -> Self {
        self.global(GlobalDef::new(".data", name, ty, bytes))
    }

    /// Adds a variable in `.bss`, which starts as zeros.
    #[must_use]
    pub fn bss(self, name: &str, ty: Ty) -> Self {
        self.global(GlobalDef::new(".bss", name, ty, &[]))
    }

    /// The file's bytes.
    ///
    /// # Errors
    ///
    /// A name that is no C identifier or used twice, a relocation against something that is not there, a variable whose
    /// bytes do not fit its type, a line record where no instruction starts, and whatever else would make a loader or the
    /// kernel refuse the file.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        let layout = layout::lay_out(self)?;
        let types = describe::describe(self, &layout)?;
        elf::write(self, &layout, &types)
    }
}

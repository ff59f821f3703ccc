//! What goes into an object: maps, programs, variables.
//!
//! Stage: input of the object writer; plain values, filled by method calls. Nothing is checked here: `layout.rs` does that
//! for all of them together. Next: `layout.rs`.

use std::fmt;
use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use super::kinds::MapType;
use crate::btf::{BtfBuilder, BtfType, CoreReloKind, Linkage, TypeId};
use crate::insn::{Code, InsnIdx};

/// A type to be described in BTF, and its size.
#[derive(Clone)]
pub struct Ty {
    pub(super) size: u32,
    pub(super) make: Arc<dyn Fn(&mut BtfBuilder) -> TypeId + Send + Sync>,
}

impl Ty {
    /// The type `T`.
    #[must_use]
    pub fn of<T: BtfType + 'static>() -> Self {
        Self { size: u32::try_from(size_of::<T>()).unwrap_or(u32::MAX), make: Arc::new(T::btf) }
    }

    /// `size` bytes of which no more is known.
    #[must_use]
    pub fn bytes(size: u32) -> Self {
        let make = move |b: &mut BtfBuilder| {
            let byte = u8::btf(b);
            b.array(byte, size)
        };
        Self { size, make: Arc::new(make) }
    }

    /// A type that `make` adds, of `size` bytes.
    pub fn with(size: u32, make: impl Fn(&mut BtfBuilder) -> TypeId + Send + Sync + 'static) -> Self {
        Self { size, make: Arc::new(make) }
    }

    /// Nothing: the result of a function that returns nothing.
    #[must_use]
    pub fn void() -> Self {
        Self { size: 0, make: Arc::new(|_| TypeId::VOID) }
    }
}

impl fmt::Debug for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ty({} bytes)", self.size)
    }
}

/// A text that a function, parameter or variable is marked with, for whoever reads the types (`BTF_KIND_DECL_TAG`, Linux 5.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclTag {
    /// The parameter that is meant, from 0; nothing for the whole.
    pub component: Option<u32>,
    /// The text.
    pub text: Arc<str>,
    /// An attribute of the compiler's rather than a plain tag (the kind's flag, Linux 6.15).
    pub attr: bool,
}

/// Whether a map is shared through bpffs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Each load makes its own.
    #[default]
    None,
    /// The loader pins the map under its name, or takes the one that is pinned there (`LIBBPF_PIN_BY_NAME`).
    ByName,
}

/// What a map in the object is: written as a BTF-defined map in `.maps`.
#[derive(Clone, Debug)]
pub struct MapDef {
    pub(super) name: Arc<str>,
    pub(super) numbers: Vec<(&'static str, u32)>,
    pub(super) types: Vec<(&'static str, Ty)>,
    pub(super) map_type: MapType,
    pub(super) inner: Option<Box<MapDef>>,
    pub(super) slots: Vec<Option<Arc<str>>>,
}

impl MapDef {
    /// A map of that name and type, and nothing else said yet.
    #[must_use]
    pub fn new(name: &str, map_type: MapType) -> Self {
        let numbers = vec![("type", map_type.0)];
        Self { name: name.into(), numbers, types: Vec::new(), map_type, inner: None, slots: Vec::new() }
    }

    /// Sets a number, once.
    fn number(mut self, field: &'static str, value: u32) -> Self {
        self.numbers.retain(|(name, _)| *name != field);
        self.numbers.push((field, value));
        self
    }

    /// Sets a type, once.
    fn ty(mut self, field: &'static str, ty: Ty) -> Self {
        self.types.retain(|(name, _)| *name != field);
        self.types.push((field, ty));
        self
    }

    /// The type of keys.
    #[must_use]
    pub fn key(self, ty: Ty) -> Self {
        self.ty("key", ty)
    }

    /// The type of values.
    #[must_use]
    pub fn value(self, ty: Ty) -> Self {
        self.ty("value", ty)
    }

    /// `T` is the type of keys.
    #[must_use]
    pub fn key_of<T: BtfType + 'static>(self) -> Self {
        self.key(Ty::of::<T>())
    }

    /// `T` is the type of values.
    #[must_use]
    pub fn value_of<T: BtfType + 'static>(self) -> Self {
        self.value(Ty::of::<T>())
    }

    /// Keys are that many bytes, of no type: what maps of sockets, programs and devices want.
    #[must_use]
    pub fn key_size(self, bytes: u32) -> Self {
        self.number("key_size", bytes)
    }

    /// Values are that many bytes, of no type.
    #[must_use]
    pub fn value_size(self, bytes: u32) -> Self {
        self.number("value_size", bytes)
    }

    /// Entries; bytes for a ring buffer.
    #[must_use]
    pub fn max_entries(self, entries: u32) -> Self {
        self.number("max_entries", entries)
    }

    /// `BPF_F_*` flags of map creation.
    #[must_use]
    pub fn flags(self, flags: u32) -> Self {
        self.number("map_flags", flags)
    }

    /// The memory node to allocate on; implies the flag `BPF_F_NUMA_NODE`, which must be set too.
    #[must_use]
    pub fn numa_node(self, node: u32) -> Self {
        self.number("numa_node", node)
    }

    /// A number whose meaning depends on the type: hash functions of a Bloom filter (`map_extra`, Linux 5.16).
    #[must_use]
    pub fn extra(self, extra: u32) -> Self {
        self.number("map_extra", extra)
    }

    /// Whether the map is shared through bpffs.
    #[must_use]
    pub fn pinning(self, pinning: Pinning) -> Self {
        match pinning {
            Pinning::None => {
                Self { numbers: self.numbers.into_iter().filter(|(n, _)| *n != "pinning").collect(), ..self }
            }
            Pinning::ByName => self.number("pinning", 1),
        }
    }

    /// For a map of maps: what the maps inside look like. The name of `inner` does not matter.
    #[must_use]
    pub fn inner(mut self, inner: MapDef) -> Self {
        self.inner = Some(Box::new(inner));
        self
    }

    /// For a map of maps, or of programs: what is in slot number `slot` from the start, by name.
    #[must_use]
    pub fn slot(mut self, slot: usize, name: &str) -> Self {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(name.into());
        }
        self
    }
}

/// A function: a program, or one that programs call.
#[derive(Clone, Debug)]
pub struct ProgDef {
    pub(super) section: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) code: Code,
    pub(super) linkage: Linkage,
    pub(super) params: Option<Vec<(Arc<str>, Ty)>>,
    pub(super) ret: Ty,
    pub(super) tags: Vec<DeclTag>,
    pub(super) core: Vec<CoreDef>,
}

/// A question about the kernel's types, and the instruction that gets the answer.
#[derive(Clone, Debug)]
pub(super) struct CoreDef {
    pub(super) at: InsnIdx,
    pub(super) ty: Ty,
    pub(super) access: Arc<str>,
    pub(super) kind: CoreReloKind,
}

impl ProgDef {
    /// The program `name` in the section `section`, such as `xdp` or `fentry/do_unlinkat`. It is described as taking the
    /// context of its program type and returning an int.
    #[must_use]
    pub fn new(section: &str, name: &str, code: Code) -> Self {
        let (section, name) = (section.into(), name.into());
        let (params, ret) = (None, Ty::of::<i32>());
        Self { section, name, code, linkage: Linkage::GLOBAL, params, ret, tags: Vec::new(), core: Vec::new() }
    }

    /// A function in `.text`, for programs of this object to call. It is static: verified at each call.
    #[must_use]
    pub fn subprog(name: &str, code: Code) -> Self {
        Self { linkage: Linkage::STATIC, params: Some(Vec::new()), ..Self::new(".text", name, code) }
    }

    /// Makes a function in `.text` global: verified once, by itself, for all arguments its parameters' types allow.
    #[must_use]
    pub fn global(self) -> Self {
        Self { linkage: Linkage::GLOBAL, ..self }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param(mut self, name: &str, ty: Ty) -> Self {
        self.params.get_or_insert_default().push((name.into(), ty));
        self
    }

    /// Marks the function or one of its parameters.
    #[must_use]
    pub fn decl_tag(mut self, tag: DeclTag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The loader answers a question about the running kernel's types and puts the answer into the instruction at slot
    /// `at`: its constant, or the offset of a load or store (CO-RE). `ty` is a struct (or union, enum) of the kernel's name
    /// with at least the members asked for; `access` is the path to one of them, by places: `0:2` is the third member.
    #[must_use]
    pub fn core(mut self, at: InsnIdx, kind: CoreReloKind, ty: Ty, access: &str) -> Self {
        self.core.push(CoreDef { at, ty, access: access.into(), kind });
        self
    }

    /// The type of the result; int when not said.
    #[must_use]
    pub fn returns(self, ret: Ty) -> Self {
        Self { ret, ..self }
    }
}

/// A global variable.
#[derive(Clone, Debug)]
pub struct GlobalDef {
    pub(super) section: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) ty: Ty,
    pub(super) bytes: Vec<u8>,
    pub(super) align: u32,
    pub(super) linkage: Linkage,
    pub(super) tags: Vec<DeclTag>,
    /// Programs that it holds the addresses of, by offset.
    pub(super) pointers: Vec<(u32, Arc<str>)>,
}

impl GlobalDef {
    /// The variable `name` of type `ty`, which starts as `bytes`, in a section of any of the kinds `.rodata` (the program
    /// reads it; user space sets it before the load), `.data` and `.bss` (starts as zeros: no bytes). More sections, hence
    /// more maps, are named like `.data.counters`. A variable in `.struct_ops` or `.struct_ops.link` is an implementation of
    /// the kernel's interface that its type is named after (Linux 5.6; the link 6.4); see [`GlobalDef::pointer`].
    #[must_use]
    pub fn new(section: &str, name: &str, ty: Ty, bytes: &[u8]) -> Self {
        let align = ty.size.next_power_of_two().clamp(1, 8);
        let (section, name, bytes) = (section.into(), name.into(), bytes.to_vec());
        Self { section, name, ty, bytes, align, linkage: Linkage::GLOBAL, tags: Vec::new(), pointers: Vec::new() }
    }

    /// Nobody outside of the object sees the variable: loaders do not offer it to user space.
    #[must_use]
    pub fn local(self) -> Self {
        Self { linkage: Linkage::STATIC, ..self }
    }

    /// Marks the variable.
    #[must_use]
    pub fn decl_tag(mut self, tag: DeclTag) -> Self {
        self.tags.push(tag);
        self
    }

    /// For a variable in `.struct_ops`: the member at `offset` is the program of that name.
    #[must_use]
    pub fn pointer(mut self, offset: u32, prog: &str) -> Self {
        self.pointers.push((offset, prog.into()));
        self
    }

    /// The variable `name`, which starts as `value`.
    #[must_use]
    pub fn of<T: BtfType + IntoBytes + Immutable + 'static>(section: &str, name: &str, value: &T) -> Self {
        Self::new(section, name, Ty::of::<T>(), value.as_bytes())
    }

    /// Bytes that its address is a multiple of; a power of two. When not said, its size rounded up, at most 8.
    #[must_use]
    pub fn align(self, align: u32) -> Self {
        Self { align, ..self }
    }
}

/// Something of the kernel's that the object names: a kernel function, variable or configuration value.
#[derive(Clone, Debug)]
pub struct ExternDef {
    pub(super) name: Arc<str>,
    pub(super) weak: bool,
    pub(super) tags: Vec<DeclTag>,
    pub(super) what: Extern,
}

/// What an [`ExternDef`] names.
#[derive(Clone, Debug)]
pub(super) enum Extern {
    /// Result and parameters of a function.
    Func { ret: Ty, params: Vec<(Arc<str>, Ty)> },
    /// The prototype of a function.
    Proto(Ty),
    /// Type of a variable.
    Var(Ty),
    /// Type of a configuration value.
    Config(Ty),
}

impl ExternDef {
    fn new(name: &str, what: Extern) -> Self {
        Self { name: name.into(), weak: false, tags: Vec::new(), what }
    }

    /// A kernel function with that result. Loaders compare the prototype with the kernel's.
    #[must_use]
    pub fn kfunc(name: &str, ret: Ty) -> Self {
        Self::new(name, Extern::Func { ret, params: Vec::new() })
    }

    /// Adds a parameter to a kernel function.
    #[must_use]
    pub fn param(mut self, name: &str, ty: Ty) -> Self {
        if let Extern::Func { params, .. } = &mut self.what {
            params.push((name.into(), ty));
        }
        self
    }

    /// A kernel function whose prototype is given whole.
    #[must_use]
    pub fn func(name: &str, proto: Ty) -> Self {
        Self::new(name, Extern::Proto(proto))
    }

    /// A kernel variable of type `ty`; [`Ty::void`] when only its address is wanted.
    #[must_use]
    pub fn ksym(name: &str, ty: Ty) -> Self {
        Self::new(name, Extern::Var(ty))
    }

    /// A value of the kernel's configuration, such as `CONFIG_HZ`, or `LINUX_KERNEL_VERSION`; the code gets its address as
    /// that of a kernel variable. The loader fills the value in before the load. `ty` is an integer, `bool`, `char`, an array
    /// of `char`, or the enumeration `libbpf_tristate`.
    #[must_use]
    pub fn config(name: &str, ty: Ty) -> Self {
        Self::new(name, Extern::Config(ty))
    }

    /// Marks it.
    #[must_use]
    pub fn decl_tag(mut self, tag: DeclTag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The object loads also where the kernel has no such thing.
    #[must_use]
    pub fn weak(self) -> Self {
        Self { weak: true, ..self }
    }
}

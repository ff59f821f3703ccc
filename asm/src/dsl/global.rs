//! Global variables: configuration that user space sets before the load, and state that all CPUs share.
//!
//! Stage: beside `map/mod.rs`. Input: `#[rodata] static LOCAL: Be32 = Be32::new(0);`. Output: loads and stores, and the variable in
//! the object's `.rodata`, `.data` or `.bss`, under the static's name in small letters. Read next: `object.rs`.

use zerocopy::{Immutable, IntoBytes};

use super::layout::{Addr, Layout, Scalar};
use super::rec;
use super::value::{IntoVal, Val};
use crate::ir::GlobalDecl;
use crate::object::{GlobalDef, Ty};

/// A constant of the program's that user space may change up to the load.
#[derive(Clone, Copy, Debug)]
pub struct Rodata<T: 'static> {
    name: &'static str,
    start: T,
}

impl<T> Rodata<T> {
    /// The variable of this name. Written by `#[rodata]`.
    #[must_use]
    pub const fn new(name: &'static str, start: T) -> Self {
        Self { name, start }
    }
}

impl<T: Scalar + IntoBytes + Immutable> IntoVal<T> for Rodata<T> {
    #[track_caller]
    fn into_val(self) -> Val<T> {
        super::Place::new(address(".rodata", self.name, &self.start)).load()
    }
}

/// A variable that all CPUs and user space share.
#[derive(Clone, Copy, Debug)]
pub struct Global<T: 'static> {
    name: &'static str,
    section: &'static str,
    start: T,
}

impl<T> Global<T> {
    /// The variable of this name, in `.data` or `.bss`. Written by `#[data]` and `#[bss]`.
    #[must_use]
    pub const fn new(section: &'static str, name: &'static str, start: T) -> Self {
        Self { name, section, start }
    }
}

impl<T: Layout + IntoBytes + Immutable> Global<T> {
    /// The place that holds it.
    #[must_use]
    #[track_caller]
    pub fn place(&self) -> T::Place {
        T::place(address(self.section, self.name, &self.start))
    }
}

#[track_caller]
fn address<T: Layout + IntoBytes + Immutable>(section: &'static str, name: &'static str, start: &T) -> Addr {
    let base = rec::with(|r| {
        let bytes = if section == ".bss" { &[][..] } else { start.as_bytes() };
        r.globals.entry(name).or_insert_with(|| GlobalDef::new(section, name, Ty::of::<T>(), bytes));
        r.b.global_addr(&GlobalDecl { name: name.into(), size: T::SIZE, readonly: section == ".rodata" }, 0)
    });
    Addr::of(base)
}

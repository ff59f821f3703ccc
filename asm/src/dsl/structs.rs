//! Structs of the author's: what `#[derive(Layout)]` is written in.
//!
//! Stage: between the derive and `layout.rs`. Input: `Key { port: p, .. }`, and places that hold a struct. Output: an object
//! on the stack, whose fields are places. Read next: `pointed.rs`.

use std::marker::PhantomData;
use std::ops::Deref;

use super::bytes;
use super::layout::{Addr, AnyPlace, Layout, Struct};
use super::pointed::Pointed;
use super::rec;
use super::settle::{Mutable, Own, Stage};
use super::value::{IntoVal, Repr, Val};
use crate::ir::Value;

/// A struct on the stack, which a `let` keeps. The check twin's is moved like a struct of the host; the staged twin's
/// ([`Free`]) is a copyable id.
#[derive(Debug)]
pub struct Obj<T: Struct, Kept = Moved> {
    at: Value,
    place: T::Place,
    of: PhantomData<Kept>,
}

/// Moves when it is used: the check twin.
#[derive(Clone, Copy, Debug)]
pub struct Moved;

/// May be copied: the staged twin.
#[derive(Clone, Copy, Debug)]
pub struct Free;

impl<T: Struct> Clone for Obj<T, Free> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Struct> Copy for Obj<T, Free> {}

impl<T: Struct, K> Obj<T, K> {
    pub(crate) fn at(at: Value) -> Self {
        Self { at, place: T::place(Addr::of(at)), of: PhantomData }
    }

    /// Its address.
    pub(crate) const fn place(&self) -> Value {
        self.at
    }
}

impl<T: Struct, K> Deref for Obj<T, K> {
    type Target = T::Place;
    fn deref(&self) -> &T::Place {
        &self.place
    }
}

impl<T: Struct> Own for Obj<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: Struct, K> Stage for Obj<T, K> {
    type Out = Obj<T, Free>;
    fn stage(self) -> Self::Out {
        Obj::at(self.at)
    }
}

impl<T: Struct> Mutable for Obj<T, Free> {
    fn mutable(self) -> Self {
        self
    }
}

impl<T: Struct, K> Pointed<T> for Obj<T, K> {
    fn pointer(&self) -> Value {
        self.at
    }
}

impl<T: Struct, K> IntoVal<T> for Obj<T, K> {
    fn into_val(self) -> Val<T> {
        rec::with(|r| bytes::load(r, Addr::of(self.at), T::SIZE))
    }
}

/// The parts of a struct, to be written. Derived.
pub trait Parts: Sized {
    /// The struct.
    type Of: Struct;
    /// Writes each of them to its field.
    #[track_caller]
    fn write(self, to: Addr);
}

/// Bytes of a struct without padding.
#[must_use]
pub const fn total(sizes: &[u32]) -> u32 {
    let (mut sum, mut at) = (0, 0);
    while at < sizes.len() {
        sum += sizes[at];
        at += 1;
    }
    sum
}

/// Alignment of a struct.
#[must_use]
pub const fn greatest(aligns: &[u32]) -> u32 {
    let (mut greatest, mut at) = (1, 0);
    while at < aligns.len() {
        if aligns[at] > greatest {
            greatest = aligns[at];
        }
        at += 1;
    }
    greatest
}

/// Parts as a struct on the stack.
#[track_caller]
pub fn object<P: Parts, K>(parts: P) -> Obj<P::Of, K> {
    let at = rec::with(|r| r.b.stack(P::Of::SIZE, bytes::STACK_ALIGN));
    parts.write(Addr::of(at));
    Obj::at(at)
}

/// Parts as a value.
#[track_caller]
pub fn whole<P: Parts>(parts: P) -> Val<P::Of> {
    Val::new(Repr::Stack(object::<P, Free>(parts).at))
}

/// Parts where memory is wanted.
#[track_caller]
pub fn pointer<P: Parts>(parts: P) -> Value {
    object::<P, Free>(parts).at
}

/// What a place that holds a struct is worth.
#[track_caller]
pub fn loaded<P: AnyPlace>(place: P) -> Val<P::Of> {
    rec::with(|r| bytes::load(r, place.addr(), P::Of::SIZE))
}

/// Copies what a place holds to where the address says.
#[track_caller]
pub fn copied<P: AnyPlace>(from: P, to: Addr) {
    rec::with(|r| bytes::copy::<P::Of>(r, to, from.addr()));
}

/// A pointer to a place.
#[track_caller]
pub fn address<P: AnyPlace>(place: P) -> Value {
    rec::with(|r| place.addr().pointer(r))
}

/// Writes a field.
#[track_caller]
pub fn write<T: Layout>(to: Addr, value: Val<T>) {
    rec::with(|r| bytes::store(r, to, value));
}

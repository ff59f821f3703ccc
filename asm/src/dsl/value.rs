//! Staged values: numbers that a program will have when it runs.
//!
//! Stage: after `rec.rs`. Input: host values, places in memory, results of calls. Output: [`Val`], a small copyable id.
//! `+` wraps, `x / 0` is 0, `x % 0` is x, shift amounts are taken modulo the width. Read next: `ops.rs`, `layout.rs`.

use std::fmt;
use std::marker::PhantomData;

use super::bytes;
use super::layout::{Addr, Layout, Scalar};
use super::rec::{self, Recorder};
use crate::insn::Cond;
use crate::ir::{Value, Var};

/// Values of at most that many pieces travel in registers; larger ones on the stack.
pub(crate) const PIECES: usize = 4;

/// How a value is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repr {
    /// A number that is known now.
    Const(u64),
    /// A number in a register.
    Value(Value),
    /// A variable: reading it gives what it was last given.
    Var(Var),
    /// A comparison that has not been made: a branch makes it in one instruction.
    Test(Cond, Value, Value),
    /// Bytes in registers, in order; each piece is as wide as its value's type.
    Pieces([Option<Value>; PIECES]),
    /// Bytes on the stack, never written again.
    Stack(Value),
}

/// A value of type `T` in a program that is being recorded.
#[must_use]
pub struct Val<T> {
    pub(crate) repr: Repr,
    of: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Val<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Val({:?})", self.repr)
    }
}

impl<T> Clone for Val<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Val<T> {}

impl<T> Val<T> {
    pub(crate) const fn new(repr: Repr) -> Self {
        Self { repr, of: PhantomData }
    }

    pub(crate) const fn of(value: Value) -> Self {
        Self::new(Repr::Value(value))
    }
}

impl<T: Scalar> Val<T> {
    /// The number, in a register.
    pub(crate) fn value(self, r: &mut Recorder) -> Value {
        bytes::number(r, self)
    }
}

/// What can stand where a value of type `T` is wanted: a host value, a staged value, a place in memory.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value of type `{T}` in a kernel program",
    label = "expected `{T}`",
    note = "numbers do not change their type by themselves: write `as {T}`; byte order changes by `.get()` and `.to_be()`"
)]
pub trait IntoVal<T> {
    /// The value, here and now.
    #[track_caller]
    fn into_val(self) -> Val<T>;

    /// Writes the value to memory.
    #[doc(hidden)]
    #[track_caller]
    fn put(self, to: Addr)
    where
        Self: Sized,
        T: Layout,
    {
        let value = self.into_val();
        rec::with(|r| bytes::store(r, to, value));
    }
}

impl<T: Layout> IntoVal<T> for Val<T> {
    fn into_val(self) -> Val<T> {
        self
    }
}

/// Numbers and booleans of the host are constants of the program.
macro_rules! constants {
    ($($ty:ty)*) => {$(
        impl IntoVal<$ty> for $ty {
            fn into_val(self) -> Val<$ty> {
                Val::new(Repr::Const(self.to_bits()))
            }
        }
    )*};
}

constants! { u8 u16 u32 u64 i8 i16 i32 i64 bool }

/// A constant: what the derive makes of an enum's variant.
pub const fn constant<T>(bits: u64) -> Val<T> {
    Val::new(Repr::Const(bits))
}

//! What a `let` keeps: a value that no longer hangs on the expression it came from.
//!
//! Stage: between places and names. [`Own`] is the check twin's: what it gives has the author's moves and borrows.
//! [`Stage`] is the staged twin's: small copyable ids without lifetimes, so that both arms of an `if` can be recorded.
//! Read next: `flow.rs`.

use super::layout::{AnyPlace, ArrayPlace, Layout, Place, Scalar, Struct};
use super::map::{Record, ValRef};
use super::packet::PktRef;
use super::rec;
use super::structs::Obj;
use super::value::{IntoVal, Repr, Val};

/// What the check twin keeps.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept by a `let`",
    note = "what may have failed is tested where it is called: with `?`, `let else`, `if let` or `match`"
)]
pub trait Own: Sized {
    /// Its type.
    type Owned;
    /// Keeps it.
    #[track_caller]
    fn own(self) -> Self::Owned;
}

/// What the staged twin keeps.
pub trait Stage: Sized {
    /// Its type.
    type Out: Copy;
    /// Keeps it.
    #[track_caller]
    fn stage(self) -> Self::Out;
}

/// What `if` and `match` can result in.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an `if` or `match`",
    note = "numbers can; let the arms do the work on anything else"
)]
pub trait Join: Copy {
    /// Where the results meet.
    type Meeting: super::flow::Meeting<Joined = Self>;
    /// The first of them.
    #[track_caller]
    fn open(self) -> Self::Meeting;
    /// A further one.
    #[track_caller]
    fn merge(self, meeting: Self::Meeting);
}

/// What a `let mut` holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot change: `let mut` is for numbers and cursors",
    note = "drop the `mut`"
)]
pub trait Mutable: Copy {
    /// A variable that starts as this.
    #[must_use]
    #[track_caller]
    fn mutable(self) -> Self;
}

/// What can be given a value by `=`.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be given a value of type `{E}`")]
pub trait Assign<E> {
    /// Gives it the value.
    #[track_caller]
    fn assign(&self, value: E);
}

/// `let name = value`, in the check twin.
#[track_caller]
pub fn own<O: Own>(value: O) -> O::Owned {
    value.own()
}

/// `let name = value`, in the staged twin.
#[track_caller]
pub fn stage<S: Stage>(value: S) -> S::Out {
    value.stage()
}

/// `let mut name = value`, in the staged twin.
#[track_caller]
pub fn mutable<M: Mutable>(value: M) -> M {
    value.mutable()
}

/// A literal: its type comes from where it is used.
#[track_caller]
pub fn literal<T: Layout>(value: impl IntoVal<T>) -> Val<T> {
    value.into_val()
}

/// A value of the type that is wanted.
#[track_caller]
pub fn value<T: Layout>(value: impl IntoVal<T>) -> Val<T> {
    value.into_val()
}

/// `let name: T = value`
#[track_caller]
pub fn typed<T: Layout>(value: impl IntoVal<T>) -> Val<T> {
    let value = value.into_val();
    match value.repr {
        Repr::Var(var) => rec::with(|r| Val::of(r.b.use_var(var))),
        _ => value,
    }
}

/// `place = value`
#[track_caller]
pub fn assign<E, P: Assign<E>>(place: &P, value: E) {
    place.assign(value);
}

/// What `*` can be applied to: a reference to a place.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read or written through `*`",
    label = "no reference to a place",
    note = "what may not be there is tested first: with `?`, `let else`, `if let` or `match`"
)]
pub trait Refers {
    /// The place.
    type To: AnyPlace;
    /// The place it refers to.
    fn to(&self) -> Self::To;
}

/// Implements [`Refers`] for what derefs to a place.
macro_rules! refers {
    ($([$($params:tt)*] $from:ty => $to:ty;)*) => {$(
        impl<$($params)*> Refers for $from
        where
            $to: AnyPlace,
        {
            type To = $to;
            fn to(&self) -> $to {
                **self
            }
        }
    )*};
}

refers! {
    [T: Layout] PktRef<'_, T> => T::Place;
    [T: Layout] ValRef<T> => T::Place;
    [T: Layout, K] Record<T, K> => T::Place;
    [T: Struct, K] Obj<T, K> => T::Place;
}

/// `*reference`
pub fn deref<R: Refers>(reference: &R) -> R::To {
    reference.to()
}

/// What `[index]` can be applied to.
#[diagnostic::on_unimplemented(message = "`{Self}` has no elements")]
pub trait Indexed<I> {
    /// The place of an element.
    type Element;
    /// Element number `index`.
    #[track_caller]
    fn element(&self, index: I) -> Self::Element;
}

/// `place[index]`
#[track_caller]
pub fn index<I, P: Indexed<I>>(place: &P, index: I) -> P::Element {
    place.element(index)
}

impl<T: Layout, I, const N: usize> Indexed<I> for ArrayPlace<T, N>
where
    I: IntoVal<u32>,
{
    type Element = T::Place;
    fn element(&self, index: I) -> T::Place {
        self.at::<u32>(index)
    }
}

/// Implements [`Own`] and [`Stage`] for what is loaded to be kept.
macro_rules! loaded {
    ($([$($params:tt)*] $from:ty => $to:ty;)*) => {$(
        impl<$($params)*> Own for $from {
            type Owned = Val<$to>;
            fn own(self) -> Val<$to> {
                self.into_val()
            }
        }

        impl<$($params)*> Stage for $from {
            type Out = Val<$to>;
            fn stage(self) -> Val<$to> {
                self.into_val()
            }
        }
    )*};
}

loaded! {
    [T: Scalar] Place<T> => T;
    [T: Layout, const N: usize] ArrayPlace<T, N> => [T; N];
    [const N: usize] [u8; N] => [u8; N];
    [] u8 => u8;
    [] u16 => u16;
    [] u32 => u32;
    [] u64 => u64;
    [] i8 => i8;
    [] i16 => i16;
    [] i32 => i32;
    [] i64 => i64;
    [] bool => bool;
    [] super::be::Be16 => super::be::Be16;
    [] super::be::Be32 => super::be::Be32;
    [] super::be::Be64 => super::be::Be64;
}

impl<T: Layout> Own for Val<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: Layout> Stage for Val<T> {
    type Out = Self;
    fn stage(self) -> Self {
        match self.repr {
            Repr::Var(var) => rec::with(|r| Val::of(r.b.use_var(var))),
            // A comparison is made once: where it is kept, not at each use.
            Repr::Test(cond, a, b) => rec::with(|r| {
                let value = r.b.compare(cond, a, b);
                r.at_most(value, 1);
                Val::of(value)
            }),
            _ => self,
        }
    }
}

impl<T: Scalar> Mutable for Val<T> {
    fn mutable(self) -> Self {
        rec::with(|r| {
            let (value, var) = (self.value(r), r.b.var(T::TY));
            r.b.def(var, value);
            Self::new(Repr::Var(var))
        })
    }
}

impl<T: Scalar, E: IntoVal<T>> Assign<E> for Val<T> {
    fn assign(&self, value: E) {
        let value = value.into_val();
        let Repr::Var(var) = self.repr else { return };
        rec::with(|r| {
            let value = value.value(r);
            r.b.def(var, value);
        });
    }
}

impl<T: Scalar, E: IntoVal<T>> Assign<E> for Place<T> {
    fn assign(&self, value: E) {
        self.store(value);
    }
}

impl<T: Layout, const N: usize, E: IntoVal<[T; N]>> Assign<E> for ArrayPlace<T, N> {
    fn assign(&self, value: E) {
        value.put(super::layout::AnyPlace::addr(*self));
    }
}

impl Own for () {
    type Owned = ();
    fn own(self) {}
}

impl Stage for () {
    type Out = ();
    fn stage(self) {}
}

/// Tuples are kept part by part.
macro_rules! tuples {
    ($(($($part:ident $at:tt),+))*) => {$(
        impl<$($part: Own),+> Own for ($($part,)+) {
            type Owned = ($($part::Owned,)+);
            fn own(self) -> Self::Owned {
                ($(self.$at.own(),)+)
            }
        }

        impl<$($part: Stage),+> Stage for ($($part,)+) {
            type Out = ($($part::Out,)+);
            fn stage(self) -> Self::Out {
                ($(self.$at.stage(),)+)
            }
        }
    )*};
}

tuples! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) (A 0, B 1, C 2, D 3, E 4, F 5) }

impl<A: Own, E> Own for Result<A, E> {
    type Owned = Result<A::Owned, E>;
    fn own(self) -> Self::Owned {
        self.map(Own::own)
    }
}

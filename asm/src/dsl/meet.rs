//! Where the results of the ways through an `if` or a `match` meet.
//!
//! Stage: beside `flow.rs`. Input: the result of each way. Output: one value: of numbers a variable, of longer values the place on
//! the stack where the first way has it. Read next: `check.rs`.

use std::marker::PhantomData;

use super::bytes;
use super::flow::{Given, Meeting};
use super::kernel::Kernel;
use super::layout::{Addr, Layout, Struct};
use super::map::ValRef;
use super::packet::PktRef;
use super::rec::{self, Recorder};
use super::settle::Join;
use super::sock::{Kptr, Pointer};
use super::structs::{Free, Obj};
use super::value::{Repr, Val};
use crate::ir::{Region, StackId, Ty, Value, Var};

/// The place of a value.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// A number is in a variable.
    Var(Var),
    /// Bytes are on the stack.
    Stack(StackId),
}

/// Where values of type `T` meet.
#[derive(Debug)]
pub struct ValMeeting<T> {
    at: Where,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for ValMeeting<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ValMeeting<T> {}

impl<T: Layout> Meeting for ValMeeting<T> {
    type Joined = Val<T>;
    fn joined(self) -> Val<T> {
        rec::with(|r| match self.at {
            Where::Var(var) => Val::of(r.b.use_var(var)),
            Where::Stack(id) => Val::new(Repr::Stack(r.b.stack_addr(id))),
        })
    }
}

impl<T: Layout> Join for Val<T> {
    type Meeting = ValMeeting<T>;

    fn open(self) -> ValMeeting<T> {
        let at = rec::with(|r| match self.repr {
            Repr::Pieces(_) | Repr::Stack(_) => {
                let place = r.b.stack(T::SIZE, bytes::STACK_ALIGN);
                bytes::store(r, Addr::of(place), self);
                Where::Stack(object(r, place))
            }
            _ => {
                let var = r.b.var(Ty::int(T::SIZE * 8).unwrap_or(Ty::I64));
                define(r, var, self);
                Where::Var(var)
            }
        });
        ValMeeting { at, of: PhantomData }
    }

    fn merge(self, meeting: ValMeeting<T>) {
        rec::with(|r| match meeting.at {
            Where::Var(var) => define(r, var, self),
            Where::Stack(id) => {
                let place = r.b.stack_addr(id);
                bytes::store(r, Addr::of(place), self);
            }
        });
    }
}

/// Gives a variable a number.
fn define<T: Layout>(r: &mut Recorder, var: Var, value: Val<T>) {
    let number = bytes::number(r, value);
    r.b.def(var, number);
}

/// The object on the stack that a pointer of this function's making points to.
fn object(r: &Recorder, place: Value) -> StackId {
    match r.b.ty(place) {
        Ty::Ptr(Region::Stack(id)) => id,
        // Objects are made by `FuncBuilder::stack` alone.
        _ => StackId(0),
    }
}

/// Where structs meet: in the object of the first way. It was moved there, so nobody else looks at it.
#[derive(Debug)]
pub struct ObjMeeting<T> {
    at: StackId,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for ObjMeeting<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ObjMeeting<T> {}

impl<T: Struct> Meeting for ObjMeeting<T> {
    type Joined = Obj<T, Free>;
    fn joined(self) -> Obj<T, Free> {
        Obj::at(rec::with(|r| r.b.stack_addr(self.at)))
    }
}

impl<T: Struct> Join for Obj<T, Free> {
    type Meeting = ObjMeeting<T>;

    fn open(self) -> ObjMeeting<T> {
        ObjMeeting { at: rec::with(|r| object(r, self.place())), of: PhantomData }
    }

    fn merge(self, meeting: ObjMeeting<T>) {
        rec::with(|r| {
            let (to, value) = (r.b.stack_addr(meeting.at), Val::<T>::new(Repr::Stack(self.place())));
            bytes::store(r, Addr::of(to), value);
        });
    }
}

/// Where pointers meet: in a variable.
#[derive(Debug)]
pub struct PtrMeeting<P> {
    var: Var,
    of: PhantomData<fn() -> P>,
}

impl<P> Clone for PtrMeeting<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for PtrMeeting<P> {}

/// Declares that references meet: how one is made of a pointer, and what is done where there is none.
macro_rules! pointers {
    ($([$($params:tt)*] $name:ty, |$this:ident, $r:ident| $pointer:expr, |$at:ident| $made:expr;)*) => {$(
        impl<$($params)*> Meeting for PtrMeeting<$name> {
            type Joined = $name;
            fn joined(self) -> $name {
                let $at = rec::with(|r| r.b.use_var(self.var));
                $made
            }
        }

        impl<$($params)*> Join for $name {
            type Meeting = PtrMeeting<$name>;
            fn open(self) -> Self::Meeting {
                let $this = self;
                let var = rec::with(|$r| {
                    let now = $pointer;
                    let var = $r.b.var($r.b.ty(now));
                    $r.b.def(var, now);
                    var
                });
                PtrMeeting { var, of: PhantomData }
            }
            fn merge(self, meeting: Self::Meeting) {
                let $this = self;
                rec::with(|$r| {
                    let now = $pointer;
                    $r.b.def(meeting.var, now);
                });
            }
        }

        impl<$($params)*> Given for $name {
            fn given(self) -> Option<Value> {
                None
            }
            fn never() -> Self {
                let $at = rec::with(|r| r.b.ctx());
                $made
            }
        }
    )*};
}

pointers! {
    [T: Layout] PktRef<'static, T>, |this, r| this.addr().pointer(r), |at| PktRef::at(Addr::of(at));
    [V: Layout] ValRef<V>, |this, r| this.addr().pointer(r), |at| ValRef::at(Addr::of(at));
    [T: Kernel] Kptr<T>, |this, r| this.value(), |at| Kptr::at(at);
}

/// Tuples meet part by part.
macro_rules! tuples {
    ($(($($part:ident $at:tt),+))*) => {$(
        impl<$($part: Meeting),+> Meeting for ($($part,)+) {
            type Joined = ($($part::Joined,)+);
            fn joined(self) -> Self::Joined {
                ($(self.$at.joined(),)+)
            }
        }

        impl<$($part: Join),+> Join for ($($part,)+) {
            type Meeting = ($($part::Meeting,)+);
            fn open(self) -> Self::Meeting {
                ($(self.$at.open(),)+)
            }
            fn merge(self, meeting: Self::Meeting) {
                $(self.$at.merge(meeting.$at);)+
            }
        }

        impl<$($part: Given),+> Given for ($($part,)+) {
            fn given(self) -> Option<Value> {
                None
            }
            fn never() -> Self {
                ($($part::never(),)+)
            }
        }
    )*};
}

tuples! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

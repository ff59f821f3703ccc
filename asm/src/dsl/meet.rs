//! Where the results of the ways through an `if` or a `match` meet.
//!
//! Stage: beside `flow.rs`. Input: the result of each way. Output: one value: of numbers a variable, of longer values the place on
//! the stack where the first way has it. Read next: `check.rs`.

use std::marker::PhantomData;

use super::bytes;
use super::flow::Meeting;
use super::layout::{Addr, Layout, Struct};
use super::rec::{self, Recorder};
use super::settle::Join;
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

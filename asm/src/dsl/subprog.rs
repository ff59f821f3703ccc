//! Functions of the author's: written into their caller, or called.
//!
//! Stage: lowering's other end. Input: what `#[bpf_fn]` and `#[subprog]` make of a function. Output: its result. Read next:
//! `object.rs`.

use std::marker::PhantomData;

use super::flow::{self, Fallible, Given, Meeting, Okay};
use super::layout::Scalar;
use super::object::Text;
use super::outcome::Explained;
use super::rec::{self, Frame, Recorder};
use super::settle::{Own, Stage};
use super::value::Val;
use crate::insn::Cond;
use crate::ir::{Block, FuncBuilder, Ty, Value};

/// A function that is being written into its caller: `return` goes to its end.
#[derive(Debug)]
#[must_use]
pub struct Inline;

impl Inline {
    /// The start of the body.
    pub fn begin(text: Text) -> Self {
        rec::with(|r| {
            let end = r.b.block();
            r.frames.push(Frame { end: Some(end), ..Frame::program() });
            r.note(text);
        });
        Self
    }

    /// The end of the body; the result is what `return` and the last expression gave.
    #[track_caller]
    pub fn end<G: Given>(self) -> G {
        let result = rec::with(|r| {
            let frame = r.frames.pop()?;
            r.enter(frame.end?);
            frame.result
        });
        let Some(result) = result else { return G::never() };
        match result.downcast_ref::<G::Meeting>() {
            Some(meeting) => meeting.joined(),
            None => {
                rec::with(flow::mixed);
                G::never()
            }
        }
    }

    /// The end of the body of a function that may fail.
    #[track_caller]
    pub fn outcome<G: Given>(self) -> Outcome<G> {
        let fail = rec::with(Recorder::failed);
        let Okay(found) = self.end::<Okay<G>>();
        Outcome { fail, found }
    }

    /// The end of the body of a function that may fail for a reason.
    #[track_caller]
    pub fn explained<G: Given, E: Scalar>(self) -> Explained<G, E> {
        let failed = rec::with(|r| r.error(E::TY));
        let Okay(found) = self.end::<Okay<G>>();
        Explained::new(found, failed)
    }
}

/// What a function gives that may have failed: to be tested where it is called.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Outcome<V> {
    /// Where the function's failures are, until somebody says where they go on.
    fail: Option<Block>,
    found: V,
}

impl<V: Stage + Copy> Fallible for Outcome<V> {
    type Found = V;
    fn some(mut self, other: Block) -> V {
        if let Some(fail) = self.fail.take() {
            rec::with(|r| {
                let here = r.b.current();
                r.enter(fail);
                r.goto(other);
                if let Some(here) = here {
                    r.b.switch_to(here);
                }
            });
        }
        self.found
    }
}

/// Nobody tests it: it goes on the same whether it failed or not.
impl<V> Drop for Outcome<V> {
    fn drop(&mut self) {
        if let Some(fail) = self.fail.take() {
            rec::with(|r| {
                let on = r.b.block();
                r.goto(on);
                r.enter(fail);
                r.goto(on);
                r.enter(on);
            });
        }
    }
}

/// What a function of its own gives that may have failed.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Answer<T> {
    number: Value,
    of: PhantomData<fn() -> T>,
}

/// What a function of its own returns where it failed: more than any number of 32 bits.
const FAILED: u64 = 1 << 32;

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Answer<T> {}

impl<T: Scalar> Fallible for Answer<T> {
    type Found = Val<T>;
    fn some(self, other: Block) -> Val<T> {
        rec::with(|r| {
            let (next, largest) = (r.b.block(), r.number(Ty::I64, FAILED - 1));
            r.b.branch(Cond::Gt, self.number, largest, other, next);
            r.enter(next);
            Val::of(r.b.trunc(self.number, T::TY))
        })
    }
}

impl<T> Own for Answer<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T> Stage for Answer<T> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

/// A function of its own, which is verified at each call.
#[derive(Debug)]
#[must_use]
pub struct Subprog {
    name: &'static str,
    params: Vec<(&'static str, Ty)>,
    args: Vec<Value>,
}

impl Subprog {
    /// A call of the function of this name.
    pub const fn call(name: &'static str) -> Self {
        Self { name, params: Vec::new(), args: Vec::new() }
    }

    /// Adds an argument; there may be five.
    #[track_caller]
    pub fn arg<T: Scalar>(mut self, name: &'static str, value: Val<T>) -> Self {
        self.params.push((name, T::TY));
        self.args.push(rec::with(|r| value.value(r)));
        self
    }

    /// Parameter number `index`, inside of the body.
    pub fn param<T: Scalar>(index: usize) -> Val<T> {
        rec::with(|r| Val::of(r.b.param(index)))
    }

    /// Makes the call; `body` is recorded once for all calls.
    #[track_caller]
    pub fn result<T: Scalar, V: Stage>(self, text: Text, body: impl FnOnce() -> V) -> Val<T>
    where
        V::Out: flow::Given,
    {
        Val::of(self.made(T::TY, text, || flow::give_back(body())))
    }

    /// As [`Subprog::result`], of a function that may fail and gives a number of up to 32 bits.
    #[track_caller]
    pub fn outcome<T: Scalar>(self, text: Text, body: impl FnOnce()) -> Answer<T> {
        const { assert!(T::SIZE <= 4, "a function of its own that may fail gives a number of up to 32 bits") };
        let failing = || {
            body();
            rec::with(|r| {
                if let Some(fail) = r.failed() {
                    r.enter(fail);
                    let failed = r.number(Ty::I64, FAILED);
                    r.b.ret(Some(failed));
                }
            });
        };
        Answer { number: self.made(Ty::I64, text, failing), of: PhantomData }
    }

    /// Records the function, unless it is known, and calls it.
    #[track_caller]
    fn made(self, ty: Ty, text: Text, body: impl FnOnce()) -> Value {
        if !rec::with(|r| r.has_subprog(self.name)) {
            let recorded = rec::record(FuncBuilder::subprog(self.name, &self.params, Some(ty)), || {
                rec::with(|r| r.returns(ty));
                body();
            });
            rec::with(|r| r.add_subprog(recorded, text));
        }
        rec::with(|r| r.b.call_fn(self.name, &self.args, Some(ty)).unwrap_or_else(|| r.b.ctx()))
    }
}

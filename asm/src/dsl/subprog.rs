//! Functions of the author's: written into their caller, or called.
//!
//! Stage: lowering's other end. Input: what `#[bpf_fn]` and `#[subprog]` make of a function. Output: its result. Read next:
//! `object.rs`.

use super::flow;
use super::layout::Scalar;
use super::object::Text;
use super::rec::{self, Frame};
use super::settle::Stage;
use super::value::Val;
use crate::ir::{FuncBuilder, Ty, Value};

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
    pub fn end<T: Scalar>(self) -> Val<T> {
        rec::with(|r| {
            let frame = r.frames.pop();
            if let Some(end) = frame.as_ref().and_then(|frame| frame.end) {
                r.enter(end);
            }
            match frame.and_then(|frame| frame.result) {
                Some(result) => Val::of(r.b.use_var(result)),
                None => Val::of(r.number(T::TY, 0)),
            }
        })
    }

    /// The end of a body without result.
    pub fn end_unit(self) {
        rec::with(|r| {
            if let Some(end) = r.frames.pop().and_then(|frame| frame.end) {
                r.enter(end);
            }
        });
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
        let known = rec::with(|r| r.has_subprog(self.name));
        if !known {
            let recorded = rec::record(FuncBuilder::subprog(self.name, &self.params, Some(T::TY)), || {
                rec::with(|r| r.returns(T::TY));
                flow::give_back(body());
            });
            rec::with(|r| r.add_subprog(recorded, text));
        }
        rec::with(|r| Val::of(r.b.call_fn(self.name, &self.args, Some(T::TY)).unwrap_or_else(|| r.b.ctx())))
    }
}

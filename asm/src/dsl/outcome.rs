//! Results with a reason: `fn f(..) -> Result<T, E>`, `.ok_or(reason)?`, `match f(..) { Ok(x) => .., Err(why) => .. }`.
//!
//! Stage: beside `flow.rs`. Input: what a function gives, or an option and a number that says why it is empty. Output: two ways
//! on. A reason travels as a number along the way that it is the reason for: nothing is tested twice. Read next: `check.rs`.

use std::marker::PhantomData;

use super::check::Failure;
use super::flow::{self, Fallible};
use super::layout::Scalar;
use super::rec::{self, Recorder};
use super::settle::Stage;
use super::value::{IntoVal, Val};
use crate::ir::{Block, Var};

/// What `?` can be applied to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is always there: it cannot be tested with `?`, `Some(..)` or `let .. else`",
    label = "this is not an option"
)]
pub trait Tried: Sized {
    /// What is there.
    type Found: Stage;
    /// What the function leaves with where it is not.
    type Error;
    /// Goes on where it is there, and else leaves the innermost function.
    #[track_caller]
    fn or_leave(self) -> Self::Found;
}

impl<F: Fallible> Tried for F {
    type Found = F::Found;
    type Error = Failure;
    fn or_leave(self) -> F::Found {
        let fail = rec::with(Recorder::fail);
        self.some(fail)
    }
}

/// `value?`
#[track_caller]
pub fn question<T: Tried>(value: T) -> <T::Found as Stage>::Out {
    value.or_leave().stage()
}

/// Options that can be given a reason.
pub trait Reasoned: Fallible {
    /// With the reason that a function leaves with where nothing is there: `pkt.read::<Eth>().ok_or(SHORT)?`.
    #[track_caller]
    fn ok_or<E: Scalar, V: IntoVal<E>>(self, why: V) -> OkOr<Self, E> {
        OkOr { option: self, why: why.into_val() }
    }
}

impl<F: Fallible> Reasoned for F {}

/// An option with a reason.
#[derive(Clone, Copy, Debug)]
#[must_use = "test it with `?`"]
pub struct OkOr<F, E> {
    option: F,
    why: Val<E>,
}

impl<F: Fallible, E: Scalar> Tried for OkOr<F, E> {
    type Found = F::Found;
    type Error = Val<E>;
    fn or_leave(self) -> F::Found {
        let other = flow::block();
        // The reason stands before the test, so that tests in a row that leave with one reason lead to one place.
        let why = rec::with(|r| self.why.value(r));
        let found = self.option.some(other);
        let here = flow::here();
        flow::enter(other);
        raise::<E>(Val::of(why));
        flow::back(here);
        found
    }
}

/// `Err(why)`: leaves the innermost function.
#[track_caller]
pub fn raise<E: Scalar>(why: impl IntoVal<E>) {
    let why = why.into_val();
    rec::with(|r| {
        let (why, (block, var)) = (why.value(r), r.error(E::TY));
        r.b.def(var, why);
        r.goto(block);
    });
}

/// What a function that may fail for a reason gives: tested where it is called.
#[derive(Debug)]
#[must_use = "test it where it is called, with `?` or `match`"]
pub struct Explained<R, E> {
    found: R,
    why: Why<E>,
}

impl<R, E> Explained<R, E> {
    pub(crate) const fn new(found: R, failed: (Block, Var)) -> Self {
        Self { found, why: Why { failed, of: PhantomData } }
    }
}

/// Why a function failed.
#[derive(Debug)]
pub struct Why<E> {
    failed: (Block, Var),
    of: PhantomData<fn() -> E>,
}

impl<E: Scalar> Why<E> {
    /// Goes on where the function failed; the reason.
    #[track_caller]
    pub fn enter(self) -> Val<E> {
        let (block, var) = self.failed;
        rec::with(|r| {
            r.enter(block);
            Val::of(r.b.use_var(var))
        })
    }
}

impl<R: Stage, E: Scalar> Tried for Explained<R, E> {
    type Found = R;
    type Error = Val<E>;
    fn or_leave(self) -> R {
        let here = flow::here();
        raise(self.why.enter());
        flow::back(here);
        self.found
    }
}

/// Both ways on of a `match`: what is there, where the recorder is; and why not.
#[track_caller]
pub fn both<R: Stage, E: Scalar>(explained: Explained<R, E>) -> (R::Out, Why<E>) {
    (explained.found.stage(), explained.why)
}

/// What `match` looks at, in the check twin.
///
/// # Errors
/// Never: the check twin does not run.
pub fn chk_explained<R: Stage, E: Scalar>(explained: Explained<R, E>) -> Result<R, Val<E>> {
    super::check::chk_result(explained)
}

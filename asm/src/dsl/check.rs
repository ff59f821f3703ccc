//! The check twin: never run, only judged by rustc.
//!
//! Stage: lowering's other end. Input: staged values. Output: host values of the same shape, so that `if`, `match`, `?` and
//! `let else` of the author's program can stay what they are and rustc's borrow checker sees every path. Read next:
//! `object.rs`.

use super::flow::Fallible;
use super::layout::{Layout, Place, Scalar};
use super::outcome::Tried;
use super::value::{IntoVal, Val};

/// Why a program left by `?`: the reason is in the default verdict alone.
#[derive(Clone, Copy, Debug)]
pub struct Failure;

/// The check twin stops here, before any of it runs.
fn judged<T>() -> T {
    std::process::abort()
}

/// A condition.
pub fn chk_bool(_: impl IntoVal<bool>) -> bool {
    judged()
}

/// An option.
pub fn chk_option<F: Fallible>(_: F) -> Option<F::Found> {
    judged()
}

/// What `?` is applied to.
///
/// # Errors
/// Never: the check twin does not run.
pub fn chk_result<T: Tried>(_: T) -> Result<T::Found, T::Error> {
    judged()
}

/// What `match` looks at.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be matched",
    note = "numbers, enums, options and tuples of them can"
)]
pub trait Matched {
    /// The host's value of the same type.
    type Host;
}

impl<T: Layout> Matched for Val<T> {
    type Host = T;
}

impl<T: Scalar> Matched for Place<T> {
    type Host = T;
}

impl<A: Matched, B: Matched> Matched for (A, B) {
    type Host = (A::Host, B::Host);
}

impl<A: Matched, B: Matched, C: Matched> Matched for (A, B, C) {
    type Host = (A::Host, B::Host, C::Host);
}

/// What `match` looks at, as the host's value.
pub fn chk<M: Matched>(_: M) -> M::Host {
    judged()
}

/// `name = value`, for a name of the author's.
#[track_caller]
pub fn convert<T, E: Convert<T>>(value: E) -> T {
    value.convert()
}

/// What can become the new value of a variable of type `T`.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be assigned to a variable that holds `{T}`")]
pub trait Convert<T> {
    /// The value.
    fn convert(self) -> T;
}

impl<T: Layout, E: IntoVal<T>> Convert<Val<T>> for E {
    fn convert(self) -> Val<T> {
        self.into_val()
    }
}

impl Convert<()> for () {
    fn convert(self) {}
}

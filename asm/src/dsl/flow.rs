//! Control flow of the staged twin: blocks entered one after the other, values that meet where they join.
//!
//! Stage: lowering's other end. Input: calls that the macro writes for `if`, `match`, loops, `?` and `return`. Output:
//! blocks of the recorder. Read next: `meet.rs`, `loops.rs`, then `check.rs`, the other twin.

use super::bytes;
use super::layout::Layout;
use super::ops;
use super::rec::{self, Recorder};
use super::settle::{Join, Stage};
use super::value::{IntoVal, Repr, Val};
use crate::insn::Cond;
use crate::ir::{Block, Ty, Value};

/// A new block; nothing leads there yet.
#[must_use]
pub fn block() -> Block {
    rec::with(|r| r.b.block())
}

/// Goes on at `block`, whose ways in are all known by now.
pub fn enter(block: Block) {
    rec::with(|r| r.enter(block));
}

/// Goes to `block`.
#[track_caller]
pub fn goto(block: Block) {
    rec::with(|r| r.goto(block));
}

/// The block that is being filled, to come back to.
#[must_use]
pub fn here() -> Option<Block> {
    rec::with(|r| r.b.current())
}

/// Comes back to a block.
pub fn back(block: Option<Block>) {
    rec::with(|r| {
        if let Some(block) = block {
            r.b.switch_to(block);
        }
    });
}

/// Goes on where the condition is `want`, and else is at `other`.
#[track_caller]
pub fn require(condition: impl IntoVal<bool>, want: bool, other: Block) {
    let condition = condition.into_val();
    rec::with(|r| {
        let next = r.b.block();
        let (yes, no) = if want { (next, other) } else { (other, next) };
        match condition.repr {
            Repr::Const(holds) => r.goto(if (holds != 0) == want { next } else { other }),
            Repr::Test(cond, a, b) => r.b.branch(cond, a, b, yes, no),
            _ => {
                let value = condition.value(r);
                let zero = r.number(Ty::I8, 0);
                r.b.branch(Cond::Ne, value, zero, yes, no);
            }
        }
        r.enter(next);
    });
}

/// Something that may not be there: what a lookup finds, bytes that a packet may not have, a call that may fail.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is always there: it cannot be tested with `?`, `Some(..)` or `let .. else`",
    label = "this is not an option"
)]
pub trait Fallible: Sized {
    /// What is there.
    type Found: Stage;
    /// Goes on where it is there, and else is at `other`.
    #[track_caller]
    fn some(self, other: Block) -> Self::Found;
}

/// Goes on with what is there, and else is at `other`.
#[track_caller]
pub fn some<F: Fallible>(value: F, other: Block) -> <F::Found as Stage>::Out {
    value.some(other).stage()
}

/// The result of the first way out of an `if` or `match`.
#[track_caller]
pub fn open<J: Stage>(value: J, join: Block) -> <J::Out as Join>::Meeting
where
    J::Out: Join,
{
    let meeting = value.stage().open();
    rec::with(|r| r.goto(join));
    meeting
}

/// The result of a further way.
#[track_caller]
pub fn merge<J: Stage>(meeting: <J::Out as Join>::Meeting, value: J, join: Block)
where
    J::Out: Join,
{
    value.stage().merge(meeting);
    rec::with(|r| r.goto(join));
}

/// What they all come to.
pub fn join<M: Meeting>(meeting: M, join: Block) -> M::Joined {
    rec::with(|r| r.enter(join));
    meeting.joined()
}

/// Where the results of several ways meet.
pub trait Meeting: Copy + 'static {
    /// What they come to.
    type Joined;
    /// Reads it.
    fn joined(self) -> Self::Joined;
}

impl Meeting for () {
    type Joined = ();
    fn joined(self) {}
}

impl Join for () {
    type Meeting = ();
    fn open(self) {}
    fn merge(self, (): ()) {}
}

/// `Ok(value)` of the staged twin.
#[derive(Clone, Copy, Debug)]
pub struct Okay<V>(pub V);

impl<M: Meeting> Meeting for Okay<M> {
    type Joined = Okay<M::Joined>;
    fn joined(self) -> Self::Joined {
        Okay(self.0.joined())
    }
}

impl<J: Join> Join for Okay<J> {
    type Meeting = Okay<J::Meeting>;
    fn open(self) -> Self::Meeting {
        Okay(self.0.open())
    }
    fn merge(self, meeting: Self::Meeting) {
        self.0.merge(meeting.0);
    }
}

impl<V: Stage> Stage for Okay<V> {
    type Out = Okay<V::Out>;
    fn stage(self) -> Self::Out {
        Okay(self.0.stage())
    }
}

/// What a function can return.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be the result of a function in a kernel program")]
pub trait Given: Join + 'static {
    /// As a number, for whoever knows nothing else; `None` for nothing.
    #[track_caller]
    fn given(self) -> Option<Value>;
    /// The result of a function that never returns.
    fn never() -> Self;
}

impl<T: Layout> Given for Val<T> {
    fn given(self) -> Option<Value> {
        Some(rec::with(|r| bytes::number(r, self)))
    }
    fn never() -> Self {
        Self::new(Repr::Const(0))
    }
}

impl<G: Given> Given for Okay<G> {
    fn given(self) -> Option<Value> {
        self.0.given()
    }
    fn never() -> Self {
        Self(G::never())
    }
}

impl Given for () {
    fn given(self) -> Option<Value> {
        None
    }
    fn never() -> Self {}
}

/// `return value`, or a function's last expression.
#[track_caller]
pub fn give_back<V: Stage>(value: V)
where
    V::Out: Given,
{
    let value = value.stage();
    let Some(end) = rec::with(|r| r.frames.last().and_then(|frame| frame.end)) else {
        let number = value.given();
        return rec::with(|r| leave(r, number));
    };
    let known = rec::with(|r| r.frames.last_mut().and_then(|frame| frame.result.take()));
    let same = known.as_ref().map(|known| known.downcast_ref::<<V::Out as Join>::Meeting>().copied());
    let meeting = match same {
        Some(Some(meeting)) => {
            value.merge(meeting);
            meeting
        }
        other => {
            if other.is_some() {
                rec::with(mixed);
            }
            value.open()
        }
    };
    rec::with(|r| {
        if let Some(frame) = r.frames.last_mut() {
            frame.result = Some(Box::new(meeting));
        }
        r.goto(end);
    });
}

/// Notes that a function returns values of several types: a literal that is not of its result's type.
#[track_caller]
pub(crate) fn mixed(r: &mut Recorder) {
    let what = "a function returns values of one type: say which one literals are, as in `1u8`";
    r.b.problem(crate::ir::ProblemKind::Malformed(what.to_owned()));
}

/// `return None`, `return Err(..)`: leaves as `?` does.
#[track_caller]
pub fn fail() {
    rec::with(|r| {
        let fail = r.fail();
        r.goto(fail);
    });
}

/// Leaves a function that the kernel, or another one, calls.
fn leave(r: &mut Recorder, value: Option<Value>) {
    let value = value.unwrap_or_else(|| r.number(Ty::I32, 0));
    let value = ops::resize(r, value, r.result(), false);
    r.b.ret(Some(value));
}

/// The end of a program: where `?` went, it leaves with `default`.
#[track_caller]
pub(crate) fn leave_by_default(default: u64) {
    rec::with(|r| {
        if let Some(fail) = r.failed() {
            r.enter(fail);
            let value = r.number(Ty::I32, default);
            r.b.ret(Some(value));
        }
    });
}

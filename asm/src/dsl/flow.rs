//! Control flow of the staged twin: blocks entered one after the other, values that meet where they join.
//!
//! Stage: lowering's other end. Input: calls that the macro writes for `if`, `match`, loops, `?` and `return`. Output:
//! blocks of the recorder. Read next: `meet.rs`, then `check.rs`, the other twin.

use super::layout::{Num, Scalar};
use super::ops;
use super::rec::{self, Recorder};
use super::settle::{Join, Stage};
use super::value::{IntoVal, Repr, Val};
use crate::insn::Cond;
use crate::ir::{Block, Ty, Value, Var};

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

/// `value?`
#[track_caller]
pub fn question<F: Fallible>(value: F) -> <F::Found as Stage>::Out {
    let fail = rec::with(Recorder::fail);
    value.some(fail).stage()
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
pub trait Meeting: Copy {
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
pub trait Given {
    /// As a number; `None` for nothing.
    #[track_caller]
    fn given(self) -> Option<Value>;
}

impl<T: Scalar> Given for Val<T> {
    fn given(self) -> Option<Value> {
        Some(rec::with(|r| self.value(r)))
    }
}

impl<G: Given> Given for Okay<G> {
    fn given(self) -> Option<Value> {
        self.0.given()
    }
}

impl Given for () {
    fn given(self) -> Option<Value> {
        None
    }
}

/// `return value`, or a function's last expression.
#[track_caller]
pub fn give_back<V: Stage>(value: V)
where
    V::Out: Given,
{
    let value = value.stage().given();
    rec::with(|r| give(r, value));
}

/// Leaves the innermost function with a number.
fn give(r: &mut Recorder, value: Option<Value>) {
    let (end, result) = r.frames.last().map_or((None, None), |frame| (frame.end, frame.result));
    let Some(end) = end else {
        let value = value.unwrap_or_else(|| r.number(Ty::I32, 0));
        let value = ops::resize(r, value, r.result(), false);
        return r.b.ret(Some(value));
    };
    if let Some(value) = value {
        let var = result.unwrap_or_else(|| {
            let ty = r.b.ty(value);
            r.b.var(ty)
        });
        if let Some(frame) = r.frames.last_mut() {
            frame.result = Some(var);
        }
        r.b.def(var, value);
    }
    r.goto(end);
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

/// A loop that is being recorded.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    head: Block,
    next: Block,
    exit: Block,
}

impl Loop {
    /// The head of a `while` or `loop`.
    #[must_use]
    #[track_caller]
    pub fn begin() -> Self {
        rec::with(|r| {
            let (head, exit) = (r.b.block(), r.b.block());
            r.b.jump(head);
            r.b.switch_to(head);
            Self { head, next: head, exit }
        })
    }

    /// The head of `for i in start..end`.
    #[must_use]
    #[track_caller]
    pub fn over<T: Num>(range: Range<T>) -> (Self, Item<T>) {
        let (item, this) = rec::with(|r| {
            let var = r.b.var(T::TY);
            let (start, end) = (range.start.value(r), range.end.value(r));
            r.b.def(var, start);
            let (head, next, exit, body) = (r.b.block(), r.b.block(), r.b.block(), r.b.block());
            r.b.jump(head);
            r.b.switch_to(head);
            let now = r.b.use_var(var);
            let max = r.max_of(end).saturating_sub(1);
            r.at_most(now, if T::SIGNED { u64::MAX } else { max });
            let cond = if T::SIGNED { Cond::Slt } else { Cond::Lt };
            r.b.branch(cond, now, end, body, exit);
            r.enter(body);
            (Item { var, now: Val::of(now) }, Self { head, next, exit })
        });
        (this, item)
    }

    /// Where it goes on behind its end.
    #[must_use]
    pub const fn exit(self) -> Block {
        self.exit
    }

    /// `break`
    #[track_caller]
    pub fn leave(self) {
        goto(self.exit);
    }

    /// `continue`
    #[track_caller]
    pub fn again(self) {
        goto(self.next);
    }

    /// The end of the body.
    #[track_caller]
    pub fn end(self) {
        rec::with(|r| {
            r.goto(self.head);
            r.b.seal(self.head);
            r.enter(self.exit);
        });
    }
}

/// The variable of a `for`.
#[derive(Clone, Copy, Debug)]
pub struct Item<T> {
    var: Var,
    now: Val<T>,
}

impl<T: Num> Item<T> {
    /// Its value in this turn.
    pub fn now(self) -> Val<T> {
        self.now
    }

    /// The end of the body: counts on.
    #[track_caller]
    pub fn next(self, around: Loop) {
        rec::with(|r| {
            r.goto(around.next);
            r.enter(around.next);
            let now = r.b.use_var(self.var);
            let one = r.number(T::TY, 1);
            let next = r.b.add(now, one);
            r.b.def(self.var, next);
        });
        around.end();
    }
}

/// `start..end` of a `for`.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Range<T> {
    start: Val<T>,
    end: Val<T>,
}

/// `start..end`
pub fn range<T: Num>(start: impl IntoVal<T>, end: impl IntoVal<T>) -> Range<T> {
    Range { start: start.into_val(), end: end.into_val() }
}

impl<T: Num> Iterator for Range<T> {
    type Item = Val<T>;

    /// For the check twin, which never runs.
    fn next(&mut self) -> Option<Val<T>> {
        None
    }
}

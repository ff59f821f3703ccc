//! Loops of the staged twin.
//!
//! Stage: beside `flow.rs`. Input: `while`, `loop`, `for i in a..b`. Output: a head, a body, and where it goes on. Read next:
//! `check.rs`.

use super::flow::goto;
use super::layout::Num;
use super::rec::{self, Recorder};
use super::value::{IntoVal, Repr, Val};
use crate::insn::Cond;
use crate::ir::{Block, Value, Var};

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
            let start = range.start.value(r);
            let (end, last) = range.end(r);
            r.b.def(var, start);
            let (head, next, exit, body) = (r.b.block(), r.b.block(), r.b.block(), r.b.block());
            r.b.jump(head);
            r.b.switch_to(head);
            let now = r.b.use_var(var);
            let max = r.max_of(end).saturating_sub(last.is_none().into());
            r.at_most(now, if T::SIGNED { u64::MAX } else { max });
            let cond = match (T::SIGNED, last) {
                (true, None) => Cond::Slt,
                (true, Some(_)) => Cond::Sle,
                (false, None) => Cond::Lt,
                (false, Some(_)) => Cond::Le,
            };
            r.b.branch(cond, now, end, body, exit);
            r.enter(body);
            (Item { var, now: Val::of(now), last }, Self { head, next, exit })
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
    /// The end of a closed range that may be the largest number: there it ends before it counts on.
    last: Option<Value>,
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
            if let Some(last) = self.last {
                let on = r.b.block();
                r.b.branch(Cond::Eq, now, last, around.exit, on);
                r.enter(on);
            }
            let one = r.number(T::TY, 1);
            let next = r.b.add(now, one);
            r.b.def(self.var, next);
        });
        around.end();
    }
}

/// `start..end` or `start..=end` of a `for`.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Range<T> {
    start: Val<T>,
    end: Val<T>,
    closed: bool,
}

/// `start..end`
pub fn range<T: Num>(start: impl IntoVal<T>, end: impl IntoVal<T>) -> Range<T> {
    Range { start: start.into_val(), end: end.into_val(), closed: false }
}

/// `start..=end`
pub fn closed<T: Num>(start: impl IntoVal<T>, end: impl IntoVal<T>) -> Range<T> {
    Range { closed: true, ..range(start, end) }
}

impl<T: Num> Range<T> {
    /// The bound that numbers stay below; or, where a closed range may end with the largest number there is, its end twice.
    fn end(self, r: &mut Recorder) -> (Value, Option<Value>) {
        let largest = if T::SIGNED { T::TY.mask() >> 1 } else { T::TY.mask() };
        let end = self.end.value(r);
        let below = match self.end.repr {
            Repr::Const(number) => number & T::TY.mask() != largest,
            _ => !T::SIGNED && r.max_of(end) < largest,
        };
        match (self.closed, below) {
            (false, _) => (end, None),
            (true, false) => (end, Some(end)),
            (true, true) => {
                let (max, one) = (r.max_of(end), r.number(T::TY, 1));
                let past = r.b.add(end, one);
                r.at_most(past, max.saturating_add(1));
                (past, None)
            }
        }
    }
}

impl<T: Num> Iterator for Range<T> {
    type Item = Val<T>;

    /// For the check twin, which never runs.
    fn next(&mut self) -> Option<Val<T>> {
        None
    }
}

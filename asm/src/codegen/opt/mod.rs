//! Stage: code generation. The passes over the IR: what they are, and in which order.
//!
//! Input: a checked [`Func`]. Output: a smaller one that does the same and that the verifier accepts as well. Each pass is a
//! function that says in its file what it may not do: almost everything that goes wrong between optimisers and the
//! verifier is a legal rewrite that loses a fact. Next: `fold.rs`, `cse.rs`, `cfg.rs`, `checks.rs`, `merge.rs`, `keys.rs`.

mod bits;
mod cfg;
mod checks;
mod cse;
mod dce;
mod fold;
mod keys;
mod legal;
mod merge;
mod nulls;
mod sets;

use std::collections::BTreeSet;

use super::Error;
use super::profile::Profile;
use crate::ir::sight::judge;
use crate::ir::{Func, Inst, Op, Value, verify};

/// A pass; says what it changed.
type Pass = fn(&mut Func, &Profile) -> Change;

/// What a pass changed, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Nothing at all: until another pass changes something, it would find nothing again.
    None,
    /// Names only: values stand for others, or a parameter that gets one value is that value. Not worth another round.
    Names,
    /// Operations or the ways between blocks.
    Code,
}

impl Change {
    const fn code(changed: bool) -> Self {
        if changed { Self::Code } else { Self::None }
    }

    const fn names(changed: bool) -> Self {
        if changed { Self::Names } else { Self::None }
    }
}

/// Run over and over until none changes anything.
const SHRINK: &[(&str, Pass)] = &[("cfg", cfg::run), ("fold", fold::run), ("cse", cse::run), ("dce", dce::run)];

/// Run once, in this order, each followed by [`SHRINK`].
const ONCE: &[(&str, Pass)] =
    &[("checks", checks::run), ("sets", sets::run), ("nulls", nulls::run), ("keys", keys::run), ("merge", merge::run)];

/// More rounds than any program needs.
const ROUNDS: usize = 16;

/// Is told of each pass that changed something, and sees what it left.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&'static str, &Func);

/// Runs the passes that the profile asks for, and those without which there is no code.
///
/// # Errors
/// [`Error::Internal`] when a pass broke a rule, in builds with debug assertions.
pub(super) fn run(func: &mut Func, profile: &Profile, watch: Watch<'_>) -> Result<(), Error> {
    let mut road = Road { func, profile, watch, clean: false, changes: 0, idle: [None; SHRINK.len()] };
    road.clean = cfg!(debug_assertions) && road.is_clean();
    if profile.passes {
        road.shrink()?;
        for pass in ONCE {
            if road.apply(*pass)? == Change::Code {
                road.shrink()?;
            }
        }
    }
    road.apply(("legal", legal::run))?;
    Ok(())
}

/// A function on its way through the passes.
struct Road<'a> {
    func: &'a mut Func,
    profile: &'a Profile,
    watch: Watch<'a>,
    /// The verifier would take it as it is, as far as `ir::sight` knows.
    clean: bool,
    /// How often a pass has changed something so far.
    changes: u32,
    /// That number when each pass of [`SHRINK`] last found nothing to change: it need not run before there is another.
    idle: [Option<u32>; SHRINK.len()],
}

impl Road<'_> {
    fn shrink(&mut self) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let mut most = Change::None;
            for (at, pass) in SHRINK.iter().enumerate() {
                if self.idle[at] != Some(self.changes) {
                    let change = self.apply(*pass)?;
                    self.idle[at] = (change == Change::None).then_some(self.changes);
                    most = most.max(change);
                }
            }
            if most < Change::Code {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, (name, pass): (&'static str, Pass)) -> Result<Change, Error> {
        let change = pass(self.func, self.profile);
        self.changes += u32::from(change != Change::None);
        if change == Change::Code {
            (self.watch)(name, self.func);
        }
        if cfg!(debug_assertions) {
            self.judge(name)?;
        }
        Ok(change)
    }

    /// A pass breaks no rule, and loses no fact that the verifier had.
    fn judge(&mut self, name: &str) -> Result<(), Error> {
        let internal = |what: String| Error::Internal { func: self.func.name.clone(), what };
        verify(self.func)
            .map_err(|error| internal(format!("the pass `{name}` broke a rule:\n{error}\n{}", self.func)))?;
        let now = self.is_clean();
        if self.clean && !now {
            return Err(internal(format!("the pass `{name}` lost a fact:\n{}", self.func)));
        }
        self.clean = now;
        Ok(())
    }

    fn is_clean(&self) -> bool {
        judge(self.func, &self.profile.sight, &BTreeSet::new()).is_ok()
    }
}

/// The operation that defines each value; `None` for parameters, and for what calls give: nothing is known of either.
fn definitions(func: &Func) -> Vec<Option<Op>> {
    let mut ops = vec![None; func.values.len()];
    func.blocks.iter().for_each(|block| define(&mut ops, &block.insts));
    ops
}

/// Notes what some operations define.
fn define(ops: &mut Vec<Option<Op>>, insts: &[Inst]) {
    for inst in insts.iter().filter(|inst| !matches!(inst.op, Op::Call { .. })) {
        if let Some(value) = inst.result {
            ops.resize(ops.len().max(value.index() + 1), None);
            ops[value.index()] = Some(inst.op.clone());
        }
    }
}

/// How often each value is used.
fn use_counts(func: &Func) -> Vec<u32> {
    let mut uses = vec![0; func.values.len()];
    for block in &func.blocks {
        for inst in &block.insts {
            inst.op.operands(|v| uses[v.index()] += 1);
        }
        block.term.operands(|v| uses[v.index()] += 1);
    }
    uses
}

/// The number that a value is.
fn number(ops: &[Option<Op>], value: Value) -> Option<u64> {
    match ops.get(value.index())? {
        Some(Op::Const(number)) => Some(*number),
        _ => None,
    }
}

/// A pointer as a root and a fixed distance.
fn address(ops: &[Option<Op>], ptr: Value, off: i64) -> (Value, i64) {
    match &ops[ptr.index()] {
        Some(Op::PtrAdd { ptr: root, by }) => match number(ops, *by) {
            Some(by) => address(ops, *root, off.wrapping_add(by.cast_signed())),
            None => (ptr, off),
        },
        Some(Op::NonNull(root) | Op::Copy(root)) => address(ops, *root, off),
        _ => (ptr, off),
    }
}

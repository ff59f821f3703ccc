//! Stage: code generation. Pass: packet checks in a row become one.
//!
//! Input and output: a function. A check takes over a later one of the same packet pointer when between them nothing has an
//! effect and every way out leads to the same place: then a packet too short for the second ends up there either way. A
//! check never moves behind pointer arithmetic, and one behind a variable distance stays its own. Next: `keys.rs`.

use super::super::profile::Profile;
use super::{Change, address, definitions, number};
use crate::ir::dom::Dominators;
use crate::ir::vars::{reachable, tidy};
use crate::ir::{Block, Func, Op, Target, Term, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let ops = definitions(func);
    let dominators = Dominators::of(func);
    let mut changed = false;
    for block in &dominators.order {
        while let Some((later, reach)) = follower(func, &ops, &dominators, *block) {
            grow(func, &ops, *block, reach);
            if let Term::Check { ok, .. } = func.blocks[later.index()].term.clone() {
                func.blocks[later.index()].term = Term::Jump(ok);
            }
            changed = true;
        }
    }
    if changed {
        let live = reachable(func);
        tidy(func, &live);
    }
    Change::code(changed)
}

/// A check as root, distance of its far end, packet end, and where it leads to.
fn check_of<'f>(
    func: &'f Func,
    ops: &[Option<Op>],
    block: Block,
) -> Option<(Value, i64, Value, &'f Target, &'f Target)> {
    match &func.blocks[block.index()].term {
        Term::Check { ptr, len, end, ok, fail } => {
            let (root, far) = address(ops, *ptr, i64::from(*len));
            Some((root, far, *end, ok, fail))
        }
        _ => None,
    }
}

/// A later check that the one at the end of `block` can take over, and how far it reaches.
fn follower(func: &Func, ops: &[Option<Op>], dominators: &Dominators, block: Block) -> Option<(Block, i64)> {
    let (root, _, end, ok, fail) = check_of(func, ops, block)?;
    if !ok.args.is_empty() {
        return None;
    }
    let mut at = ok.block;
    for _ in 0..func.blocks.len() {
        let data = &func.blocks[at.index()];
        let harmless = |op: &Op| op.is_pure() || matches!(op, Op::Load { .. });
        if dominators.preds(at).len() != 1 || !data.insts.iter().all(|inst| harmless(&inst.op)) {
            return None;
        }
        if let Some((other, far, other_end, _, other_fail)) = check_of(func, ops, at)
            && (other, other_end) == (root, end)
            && same_way(func, ops, other_fail, fail)
        {
            return Some((at, far));
        }
        at = match &data.term {
            Term::Jump(next) => next.block,
            Term::If { then, other, .. } if same_way(func, ops, then, fail) => other.block,
            Term::If { then, other, .. } if same_way(func, ops, other, fail) => then.block,
            Term::Check { ok, fail: other, .. } if same_way(func, ops, other, fail) => ok.block,
            _ => return None,
        };
    }
    None
}

/// Do two ways lead to one place, and hand over the same? Blocks that only make constants are looked through.
fn same_way(func: &Func, ops: &[Option<Op>], a: &Target, b: &Target) -> bool {
    let (a, b) = (behind_constants(func, a), behind_constants(func, b));
    let same = |(x, y): (&Value, &Value)| x == y || number(ops, *x).is_some_and(|x| number(ops, *y) == Some(x));
    a.block == b.block && a.args.len() == b.args.len() && a.args.iter().zip(&b.args).all(same)
}

/// Where a way leads to behind a block that makes constants and goes on with them.
fn behind_constants<'f>(func: &'f Func, way: &'f Target) -> &'f Target {
    let block = &func.blocks[way.block.index()];
    match &block.term {
        Term::Jump(next)
            if block.params.is_empty() && block.insts.iter().all(|inst| matches!(inst.op, Op::Const(_))) =>
        {
            next
        }
        _ => way,
    }
}

/// Makes a check reach as far as `reach` from its root.
fn grow(func: &mut Func, ops: &[Option<Op>], block: Block, reach: i64) {
    if let Term::Check { ptr, len, .. } = &mut func.blocks[block.index()].term {
        let (_, far) = address(ops, *ptr, i64::from(*len));
        *len = len.saturating_add(u32::try_from(reach.saturating_sub(far)).unwrap_or(0));
    }
}

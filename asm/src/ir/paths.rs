//! Stage: the intermediate representation. The verifier's rules on paths: what must have been tested on every way here.
//!
//! Input: a function that is well-formed and well-typed. Output: every packet access outside of what was checked, every
//! packet pointer from before something that moves packets, every pointer taken for not null without a test. A check counts
//! for its root and all fixed distances from it; a variable distance is a new root, and is checked anew. Where ways meet,
//! what holds is what holds on all of them. Next: `sight.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dom::Dominators;
use super::func::{Callee, Func, Inst, LocId, Op, Term};
use super::ranges::{Access, Ranges, arguments};
use super::rules::Defs;
use super::types::{Block, Value};
use crate::insn::Cond;

/// What is known of the packet: each root that may be used, and how many bytes from it were checked.
type Known = BTreeMap<Value, i64>;

/// Judges the paths of a function: with what is known of variable distances, and of functions that move packets.
pub(super) fn check(
    func: &Func,
    dominators: &Dominators,
    (ranges, movers): (Option<&Ranges<'_>>, &BTreeSet<Arc<str>>),
    report: &mut dyn FnMut(LocId, String),
) {
    let paths = Paths { ranges, movers, defs: Defs::of(func), func, dominators };
    let mut at_start: Vec<Option<Known>> = vec![None; func.blocks.len()];
    at_start[0] = Some(Known::new());
    // What is known only shrinks, so this ends: without loops after the first time.
    let mut again = true;
    while again {
        again = false;
        for block in &dominators.order {
            let Some(known) = at_start[block.index()].clone() else { continue };
            let known = paths.block(*block, known, &mut |_, _| {});
            for (edge, target) in func.blocks[block.index()].term.targets().enumerate() {
                let new = paths.behind(*block, edge, &known);
                let old = &mut at_start[target.block.index()];
                let met = old.as_ref().map_or_else(|| new.clone(), |old| meet(old, &new));
                if old.as_ref() != Some(&met) {
                    *old = Some(met);
                    again |= dominators.leads_back(*block, target.block);
                }
            }
        }
    }
    for block in &dominators.order {
        if let Some(known) = at_start[block.index()].clone() {
            paths.block(*block, known, report);
            paths.null_tests(*block, report);
        }
    }
}

/// What is known on both ways.
fn meet(a: &Known, b: &Known) -> Known {
    a.iter().filter_map(|(root, far)| Some((*root, (*far).min(*b.get(root)?)))).collect()
}

struct Paths<'a> {
    ranges: Option<&'a Ranges<'a>>,
    movers: &'a BTreeSet<Arc<str>>,
    defs: Defs<'a>,
    func: &'a Func,
    dominators: &'a Dominators,
}

impl Paths<'_> {
    /// What is known at the end of a block.
    fn block(&self, block: Block, mut known: Known, report: &mut dyn FnMut(LocId, String)) -> Known {
        let data = &self.func.blocks[block.index()];
        for param in &data.params {
            self.define(*param, &mut known);
        }
        for inst in &data.insts {
            if let Err(what) = self.inst(inst, &mut known) {
                report(inst.loc, format!("{}: {what}", inst.op));
            }
        }
        if let Term::Check { ptr, .. } = data.term
            && let Err(what) = self.fresh(ptr, &known)
        {
            report(data.loc, format!("{}: {what}", data.term));
        }
        known
    }

    fn define(&self, value: Value, known: &mut Known) {
        if self.func.ty(value).is_packet() {
            known.insert(value, 0);
        }
    }

    fn inst(&self, inst: &Inst, known: &mut Known) -> Result<(), String> {
        let outcome = match &inst.op {
            Op::Load { size, ptr, off } | Op::Store { size, ptr, off, .. } => {
                self.access(*ptr, i64::from(*off), i64::from(size.bytes()), known)
            }
            Op::PtrAdd { ptr, .. } if self.func.ty(*ptr).is_packet() => self.fresh(*ptr, known),
            Op::Call { callee, .. } => {
                let outcome = self.arguments(&inst.op, known);
                if moves_packet(callee, self.movers) {
                    known.clear();
                }
                outcome
            }
            _ => Ok(0),
        };
        if let Some(value) = inst.result {
            self.define(value, known);
        }
        outcome.map(|_| ())
    }

    /// Is the pointer from after the last thing that moved the packet?
    fn fresh(&self, ptr: Value, known: &Known) -> Result<i64, String> {
        let (root, _) = self.defs.address(ptr, 0);
        known
            .get(&root)
            .copied()
            .ok_or_else(|| format!("{ptr} is from before the packet was moved, or not from all ways here"))
    }

    fn access(&self, ptr: Value, off: i64, bytes: i64, known: &Known) -> Result<i64, String> {
        if !self.func.ty(ptr).is_packet() {
            return Ok(0);
        }
        let far = self.fresh(ptr, known)?;
        let (_, at) = self.defs.address(ptr, off);
        if at >= 0 && at.saturating_add(bytes) <= far {
            return Ok(far);
        }
        Err(format!(
            "bytes {at} to {} of the packet behind {ptr}'s root, of which {far} are checked",
            at.saturating_add(bytes)
        ))
    }

    /// Keys and memory in the packet are checked like accesses.
    fn arguments(&self, op: &Op, known: &Known) -> Result<i64, String> {
        let size = |value| self.defs.number(value).or_else(|| self.ranges?.most(value));
        for Access { ptr, bytes, .. } in arguments(&self.defs, op, size) {
            let bytes = i64::try_from(bytes.unwrap_or(1)).unwrap_or(i64::MAX);
            self.access(ptr, 0, bytes, known)?;
        }
        Ok(0)
    }

    /// What is known behind a way on: a check's first way has its bytes.
    fn behind(&self, block: Block, edge: usize, known: &Known) -> Known {
        let mut known = known.clone();
        if let (Term::Check { ptr, len, .. }, 0) = (&self.func.blocks[block.index()].term, edge) {
            let (root, far) = self.defs.address(*ptr, i64::from(*len));
            let counts = self.ranges.is_none_or(|ranges| ranges.check_counts(root, far));
            if let Some(old) = known.get_mut(&root).filter(|_| counts) {
                *old = far.max(*old);
            }
        }
        known
    }

    /// A pointer that counts as not null was tested on every way.
    fn null_tests(&self, block: Block, report: &mut dyn FnMut(LocId, String)) {
        for inst in &self.func.blocks[block.index()].insts {
            if let Op::NonNull(ptr) = inst.op
                && !self.tested(ptr, block)
            {
                report(inst.loc, format!("{}: nothing has tested {ptr} against null on every way here", inst.op));
            }
        }
    }

    fn tested(&self, ptr: Value, block: Block) -> bool {
        self.dominators.order.iter().any(|test| {
            let Term::If { cond, a, b, then, other, .. } = &self.func.blocks[test.index()].term else { return false };
            let about = *a == ptr && self.defs.number(*b) == Some(0) || *b == ptr && self.defs.number(*a) == Some(0);
            let (null, not) = match cond {
                Cond::Eq => (then, other),
                Cond::Ne => (other, then),
                _ => return false,
            };
            let alone = self.dominators.preds(not.block).len() == 1;
            about && alone && null.block != not.block && self.dominators.dominates(not.block, block)
        })
    }
}

/// Do packet pointers go bad in this call? `movers` are the functions of the object in which they do; kernel functions that
/// move packets do not exist so far.
pub(super) fn moves_packet(callee: &Callee, movers: &BTreeSet<Arc<str>>) -> bool {
    match callee {
        Callee::Helper(id) => id.helper().is_some_and(|helper| helper.moves_packet),
        Callee::Func(name) => movers.contains(name),
        Callee::Kfunc(_) => false,
    }
}

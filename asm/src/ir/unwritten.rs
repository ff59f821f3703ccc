//! Stage: the intermediate representation. Which bytes of stack objects may have been written.
//!
//! Input: a function that obeys the rules of all kernels. Output: every read, and every helper's argument, that certainly
//! takes bytes which nobody wrote: until 5.19 the verifier refuses that. A byte counts as written if there is a way on
//! which it is. Next: `../codegen/mod.rs`.

use super::dom::Dominators;
use super::func::{Callee, Func, Inst, LocId, Op};
use super::ranges::{Access, arguments};
use super::rules::Defs;
use super::types::{Region, Ty, Value};

/// For each object, its bytes that may have been written.
type Written = Vec<Vec<bool>>;

/// Reports every use of bytes that are never written.
pub(super) fn check(func: &Func, dominators: &Dominators, report: &mut dyn FnMut(LocId, String)) {
    if func.stack.is_empty() {
        return;
    }
    let defs = Defs::of(func);
    let nothing: Written = func.stack.iter().map(|decl| vec![false; decl.size as usize]).collect();
    let mut at_end: Vec<Option<Written>> = vec![None; func.blocks.len()];
    for block in &dominators.order {
        let mut written = nothing.clone();
        // Ways back come from behind: on the first turn nothing of them is written yet.
        for before in dominators.preds(*block).iter().filter_map(|pred| at_end[pred.index()].as_ref()) {
            for (all, more) in written.iter_mut().flatten().zip(before.iter().flatten()) {
                *all |= more;
            }
        }
        for inst in &func.blocks[block.index()].insts {
            step(&defs, inst, &mut written, report);
        }
        at_end[block.index()] = Some(written);
    }
}

fn step(defs: &Defs<'_>, inst: &Inst, written: &mut Written, report: &mut dyn FnMut(LocId, String)) {
    let mut reads = |ptr: Value, off: i64, bytes: i64, written: &Written| {
        let Some((object, Some(at))) = place(defs, ptr, off) else { return };
        let bytes = usize::try_from(bytes).unwrap_or(0);
        if let Some(missing) = (at..at.saturating_add(bytes)).find(|at| written[object].get(*at) == Some(&false)) {
            let what = format!("{}: byte {missing} of s{object} is read and was never written", inst.op);
            report(inst.loc, what);
        }
    };
    match &inst.op {
        Op::Load { size, ptr, off } => reads(*ptr, i64::from(*off), i64::from(size.bytes()), written),
        Op::Store { size, ptr, off, .. } => write(defs, *ptr, i64::from(*off), i64::from(size.bytes()), written),
        Op::Atomic { size, ptr, off, .. } => reads(*ptr, i64::from(*off), i64::from(size.bytes()), written),
        Op::Call { callee: Callee::Helper(_), args } => {
            for Access { ptr, bytes, reads: is_read } in arguments(defs, &inst.op, |v| defs.number(v)) {
                if is_read && let Some(bytes) = bytes {
                    reads(ptr, 0, i64::try_from(bytes).unwrap_or(0), written);
                }
            }
            args.iter().for_each(|arg| all(defs, *arg, written));
        }
        Op::Call { args, .. } => args.iter().for_each(|arg| all(defs, *arg, written)),
        _ => {}
    }
}

/// The object that a pointer is into, and how far, where that is fixed.
fn place(defs: &Defs<'_>, ptr: Value, off: i64) -> Option<(usize, Option<usize>)> {
    let Ty::Ptr(Region::Stack(id)) = defs.func.ty(ptr) else { return None };
    let (root, at) = defs.address(ptr, off);
    let fixed = defs.is_object(root).then(|| usize::try_from(at).ok()).flatten();
    Some((id.index(), fixed))
}

fn write(defs: &Defs<'_>, ptr: Value, off: i64, bytes: i64, written: &mut Written) {
    match place(defs, ptr, off) {
        Some((object, Some(at))) => {
            let end = at.saturating_add(usize::try_from(bytes).unwrap_or(0)).min(written[object].len());
            written[object][at.min(end)..end].fill(true);
        }
        Some(_) => all(defs, ptr, written),
        None => {}
    }
}

/// Whoever gets a pointer may write all of the object.
fn all(defs: &Defs<'_>, ptr: Value, written: &mut Written) {
    if let Ty::Ptr(Region::Stack(id)) = defs.func.ty(ptr) {
        written[id.index()].fill(true);
    }
}

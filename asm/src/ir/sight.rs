//! Stage: the intermediate representation. What the verifier of a kernel sees, and the rules that depend on it.
//!
//! Input: a function that obeys the rules of all kernels, and a [`Sight`]. Output: what that kernel would refuse: variable
//! distances that it cannot bound (`ranges.rs`), stack that nobody wrote (`unwritten.rs`), packets that a function of the
//! object moved (`paths.rs`), loops in which nothing changes. It speaks only where it is sure: what depends on the way
//! taken, and what releases follow differently, is left to the kernel. Next: `ranges.rs`, `unwritten.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dom::Dominators;
use super::error::{Error, Problem, ProblemKind};
use super::func::{Callee, Func, LocId, Op};
use super::ranges::Ranges;
use super::types::{Block, Region, Ty};
use super::{Module, paths, unwritten};

/// What the verifier of a kernel sees: where it is more than in Linux 5.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Programs with all rights may read stack that nobody wrote. Linux 6.1 as measured.
    pub unwritten_stack: bool,
    /// A comparison with a number in a register bounds the other one. Linux 6.12 as measured.
    pub registers: bool,
    /// Bounds survive a byte swap and a negation. Linux 6.18 as measured.
    pub after_swap: bool,
    /// A comparison of `x - 4` bounds `x`. Linux 6.18.44 as measured.
    pub sums: bool,
    /// Lookups in arrays under constant keys are known to find something. Linux 6.18 as measured.
    pub array_lookups: bool,
}

impl Sight {
    /// Linux 5.10.
    pub const FLOOR: Self =
        Self { unwritten_stack: false, registers: false, after_swap: false, sums: false, array_lookups: false };

    /// The newest kernel that was measured.
    pub const NEWEST: Self =
        Self { unwritten_stack: true, registers: true, after_swap: true, sums: true, array_lookups: true };
}

/// The functions of a module in which packets may move, by themselves or in what they call.
#[must_use]
pub(crate) fn movers(module: &Module) -> BTreeSet<Arc<str>> {
    let mut movers = BTreeSet::new();
    loop {
        let before = movers.len();
        for func in &module.funcs {
            let mut calls = func.blocks.iter().flat_map(|block| &block.insts);
            if calls.any(|inst| matches!(&inst.op, Op::Call { callee, .. } if paths::moves_packet(callee, &movers))) {
                movers.insert(func.name.clone());
            }
        }
        if movers.len() == before {
            return movers;
        }
    }
}

/// Judges a function that is well-formed as the verifier of a kernel would; `movers` are functions that move packets.
///
/// # Errors
/// Everything it is sure to refuse, with the place in source.
pub(crate) fn judge(func: &Func, sight: &Sight, movers: &BTreeSet<Arc<str>>) -> Result<(), Error> {
    let mut problems = Vec::new();
    let dominators = Dominators::of(func);
    let mut report = |loc: LocId, what: String| {
        let loc = func.locs.get(loc.0 as usize).cloned();
        problems.push(Problem { loc, kind: ProblemKind::Malformed(what) });
    };
    let ranges = Ranges::of(func, &dominators, sight);
    ranges.check(&mut report);
    paths::check(func, &dominators, (Some(&ranges), movers), &mut report);
    if !sight.unwritten_stack {
        unwritten::check(func, &dominators, &mut report);
    }
    endless(func, &dominators, &mut report);
    if problems.is_empty() { Ok(()) } else { Err(Error { func: func.name.clone(), problems }) }
}

/// Loops that carry nothing from one turn to the next: the verifier sees the same state again, and calls it infinite.
/// Iterators of the kernel's carry their state themselves.
fn endless(func: &Func, dominators: &Dominators, report: &mut dyn FnMut(LocId, String)) {
    for head in &dominators.order {
        let back: Vec<Block> =
            dominators.preds(*head).iter().copied().filter(|tail| dominators.dominates(*head, *tail)).collect();
        if back.is_empty() || !func.blocks[head.index()].params.is_empty() {
            continue;
        }
        let body = body(dominators, *head, back);
        let carries = |op: &Op| match op {
            Op::Store { ptr, .. } => matches!(func.ty(*ptr), Ty::Ptr(Region::Stack(_))),
            Op::Call { callee: Callee::Kfunc(_) | Callee::Func(_), .. } => true,
            Op::Call { args, .. } => args.iter().any(|arg| matches!(func.ty(*arg), Ty::Ptr(Region::Stack(_)))),
            _ => false,
        };
        let inner = |block: &Block| func.blocks[block.index()].insts.iter().any(|inst| carries(&inst.op));
        if !body.iter().any(inner) {
            let loc = func.blocks[head.index()].loc;
            report(
                loc,
                format!("nothing changes from one turn of the loop at {head} to the next: count in a variable"),
            );
        }
    }
}

/// The blocks of a loop.
fn body(dominators: &Dominators, head: Block, back: Vec<Block>) -> Vec<Block> {
    let (mut body, mut work) = (vec![head], back);
    while let Some(block) = work.pop() {
        if !body.contains(&block) {
            body.push(block);
            work.extend(dominators.preds(block));
        }
    }
    body
}

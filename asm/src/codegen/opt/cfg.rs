//! Stage: code generation. Pass: fewer blocks, fewer jumps.
//!
//! Input and output: a function. Blocks that nothing leads to go (the verifier refuses them), jumps to jumps lead to their
//! end, a block with one way in is appended to where that comes from, a branch on a number that a way in hands over is
//! taken there, and all returns of one number are one block. Blocks that read memory are never shared: they may need
//! pointers of different types. Next: `checks.rs`.

use std::collections::HashMap;

use super::super::profile::Profile;
use super::{Change, definitions, number, use_counts};
use crate::ir::vars::{reachable, replace_all, tidy};
use crate::ir::{Block, BlockData, Func, Inst, Op, Target, Term, Ty, Value};
use crate::vm::eval;

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let ops = definitions(func);
    let mut changed = thread(func, &ops);
    changed |= returns(func, &ops);
    changed |= same_targets(func);
    let live = reachable(func);
    changed |= live.contains(&false);
    let mut names = tidy(func, &live);
    if append(func) {
        changed = true;
        let live = reachable(func);
        names |= tidy(func, &live);
    }
    Change::code(changed).max(Change::names(names))
}

/// A branch whose two ways lead to the same place is a jump.
fn same_targets(func: &mut Func) -> bool {
    let mut changed = false;
    for block in &mut func.blocks {
        if let Term::If { then, other, .. } | Term::Check { ok: then, fail: other, .. } = &block.term
            && then == other
        {
            block.term = Term::Jump(then.clone());
            changed = true;
        }
    }
    changed
}

/// What a block that does nothing leads to, for one way in.
fn thread(func: &mut Func, ops: &[Option<Op>]) -> bool {
    let private = private_params(func);
    let mut changed = false;
    for index in 0..func.blocks.len() {
        let mut term = std::mem::replace(&mut func.blocks[index].term, Term::Unreachable);
        for target in term.targets_mut() {
            // A chain has an end, or is a loop of its own.
            for _ in 0..8 {
                match shortcut(func, ops, &private, target, index) {
                    Some(next) if next != *target => {
                        *target = next;
                        changed = true;
                    }
                    _ => break,
                }
            }
        }
        func.blocks[index].term = term;
    }
    changed
}

/// Blocks whose parameters are used in their own terminator only, and which do nothing else.
fn private_params(func: &Func) -> Vec<bool> {
    let uses = use_counts(func);
    let is_private = |block: &BlockData| {
        let in_term = |v: Value| {
            let mut times = 0;
            block.term.operands(|used| times += u32::from(used == v));
            times
        };
        let constants = block.insts.iter().all(|inst| matches!(inst.op, Op::Const(_)));
        let mut defined = block.params.iter().copied().chain(block.insts.iter().filter_map(|inst| inst.result));
        constants && defined.all(|v| uses[v.index()] == in_term(v))
    };
    func.blocks.iter().map(is_private).collect()
}

fn shortcut(func: &Func, ops: &[Option<Op>], private: &[bool], target: &Target, from: usize) -> Option<Target> {
    let block = &func.blocks[target.block.index()];
    if !private[target.block.index()] || target.block.index() == from {
        return None;
    }
    let put = |v: Value| match block.params.iter().position(|p| *p == v) {
        Some(place) => target.args[place],
        None => v,
    };
    let next = match &block.term {
        Term::Jump(next) => next,
        Term::If { cond, width, a, b, then, other } => {
            let (a, b) = (number(ops, put(*a))?, number(ops, put(*b))?);
            if eval::compare(*cond, *width, a, b) { then } else { other }
        }
        _ => return None,
    };
    // What the block itself defines is not there on the shorter way.
    let own = |v: Value| block.insts.iter().any(|inst| inst.result == Some(v));
    if next.args.iter().any(|v| own(*v)) {
        return None;
    }
    Some(Target { block: next.block, args: next.args.iter().map(|v| put(*v)).collect() })
}

/// The number that a way on returns at once.
fn returned(func: &Func, ops: &[Option<Op>], target: &Target) -> Option<u64> {
    let block = &func.blocks[target.block.index()];
    let Term::Return(Some(value)) = block.term else { return None };
    if !block.insts.iter().all(|inst| matches!(inst.op, Op::Const(_))) {
        return None;
    }
    match block.params.iter().position(|p| *p == value) {
        Some(place) => number(ops, *target.args.get(place)?),
        None => number(ops, value),
    }
}

/// All ways on to the return of one number lead to one block.
fn returns(func: &mut Func, ops: &[Option<Op>]) -> bool {
    let mut homes: HashMap<u64, Block> = HashMap::new();
    let mut changed = false;
    for index in 0..func.blocks.len() {
        let mut term = std::mem::replace(&mut func.blocks[index].term, Term::Unreachable);
        let loc = func.blocks[index].loc;
        for target in term.targets_mut() {
            let Some(number) = returned(func, ops, target) else { continue };
            let home = *homes.entry(number).or_insert_with(|| home(func, target, number, loc));
            if *target != Target::to(home) {
                *target = Target::to(home);
                changed = true;
            }
        }
        func.blocks[index].term = term;
    }
    changed | share_ends(func, ops, &mut homes)
}

/// Blocks that do something and then return a number go on to the one block that does, where there is another way to it.
fn share_ends(func: &mut Func, ops: &[Option<Op>], homes: &mut HashMap<u64, Block>) -> bool {
    let mut ends: Vec<(usize, u64)> = Vec::new();
    for (index, block) in func.blocks.iter().enumerate() {
        let Term::Return(Some(value)) = block.term else { continue };
        let busy = block.insts.iter().any(|inst| !matches!(inst.op, Op::Const(_)));
        if let Some(number) = number(ops, value).filter(|_| busy) {
            ends.push((index, number));
        }
    }
    let mut changed = false;
    for (index, number) in &ends {
        let others = ends.iter().filter(|(_, other)| other == number).count() > 1;
        if others || homes.contains_key(number) {
            let loc = func.blocks[*index].loc;
            let home = *homes.entry(*number).or_insert_with(|| new_home(func, *number, loc));
            func.blocks[*index].term = Term::Jump(Target::to(home));
            changed = true;
        }
    }
    changed
}

/// The block that returns a number: the one that does it already, or a new one.
fn home(func: &mut Func, target: &Target, number: u64, loc: crate::ir::LocId) -> Block {
    let old = &func.blocks[target.block.index()];
    let own = old.insts.len() == 1 && old.params.is_empty() && matches!(old.insts[0].op, Op::Const(n) if n == number);
    if own && matches!(old.term, Term::Return(v) if v == old.insts[0].result) {
        return target.block;
    }
    new_home(func, number, loc)
}

fn new_home(func: &mut Func, number: u64, loc: crate::ir::LocId) -> Block {
    let ty = func.ret.filter(|ty| ty.is_int()).unwrap_or(Ty::I64);
    let value = func.value(ty);
    // A program may return a wider number than the kernel reads.
    let inst = Inst { result: Some(value), op: Op::Const(number & ty.mask()), loc };
    func.blocks.push(BlockData { params: Vec::new(), insts: vec![inst], term: Term::Return(Some(value)), loc });
    Block::of(func.blocks.len() - 1)
}

/// Appends a block with one way in to where that comes from.
fn append(func: &mut Func) -> bool {
    let mut ways = vec![0u32; func.blocks.len()];
    for block in &func.blocks {
        for target in block.term.targets() {
            ways[target.block.index()] += 1;
        }
    }
    let mut same: Vec<Value> = (0..func.values.len()).map(Value::of).collect();
    let mut changed = false;
    for index in 0..func.blocks.len() {
        while let Term::Jump(to) = &func.blocks[index].term {
            let next = to.block.index();
            if ways[next] != 1 || next == index || next == 0 {
                break;
            }
            for (param, arg) in func.blocks[next].params.iter().zip(&to.args) {
                same[param.index()] = *arg;
            }
            let loc = func.blocks[next].loc;
            let insts = std::mem::take(&mut func.blocks[next].insts);
            let term = std::mem::replace(&mut func.blocks[next].term, Term::Unreachable);
            func.blocks[next].params.clear();
            ways[next] = 0;
            let block = &mut func.blocks[index];
            block.insts.extend(insts);
            (block.term, block.loc) = (term, loc);
            changed = true;
        }
    }
    if changed {
        replace_all(func, |v| crate::ir::vars::find(&same, v));
    }
    changed
}

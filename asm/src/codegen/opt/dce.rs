//! Stage: code generation. Pass: what nobody uses goes.
//!
//! Input and output: a function. Loads go too: they have no effect. Calls, stores and atomic operations stay; of an atomic
//! operation whose old value nobody asks for the fetching goes, which makes it one that Linux 5.10 has. A store into an
//! object on the stack that is never read or handed out goes. Next: `cfg.rs`.

use super::super::profile::Profile;
use super::{Change, address, definitions, number};
use crate::insn::AtomicOp;
use crate::ir::vars::remove_param;
use crate::ir::{Block, Func, Inst, Op, Region, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let dead_stores = drop_dead_stores(func);
    let live = live(func);
    let mut changed = dead_stores;
    for block in &mut func.blocks {
        let before = block.insts.len();
        block.insts.retain(|inst| !removable(inst) || inst.result.is_some_and(|v| live[v.index()]));
        changed |= before != block.insts.len();
        for inst in &mut block.insts {
            changed |= drop_fetch(inst, &live);
        }
    }
    for index in 1..func.blocks.len() {
        for place in (0..func.blocks[index].params.len()).rev() {
            if !live[func.blocks[index].params[place].index()] {
                remove_param(func, Block::of(index), place);
                changed = true;
            }
        }
    }
    Change::code(changed)
}

/// Does it go when nobody uses its result?
fn removable(inst: &Inst) -> bool {
    inst.op.is_pure() || matches!(inst.op, Op::Load { .. })
}

/// An atomic operation that need not fetch.
fn drop_fetch(inst: &mut Inst, live: &[bool]) -> bool {
    let (Op::Atomic { op, .. }, Some(result)) = (&mut inst.op, inst.result) else { return false };
    if live[result.index()] {
        return false;
    }
    *op = match op {
        AtomicOp::FetchAdd => AtomicOp::Add,
        AtomicOp::FetchOr => AtomicOp::Or,
        AtomicOp::FetchAnd => AtomicOp::And,
        AtomicOp::FetchXor => AtomicOp::Xor,
        _ => return false,
    };
    inst.result = None;
    true
}

/// Values that something with an effect depends on.
fn live(func: &Func) -> Vec<bool> {
    let mut live = vec![false; func.values.len()];
    let mut made: Vec<Option<&Inst>> = vec![None; func.values.len()];
    let mut work = Vec::new();
    for block in &func.blocks {
        for inst in &block.insts {
            if let Some(value) = inst.result {
                made[value.index()] = Some(inst);
            }
            if !removable(inst) {
                inst.op.operands(|v| work.push(v));
            }
        }
        block.term.looked_at(|v| work.push(v));
    }
    let handed = handed(func);
    while let Some(value) = work.pop() {
        if std::mem::replace(&mut live[value.index()], true) {
            continue;
        }
        if let Some(inst) = made[value.index()] {
            inst.op.operands(|v| work.push(v));
        }
        let first = handed.partition_point(|(param, _)| *param < value);
        let own = handed[first..].iter().take_while(|(param, _)| *param == value);
        work.extend(own.map(|(_, arg)| *arg));
    }
    live
}

/// Each parameter of a block with what a way in hands over for it, in the order of the parameters.
fn handed(func: &Func) -> Vec<(Value, Value)> {
    let mut handed = Vec::new();
    for to in func.blocks.iter().flat_map(|block| block.term.targets()) {
        handed.extend(func.blocks[to.block.index()].params.iter().copied().zip(to.args.iter().copied()));
    }
    handed.sort_unstable();
    handed
}

/// Stores into objects that are only ever stored to.
fn drop_dead_stores(func: &mut Func) -> bool {
    if func.stack.is_empty() {
        return false;
    }
    let ops = definitions(func);
    let needed = needed(func, &ops);
    let Func { blocks, values, .. } = func;
    let dead = |inst: &Inst| match inst.op {
        Op::Store { ptr, .. } => object(values[address(&ops, ptr, 0).0.index()]).is_some_and(|id| !needed[id]),
        _ => false,
    };
    let mut changed = false;
    for block in blocks {
        let before = block.insts.len();
        block.insts.retain(|inst| !dead(inst));
        changed |= before != block.insts.len();
    }
    changed
}

/// The object on the stack that a pointer of that type is into.
fn object(ty: Ty) -> Option<usize> {
    match ty {
        Ty::Ptr(Region::Stack(id)) => Some(id.index()),
        _ => None,
    }
}

/// Objects on the stack that are read or handed out.
fn needed(func: &Func, ops: &[Option<Op>]) -> Vec<bool> {
    let mut needed = vec![false; func.stack.len()];
    let mut mark = |v: Value| {
        if let Some(id) = object(func.ty(v)) {
            needed[id] = true;
        }
    };
    for block in &func.blocks {
        for inst in &block.insts {
            match &inst.op {
                Op::Store { value, .. } => mark(*value),
                Op::PtrAdd { by, .. } if number(ops, *by).is_some() => {}
                Op::Copy(_) => {}
                op => op.operands(&mut mark),
            }
        }
        block.term.operands(&mut mark);
    }
    needed
}

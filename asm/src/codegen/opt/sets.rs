//! Stage: code generation. Pass: is a number one of several? One question instead of many.
//!
//! Input and output: a function. A chain of equalities of one value that all lead to the same place forks the verifier's
//! state once an equality, and what is behind is looked at for each. Two numbers that differ in one bit are told by a mask
//! and one comparison; three or more below 64 by a bit of a constant. Only where nothing behind the chain uses the value:
//! there the verifier would know it exactly. Next: `nulls.rs`.

use super::super::profile::Profile;
use super::{Change, definitions, number};
use crate::insn::{AluOp, Cond, Width};
use crate::ir::dom::Dominators;
use crate::ir::{Block, Func, Inst, Op, Target, Term, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let ops = definitions(func);
    let dominators = Dominators::of(func);
    // What the first chain went through is not reached any more, so it is the only one.
    let changed = (0..func.blocks.len()).any(|block| {
        let chain = chain(func, &ops, &dominators, Block::of(block));
        chain.and_then(|chain| rewrite(func, block, chain)).is_some()
    });
    Change::code(changed)
}

/// Equalities of one value that lead to one place.
struct Chain {
    value: Value,
    numbers: Vec<u64>,
    to: Target,
    other: Target,
}

/// An equality: value, number, where it leads to if it holds, and if not.
fn equality(func: &Func, ops: &[Option<Op>], block: Block) -> Option<(Value, u64, Target, Target)> {
    let Term::If { cond, a, b, then, other, .. } = &func.blocks[block.index()].term else { return None };
    let k = number(ops, *b)?;
    match cond {
        Cond::Eq => Some((*a, k, then.clone(), other.clone())),
        Cond::Ne => Some((*a, k, other.clone(), then.clone())),
        _ => None,
    }
}

fn chain(func: &Func, ops: &[Option<Op>], dominators: &Dominators, start: Block) -> Option<Chain> {
    let (value, first, to, mut other) = equality(func, ops, start)?;
    let mut numbers = vec![first];
    while other.args.is_empty() && dominators.preds(other.block).len() == 1 {
        let constants = func.blocks[other.block.index()].insts.iter().all(|inst| matches!(inst.op, Op::Const(_)));
        match equality(func, ops, other.block) {
            Some((same, k, there, next)) if constants && same == value && there == to => {
                numbers.push(k);
                other = next;
            }
            _ => break,
        }
    }
    let hidden =
        func.ty(value).is_int() && !used_behind(func, dominators, value, to.block) && !to.args.contains(&value);
    (numbers.len() > 1 && hidden).then_some(Chain { value, numbers, to, other })
}

/// Is the value used where only the chain leads to?
fn used_behind(func: &Func, dominators: &Dominators, value: Value, to: Block) -> bool {
    func.iter().filter(|(block, _)| dominators.dominates(to, *block)).any(|(_, data)| {
        let mut used = false;
        data.insts.iter().for_each(|inst| inst.op.operands(|v| used |= v == value));
        data.term.operands(|v| used |= v == value);
        used
    })
}

fn rewrite(func: &mut Func, block: usize, chain: Chain) -> Option<()> {
    let Chain { value, numbers, to, other } = chain;
    let width = if func.ty(value) == Ty::I64 { Width::W64 } else { Width::W32 };
    let loc = func.blocks[block].loc;
    let maker = |func: &mut Func, op: Op, ty: Ty| {
        let made = func.value(ty);
        func.blocks[block].insts.push(Inst { result: Some(made), op, loc });
        made
    };
    match numbers[..] {
        [a, b] if (a ^ b).is_power_of_two() && (a ^ b) < 1 << 31 => {
            let mask = maker(func, Op::Const(!(a ^ b) & func.ty(value).mask()), func.ty(value));
            let masked = maker(func, Op::Alu { op: AluOp::And, width, a: value, b: mask }, func.ty(value));
            let want = maker(func, Op::Const(a & b), func.ty(value));
            func.blocks[block].term = Term::If { cond: Cond::Eq, width, a: masked, b: want, then: to, other };
        }
        [_, _, _, ..] if numbers.iter().all(|k| *k < 64) => {
            let top = numbers.iter().copied().max().unwrap_or(0);
            let set = numbers.iter().fold(0u64, |set, k| set | 1 << k);
            let limit = maker(func, Op::Const(top), func.ty(value));
            let mut data = func.blocks[block].clone();
            data.params.clear();
            data.insts.clear();
            let inner = Block::of(func.blocks.len());
            func.blocks.push(data);
            func.blocks[block].term =
                Term::If { cond: Cond::Gt, width, a: value, b: limit, then: other.clone(), other: Target::to(inner) };
            let inside = |func: &mut Func, op: Op| {
                let made = func.value(Ty::I64);
                func.blocks[inner.index()].insts.push(Inst { result: Some(made), op, loc });
                made
            };
            let set = inside(func, Op::Const(set));
            let shifted = inside(func, Op::Alu { op: AluOp::Rsh, width: Width::W64, a: set, b: value });
            let one = inside(func, Op::Const(1));
            let bit = inside(func, Op::Alu { op: AluOp::And, width: Width::W64, a: shifted, b: one });
            let zero = inside(func, Op::Const(0));
            func.blocks[inner.index()].term =
                Term::If { cond: Cond::Eq, width: Width::W64, a: bit, b: zero, then: other, other: to };
        }
        _ => return None,
    }
    let live = crate::ir::vars::reachable(func);
    crate::ir::vars::tidy(func, &live);
    Some(())
}

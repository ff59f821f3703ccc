//! Stage: code generation. Pass: what is computed twice is computed once.
//!
//! Input and output: a function. A value stands for another that is computed the same way on every path to it. For packet
//! pointers with something variable added that is not an improvement but a need: the verifier checks one of the two
//! copies. Reads of memory are shared along a path on which nothing may have written there. Next: `dce.rs`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::super::profile::Profile;
use super::{Change, address, definitions};
use crate::ir::dom::Dominators;
use crate::ir::vars::{find, replace_all};
use crate::ir::{Block, BlockData, Func, Inst, Op, Term, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let dominators = Dominators::of(func);
    let mut shared = Shared {
        ops: definitions(func),
        same: (0..func.values.len()).map(Value::of).collect(),
        known: Places::with_capacity_and_hasher(func.values.len(), BuildHasherDefault::default()),
        next: vec![None; func.values.len()],
        behind: vec![Vec::new(); func.blocks.len()],
    };
    let mut changed = false;
    for block in &dominators.order {
        changed |= shared.block(func, *block, &dominators);
    }
    let same = shared.same;
    replace_all(func, |v| find(&same, v));
    Change::code(changed)
}

/// A quick hash: who writes a program gains nothing by operations that collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio's fraction: odd, and without a pattern.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        // A product's high bits are the mixed ones, and the table looks at the low ones first.
        self.0.rotate_left(26)
    }
}

/// A read whose result is still what is in memory.
#[derive(Clone, Debug)]
struct Read {
    op: Op,
    ty: Ty,
    value: Value,
}

/// Operations with the types of their results, and where each was computed.
type Places = HashMap<(Op, Ty), (Block, Value), BuildHasherDefault<Mix>>;

struct Shared {
    ops: Vec<Option<Op>>,
    same: Vec<Value>,
    /// Where each pure operation has been computed first.
    known: Places,
    /// Where it has been computed next, for each such value.
    next: Vec<Option<(Block, Value)>>,
    /// Reads that hold at the end of each block.
    behind: Vec<Vec<Read>>,
}

impl Shared {
    fn block(&mut self, func: &mut Func, block: Block, dominators: &Dominators) -> bool {
        let mut reads = match dominators.preds(block)[..] {
            [pred] => self.behind[pred.index()].clone(),
            _ => Vec::new(),
        };
        if returns_number(&func.blocks[block.index()]) {
            // All returns of a number are one block, which must not depend on another (`cfg.rs`).
            return false;
        }
        let mut changed = false;
        let mut insts = std::mem::take(&mut func.blocks[block.index()].insts);
        insts.retain_mut(|inst| {
            inst.op.operands_mut(|v| *v = find(&self.same, *v));
            let stays = self.inst(func, inst, block, dominators, &mut reads);
            changed |= !stays;
            stays
        });
        func.blocks[block.index()].insts = insts;
        self.behind[block.index()] = reads;
        changed
    }

    /// Does the operation have to be there?
    fn inst(&mut self, func: &Func, inst: &Inst, block: Block, dominators: &Dominators, reads: &mut Vec<Read>) -> bool {
        let old = match (&inst.op, inst.result) {
            (Op::Load { .. }, Some(value)) => self.load(func, &inst.op, value, reads),
            (op, Some(value)) if op.is_pure() => self.pure(func, op, value, block, dominators),
            (op, _) => {
                self.forget(func, op, reads);
                None
            }
        };
        let (Some(old), Some(value)) = (old, inst.result) else { return true };
        self.same[value.index()] = old;
        false
    }

    fn pure(&mut self, func: &Func, op: &Op, value: Value, block: Block, dominators: &Dominators) -> Option<Value> {
        let (mut at, mut old) = match self.known.entry((op.clone(), func.ty(value))) {
            Entry::Occupied(first) => *first.get(),
            Entry::Vacant(none) => {
                none.insert((block, value));
                return None;
            }
        };
        while !dominators.dominates(at, block) {
            (at, old) = *self.next[old.index()].get_or_insert((block, value));
        }
        (old != value).then_some(old)
    }

    fn load(&self, func: &Func, op: &Op, value: Value, reads: &mut Vec<Read>) -> Option<Value> {
        let ty = func.ty(value);
        let old = reads.iter().find(|read| read.op == *op && read.ty == ty).map(|read| read.value);
        if old.is_none() {
            reads.push(Read { op: op.clone(), ty, value });
        }
        old
    }

    /// Drops the reads that an operation may have made wrong.
    fn forget(&self, func: &Func, op: &Op, reads: &mut Vec<Read>) {
        match op {
            Op::Store { size, ptr, off, .. } => {
                let written = (*ptr, i64::from(*off), i64::from(size.bytes()));
                reads.retain(|read| match read.op {
                    Op::Load { size, ptr, off } => {
                        apart(func, &self.ops, written, (ptr, i64::from(off), i64::from(size.bytes())))
                    }
                    _ => true,
                });
            }
            _ => reads.clear(),
        }
    }
}

/// Does the block return a constant of its own, and nothing else?
fn returns_number(block: &BlockData) -> bool {
    let constants = block.insts.iter().all(|inst| matches!(inst.op, Op::Const(_)));
    constants && matches!(block.term, Term::Return(Some(v)) if block.insts.iter().any(|inst| inst.result == Some(v)))
}

/// Do two accesses certainly not touch the same bytes? They are pointer, distance and length.
pub(super) fn apart(func: &Func, ops: &[Option<Op>], a: (Value, i64, i64), b: (Value, i64, i64)) -> bool {
    let (ta, tb) = (func.ty(a.0), func.ty(b.0));
    let unknown = |ty: Ty| matches!(ty, Ty::Ptr(crate::ir::Region::Btf));
    let may_meet = ta == tb || unknown(ta) || unknown(tb) || ta.is_packet() && tb.is_packet();
    if !may_meet {
        return true;
    }
    let ((ra, oa), (rb, ob)) = (address(ops, a.0, a.1), address(ops, b.0, b.1));
    ra == rb && (oa + a.2 <= ob || ob + b.2 <= oa)
}

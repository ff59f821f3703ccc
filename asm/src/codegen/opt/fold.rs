//! Stage: code generation. Pass: what can be computed now, and cheaper ways to the same number.
//!
//! Input and output: a function. It may not touch comparisons but to put a constant's bytes in order and to test bits: the
//! verifier reads bounds from them. Masks go only where it knows that they do nothing (`bits.rs`). Fixed distances move
//! behind variable ones, where accesses can take them in: the checked range is the same. Next: `cse.rs`.

use super::super::profile::Profile;
use super::super::select::swapped;
use super::{Change, bits, define, definitions, number, use_counts};
use crate::insn::{AluOp, Cond, Size, Width};
use crate::ir::vars::{find, fits, reachable, replace_all, tidy};
use crate::ir::{Func, Inst, Op, Target, Term, Ty, Value};
use crate::object::ProgType;
use crate::vm::eval;

/// What becomes of an operation.
enum New {
    Keep,
    Number(u64),
    Same(Value),
    Op(Op),
    /// A new value of that type, and the operation over it.
    Two(Op, Ty, Box<dyn FnOnce(Value) -> Op>),
}

pub(super) fn run(func: &mut Func, profile: &Profile) -> Change {
    let same = (0..func.values.len()).map(Value::of).collect();
    let mut folder = Folder { ops: definitions(func), same, names: false, uses: use_counts(func), profile };
    let mut changed = false;
    for block in 0..func.blocks.len() {
        changed |= folder.block(func, block);
    }
    let Folder { same, names, .. } = folder;
    if names {
        replace_all(func, |v| find(&same, v));
    }
    let live = reachable(func);
    if live.contains(&false) {
        tidy(func, &live);
    }
    Change::code(changed).max(Change::names(names))
}

struct Folder<'a> {
    ops: Vec<Option<Op>>,
    same: Vec<Value>,
    /// Does any value stand for another?
    names: bool,
    /// How often each value was used when the pass began.
    uses: Vec<u32>,
    profile: &'a Profile,
}

impl Folder<'_> {
    fn block(&mut self, func: &mut Func, block: usize) -> bool {
        let mut changed = false;
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut out = Vec::with_capacity(insts.len());
        for mut inst in insts {
            let moved = self.stand_ins(&mut inst.op);
            let new = self.inst(func, &mut inst, &mut out);
            if moved || new {
                define(&mut self.ops, std::slice::from_ref(&inst));
            }
            changed |= new;
            out.push(inst);
        }
        let mut term = std::mem::replace(&mut func.blocks[block].term, Term::Unreachable);
        term.operands_mut(|v| *v = find(&self.same, *v));
        changed |= self.term(func, &mut term, &mut out);
        func.blocks[block].insts = out;
        func.blocks[block].term = term;
        changed
    }

    /// Puts what stands for an operand in its place; was there any?
    fn stand_ins(&self, op: &mut Op) -> bool {
        let mut moved = false;
        op.operands_mut(|v| {
            let old = std::mem::replace(v, find(&self.same, *v));
            moved |= old != *v;
        });
        moved
    }

    fn inst(&mut self, func: &mut Func, inst: &mut Inst, out: &mut Vec<Inst>) -> bool {
        let new = match inst.result {
            Some(value) => self.value(func, &inst.op, func.ty(value)),
            None => self.effect(&inst.op),
        };
        match (new, inst.result) {
            (New::Keep, _) => return false,
            (New::Number(number), _) => inst.op = Op::Const(number),
            (New::Same(v), Some(value)) => return self.stand_in(func, v, value),
            (New::Same(_), None) => return false,
            (New::Op(op), _) => inst.op = op,
            (New::Two(first, ty, second), _) => {
                let made = self.made(func, first, ty, inst, out);
                inst.op = second(made);
            }
        }
        true
    }

    /// From here on `v` stands for `value`: they are equal, so the narrower type is right for both.
    fn stand_in(&mut self, func: &mut Func, v: Value, value: Value) -> bool {
        if !fits(func.ty(v), func.ty(value)) {
            if !func.ty(v).is_int() || !func.ty(value).is_int() {
                return false;
            }
            func.values[v.index()] = func.ty(value);
        }
        self.same[value.index()] = v;
        self.names = true;
        false
    }

    fn made(&mut self, func: &mut Func, op: Op, ty: Ty, inst: &Inst, out: &mut Vec<Inst>) -> Value {
        let value = func.value(ty);
        self.same.push(value);
        self.ops.push(Some(op.clone()));
        out.push(Inst { result: Some(value), op, loc: inst.loc });
        value
    }

    fn number(&self, v: Value) -> Option<u64> {
        number(&self.ops, v)
    }

    /// An operation with a result.
    fn value(&self, func: &Func, op: &Op, ty: Ty) -> New {
        match op {
            Op::Alu { op, width, a, b } => self.alu(func, *op, *width, *a, *b, ty),
            Op::Copy(a) => New::Same(*a),
            Op::Low { bits, a } => self.low(func, *bits, *a),
            Op::Sext { bits, a } => match self.number(*a) {
                Some(number) => New::Number(eval::sext(*bits, number)),
                None => New::Keep,
            },
            Op::Swap { bits, a } => match (self.number(*a), &self.ops[a.index()]) {
                (Some(number), _) => New::Number(eval::swap(*bits, number)),
                (None, Some(Op::Swap { bits: inner, a })) if inner == bits && *bits == 64 => New::Same(*a),
                (None, Some(Op::Swap { bits: inner, a })) if inner == bits => New::Op(Op::Low { bits: *bits, a: *a }),
                // A swap looks at the low bits only.
                (None, Some(Op::Low { bits: inner, a })) if inner >= bits => New::Op(Op::Swap { bits: *bits, a: *a }),
                _ => New::Keep,
            },
            Op::PtrAdd { ptr, by } => self.ptr_add(func, *ptr, *by),
            _ => New::Keep,
        }
    }

    fn ptr_add(&self, func: &Func, ptr: Value, by: Value) -> New {
        match (self.number(by), &self.ops[ptr.index()]) {
            (Some(0), _) => New::Same(ptr),
            (None, Some(Op::PtrAdd { ptr: root, by: fixed })) if self.number(*fixed).is_some() => {
                let fixed = *fixed;
                let first = Op::PtrAdd { ptr: *root, by };
                New::Two(first, func.ty(ptr), Box::new(move |ptr| Op::PtrAdd { ptr, by: fixed }))
            }
            _ => New::Keep,
        }
    }

    fn low(&self, func: &Func, bits: u32, a: Value) -> New {
        let visible = bits::visible(func, &self.ops, self.profile, a);
        match (self.number(a), &self.ops[a.index()]) {
            (Some(number), _) => New::Number(eval::low(bits, number)),
            _ if visible <= eval::low(bits, u64::MAX) => New::Same(a),
            (None, Some(Op::Low { bits: inner, a })) => New::Op(Op::Low { bits: bits.min(*inner), a: *a }),
            (None, Some(Op::Alu { op, width: Width::W64, a, b })) if bits == 32 && low_half(*op) => {
                New::Op(Op::Alu { op: *op, width: Width::W32, a: *a, b: *b })
            }
            _ => New::Keep,
        }
    }

    fn alu(&self, func: &Func, op: AluOp, width: Width, a: Value, b: Value, ty: Ty) -> New {
        let narrow = bits::visible(func, &self.ops, self.profile, a);
        let whole = if width == Width::W32 { 0xffff_ffff } else { u64::MAX };
        let same = || if narrow <= whole { New::Same(a) } else { New::Op(Op::Low { bits: 32, a }) };
        let (Some(k), x) = (self.number(b).map(|k| k & whole), self.number(a)) else {
            return match (self.number(a), commutes(op)) {
                (Some(_), true) => New::Op(Op::Alu { op, width, a: b, b: a }),
                _ => New::Keep,
            };
        };
        if let Some(x) = x {
            return New::Number(eval::alu(op, width, x, k) & ty.mask());
        }
        match op {
            AluOp::Add | AluOp::Sub | AluOp::Or | AluOp::Xor | AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if k == 0 => {
                same()
            }
            AluOp::Mul | AluOp::Div if k == 1 => same(),
            AluOp::Mul | AluOp::And if k == 0 => New::Number(0),
            AluOp::And if narrow & whole & !k == 0 => same(),
            // The low half is a copy of 32 bits; a mask of that width does not fit an instruction.
            AluOp::And if width == Width::W64 && k == 0xffff_ffff => New::Op(Op::Low { bits: 32, a }),
            AluOp::And => self.and_again(width, a, k),
            _ if k.is_power_of_two() => self.power(op, width, a, k.trailing_zeros()),
            _ => New::Keep,
        }
    }

    /// A mask over a mask.
    fn and_again(&self, width: Width, a: Value, k: u64) -> New {
        let (inner, mask) = match &self.ops[a.index()] {
            Some(Op::Alu { op: AluOp::And, a, b, .. }) => match self.number(*b) {
                Some(mask) => (*a, mask),
                None => return New::Keep,
            },
            Some(Op::Low { bits, a }) => (*a, eval::low(*bits, u64::MAX)),
            _ => return New::Keep,
        };
        let and = move |b| Op::Alu { op: AluOp::And, width, a: inner, b };
        New::Two(Op::Const(k & mask), Ty::I64, Box::new(and))
    }

    /// Multiplication and division by a power of two.
    fn power(&self, op: AluOp, width: Width, a: Value, by: u32) -> New {
        let (op, k) = match op {
            AluOp::Mul => (AluOp::Lsh, u64::from(by)),
            AluOp::Div => (AluOp::Rsh, u64::from(by)),
            AluOp::Mod => (AluOp::And, (1u64 << by) - 1),
            _ => return New::Keep,
        };
        New::Two(Op::Const(k), Ty::I64, Box::new(move |b| Op::Alu { op, width, a, b }))
    }

    /// An operation without a result: a store writes the low bytes only.
    fn effect(&self, op: &Op) -> New {
        match op {
            Op::Store { size, ptr, off, value } => match &self.ops[value.index()] {
                Some(Op::Low { bits, a }) if *bits >= bits_of(*size) => {
                    New::Op(Op::Store { size: *size, ptr: *ptr, off: *off, value: *a })
                }
                _ => New::Keep,
            },
            _ => New::Keep,
        }
    }

    /// Is a test of bits better than a mask and a comparison? It has no inverse: where the way on for a set bit is the one
    /// that falls through it takes a jump more, which is no more than the copy of a value that is needed again.
    fn test_pays(&self, func: &Func, x: Value, set: &Target) -> bool {
        let leaves = matches!(func.blocks[set.block.index()].term, Term::Return(_));
        leaves || self.uses.get(x.index()).is_some_and(|uses| *uses > 1)
    }

    /// A program's result: of XDP and traffic control the kernel looks at the low half only.
    fn result(&self, func: &Func, term: &mut Term) -> bool {
        let Term::Return(Some(value)) = term else { return false };
        match (&self.ops[value.index()], func.prog_type()) {
            (Some(Op::Low { bits: 32, a }), Some(ProgType::XDP | ProgType::SCHED_CLS)) => {
                *value = *a;
                true
            }
            _ => false,
        }
    }

    fn term(&mut self, func: &mut Func, term: &mut Term, out: &mut Vec<Inst>) -> bool {
        let Term::If { cond, width, a, b, then, other } = term else { return self.result(func, term) };
        if let (Some(x), Some(y)) = (self.number(*a), self.number(*b)) {
            let to = if eval::compare(*cond, *width, x, y) { then } else { other };
            *term = Term::Jump(Target { block: to.block, args: std::mem::take(&mut to.args) });
            return true;
        }
        if let (Some(_), Some(turned)) = (self.number(*a), swapped(*cond)) {
            (*cond, *a, *b) = (turned, *b, *a);
            return true;
        }
        let (Some(k), Some(op)) = (self.number(*b), self.ops[a.index()].clone()) else { return false };
        let equality = matches!(cond, Cond::Eq | Cond::Ne);
        match op {
            Op::Swap { bits, a: inner }
                if equality && bits_fit(func.ty(inner), bits) && k <= eval::low(bits, u64::MAX) =>
            {
                let loc = out.last().map_or(crate::ir::LocId(0), |inst| inst.loc);
                let swapped = func.value(func.ty(inner));
                self.same.push(swapped);
                let op = Op::Const(eval::swap(bits, k));
                self.ops.push(Some(op.clone()));
                out.push(Inst { result: Some(swapped), op, loc });
                (*a, *b) = (inner, swapped);
                true
            }
            Op::Alu { op: AluOp::And, a: x, b: mask, .. }
                if equality
                    && k == 0
                    && self.number(mask).is_some_and(|mask| mask <= 0xffff_ffff)
                    && self.test_pays(func, x, if *cond == Cond::Eq { other } else { then }) =>
            {
                if *cond == Cond::Eq {
                    std::mem::swap(then, other);
                }
                (*cond, *a, *b) = (Cond::Set, x, mask);
                true
            }
            _ => false,
        }
    }
}

const fn commutes(op: AluOp) -> bool {
    matches!(op, AluOp::Add | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor)
}

/// Do the low halves of the operands decide the low half of the result?
const fn low_half(op: AluOp) -> bool {
    commutes(op) || matches!(op, AluOp::Sub)
}

fn bits_fit(ty: Ty, bits: u32) -> bool {
    ty.bits().is_some_and(|width| width <= bits)
}

const fn bits_of(size: Size) -> u32 {
    size.bytes() as u32 * 8
}

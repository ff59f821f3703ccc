//! Stage: code generation. Pass: what the kernel cannot do is said in what it can.
//!
//! Input and output: a function. Signed division before Linux 6.6 becomes unsigned division of the magnitudes. A variable
//! distance whose bounds the verifier does not see (it came out of a byte swap) is masked to its type. This pass always
//! runs. Next: `../select.rs`.

use super::super::profile::Profile;
use super::{Change, bits, definitions};
use crate::insn::{AluOp, Width};
use crate::ir::{Func, Inst, LocId, Op, Ty, Value};

pub(super) fn run(func: &mut Func, profile: &Profile) -> Change {
    let ops = definitions(func);
    let mut changed = false;
    for block in 0..func.blocks.len() {
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut maker = Maker { func, out: Vec::with_capacity(insts.len()), loc: LocId(0) };
        for mut inst in insts {
            maker.loc = inst.loc;
            match inst.op {
                Op::Alu { op: op @ (AluOp::Sdiv | AluOp::Smod), width, a, b } if !profile.v4 => {
                    inst.op = maker.divide(op, width, a, b);
                    changed = true;
                }
                Op::PtrAdd { ptr, by } if maker.func.ty(ptr).is_packet() && hidden(maker.func, &ops, profile, by) => {
                    let bits = maker.func.ty(by).bits().unwrap_or(64);
                    let by = maker.value(Op::Low { bits, a: by }, maker.func.ty(by));
                    inst.op = Op::PtrAdd { ptr, by };
                    changed = true;
                }
                _ => {}
            }
            maker.out.push(inst);
        }
        func.blocks[block].insts = maker.out;
    }
    Change::code(changed)
}

/// Is the number narrow, and the verifier does not know?
fn hidden(func: &Func, ops: &[Option<Op>], profile: &Profile, by: Value) -> bool {
    let swapped = matches!(ops.get(by.index()), Some(Some(Op::Swap { .. })));
    swapped && func.ty(by).mask() < bits::visible(func, ops, profile, by)
}

struct Maker<'a> {
    func: &'a mut Func,
    out: Vec<Inst>,
    loc: LocId,
}

impl Maker<'_> {
    fn value(&mut self, op: Op, ty: Ty) -> Value {
        let value = self.func.value(ty);
        self.out.push(Inst { result: Some(value), op, loc: self.loc });
        value
    }

    fn alu(&mut self, op: AluOp, width: Width, a: Value, b: Value) -> Value {
        let ty = if width == Width::W32 { Ty::I32 } else { Ty::I64 };
        self.value(Op::Alu { op, width, a, b }, ty)
    }

    /// All ones for a negative number, else 0.
    fn sign(&mut self, width: Width, a: Value) -> Value {
        let by = self.value(Op::Const(if width == Width::W32 { 31 } else { 63 }), Ty::I8);
        self.alu(AluOp::Arsh, width, a, by)
    }

    /// `a` with its sign changed where `sign` is all ones.
    fn flip(&mut self, width: Width, a: Value, sign: Value) -> Value {
        let turned = self.alu(AluOp::Xor, width, a, sign);
        self.alu(AluOp::Sub, width, turned, sign)
    }

    /// The last operation of a signed division.
    fn divide(&mut self, op: AluOp, width: Width, a: Value, b: Value) -> Op {
        let (sa, sb) = (self.sign(width, a), self.sign(width, b));
        let (ma, mb) = (self.flip(width, a, sa), self.flip(width, b, sb));
        let (unsigned, sign) = match op {
            AluOp::Sdiv => (AluOp::Div, self.alu(AluOp::Xor, width, sa, sb)),
            _ => (AluOp::Mod, sa),
        };
        let result = self.alu(unsigned, width, ma, mb);
        let turned = self.alu(AluOp::Xor, width, result, sign);
        Op::Alu { op: AluOp::Sub, width, a: turned, b: sign }
    }
}

//! Stage: code generation. The choice of instructions for single operations.
//!
//! Input and output: see `../select.rs`, whose `impl` goes on here. Next: `../regalloc.rs`.

use super::super::Error;
use super::super::mir::{Base, FIRST, MInst, MOp, Src, VReg, Wide, fetches};
use super::{Select, stored};
use crate::insn::{AluOp, AtomicOp, Bits, Endian, Size, Width};
use crate::ir::{Inst, Op, Ty, Value};

impl Select<'_> {
    /// Makes one operation.
    pub(super) fn op(&mut self, inst: &Inst) -> Result<(), Error> {
        let dst = inst.result.map(|value| VReg(FIRST + value.0));
        match (&inst.op, dst) {
            (Op::Alu { op, width, a, b }, Some(dst)) => self.alu(*op, *width, dst, *a, *b)?,
            (Op::Low { bits, a }, Some(dst)) => self.low(*bits, dst, *a),
            (Op::Sext { bits, a }, Some(dst)) => self.sext(*bits, dst, *a),
            (Op::Swap { bits, a }, Some(dst)) => {
                self.into(dst, *a);
                self.push(MOp::Swap { order: Endian::Be, bits: bits_of(*bits), dst });
            }
            (Op::Global(id, off), Some(dst)) => {
                let name = self.func.globals[id.index()].name.clone();
                self.push(MOp::Wide { dst, value: Wide::Global(name, *off) });
            }
            // It becomes part of the loads.
            (Op::PtrAdd { .. }, Some(_)) if inst.result.is_some_and(|value| self.field(value).is_some()) => {}
            (Op::PtrAdd { ptr, by }, Some(dst)) if self.number(*by).is_none() => {
                self.into(dst, *ptr);
                let src = Src::Reg(self.reg(*by));
                self.push(MOp::Alu { op: AluOp::Add, width: Width::W64, dst, src });
            }
            (Op::PtrSub { a, b }, Some(dst)) => {
                self.into(dst, *a);
                let src = Src::Reg(self.reg(*b));
                self.push(MOp::Alu { op: AluOp::Sub, width: Width::W64, dst, src });
            }
            (Op::Load { size, ptr, off }, Some(dst)) => {
                if let Some((object, core)) = self.field(*ptr) {
                    let base = Base::Reg(self.reg(object));
                    let load = MInst::new(MOp::Load { size: *size, dst, base, off: 0 }, self.loc);
                    self.insts.push(MInst { core: Some(core.clone()), ..load });
                    return Ok(());
                }
                let (base, off) = self.address(*ptr, *off);
                self.push(MOp::Load { size: *size, dst, base, off });
            }
            (Op::Store { size, ptr, off, value }, _) => self.store(*size, *ptr, *off, *value),
            (Op::Atomic { op, size, ptr, off, value, expected }, dst) => {
                self.atomic(*op, *size, (*ptr, *off), *value, *expected, dst)?;
            }
            (Op::Call { callee, args }, dst) => {
                for (place, arg) in (1..).zip(args) {
                    self.into(VReg(place), *arg);
                }
                let args = u8::try_from(args.len()).unwrap_or(u8::MAX);
                self.push(MOp::Call { callee: callee.clone(), args });
                self.take_result(dst);
            }
            // Made where they are used.
            _ => {}
        }
        Ok(())
    }

    fn take_result(&mut self, dst: Option<VReg>) {
        if let Some(dst) = dst {
            self.push(MOp::Mov { width: Width::W64, dst, src: Src::Reg(VReg(0)) });
        }
    }

    fn alu(&mut self, op: AluOp, width: Width, dst: VReg, a: Value, b: Value) -> Result<(), Error> {
        if matches!(op, AluOp::Sdiv | AluOp::Smod) {
            self.need(self.profile.v4, "signed division", "Linux 6.6")?;
        }
        let (a, b) = if commutes(op) && self.better_second(a, b) { (b, a) } else { (a, b) };
        if op == AluOp::Sub && self.number(a) == Some(0) {
            self.into(dst, b);
            self.push(MOp::Neg { width, dst });
            return Ok(());
        }
        // The second operand first: making it must not come between the two lines that belong together.
        let src = self.second(op, width, b);
        self.into(dst, a);
        self.push(MOp::Alu { op, width, dst, src });
        Ok(())
    }

    /// The second operand. Kernels refuse constant shifts by the width or more, know nothing of the result of a shift by
    /// such a number in a register, and refuse constant divisions by zero.
    fn second(&mut self, op: AluOp, width: Width, b: Value) -> Src {
        let mask = if width == Width::W32 { 31 } else { 63 };
        if let (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Some(by)) = (op, self.number(b)) {
            return Src::Imm(i32::try_from(by & mask).unwrap_or(0));
        }
        match (op, self.src(b, width)) {
            (AluOp::Div | AluOp::Mod | AluOp::Sdiv | AluOp::Smod, Src::Imm(0)) => {
                let zero = self.out.fresh();
                self.into(zero, b);
                Src::Reg(zero)
            }
            (_, src) => src,
        }
    }

    /// Should `a op b` be computed as `b op a`? Constants stand second, and the first operand is best one that is not
    /// needed again.
    fn better_second(&self, a: Value, b: Value) -> bool {
        match (self.number(a), self.number(b)) {
            (Some(_), None) => true,
            (None, None) => self.uses[a.index()] > 1 && self.uses[b.index()] == 1,
            _ => false,
        }
    }

    fn low(&mut self, bits: u32, dst: VReg, a: Value) {
        let mask = match bits {
            8 => 0xff,
            16 => 0xffff,
            _ => {
                let src = self.src(a, Width::W32);
                self.push(MOp::Mov { width: Width::W32, dst, src });
                return;
            }
        };
        self.into(dst, a);
        self.push(MOp::Alu { op: AluOp::And, width: Width::W32, dst, src: Src::Imm(mask) });
    }

    fn sext(&mut self, bits: u32, dst: VReg, a: Value) {
        if self.profile.v4 {
            let src = self.reg(a);
            self.push(MOp::MovSx { bits: bits_of(bits), dst, src });
            return;
        }
        self.into(dst, a);
        let by = Src::Imm(i32::try_from(64 - bits).unwrap_or(0));
        for op in [AluOp::Lsh, AluOp::Arsh] {
            self.push(MOp::Alu { op, width: Width::W64, dst, src: by });
        }
    }

    fn store(&mut self, size: Size, ptr: Value, off: i32, value: Value) {
        let (base, off) = self.address(ptr, off);
        let allowed = self.profile.store_imm_ctx || self.func.ty(ptr) != Ty::Ctx;
        let imm = self.number(value).filter(|_| allowed).and_then(|number| stored(size, number));
        let src = match imm {
            Some(imm) => Src::Imm(imm),
            None => Src::Reg(self.reg(value)),
        };
        self.push(MOp::Store { size, base, off, src });
    }

    fn atomic(
        &mut self,
        op: AtomicOp,
        size: Size,
        (ptr, off): (Value, i32),
        value: Value,
        expected: Option<Value>,
        dst: Option<VReg>,
    ) -> Result<(), Error> {
        self.need(op == AtomicOp::Add || self.profile.atomics, "an atomic operation", "Linux 5.12")?;
        let ordered = matches!(op, AtomicOp::LoadAcquire | AtomicOp::StoreRelease);
        self.need(!ordered || self.profile.release, "an ordered access", "Linux 6.15")?;
        let (base, off) = self.address(ptr, off);
        if let Some(expected) = expected {
            let src = self.reg(value);
            self.into(VReg(0), expected);
            self.push(MOp::Atomic { op, size, base, off, src });
            self.take_result(dst);
            return Ok(());
        }
        let src = if fetches(op) {
            let src = dst.unwrap_or_else(|| self.out.fresh());
            self.into(src, value);
            src
        } else {
            self.reg(value)
        };
        self.push(MOp::Atomic { op, size, base, off, src });
        Ok(())
    }
}

const fn commutes(op: AluOp) -> bool {
    matches!(op, AluOp::Add | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor)
}

const fn bits_of(bits: u32) -> Bits {
    match bits {
        8 => Bits::B8,
        16 => Bits::B16,
        32 => Bits::B32,
        _ => Bits::B64,
    }
}

//! Stage: code generation. The choice of instructions: from SSA to two-operand machine operations.
//!
//! Input: a checked [`Func`]. Output: a [`Machine`] in which each value has a register of its own, and block parameters
//! get theirs by copies on the ways in. Constants, addresses on the stack and fixed distances from a pointer never occupy a
//! register for long: they are made where they are used, or become part of an instruction. Operations are in `ops.rs`.
//! Next: `select/ops.rs`, `regalloc.rs`.

mod ops;

use std::sync::Arc;

use super::Error;
use super::mir::{Base, FIRST, MBlock, MInst, MOp, MTerm, Machine, Slot, SlotData, Src, VReg, Wide};
use super::moves::sequential;
use super::profile::Profile;
use crate::insn::{AluOp, Cond, Size, Width};
use crate::ir::{Block, Core, Func, LocId, Op, StackDecl, Target, Term, Value};

/// Chooses instructions for a function.
///
/// # Errors
/// [`Error::Profile`] when it uses what the kernel does not have, [`Error::Unreachable`].
pub(super) fn select(func: &Func, profile: &Profile) -> Result<Machine, Error> {
    let slots =
        func.stack.iter().map(|StackDecl { size, align }| SlotData { size: *size, align: *align, spill: false });
    let machine = Machine {
        name: func.name.clone(),
        blocks: Vec::new(),
        regs: FIRST + u32::try_from(func.values.len()).unwrap_or(u32::MAX - FIRST),
        slots: slots.collect(),
        locs: func.locs.clone(),
        gotol: profile.gotol,
    };
    let mut select = Select::new(func, profile, machine);
    for block in 0..func.blocks.len() {
        select.block(Block::of(block))?;
    }
    for (block, data) in func.iter() {
        select.end(block, data)?;
    }
    super::layout::depths(&mut select.out);
    Ok(select.out)
}

struct Select<'a> {
    func: &'a Func,
    profile: &'a Profile,
    out: Machine,
    /// The operation that defines each value.
    ops: Vec<Option<&'a Op>>,
    /// How often each value is used.
    uses: Vec<u32>,
    /// How often each value is the address of a load, without a distance.
    loads: Vec<u32>,
    /// The instructions of the block that is being made.
    insts: Vec<MInst>,
    loc: LocId,
}

/// What a value comes down to.
#[derive(Clone, Debug)]
enum Root {
    /// A register.
    Reg(VReg),
    /// A number.
    Number(u64),
    /// A place on the stack.
    Slot(Slot),
    /// A two-slot constant.
    Wide(Wide),
}

impl<'a> Select<'a> {
    fn new(func: &'a Func, profile: &'a Profile, out: Machine) -> Self {
        let mut ops = vec![None; func.values.len()];
        let mut uses = vec![0; func.values.len()];
        let mut loads = vec![0; func.values.len()];
        for block in &func.blocks {
            for inst in &block.insts {
                if let Some(value) = inst.result {
                    ops[value.index()] = Some(&inst.op);
                }
                inst.op.operands(|v| uses[v.index()] += 1);
                if let Op::Load { ptr, off: 0, .. } = inst.op {
                    loads[ptr.index()] += 1;
                }
            }
            block.term.operands(|v| uses[v.index()] += 1);
        }
        Self { func, profile, out, ops, uses, loads, insts: Vec::new(), loc: LocId(0) }
    }

    fn push(&mut self, op: MOp) {
        self.insts.push(MInst::new(op, self.loc));
    }

    /// What a value comes down to, and how many bytes further.
    fn root(&self, value: Value) -> (Root, i64) {
        match self.ops[value.index()] {
            Some(Op::Const(number)) => (Root::Number(*number), 0),
            Some(Op::Copy(a) | Op::NonNull(a)) => self.root(*a),
            Some(Op::Stack(id)) => (Root::Slot(Slot(id.0)), 0),
            Some(Op::Map(id)) => (Root::Wide(Wide::Map(self.func.maps[id.index()].name.clone())), 0),
            Some(Op::Func(name)) => (Root::Wide(Wide::Func(name.clone())), 0),
            Some(Op::Ksym(name)) => (Root::Wide(Wide::Ksym(name.clone())), 0),
            Some(Op::Core(core)) => (Root::Wide(Wide::Core(core.clone())), 0),
            Some(Op::PtrAdd { ptr, by }) => match self.number(*by) {
                Some(by) => {
                    let (root, off) = self.root(*ptr);
                    (root, off.wrapping_add(by.cast_signed()))
                }
                None => (Root::Reg(VReg(FIRST + value.0)), 0),
            },
            _ => (Root::Reg(VReg(FIRST + value.0)), 0),
        }
    }

    /// The number that a value is.
    fn number(&self, value: Value) -> Option<u64> {
        match self.ops[value.index()] {
            Some(Op::Const(number)) => Some(*number),
            Some(Op::Copy(a)) => self.number(*a),
            _ => None,
        }
    }

    /// Puts a value into a register.
    fn into(&mut self, dst: VReg, value: Value) {
        let (root, off) = self.root(value);
        match root {
            Root::Number(number) => return self.number_into(dst, number),
            Root::Slot(slot) => {
                let off = i32::try_from(off).unwrap_or(i32::MIN);
                return self.push(MOp::Frame { dst, slot, off });
            }
            Root::Wide(value) => self.push(MOp::Wide { dst, value }),
            Root::Reg(src) => self.push(MOp::Mov { width: Width::W64, dst, src: Src::Reg(src) }),
        }
        if off != 0 {
            let src = self.small(off.cast_unsigned());
            self.push(MOp::Alu { op: AluOp::Add, width: Width::W64, dst, src });
        }
    }

    fn number_into(&mut self, dst: VReg, number: u64) {
        let signed = number.cast_signed();
        let op = match (i32::try_from(signed), u32::try_from(number)) {
            (Ok(imm), _) => MOp::Mov { width: Width::W64, dst, src: Src::Imm(imm) },
            (_, Ok(imm)) => MOp::Mov { width: Width::W32, dst, src: Src::Imm(imm.cast_signed()) },
            _ => MOp::Wide { dst, value: Wide::Number(number) },
        };
        self.push(op);
    }

    /// A number as an operand of a 64-bit operation.
    fn small(&mut self, number: u64) -> Src {
        match i32::try_from(number.cast_signed()) {
            Ok(imm) => Src::Imm(imm),
            Err(_) => {
                let reg = self.out.fresh();
                self.number_into(reg, number);
                Src::Reg(reg)
            }
        }
    }

    /// A register that holds a value.
    fn reg(&mut self, value: Value) -> VReg {
        match self.root(value) {
            (Root::Reg(reg), 0) => reg,
            _ => {
                let reg = self.out.fresh();
                self.into(reg, value);
                reg
            }
        }
    }

    /// A value as second operand.
    fn src(&mut self, value: Value, width: Width) -> Src {
        let Some(number) = self.number(value) else { return Src::Reg(self.reg(value)) };
        match width {
            Width::W64 => self.small(number),
            #[expect(clippy::cast_possible_truncation, reason = "a 32-bit operation reads the low half only")]
            Width::W32 => Src::Imm((number as u32).cast_signed()),
        }
    }

    /// Pointer and field, where a value is the address of a field of the kernel's that is only loaded from: the loader puts the
    /// offset into the loads.
    fn field(&self, value: Value) -> Option<(Value, &'a Arc<Core>)> {
        let Some(Op::PtrAdd { ptr, by }) = self.ops[value.index()] else { return None };
        let Some(Op::Core(core)) = self.ops[by.index()] else { return None };
        (self.loads[value.index()] == self.uses[value.index()]).then_some((*ptr, core))
    }

    /// A value plus a distance, as base and offset of an access.
    fn address(&mut self, ptr: Value, off: i32) -> (Base, i16) {
        let (root, far) = self.root(ptr);
        match (root, i16::try_from(far.wrapping_add(i64::from(off)))) {
            (Root::Reg(reg), Ok(off)) => (Base::Reg(reg), off),
            (Root::Slot(slot), Ok(off)) => (Base::Slot(slot), off),
            _ => match i16::try_from(off) {
                Ok(off) => (Base::Reg(self.reg(ptr)), off),
                Err(_) => {
                    let reg = self.out.fresh();
                    self.into(reg, ptr);
                    self.push(MOp::Alu { op: AluOp::Add, width: Width::W64, dst: reg, src: Src::Imm(off) });
                    (Base::Reg(reg), 0)
                }
            },
        }
    }

    /// The operations of a block, without its terminator.
    fn block(&mut self, block: Block) -> Result<(), Error> {
        let data = &self.func.blocks[block.index()];
        if block == Block(0) {
            for (place, param) in (1..).zip(&data.params) {
                let dst = VReg(FIRST + param.0);
                self.push(MOp::Mov { width: Width::W64, dst, src: Src::Reg(VReg(place)) });
            }
        }
        for inst in &data.insts {
            self.loc = inst.loc;
            self.op(inst)?;
        }
        let insts = std::mem::take(&mut self.insts);
        self.out.blocks.push(MBlock { insts, term: MTerm::Exit, loc: data.loc, depth: 0 });
        Ok(())
    }

    /// The terminator of a block, and the copies on the ways on.
    fn end(&mut self, block: Block, data: &crate::ir::BlockData) -> Result<(), Error> {
        self.loc = data.loc;
        let term = match &data.term {
            Term::Jump(to) => {
                self.copies(to);
                MTerm::Jump(to.block.index())
            }
            Term::If { cond, width, a, b, then, other } => self.branch(*cond, *width, (*a, *b), then, other),
            Term::Check { ptr, len, end, ok, fail } => self.check(*ptr, *len, *end, ok, fail),
            Term::Return(value) => {
                match value {
                    Some(value) => self.into(VReg(0), *value),
                    None => self.number_into(VReg(0), 0),
                }
                MTerm::Exit
            }
            Term::Unreachable => {
                let loc = self.func.locs.get(data.loc.0 as usize).cloned();
                return Err(Error::Unreachable { func: self.func.name.clone(), loc });
            }
        };
        let insts = std::mem::take(&mut self.insts);
        let out = &mut self.out.blocks[block.index()];
        out.insts.extend(insts);
        out.term = term;
        Ok(())
    }

    fn branch(&mut self, cond: Cond, width: Width, ab: (Value, Value), then: &Target, other: &Target) -> MTerm {
        let (cond, a, b) = match (self.number(ab.0), self.number(ab.1), swapped(cond)) {
            (Some(_), None, Some(cond)) => (cond, ab.1, ab.0),
            _ => (cond, ab.0, ab.1),
        };
        let a = self.reg(a);
        let b = self.src(b, width);
        let (then, other) = (self.edge(then), self.edge(other));
        MTerm::If { cond, width, a, b, then, other }
    }

    fn check(&mut self, ptr: Value, len: u32, end: Value, ok: &Target, fail: &Target) -> MTerm {
        let (root, off) = self.root(ptr);
        let total = off.wrapping_add(i64::from(len));
        let a = match (root, total) {
            (Root::Reg(reg), 0) => reg,
            (Root::Reg(reg), _) => {
                let past = self.out.fresh();
                self.push(MOp::Mov { width: Width::W64, dst: past, src: Src::Reg(reg) });
                let src = self.small(total.cast_unsigned());
                self.push(MOp::Alu { op: AluOp::Add, width: Width::W64, dst: past, src });
                past
            }
            _ => self.reg(ptr),
        };
        let b = Src::Reg(self.reg(end));
        let (ok, fail) = (self.edge(ok), self.edge(fail));
        MTerm::If { cond: Cond::Gt, width: Width::W64, a, b, then: fail, other: ok }
    }

    /// The block that a way on leads to: one of its own for the copies, if there are any.
    fn edge(&mut self, target: &Target) -> usize {
        if target.args.is_empty() {
            return target.block.index();
        }
        let outer = std::mem::take(&mut self.insts);
        self.copies(target);
        let insts = std::mem::replace(&mut self.insts, outer);
        let term = MTerm::Jump(target.block.index());
        self.out.blocks.push(MBlock { insts, term, loc: self.loc, depth: 0 });
        self.out.blocks.len() - 1
    }

    /// Hands the parameters of a block their values, all at once.
    fn copies(&mut self, target: &Target) {
        let params = &self.func.blocks[target.block.index()].params;
        let (mut pairs, mut numbers) = (Vec::new(), Vec::new());
        for (param, arg) in params.iter().zip(&target.args) {
            let dst = VReg(FIRST + param.0);
            match self.root(*arg) {
                (Root::Reg(src), 0) => pairs.push((dst, src)),
                (Root::Reg(_), _) => {
                    let made = self.reg(*arg);
                    pairs.push((dst, made));
                }
                _ => numbers.push((dst, *arg)),
            }
        }
        let out = &mut self.out;
        for (dst, src) in sequential(pairs, || out.fresh()) {
            self.push(MOp::Mov { width: Width::W64, dst, src: Src::Reg(src) });
        }
        for (dst, value) in numbers {
            self.into(dst, value);
        }
    }

    fn need(&self, has: bool, what: &'static str, needs: &'static str) -> Result<(), Error> {
        if has {
            return Ok(());
        }
        let loc = self.func.locs.get(self.loc.0 as usize).cloned();
        Err(Error::Profile { func: self.func.name.clone(), what, needs, loc })
    }
}

/// The condition with its sides changed.
pub(super) const fn swapped(cond: Cond) -> Option<Cond> {
    Some(match cond {
        Cond::Eq | Cond::Ne | Cond::Set => cond,
        Cond::Gt => Cond::Lt,
        Cond::Lt => Cond::Gt,
        Cond::Ge => Cond::Le,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Slt => Cond::Sgt,
        Cond::Sge => Cond::Sle,
        Cond::Sle => Cond::Sge,
    })
}

/// The low bytes of a number as the constant of a store.
pub(super) fn stored(size: Size, number: u64) -> Option<i32> {
    #[expect(clippy::cast_possible_truncation, reason = "a store writes the low bytes only")]
    Some(match size {
        Size::B => i32::from(number as u8),
        Size::H => i32::from(number as u16),
        Size::W => (number as u32).cast_signed(),
        Size::Dw => return i32::try_from(number.cast_signed()).ok(),
    })
}

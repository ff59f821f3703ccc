//! Stage: code generation. Instructions at last, with distances, relocations and lines.
//!
//! Input: a [`Machine`] in order, with registers and frame given out. Output: [`Code`]. Jumps are labels up to here: nothing
//! moves after their distances are known. Next: `../object/mod.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Error;
use super::frame::Frame;
use super::mir::{Base, FP, MInst, MOp, MTerm, Machine, Slot, Src, VReg, Wide};
use crate::insn::{Bits, Call, Code, Cond, Imm64, Insn, InsnIdx, LineRec, Op, Operand, Reg, Reloc, RelocKind, Width};
use crate::ir::{Callee, Core, Loc, LocId};

/// Questions about the kernel's types, and the instructions that get the answers.
pub(super) type Questions = Vec<(InsnIdx, Arc<Core>)>;

/// Emits a function.
///
/// # Errors
/// [`Error::TooFar`] where the kernel has no long jumps, or [`Error::Internal`] where a register was not given out.
pub(super) fn emit(machine: &Machine, frame: &Frame) -> Result<(Code, Questions), Error> {
    let mut far = BTreeSet::new();
    loop {
        let mut emitter = Emitter::new(machine, frame, &far);
        for (at, block) in machine.blocks.iter().enumerate() {
            emitter.starts.push(emitter.code.insns.len());
            block.insts.iter().for_each(|inst| emitter.inst(inst));
            emitter.line(block.loc);
            emitter.term(block.term, at + 1);
        }
        match emitter.finish()? {
            Done::Code(code, questions) => return Ok((code, questions)),
            // Longer jumps make others longer; there are only so many of them.
            Done::TooFar(more) => far.extend(more),
        }
    }
}

/// Code, or the conditional jumps, by number, that must go by way of a long one.
enum Done {
    Code(Code, Questions),
    TooFar(Vec<usize>),
}

struct Emitter<'a> {
    machine: &'a Machine,
    frame: &'a Frame,
    code: Code,
    questions: Questions,
    /// Slot at which each block starts.
    starts: Vec<usize>,
    /// Jumps: slot and block.
    jumps: Vec<(usize, usize)>,
    /// Conditional jumps, by their number in `jumps`, that reach their target by an unconditional one.
    far: &'a BTreeSet<usize>,
    wrong: Option<String>,
}

impl<'a> Emitter<'a> {
    fn new(machine: &'a Machine, frame: &'a Frame, far: &'a BTreeSet<usize>) -> Self {
        let (code, questions, starts, jumps) = (Code::default(), Vec::new(), Vec::new(), Vec::new());
        Self { machine, frame, code, questions, starts, jumps, far, wrong: None }
    }

    fn reg(&mut self, reg: VReg) -> Reg {
        u8::try_from(reg.0).ok().and_then(Reg::new).unwrap_or_else(|| {
            self.wrong = Some(format!("register {} was not given out", reg.0));
            Reg::R0
        })
    }

    fn operand(&mut self, src: Src) -> Operand {
        match src {
            Src::Reg(reg) => Operand::Reg(self.reg(reg)),
            Src::Imm(imm) => Operand::Imm(imm),
        }
    }

    fn address(&mut self, base: Base, off: i16) -> (Reg, i16) {
        match base {
            Base::Reg(reg) => (self.reg(reg), off),
            Base::Slot(slot) => {
                let off = self.slot(slot) + i32::from(off);
                let narrow = i16::try_from(off).unwrap_or_else(|_| {
                    self.wrong = Some(format!("stack offset {off}"));
                    0
                });
                (Reg::R10, narrow)
            }
        }
    }

    fn slot(&self, slot: Slot) -> i32 {
        self.frame.offsets[slot.0 as usize]
    }

    fn op(&mut self, op: Op) {
        if op.row().is_none() {
            self.wrong = Some(format!("there is no operation `{op}`"));
        }
        self.code.insns.extend_from_slice(&op.encode());
    }

    /// A line record, unless the place is the same as before.
    fn line(&mut self, loc: LocId) {
        let Some(loc) = self.machine.locs.get(loc.0 as usize) else { return };
        let at = InsnIdx::from(self.code.insns.len());
        let same = |last: &LineRec| (&last.file, last.line, last.col) == (&loc.file, loc.line, loc.col);
        match self.code.lines.last_mut() {
            Some(last) if same(last) => {}
            // Nothing came of the last place.
            Some(last) if last.at == at => {
                (last.file, last.line, last.col) = (loc.file.clone(), loc.line, loc.col);
            }
            _ => self.code.lines.push(LineRec { at, file: loc.file.clone(), line: loc.line, col: loc.col }),
        }
    }

    fn reloc(&mut self, op: Op, kind: RelocKind) {
        self.code.relocs.push(Reloc { at: InsnIdx::from(self.code.insns.len()), kind });
        self.op(op);
    }

    /// The next instruction gets an answer.
    fn ask(&mut self, core: &Arc<Core>) {
        self.questions.push((InsnIdx::from(self.code.insns.len()), core.clone()));
    }

    fn inst(&mut self, inst: &MInst) {
        self.line(inst.loc);
        if let Some(core) = &inst.core {
            self.ask(core);
        }
        let op = match &inst.op {
            MOp::Mov { width, dst, src } => {
                let (dst, src) = (self.reg(*dst), self.operand(*src));
                Op::Alu { op: crate::insn::AluOp::Mov, width: *width, dst, src }
            }
            MOp::Alu { op, width, dst, src } => {
                let (dst, src) = (self.reg(*dst), self.operand(*src));
                Op::Alu { op: *op, width: *width, dst, src }
            }
            MOp::Neg { width, dst } => Op::Neg { width: *width, dst: self.reg(*dst) },
            MOp::Swap { order, bits, dst } => Op::Endian { order: *order, bits: *bits, dst: self.reg(*dst) },
            MOp::MovSx { bits, dst, src } => self.sign_extend(*bits, *dst, *src),
            MOp::Load { size, dst, base, off } => {
                let (src, off) = self.address(*base, *off);
                Op::Load { size: *size, dst: self.reg(*dst), src, off }
            }
            MOp::Store { size, base, off, src } => {
                let (dst, off) = self.address(*base, *off);
                Op::Store { size: *size, dst, off, src: self.operand(*src) }
            }
            MOp::Atomic { op, size, base, off, src } => {
                let (dst, off) = self.address(*base, *off);
                Op::Atomic { op: *op, size: *size, dst, off, src: self.reg(*src) }
            }
            MOp::Wide { dst, value } => return self.wide(*dst, value),
            MOp::Frame { dst, slot, off } => return self.frame_address(*dst, *slot, *off),
            MOp::Call { callee, .. } => return self.call(callee),
        };
        self.op(op);
    }

    fn sign_extend(&mut self, bits: Bits, dst: VReg, src: VReg) -> Op {
        Op::MovSx { width: Width::W64, bits, dst: self.reg(dst), src: self.reg(src) }
    }

    fn wide(&mut self, dst: VReg, value: &Wide) {
        let dst = self.reg(dst);
        let plain = |value| Op::LoadImm64 { dst, value: Imm64::Value(value) };
        match value {
            Wide::Number(number) => self.op(plain(*number)),
            Wide::Map(name) => self.reloc(plain(0), RelocKind::Map { name: name.clone() }),
            Wide::Global(name, off) => {
                let kind = RelocKind::MapValue { name: name.clone(), off: off.cast_signed() };
                self.reloc(plain(u64::from(*off)), kind);
            }
            Wide::Func(name) => {
                let op = Op::LoadImm64 { dst, value: Imm64::Func(-1) };
                self.reloc(op, RelocKind::Func { name: name.clone() });
            }
            Wide::Ksym(name) => self.reloc(plain(0), RelocKind::Ksym { name: name.clone() }),
            Wide::Core(core) => {
                self.ask(core);
                self.op(plain(core.local()));
            }
        }
    }

    fn frame_address(&mut self, dst: VReg, slot: Slot, off: i32) {
        let off = self.slot(slot).wrapping_add(off);
        let dst = self.reg(dst);
        let alu = |op, src| Op::Alu { op, width: Width::W64, dst, src };
        self.op(alu(crate::insn::AluOp::Mov, Operand::Reg(Reg::R10)));
        self.op(alu(crate::insn::AluOp::Add, Operand::Imm(off)));
    }

    fn call(&mut self, callee: &Callee) {
        match callee {
            Callee::Helper(id) => self.op(Op::Call(Call::Helper(id.0))),
            Callee::Func(name) => self.reloc(Op::Call(Call::Local(-1)), RelocKind::Call { name: name.clone() }),
            Callee::Kfunc(name) => self.reloc(Op::Call(Call::Local(-1)), RelocKind::Kfunc { name: name.clone() }),
        }
    }

    fn jump(&mut self, op: Op, to: usize) {
        if let (Op::JumpIf { cond, width, dst, src, .. }, true) = (op, self.far.contains(&self.jumps.len())) {
            let over = |cond, off| Op::JumpIf { cond, width, dst, src, off };
            match cond.inverse() {
                Some(inverse) => self.op(over(inverse, 1)),
                None => {
                    self.op(over(cond, 1));
                    self.op(Op::Jump { off: 1 });
                }
            }
            return self.jump_there(Op::Jump { off: 0 }, to);
        }
        self.jump_there(op, to);
    }

    fn jump_there(&mut self, op: Op, to: usize) {
        self.jumps.push((self.code.insns.len(), to));
        self.op(op);
    }

    fn go(&mut self, to: usize, next: usize) {
        if to != next {
            self.jump(Op::Jump { off: 0 }, to);
        }
    }

    fn term(&mut self, term: MTerm, next: usize) {
        match term {
            MTerm::Exit => self.op(Op::Exit),
            MTerm::Jump(to) => self.go(to, next),
            MTerm::If { cond, width, a, b, then, other } => {
                let (a, b) = (self.reg(a), self.operand(b));
                let test = |cond: Cond| Op::JumpIf { cond, width, dst: a, src: b, off: 0 };
                match cond.inverse() {
                    Some(inverse) if then == next => self.jump(test(inverse), other),
                    _ => {
                        self.jump(test(cond), then);
                        self.go(other, next);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Result<Done, Error> {
        if let Some(what) = self.wrong.take() {
            return Err(Error::Internal { func: self.machine.name.clone(), what });
        }
        let mut too_far = Vec::new();
        for (number, (at, to)) in self.jumps.iter().enumerate() {
            let distance = distance(*at, self.starts[*to]);
            let insn: &mut Insn = &mut self.code.insns[*at];
            let plain = insn.code() == 0x05;
            match (i16::try_from(distance), i32::try_from(distance)) {
                (Ok(off), _) => insn.set_off(off),
                (_, Ok(far)) if self.machine.gotol && plain => *insn = Insn::new(0x06, 0, 0, 0, far),
                (_, Ok(_)) if self.machine.gotol => too_far.push(number),
                _ => return Err(self.too_far(*at, distance)),
            }
        }
        Ok(if too_far.is_empty() { Done::Code(self.code, self.questions) } else { Done::TooFar(too_far) })
    }

    fn too_far(&self, at: usize, distance: i64) -> Error {
        let line = self.code.lines.iter().rev().find(|line| line.at.index() <= at);
        let loc = line.map(|LineRec { file, line, col, .. }| Loc { file: file.clone(), line: *line, col: *col });
        Error::TooFar { func: self.machine.name.clone(), distance, loc }
    }
}

/// Slots from the instruction behind a jump to its target.
fn distance(at: usize, to: usize) -> i64 {
    i64::try_from(to).unwrap_or(i64::MAX) - i64::try_from(at).unwrap_or(i64::MAX) - 1
}

/// The frame pointer is the machine's register number 10.
const _: () = assert!(FP.0 == 10);

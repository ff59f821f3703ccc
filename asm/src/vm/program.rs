//! A program made ready to run: checked once, so that the loop in `exec.rs` need not look again.
//!
//! Input: instructions as they lie in an object, with maps named by index ([`crate::insn::PSEUDO_MAP_IDX`]). Output:
//! [`Program`], one step a slot. Read next: `exec.rs`.

use super::alu::Exec;
use crate::insn::{AluOp, AtomicOp, Call, Cond, DecodeError, Endian, Imm64, Insn, InsnIdx, Op, Operand, Size, Width};

/// Number of the register-file cell that holds a step's constant, so that constants and registers are read alike.
pub(super) const IMM: u8 = 11;

/// Upper half of the address of a function, as `ld_imm64` loads it for `bpf_loop` and its kin.
pub(crate) const FUNC_BASE: u64 = 0xfffe_0000_0000_0000;
/// Upper half of the address of a map, as `ld_imm64` loads it for helpers.
pub(crate) const MAP_BASE: u64 = 0xffff_0000_0000_0000;

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// An instruction that means nothing.
    #[error("instruction {at}: {source}")]
    Decode {
        /// Where.
        at: InsnIdx,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A jump or call out of the program, or into the middle of a two-slot instruction.
    #[error("instruction {at}: jumps to slot {target}, and the program has {len}")]
    Target {
        /// Where.
        at: InsnIdx,
        /// Where to.
        target: i64,
        /// Slots of the program.
        len: usize,
    },
    /// A jump or call into the second half of a two-slot instruction.
    #[error("instruction {at}: jumps into the middle of the two-slot instruction at {target}")]
    Middle {
        /// Where.
        at: InsnIdx,
        /// The two-slot instruction.
        target: i64,
    },
    /// Something that only a kernel can give a meaning.
    #[error("instruction {at}: `{op}`: {why}")]
    KernelOnly {
        /// Where.
        at: InsnIdx,
        /// The instruction.
        op: Op,
        /// What is missing here.
        why: &'static str,
    },
    /// No instructions, or more than the kernel's limit of a million.
    #[error("a program has 1 to 1,000,000 slots; this one has {0}")]
    Length(usize),
}

/// Slots a program may have: the kernel's `BPF_COMPLEXITY_LIMIT_INSNS`.
const MAX_SLOTS: usize = 1_000_000;

/// One decoded instruction: what to do, and its operands at fixed places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) exec: Exec,
    pub(super) dst: u8,
    pub(super) src: u8,
    /// Memory offset in bytes, or the slot to go on at.
    pub(super) off: i32,
    pub(super) imm: u64,
}

/// A program ready to run.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) steps: Vec<Step>,
    insns: Vec<Insn>,
}

impl Program {
    /// Decodes and checks: every instruction has a meaning here, every jump lands on an instruction.
    ///
    /// # Errors
    /// [`ProgramError`], with the slot of the first offender.
    pub fn new(insns: &[Insn]) -> Result<Self, ProgramError> {
        if insns.is_empty() || insns.len() > MAX_SLOTS {
            return Err(ProgramError::Length(insns.len()));
        }
        let mut steps = Vec::with_capacity(insns.len() + 1);
        while steps.len() < insns.len() {
            let at = InsnIdx::from(steps.len());
            let (op, slots) =
                Op::decode(&insns[steps.len()..]).map_err(|source| ProgramError::Decode { at, source })?;
            steps.push(Lower { at, len: insns.len() }.step(op)?);
            if slots == 2 {
                steps.push(Step::plain(Exec::Middle));
            }
        }
        steps.push(Step::plain(Exec::End));
        let program = Self { steps, insns: insns.to_vec() };
        program.check_targets()?;
        Ok(program)
    }

    /// The instructions, as given.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    fn check_targets(&self) -> Result<(), ProgramError> {
        for (i, step) in self.steps.iter().enumerate() {
            let target = match step.exec {
                exec if exec.jumps() => i64::from(step.off),
                Exec::LoadFunc => i64::from(step.off),
                _ => continue,
            };
            let landing = usize::try_from(target).ok().and_then(|t| self.steps.get(t));
            if landing.is_some_and(|s| s.exec == Exec::Middle) {
                return Err(ProgramError::Middle { at: i.into(), target: target - 1 });
            }
        }
        Ok(())
    }
}

impl Step {
    fn plain(exec: Exec) -> Self {
        Self { exec, dst: 0, src: 0, off: 0, imm: 0 }
    }
}

/// Turns one operation at one place into a step.
struct Lower {
    at: InsnIdx,
    len: usize,
}

impl Lower {
    fn step(&self, op: Op) -> Result<Step, ProgramError> {
        let step = match op {
            Op::Alu { op, width, dst, src } => Self::binary(alu(op, width), dst.num(), src, 0),
            Op::Neg { width, dst } => {
                Self::unary(if width == Width::W64 { Exec::Neg64 } else { Exec::Neg32 }, dst.num(), 0)
            }
            Op::MovSx { width, bits, dst, src } => {
                let exec = if width == Width::W64 { Exec::MovSx64 } else { Exec::MovSx32 };
                Step { exec, dst: dst.num(), src: src.num(), off: 0, imm: 64 - bits as u64 }
            }
            Op::Endian { order, bits, dst } => {
                let exec = match order {
                    Endian::Le => Exec::Truncate,
                    Endian::Be | Endian::Swap => Exec::Swap,
                };
                Self::unary(exec, dst.num(), 64 - bits as u64)
            }
            Op::LoadImm64 { dst, value } => self.load_imm64(op, dst.num(), value)?,
            Op::Load { size, dst, src, off } => Self::access(load(size), dst.num(), src.num(), off),
            Op::LoadSx { size, dst, src, off } => Self::access(load_sx(size), dst.num(), src.num(), off),
            Op::Store { size, dst, off, src } => Self::binary(store(size), dst.num(), src, i32::from(off)),
            Op::Atomic { op, size, dst, off, src } => {
                let exec = if size == Size::Dw { Exec::Atomic64 } else { Exec::Atomic32 };
                let exec = match op {
                    AtomicOp::LoadAcquire => load(size),
                    AtomicOp::StoreRelease => store(size),
                    _ => exec,
                };
                Step { exec, dst: dst.num(), src: src.num(), off: i32::from(off), imm: op as u64 }
            }
            Op::Jump { off } => self.jump(Exec::Jump, i64::from(off))?,
            Op::JumpLong { off } => self.jump(Exec::Jump, i64::from(off))?,
            Op::MayGoto { off } => self.jump(Exec::MayGoto, i64::from(off))?,
            Op::JumpIf { cond, width, dst, src, off } => {
                let target = self.target(i64::from(off))?;
                Self::binary(jump_if(cond, width), dst.num(), src, target)
            }
            Op::Call(Call::Helper(id)) => Step { off: id, ..Step::plain(Exec::CallHelper) },
            Op::Call(Call::Kfunc { id, .. }) => Step { off: id, ..Step::plain(Exec::CallKfunc) },
            Op::Call(Call::Local(off)) => self.jump(Exec::CallLocal, i64::from(off))?,
            Op::CallReg { dst } => Step { dst: dst.num(), ..Step::plain(Exec::CallReg) },
            Op::Exit => Step::plain(Exec::Exit),
            Op::LoadAbs { .. } | Op::LoadInd { .. } | Op::AddrSpaceCast { .. } | Op::JumpReg { .. } | Op::Raw(_) => {
                return Err(self.kernel_only(op));
            }
        };
        Ok(step)
    }

    fn kernel_only(&self, op: Op) -> ProgramError {
        let why = match op {
            Op::LoadAbs { .. } | Op::LoadInd { .. } => "historical packet access; read through `data` instead",
            Op::AddrSpaceCast { .. } => "the interpreter has no arenas",
            _ => "the interpreter has no instruction-array maps",
        };
        ProgramError::KernelOnly { at: self.at, op, why }
    }

    fn unary(exec: Exec, dst: u8, imm: u64) -> Step {
        Step { exec, dst, src: IMM, off: 0, imm }
    }

    fn binary(exec: Exec, dst: u8, src: Operand, off: i32) -> Step {
        match src {
            Operand::Reg(src) => Step { exec, dst, src: src.num(), off, imm: 0 },
            Operand::Imm(imm) => Step { exec, dst, src: IMM, off, imm: i64::from(imm).cast_unsigned() },
        }
    }

    fn access(exec: Exec, dst: u8, src: u8, off: i16) -> Step {
        Step { exec, dst, src, off: i32::from(off), imm: 0 }
    }

    fn load_imm64(&self, op: Op, dst: u8, value: Imm64) -> Result<Step, ProgramError> {
        let constant = |imm| Step { exec: Exec::Mov64, dst, src: IMM, off: 0, imm };
        // ld_imm64 takes two slots: distances count from the slot after it.
        Ok(match value {
            Imm64::Value(value) => Step { off: 1, exec: Exec::LoadImm64, ..constant(value) },
            Imm64::MapIdx(idx) => {
                Step { off: 1, exec: Exec::LoadImm64, ..constant(MAP_BASE | u64::from(idx.cast_unsigned())) }
            }
            Imm64::MapIdxValue { idx, off } => Step { exec: Exec::LoadMapValue, off: idx, ..constant(u64::from(off)) },
            Imm64::Func(off) => {
                let target = self.target(i64::from(off))?;
                Step { exec: Exec::LoadFunc, off: target, ..constant(FUNC_BASE | u64::from(target.cast_unsigned())) }
            }
            Imm64::MapFd(_) | Imm64::MapValue { .. } => {
                let why = "map descriptors mean nothing here; name maps by index (BPF_PSEUDO_MAP_IDX)";
                return Err(ProgramError::KernelOnly { at: self.at, op, why });
            }
            Imm64::BtfId { .. } => {
                let why = "the interpreter has no kernel variables";
                return Err(ProgramError::KernelOnly { at: self.at, op, why });
            }
        })
    }

    fn jump(&self, exec: Exec, off: i64) -> Result<Step, ProgramError> {
        Ok(Step { off: self.target(off)?, ..Step::plain(exec) })
    }

    /// The slot `off` slots after the next one.
    fn target(&self, off: i64) -> Result<i32, ProgramError> {
        let target = i64::from(self.at.0) + 1 + off;
        let inside = usize::try_from(target).is_ok_and(|t| t < self.len);
        let fits = i32::try_from(target).ok().filter(|_| inside);
        fits.ok_or(ProgramError::Target { at: self.at, target, len: self.len })
    }
}

pub(super) fn alu(op: AluOp, width: Width) -> Exec {
    let (wide, narrow) = match op {
        AluOp::Add => (Exec::Add64, Exec::Add32),
        AluOp::Sub => (Exec::Sub64, Exec::Sub32),
        AluOp::Mul => (Exec::Mul64, Exec::Mul32),
        AluOp::Div => (Exec::Div64, Exec::Div32),
        AluOp::Sdiv => (Exec::Sdiv64, Exec::Sdiv32),
        AluOp::Or => (Exec::Or64, Exec::Or32),
        AluOp::And => (Exec::And64, Exec::And32),
        AluOp::Lsh => (Exec::Lsh64, Exec::Lsh32),
        AluOp::Rsh => (Exec::Rsh64, Exec::Rsh32),
        AluOp::Mod => (Exec::Mod64, Exec::Mod32),
        AluOp::Smod => (Exec::Smod64, Exec::Smod32),
        AluOp::Xor => (Exec::Xor64, Exec::Xor32),
        AluOp::Mov => (Exec::Mov64, Exec::Mov32),
        AluOp::Arsh => (Exec::Arsh64, Exec::Arsh32),
    };
    if width == Width::W64 { wide } else { narrow }
}

pub(super) fn jump_if(cond: Cond, width: Width) -> Exec {
    let (wide, narrow) = match cond {
        Cond::Eq => (Exec::Jeq64, Exec::Jeq32),
        Cond::Ne => (Exec::Jne64, Exec::Jne32),
        Cond::Gt => (Exec::Jgt64, Exec::Jgt32),
        Cond::Ge => (Exec::Jge64, Exec::Jge32),
        Cond::Lt => (Exec::Jlt64, Exec::Jlt32),
        Cond::Le => (Exec::Jle64, Exec::Jle32),
        Cond::Set => (Exec::Jset64, Exec::Jset32),
        Cond::Sgt => (Exec::Jsgt64, Exec::Jsgt32),
        Cond::Sge => (Exec::Jsge64, Exec::Jsge32),
        Cond::Slt => (Exec::Jslt64, Exec::Jslt32),
        Cond::Sle => (Exec::Jsle64, Exec::Jsle32),
    };
    if width == Width::W64 { wide } else { narrow }
}

fn load(size: Size) -> Exec {
    match size {
        Size::B => Exec::Load8,
        Size::H => Exec::Load16,
        Size::W => Exec::Load32,
        Size::Dw => Exec::Load64,
    }
}

fn load_sx(size: Size) -> Exec {
    match size {
        Size::B => Exec::LoadSx8,
        Size::H => Exec::LoadSx16,
        Size::W => Exec::LoadSx32,
        Size::Dw => Exec::Load64,
    }
}

fn store(size: Size) -> Exec {
    match size {
        Size::B => Exec::Store8,
        Size::H => Exec::Store16,
        Size::W => Exec::Store32,
        Size::Dw => Exec::Store64,
    }
}

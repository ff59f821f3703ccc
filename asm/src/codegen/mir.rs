//! Stage: code generation. Machine instructions over registers without number.
//!
//! Input: nothing (these are the types). Output: [`Machine`]: blocks of instructions as the machine has them (two operands,
//! arguments in `r1`–`r5`), but over any number of registers and with stack slots by name. Next: `select.rs`.

use std::sync::Arc;

use crate::insn::{AluOp, AtomicOp, Bits, Cond, Endian, Size, Width};
use crate::ir::{Callee, Core, Loc, LocId};

/// A register: 0–10 are the machine's, higher ones are still to be given one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VReg(pub(super) u32);

/// Registers that can be given out: `r0`–`r9`.
pub(super) const COLORS: usize = 10;
/// The first register that is not the machine's.
pub(super) const FIRST: u32 = 11;
/// The frame pointer.
pub(super) const FP: VReg = VReg(10);

impl VReg {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// One of the machine's own.
    pub(super) const fn is_machine(self) -> bool {
        self.0 < FIRST
    }
}

/// A place on the stack, by number in [`Machine::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u32);

/// Second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Src {
    Reg(VReg),
    Imm(i32),
}

impl Src {
    const fn reg(self) -> Option<VReg> {
        match self {
            Self::Reg(reg) => Some(reg),
            Self::Imm(_) => None,
        }
    }
}

/// What an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Reg(VReg),
    Slot(Slot),
}

impl Base {
    const fn reg(self) -> Option<VReg> {
        match self {
            Self::Reg(reg) => Some(reg),
            Self::Slot(_) => None,
        }
    }
}

/// What a two-slot load loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wide {
    Number(u64),
    Map(Arc<str>),
    Global(Arc<str>, u32),
    Func(Arc<str>),
    Ksym(Arc<str>),
    Core(Arc<Core>),
}

/// One machine operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MOp {
    Mov {
        width: Width,
        dst: VReg,
        src: Src,
    },
    Alu {
        op: AluOp,
        width: Width,
        dst: VReg,
        src: Src,
    },
    Neg {
        width: Width,
        dst: VReg,
    },
    Swap {
        order: Endian,
        bits: Bits,
        dst: VReg,
    },
    MovSx {
        bits: Bits,
        dst: VReg,
        src: VReg,
    },
    Load {
        size: Size,
        dst: VReg,
        base: Base,
        off: i16,
    },
    Store {
        size: Size,
        base: Base,
        off: i16,
        src: Src,
    },
    Atomic {
        op: AtomicOp,
        size: Size,
        base: Base,
        off: i16,
        src: VReg,
    },
    Wide {
        dst: VReg,
        value: Wide,
    },
    /// `dst = r10 + slot + off`, in two instructions.
    Frame {
        dst: VReg,
        slot: Slot,
        off: i32,
    },
    Call {
        callee: Callee,
        args: u8,
    },
}

/// An operation and its place in source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MInst {
    pub(super) op: MOp,
    pub(super) loc: LocId,
    /// Number of the instruction, from 1, before registers are given out; 0 for those that the allocator puts in.
    pub(super) id: u32,
    /// Whose answer becomes the offset of the load.
    pub(super) core: Option<Arc<Core>>,
}

impl MInst {
    pub(super) const fn new(op: MOp, loc: LocId) -> Self {
        Self { op, loc, id: 0, core: None }
    }
}

/// How a block ends; blocks by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MTerm {
    Jump(usize),
    If { cond: Cond, width: Width, a: VReg, b: Src, then: usize, other: usize },
    Exit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MBlock {
    pub(super) insts: Vec<MInst>,
    pub(super) term: MTerm,
    pub(super) loc: LocId,
    /// How many loops it is in.
    pub(super) depth: u32,
}

/// A place on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotData {
    pub(super) size: u32,
    pub(super) align: u32,
    /// Made by the register allocator.
    pub(super) spill: bool,
}

/// A function in machine operations.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) name: Arc<str>,
    pub(super) blocks: Vec<MBlock>,
    /// Registers there are, the machine's included.
    pub(super) regs: u32,
    pub(super) slots: Vec<SlotData>,
    pub(super) locs: Vec<Loc>,
    pub(super) gotol: bool,
}

impl Machine {
    pub(super) fn fresh(&mut self) -> VReg {
        self.regs += 1;
        VReg(self.regs - 1)
    }
}

/// How an operation touches a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Use,
    Def,
    UseDef,
}

impl MOp {
    /// Calls `f` with each register that stands in the operation; what a call or a compare-and-exchange touches besides
    /// is [`MOp::fixed`].
    pub(super) fn regs_mut(&mut self, mut f: impl FnMut(&mut VReg, Role)) {
        let src = |src: &mut Src, f: &mut dyn FnMut(&mut VReg, Role)| {
            if let Src::Reg(reg) = src {
                f(reg, Role::Use);
            }
        };
        let base = |base: &mut Base, f: &mut dyn FnMut(&mut VReg, Role)| {
            if let Base::Reg(reg) = base {
                f(reg, Role::Use);
            }
        };
        match self {
            Self::Mov { dst, src: from, .. } => {
                src(from, &mut f);
                f(dst, Role::Def);
            }
            Self::Alu { dst, src: from, .. } => {
                src(from, &mut f);
                f(dst, Role::UseDef);
            }
            Self::Neg { dst, .. } | Self::Swap { dst, .. } => f(dst, Role::UseDef),
            Self::MovSx { dst, src, .. } => {
                f(src, Role::Use);
                f(dst, Role::Def);
            }
            Self::Load { dst, base: from, .. } => {
                base(from, &mut f);
                f(dst, Role::Def);
            }
            Self::Store { base: to, src: from, .. } => {
                base(to, &mut f);
                src(from, &mut f);
            }
            Self::Atomic { op, base: at, src, .. } => {
                base(at, &mut f);
                f(src, if fetches(*op) { Role::UseDef } else { Role::Use });
            }
            Self::Wide { dst, .. } | Self::Frame { dst, .. } => f(dst, Role::Def),
            Self::Call { .. } => {}
        }
    }

    /// As [`MOp::regs_mut`], to look only.
    pub(super) fn regs(&self, mut f: impl FnMut(VReg, Role)) {
        let (uses, written) = match self {
            Self::Mov { dst, src, .. } => ([src.reg(), None], Some((*dst, Role::Def))),
            Self::Alu { dst, src, .. } => ([src.reg(), None], Some((*dst, Role::UseDef))),
            Self::Neg { dst, .. } | Self::Swap { dst, .. } => ([None; 2], Some((*dst, Role::UseDef))),
            Self::MovSx { dst, src, .. } => ([Some(*src), None], Some((*dst, Role::Def))),
            Self::Load { dst, base, .. } => ([base.reg(), None], Some((*dst, Role::Def))),
            Self::Store { base, src, .. } => ([base.reg(), src.reg()], None),
            Self::Atomic { op, base, src, .. } if fetches(*op) => ([base.reg(), None], Some((*src, Role::UseDef))),
            Self::Atomic { base, src, .. } => ([base.reg(), Some(*src)], None),
            Self::Wide { dst, .. } | Self::Frame { dst, .. } => ([None; 2], Some((*dst, Role::Def))),
            Self::Call { .. } => ([None; 2], None),
        };
        uses.into_iter().flatten().for_each(|reg| f(reg, Role::Use));
        if let Some((reg, role)) = written {
            f(reg, role);
        }
    }

    /// Machine registers that the operation reads and writes besides: arguments and clobbers of a call, `r0` of a
    /// compare-and-exchange. As masks.
    pub(super) const fn fixed(&self) -> (u16, u16) {
        match self {
            Self::Call { args, .. } => ((1 << (*args + 1)) - 2, 0x3f),
            Self::Atomic { op: AtomicOp::Cmpxchg, .. } => (1, 1),
            _ => (0, 0),
        }
    }

    /// A copy of a whole register.
    pub(super) const fn as_move(&self) -> Option<(VReg, VReg)> {
        match self {
            Self::Mov { width: Width::W64, dst, src: Src::Reg(src) } => Some((*dst, *src)),
            _ => None,
        }
    }
}

/// Does the operation write the old value to its source register?
pub(super) const fn fetches(op: AtomicOp) -> bool {
    matches!(op, AtomicOp::FetchAdd | AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor | AtomicOp::Xchg)
}

impl MTerm {
    /// Blocks it may go on to.
    pub(super) fn targets(self) -> impl Iterator<Item = usize> {
        let (a, b) = match self {
            Self::Jump(to) => (Some(to), None),
            Self::If { then, other, .. } => (Some(then), Some(other)),
            Self::Exit => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Changes where it goes on.
    pub(super) fn retarget(&mut self, f: impl Fn(usize) -> usize) {
        match self {
            Self::Jump(to) => *to = f(*to),
            Self::If { then, other, .. } => (*then, *other) = (f(*then), f(*other)),
            Self::Exit => {}
        }
    }

    /// Calls `f` with each register it reads.
    pub(super) fn regs_mut(&mut self, mut f: impl FnMut(&mut VReg)) {
        match self {
            Self::If { a, b, .. } => {
                f(a);
                if let Src::Reg(b) = b {
                    f(b);
                }
            }
            // The result is in r0.
            Self::Exit => f(&mut VReg(0)),
            Self::Jump(_) => {}
        }
    }

    /// As [`MTerm::regs_mut`], to look only.
    pub(super) fn regs(mut self, mut f: impl FnMut(VReg)) {
        self.regs_mut(|reg| f(*reg));
    }
}

//! Stage: text out. One operation as LLVM and the verifier's log write it.
//!
//! Input: [`Op`]. Output: text that reads back as the same operation. Where LLVM's notation loses information (which kind
//! of constant, which kind of call) ours keeps it. Next: `parse.rs`.

use std::fmt;

use crate::insn::{AtomicOp, Call, Endian, Imm64, Op, Operand, Reg, Size, Width, helper};

/// A register or constant at a width: `r1`, `w1`, `-1`.
struct At<T>(Width, T);

impl fmt::Display for At<Reg> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.0 == Width::W32 { 'w' } else { 'r' };
        write!(f, "{letter}{}", self.1.num())
    }
}

impl fmt::Display for At<Operand> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Operand::Reg(reg) => At(self.0, reg).fmt(f),
            Operand::Imm(imm) => imm.fmt(f),
        }
    }
}

/// An address: `(r1 + 4)`, `(r10 - 8)`; without the parentheses in `xchg`.
struct Address(Reg, i16);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.1 < 0 { '-' } else { '+' };
        write!(f, "{} {sign} {}", self.0, self.1.unsigned_abs())
    }
}

const fn unsigned(size: Size) -> &'static str {
    match size {
        Size::B => "u8",
        Size::H => "u16",
        Size::W => "u32",
        Size::Dw => "u64",
    }
}

const fn signed(size: Size) -> &'static str {
    match size {
        Size::B => "s8",
        Size::H => "s16",
        Size::W => "s32",
        Size::Dw => "s64",
    }
}

/// The width that holds a value of this size.
const fn width_of(size: Size) -> Width {
    if matches!(size, Size::Dw) { Width::W64 } else { Width::W32 }
}

impl fmt::Display for Imm64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Value(value) => write!(f, "{value:#x} ll"),
            Self::MapFd(fd) => write!(f, "map[fd:{fd}] ll"),
            Self::MapValue { fd, off } => write!(f, "map[fd:{fd}][0]+{off} ll"),
            Self::BtfId { id, btf_fd: 0 } => write!(f, "btf[id:{id}] ll"),
            Self::BtfId { id, btf_fd } => write!(f, "btf[id:{id} fd:{btf_fd}] ll"),
            Self::Func(distance) => write!(f, "subprog[{distance:+}] ll"),
            Self::MapIdx(idx) => write!(f, "map[idx:{idx}] ll"),
            Self::MapIdxValue { idx, off } => write!(f, "map[idx:{idx}][0]+{off} ll"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Helper(id) => write!(f, "call {}", helper::Id(id)),
            Self::Local(distance) => write!(f, "call pc{distance:+}"),
            Self::Kfunc { id, btf: 0 } => write!(f, "call kfunc[{id}]"),
            Self::Kfunc { id, btf } => write!(f, "call kfunc[{id} btf:{btf}]"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Alu { op, width, dst, src } => write!(f, "{} {} {}", At(width, dst), op.symbol(), At(width, src)),
            Self::Neg { width, dst } => write!(f, "{0} = -{0}", At(width, dst)),
            Self::MovSx { width, bits, dst, src } => {
                write!(f, "{} = (s{}){}", At(width, dst), bits as u8, At(width, src))
            }
            Self::Endian { order, bits, dst } => {
                let order = match order {
                    Endian::Le => "le",
                    Endian::Be => "be",
                    Endian::Swap => "bswap",
                };
                write!(f, "{dst} = {order}{} {dst}", bits as u8)
            }
            Self::AddrSpaceCast { dst, src, to, from } => write!(f, "{dst} = addr_space_cast({src}, {to}, {from})"),
            Self::LoadImm64 { dst, value } => write!(f, "{dst} = {value}"),
            Self::Load { size, dst, src, off } => write!(f, "{dst} = *({} *)({})", unsigned(size), Address(src, off)),
            Self::LoadSx { size, dst, src, off } => write!(f, "{dst} = *({} *)({})", signed(size), Address(src, off)),
            Self::Store { size, dst, off, src } => {
                write!(f, "*({} *)({}) = {}", unsigned(size), Address(dst, off), At(Width::W64, src))
            }
            Self::Atomic { op, size, dst, off, src } => atomic(f, op, size, (dst, off), src),
            Self::LoadAbs { size, off } => write!(f, "r0 = *({} *)skb[{off}]", unsigned(size)),
            Self::LoadInd { size, src, off: 0 } => write!(f, "r0 = *({} *)skb[{src}]", unsigned(size)),
            Self::LoadInd { size, src, off } => write!(f, "r0 = *({} *)skb[{src} + {off}]", unsigned(size)),
            Self::Jump { off } => write!(f, "goto {off:+}"),
            Self::JumpLong { off } => write!(f, "gotol {off:+}"),
            Self::JumpReg { dst } => write!(f, "gotox {dst}"),
            Self::JumpIf { cond, width, dst, src, off } => {
                write!(f, "if {} {} {} goto {off:+}", At(width, dst), cond.symbol(), At(width, src))
            }
            Self::MayGoto { off } => write!(f, "may_goto {off:+}"),
            Self::Call(call) => call.fmt(f),
            Self::CallReg { dst } => write!(f, "callx {dst}"),
            Self::Exit => f.write_str("exit"),
            Self::Raw(insn) => {
                let (code, dst, src) = (insn.code(), insn.dst(), insn.src());
                write!(f, ".insn {code:#04x}, {dst}, {src}, {}, {}", insn.off(), insn.imm())
            }
        }
    }
}

fn atomic(f: &mut fmt::Formatter<'_>, op: AtomicOp, size: Size, to: (Reg, i16), src: Reg) -> fmt::Result {
    let (ty, width) = (unsigned(size), width_of(size));
    let (address, value) = (Address(to.0, to.1), At(width, src));
    let lock = |f: &mut fmt::Formatter<'_>, symbol: &str| write!(f, "lock *({ty} *)({address}) {symbol} {value}");
    let fetch = |f: &mut fmt::Formatter<'_>, name: &str| {
        write!(f, "{value} = atomic_fetch_{name}(({ty} *)({address}), {value})")
    };
    let bits = if width == Width::W32 { "32_32" } else { "_64" };
    match op {
        AtomicOp::Add => lock(f, "+="),
        AtomicOp::Or => lock(f, "|="),
        AtomicOp::And => lock(f, "&="),
        AtomicOp::Xor => lock(f, "^="),
        AtomicOp::FetchAdd => fetch(f, "add"),
        AtomicOp::FetchOr => fetch(f, "or"),
        AtomicOp::FetchAnd => fetch(f, "and"),
        AtomicOp::FetchXor => fetch(f, "xor"),
        AtomicOp::Xchg => write!(f, "{value} = xchg{bits}({address}, {value})"),
        AtomicOp::Cmpxchg => write!(f, "{0} = cmpxchg{bits}({address}, {0}, {value})", At(width, Reg::R0)),
        AtomicOp::LoadAcquire => {
            write!(f, "{} = load_acquire(({ty} *)({}))", At(width, to.0), Address(src, to.1))
        }
        AtomicOp::StoreRelease => write!(f, "store_release(({ty} *)({address}), {value})"),
    }
}

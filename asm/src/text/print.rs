//! Stage: text out. One operation as LLVM and the verifier's log write it.
//!
//! Input: [`Op`]. Output: text that reads back as the same operation. Where LLVM's notation loses information (which kind
//! of constant, which kind of call) ours keeps it. Next: `parse.rs`.

use std::fmt::{self, Write};

use super::ink::Ink;
use crate::insn::{AtomicOp, Call, Endian, Imm64, Op, Reg, Size, Width, helper};

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
        write_op(f, *self)
    }
}

/// Writes one operation; jumps with their distance.
pub(super) fn write_op(w: &mut impl Write, op: Op) -> fmt::Result {
    match op {
        Op::LoadImm64 { dst, value: Imm64::Value(value) } => {
            let mut ink = Ink(w);
            ink.reg(Width::W64, dst)?;
            ink.text(" = ")?;
            ink.hex(value)?;
            ink.text(" ll")
        }
        Op::LoadImm64 { dst, value } => write!(w, "{dst} = {value}"),
        Op::Call(Call::Helper(id)) => match helper::Id(id).name() {
            Some(name) => Ink(w).text("call bpf_").and_then(|()| w.write_str(name)),
            None => write!(w, "call {id}"),
        },
        Op::Call(call) => write!(w, "{call}"),
        Op::CallReg { dst } => write!(w, "callx {dst}"),
        Op::Exit => w.write_str("exit"),
        Op::Raw(insn) => {
            let (code, dst, src) = (insn.code(), insn.dst(), insn.src());
            write!(w, ".insn {code:#04x}, {dst}, {src}, {}, {}", insn.off(), insn.imm())
        }
        Op::Jump { off } | Op::MayGoto { off } | Op::JumpIf { off, .. } => {
            write_jump(w, op)?;
            Ink(w).signed(off.into())
        }
        Op::JumpLong { off } => {
            write_jump(w, op)?;
            Ink(w).signed(off.into())
        }
        Op::JumpReg { dst } => write!(w, "gotox {dst}"),
        Op::Load { .. } | Op::LoadSx { .. } | Op::Store { .. } | Op::LoadAbs { .. } | Op::LoadInd { .. } => {
            memory(w, op)
        }
        Op::Atomic { op, size, dst, off, src } => atomic(w, op, size, (dst, off), src),
        Op::Alu { .. } | Op::Neg { .. } | Op::MovSx { .. } | Op::Endian { .. } | Op::AddrSpaceCast { .. } => {
            arithmetic(w, op)
        }
    }
}

/// A jump up to where its target is written.
pub(super) fn write_jump(w: &mut impl Write, op: Op) -> fmt::Result {
    let mut ink = Ink(w);
    match op {
        Op::JumpIf { cond, width, dst, src, .. } => {
            ink.text("if ")?;
            ink.reg(width, dst)?;
            ink.text(" ")?;
            ink.text(cond.symbol())?;
            ink.text(" ")?;
            ink.operand(width, src)?;
            ink.text(" goto ")
        }
        Op::JumpLong { .. } => ink.text("gotol "),
        Op::MayGoto { .. } => ink.text("may_goto "),
        _ => ink.text("goto "),
    }
}

fn arithmetic(w: &mut impl Write, op: Op) -> fmt::Result {
    match op {
        Op::Alu { op, width, dst, src } => {
            let mut ink = Ink(w);
            ink.reg(width, dst)?;
            ink.text(" ")?;
            ink.text(op.symbol())?;
            ink.text(" ")?;
            ink.operand(width, src)
        }
        Op::Neg { width, dst } => {
            let mut ink = Ink(w);
            ink.reg(width, dst)?;
            ink.text(" = -")?;
            ink.reg(width, dst)
        }
        Op::MovSx { width, bits, dst, src } => {
            let mut ink = Ink(w);
            ink.reg(width, dst)?;
            ink.text(" = (s")?;
            ink.number(i64::from(bits as u8))?;
            ink.text(")")?;
            ink.reg(width, src)
        }
        Op::Endian { order, bits, dst } => {
            let order = match order {
                Endian::Le => "le",
                Endian::Be => "be",
                Endian::Swap => "bswap",
            };
            write!(w, "{dst} = {order}{} {dst}", bits as u8)
        }
        Op::AddrSpaceCast { dst, src, to, from } => write!(w, "{dst} = addr_space_cast({src}, {to}, {from})"),
        _ => Ok(()),
    }
}

fn memory(w: &mut impl Write, op: Op) -> fmt::Result {
    let mut ink = Ink(w);
    match op {
        Op::Load { size, dst, src, off } => {
            ink.reg(Width::W64, dst)?;
            ink.place(" = *(", unsigned(size), src, off)
        }
        Op::LoadSx { size, dst, src, off } => {
            ink.reg(Width::W64, dst)?;
            ink.place(" = *(", signed(size), src, off)
        }
        Op::Store { size, dst, off, src } => {
            ink.place("*(", unsigned(size), dst, off)?;
            ink.text(" = ")?;
            ink.operand(Width::W64, src)
        }
        Op::LoadAbs { size, off } => write!(w, "r0 = *({} *)skb[{off}]", unsigned(size)),
        Op::LoadInd { size, src, off: 0 } => write!(w, "r0 = *({} *)skb[{src}]", unsigned(size)),
        Op::LoadInd { size, src, off } => write!(w, "r0 = *({} *)skb[{src} + {off}]", unsigned(size)),
        _ => Ok(()),
    }
}

fn atomic(w: &mut impl Write, op: AtomicOp, size: Size, to: (Reg, i16), src: Reg) -> fmt::Result {
    let (ty, width) = (unsigned(size), width_of(size));
    let bits = if width == Width::W32 { "32_32(" } else { "_64(" };
    let mut ink = Ink(w);
    match op {
        AtomicOp::Add => lock(w, "+= ", (ty, width), to, src),
        AtomicOp::Or => lock(w, "|= ", (ty, width), to, src),
        AtomicOp::And => lock(w, "&= ", (ty, width), to, src),
        AtomicOp::Xor => lock(w, "^= ", (ty, width), to, src),
        AtomicOp::FetchAdd => fetch(w, " = atomic_fetch_add((", (ty, width), to, src),
        AtomicOp::FetchOr => fetch(w, " = atomic_fetch_or((", (ty, width), to, src),
        AtomicOp::FetchAnd => fetch(w, " = atomic_fetch_and((", (ty, width), to, src),
        AtomicOp::FetchXor => fetch(w, " = atomic_fetch_xor((", (ty, width), to, src),
        AtomicOp::Xchg => {
            ink.reg(width, src)?;
            ink.text(" = xchg")?;
            ink.text(bits)?;
            ink.address(to.0, to.1)?;
            ink.text(", ")?;
            ink.reg(width, src)?;
            ink.text(")")
        }
        AtomicOp::Cmpxchg => {
            ink.reg(width, Reg::R0)?;
            ink.text(" = cmpxchg")?;
            ink.text(bits)?;
            ink.address(to.0, to.1)?;
            ink.text(", ")?;
            ink.reg(width, Reg::R0)?;
            ink.text(", ")?;
            ink.reg(width, src)?;
            ink.text(")")
        }
        AtomicOp::LoadAcquire => {
            ink.reg(width, to.0)?;
            ink.place(" = load_acquire((", ty, src, to.1)?;
            ink.text(")")
        }
        AtomicOp::StoreRelease => {
            ink.place("store_release((", ty, to.0, to.1)?;
            ink.text(", ")?;
            ink.reg(width, src)?;
            ink.text(")")
        }
    }
}

/// `lock *(u64 *)(r1 + 4) += r2`.
fn lock(w: &mut impl Write, assign: &str, (ty, width): (&str, Width), to: (Reg, i16), src: Reg) -> fmt::Result {
    let mut ink = Ink(w);
    ink.place("lock *(", ty, to.0, to.1)?;
    ink.text(" ")?;
    ink.text(assign)?;
    ink.reg(width, src)
}

/// `r2 = atomic_fetch_add((u64 *)(r1 + 4), r2)`.
fn fetch(w: &mut impl Write, name: &str, (ty, width): (&str, Width), to: (Reg, i16), src: Reg) -> fmt::Result {
    let mut ink = Ink(w);
    ink.reg(width, src)?;
    ink.place(name, ty, to.0, to.1)?;
    ink.text(", ")?;
    ink.reg(width, src)?;
    ink.text(")")
}

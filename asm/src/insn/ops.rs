//! Stage: instructions. The builder's vocabulary: one method an operation.
//!
//! Input and output: see `build.rs`, whose `impl` goes on here. Next: `code.rs`.

use std::sync::Arc;

use super::build::Builder;
use super::code::RelocKind;
use super::helper;
use super::op::{AluOp, AtomicOp, Bits, Call, Endian, Imm64, Op, Size, Width};
use super::{Operand, Reg};

/// Two-operand arithmetic: a 64-bit and a 32-bit method a row.
macro_rules! alu {
    ($($op:ident $wide:ident $narrow:ident $doc:literal;)*) => {
        impl Builder {
            $(
                #[doc = concat!("`", $doc, "` on 64 bits.")]
                #[track_caller]
                pub fn $wide(&mut self, dst: Reg, src: impl Into<Operand>) {
                    self.op(Op::Alu { op: AluOp::$op, width: Width::W64, dst, src: src.into() });
                }

                #[doc = concat!("`", $doc, "` on the low 32 bits; the upper half of `dst` becomes zero.")]
                #[track_caller]
                pub fn $narrow(&mut self, dst: Reg, src: impl Into<Operand>) {
                    self.op(Op::Alu { op: AluOp::$op, width: Width::W32, dst, src: src.into() });
                }
            )*
        }
    };
}

alu! {
    Add add add32 "dst += src";
    Sub sub sub32 "dst -= src";
    Mul mul mul32 "dst *= src";
    Div div div32 "dst /= src";
    Sdiv sdiv sdiv32 "dst s/= src";
    Mod mod_ mod32 "dst %= src";
    Smod smod smod32 "dst s%= src";
    Or or or32 "dst |= src";
    And and and32 "dst &= src";
    Xor xor xor32 "dst ^= src";
    Lsh lsh lsh32 "dst <<= src";
    Rsh rsh rsh32 "dst >>= src";
    Arsh arsh arsh32 "dst s>>= src";
    Mov mov mov32 "dst = src";
}

/// Atomic operations on memory.
macro_rules! atomic {
    ($($op:ident $method:ident $doc:literal;)*) => {
        impl Builder {
            $(
                #[doc = concat!("`", $doc, "`; see [`AtomicOp::", stringify!($op), "`].")]
                #[track_caller]
                pub fn $method(&mut self, size: Size, dst: Reg, off: i16, src: Reg) {
                    self.op(Op::Atomic { op: AtomicOp::$op, size, dst, off, src });
                }
            )*
        }
    };
}

atomic! {
    Add atomic_add "lock *(dst + off) += src";
    Or atomic_or "lock *(dst + off) |= src";
    And atomic_and "lock *(dst + off) &= src";
    Xor atomic_xor "lock *(dst + off) ^= src";
    FetchAdd atomic_fetch_add "src = atomic_fetch_add(dst + off, src)";
    FetchOr atomic_fetch_or "src = atomic_fetch_or(dst + off, src)";
    FetchAnd atomic_fetch_and "src = atomic_fetch_and(dst + off, src)";
    FetchXor atomic_fetch_xor "src = atomic_fetch_xor(dst + off, src)";
    Xchg xchg "src = xchg(dst + off, src)";
    Cmpxchg cmpxchg "r0 = cmpxchg(dst + off, r0, src)";
    LoadAcquire load_acquire "dst = load_acquire(src + off)";
    StoreRelease store_release "store_release(dst + off, src)";
}

impl Builder {
    /// `dst = -dst`.
    #[track_caller]
    pub fn neg(&mut self, dst: Reg) {
        self.op(Op::Neg { width: Width::W64, dst });
    }

    /// `dst = -dst` on the low 32 bits.
    #[track_caller]
    pub fn neg32(&mut self, dst: Reg) {
        self.op(Op::Neg { width: Width::W32, dst });
    }

    /// `dst = (s8)src`: sign-extends the low `bits` to 64. Linux 6.6.
    #[track_caller]
    pub fn movsx(&mut self, bits: Bits, dst: Reg, src: Reg) {
        self.op(Op::MovSx { width: Width::W64, bits, dst, src });
    }

    /// `dst = (s8)src`: sign-extends the low `bits` (8 or 16) to 32. Linux 6.6.
    #[track_caller]
    pub fn movsx32(&mut self, bits: Bits, dst: Reg, src: Reg) {
        self.op(Op::MovSx { width: Width::W32, bits, dst, src });
    }

    #[track_caller]
    fn endian(&mut self, order: Endian, dst: Reg, bits: u8) {
        let bits = match bits {
            16 => Bits::B16,
            32 => Bits::B32,
            64 => Bits::B64,
            // No row of the table has it, so `finish` reports this place.
            _ => Bits::B8,
        };
        self.op(Op::Endian { order, bits, dst });
    }

    /// `dst = be16 dst`: the low `bits` (16, 32, 64) from host to big-endian order or back; the rest becomes zero.
    #[track_caller]
    pub fn to_be(&mut self, dst: Reg, bits: u8) {
        self.endian(Endian::Be, dst, bits);
    }

    /// `dst = le16 dst`: as [`Builder::to_be`] for little-endian order.
    #[track_caller]
    pub fn to_le(&mut self, dst: Reg, bits: u8) {
        self.endian(Endian::Le, dst, bits);
    }

    /// `dst = bswap16 dst`: reverses the low `bits` whatever the host's order. Linux 6.6.
    #[track_caller]
    pub fn bswap(&mut self, dst: Reg, bits: u8) {
        self.endian(Endian::Swap, dst, bits);
    }

    /// `dst = *(size *)(src + off)`, zero-extended.
    #[track_caller]
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, off: i16) {
        self.op(Op::Load { size, dst, src, off });
    }

    /// `dst = *(s8 *)(src + off)`, sign-extended; not for [`Size::Dw`]. Linux 6.6.
    #[track_caller]
    pub fn load_sx(&mut self, size: Size, dst: Reg, src: Reg, off: i16) {
        self.op(Op::LoadSx { size, dst, src, off });
    }

    /// `*(size *)(dst + off) = src`, a register or a constant.
    #[track_caller]
    pub fn store(&mut self, size: Size, dst: Reg, off: i16, src: impl Into<Operand>) {
        self.op(Op::Store { size, dst, off, src: src.into() });
    }

    /// `dst = value ll`, in two slots.
    #[track_caller]
    pub fn imm64(&mut self, dst: Reg, value: u64) {
        self.op(Op::LoadImm64 { dst, value: Imm64::Value(value) });
    }

    /// `dst = name ll`: the map of this name.
    #[track_caller]
    pub fn map(&mut self, dst: Reg, name: impl Into<Arc<str>>) {
        self.reloc(Op::LoadImm64 { dst, value: Imm64::Value(0) }, RelocKind::Map { name: name.into() });
    }

    /// `dst = name+off ll`: an address inside a global variable, or inside the value of a one-element array map.
    #[track_caller]
    pub fn map_value(&mut self, dst: Reg, name: impl Into<Arc<str>>, off: i32) {
        let value = Imm64::Value(u64::from(off.cast_unsigned()));
        self.reloc(Op::LoadImm64 { dst, value }, RelocKind::MapValue { name: name.into(), off });
    }

    /// `dst = name ll`: the address of a function of this object, to hand to a helper as callback. Linux 5.13.
    #[track_caller]
    pub fn func(&mut self, dst: Reg, name: impl Into<Arc<str>>) {
        self.reloc(Op::LoadImm64 { dst, value: Imm64::Func(-1) }, RelocKind::Func { name: name.into() });
    }

    /// `dst = name ll`: the address of a kernel variable. Linux 5.10.
    #[track_caller]
    pub fn ksym(&mut self, dst: Reg, name: impl Into<Arc<str>>) {
        self.reloc(Op::LoadImm64 { dst, value: Imm64::Value(0) }, RelocKind::Ksym { name: name.into() });
    }

    /// `call helper`: arguments in `r1`–`r5`, which are destroyed; the result in `r0`.
    #[track_caller]
    pub fn call(&mut self, helper: helper::Id) {
        self.op(Op::Call(Call::Helper(helper.0)));
    }

    /// `call name`: a function of this object. Linux 4.16.
    #[track_caller]
    pub fn call_fn(&mut self, name: impl Into<Arc<str>>) {
        self.reloc(Op::Call(Call::Local(-1)), RelocKind::Call { name: name.into() });
    }

    /// `call name`: a function of the kernel, found by name in its BTF. Linux 5.13.
    #[track_caller]
    pub fn call_kfunc(&mut self, name: impl Into<Arc<str>>) {
        // As compilers write it; the loader replaces both the pseudo source and the constant.
        self.reloc(Op::Call(Call::Local(-1)), RelocKind::Kfunc { name: name.into() });
    }

    /// `exit`: return `r0`.
    #[track_caller]
    pub fn exit(&mut self) {
        self.op(Op::Exit);
    }
}

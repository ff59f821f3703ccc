//! Stage: instructions. What an instruction means: the decoded enum, apart from the wire struct.
//!
//! Input: nothing (these are the types). Output: [`Op`] and its parts. Each enum's numbers are the bits on the wire,
//! so `encode.rs` puts them together and `table.rs` lists which combinations exist. Next: `table.rs`.

use super::{Insn, Operand, Reg};

/// Width of an arithmetic or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32 bits; an arithmetic result zeroes the upper half. Written `w1`.
    W32,
    /// All 64 bits. Written `r1`.
    W64,
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Size {
    /// 1 byte, `u8`.
    B = 0x10,
    /// 2 bytes, `u16`.
    H = 0x08,
    /// 4 bytes, `u32`.
    W = 0x00,
    /// 8 bytes, `u64`.
    Dw = 0x18,
}

impl Size {
    /// The number of bytes: 1, 2, 4 or 8.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        match self {
            Self::B => 1,
            Self::H => 2,
            Self::W => 4,
            Self::Dw => 8,
        }
    }
}

/// Two-operand arithmetic: `dst = dst op src`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// `+=`, wraps.
    Add,
    /// `-=`, wraps.
    Sub,
    /// `*=`, wraps.
    Mul,
    /// `/=`, unsigned; by zero gives 0.
    Div,
    /// `s/=`, signed; by zero gives 0, the overflow wraps. Linux 6.6.
    Sdiv,
    /// `|=`.
    Or,
    /// `&=`.
    And,
    /// `<<=`; the amount is taken modulo the width.
    Lsh,
    /// `>>=`, unsigned.
    Rsh,
    /// `%=`, unsigned; by zero leaves `dst`.
    Mod,
    /// `s%=`, signed, sign of the dividend; by zero leaves `dst`. Linux 6.6.
    Smod,
    /// `^=`.
    Xor,
    /// `=`.
    Mov,
    /// `s>>=`, copies the sign bit in.
    Arsh,
}

impl AluOp {
    /// Operation bits of the opcode.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Add => 0x00,
            Self::Sub => 0x10,
            Self::Mul => 0x20,
            Self::Div | Self::Sdiv => 0x30,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::Lsh => 0x60,
            Self::Rsh => 0x70,
            Self::Mod | Self::Smod => 0x90,
            Self::Xor => 0xa0,
            Self::Mov => 0xb0,
            Self::Arsh => 0xc0,
        }
    }

    /// Signed division and remainder differ from the unsigned ones by `off = 1`.
    #[must_use]
    pub const fn off(self) -> i16 {
        matches!(self, Self::Sdiv | Self::Smod) as i16
    }

    /// How the assignment is written, e.g. `s>>=`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+=",
            Self::Sub => "-=",
            Self::Mul => "*=",
            Self::Div => "/=",
            Self::Sdiv => "s/=",
            Self::Or => "|=",
            Self::And => "&=",
            Self::Lsh => "<<=",
            Self::Rsh => ">>=",
            Self::Mod => "%=",
            Self::Smod => "s%=",
            Self::Xor => "^=",
            Self::Mov => "=",
            Self::Arsh => "s>>=",
        }
    }
}

/// Condition of a jump, `dst cond src`. The numbers are the operation bits of the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cond {
    /// `==`.
    Eq = 0x10,
    /// `>`, unsigned.
    Gt = 0x20,
    /// `>=`, unsigned.
    Ge = 0x30,
    /// `&`: some common bit is set.
    Set = 0x40,
    /// `!=`.
    Ne = 0x50,
    /// `s>`, signed.
    Sgt = 0x60,
    /// `s>=`, signed.
    Sge = 0x70,
    /// `<`, unsigned. Linux 4.14.
    Lt = 0xa0,
    /// `<=`, unsigned. Linux 4.14.
    Le = 0xb0,
    /// `s<`, signed. Linux 4.14.
    Slt = 0xc0,
    /// `s<=`, signed. Linux 4.14.
    Sle = 0xd0,
}

impl Cond {
    /// How the comparison is written, e.g. `s>=`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Set => "&",
            Self::Ne => "!=",
            Self::Sgt => "s>",
            Self::Sge => "s>=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Slt => "s<",
            Self::Sle => "s<=",
        }
    }

    /// The condition that holds exactly when this one does not; [`Cond::Set`] has none.
    #[must_use]
    pub const fn inverse(self) -> Option<Self> {
        Some(match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Gt => Self::Le,
            Self::Le => Self::Gt,
            Self::Ge => Self::Lt,
            Self::Lt => Self::Ge,
            Self::Sgt => Self::Sle,
            Self::Sle => Self::Sgt,
            Self::Sge => Self::Slt,
            Self::Slt => Self::Sge,
            Self::Set => return None,
        })
    }
}

/// What a byte-order operation does with the low 16, 32 or 64 bits of its register; the rest becomes zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Endian {
    /// `le16`: from host to little-endian order or back.
    Le = 0xd4,
    /// `be16`: from host to big-endian order or back.
    Be = 0xdc,
    /// `bswap16`: unconditionally reversed. Linux 6.6.
    Swap = 0xd7,
}

/// How many low bits an operation looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bits {
    /// 8 bits.
    B8 = 8,
    /// 16 bits.
    B16 = 16,
    /// 32 bits.
    B32 = 32,
    /// 64 bits.
    B64 = 64,
}

/// Atomic operation on memory; the numbers are what stands in `imm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum AtomicOp {
    /// `lock *p += src`. The only one before Linux 5.12.
    Add = 0x00,
    /// `lock *p |= src`.
    Or = 0x40,
    /// `lock *p &= src`.
    And = 0x50,
    /// `lock *p ^= src`.
    Xor = 0xa0,
    /// `src = atomic_fetch_add(p, src)`: as [`AtomicOp::Add`], and `src` gets the old value.
    FetchAdd = 0x01,
    /// `src = atomic_fetch_or(p, src)`.
    FetchOr = 0x41,
    /// `src = atomic_fetch_and(p, src)`.
    FetchAnd = 0x51,
    /// `src = atomic_fetch_xor(p, src)`.
    FetchXor = 0xa1,
    /// `src = xchg(p, src)`: memory and register change places.
    Xchg = 0xe1,
    /// `r0 = cmpxchg(p, r0, src)`: stores `src` if memory equals `r0`; `r0` gets the old value.
    Cmpxchg = 0xf1,
    /// `dst = load_acquire(src)`: the only one that reads through `src`. Linux 6.15.
    LoadAcquire = 0x100,
    /// `store_release(dst, src)`. Linux 6.15.
    StoreRelease = 0x110,
}

/// The 64-bit constant of a two-slot load, and what the kernel is to take it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// A plain number.
    Value(u64),
    /// The map behind this descriptor ([`super::PSEUDO_MAP_FD`]).
    MapFd(i32),
    /// The address `off` bytes into the value of the map behind this descriptor ([`super::PSEUDO_MAP_VALUE`]).
    MapValue {
        /// Map descriptor.
        fd: i32,
        /// Bytes into the value.
        off: u32,
    },
    /// The address of a kernel variable ([`super::PSEUDO_BTF_ID`]).
    BtfId {
        /// BTF id of the variable.
        id: i32,
        /// Descriptor of the module's BTF; 0 for the kernel's own.
        btf_fd: i32,
    },
    /// The address of a function of this program, as a distance in slots ([`super::PSEUDO_FUNC`]).
    Func(i32),
    /// The map at this index of the load's descriptor array ([`super::PSEUDO_MAP_IDX`]).
    MapIdx(i32),
    /// An address in that map's value ([`super::PSEUDO_MAP_IDX_VALUE`]).
    MapIdxValue {
        /// Index into the descriptor array.
        idx: i32,
        /// Bytes into the value.
        off: u32,
    },
}

impl Imm64 {
    /// What stands in `src` of the first slot.
    #[must_use]
    pub const fn src(self) -> u8 {
        match self {
            Self::Value(_) => 0,
            Self::MapFd(_) => super::PSEUDO_MAP_FD,
            Self::MapValue { .. } => super::PSEUDO_MAP_VALUE,
            Self::BtfId { .. } => super::PSEUDO_BTF_ID,
            Self::Func(_) => super::PSEUDO_FUNC,
            Self::MapIdx(_) => super::PSEUDO_MAP_IDX,
            Self::MapIdxValue { .. } => super::PSEUDO_MAP_IDX_VALUE,
        }
    }
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A helper function of the kernel, by number; see [`super::helper`].
    Helper(i32),
    /// A function of this program, as a distance in slots from the next instruction.
    Local(i32),
    /// A kernel function, by BTF id.
    Kfunc {
        /// BTF id of the function.
        id: i32,
        /// Index of the module's BTF in the load's descriptor array; 0 for the kernel's own.
        btf: i16,
    },
}

/// One decoded operation.
///
/// Jump distances are in 8-byte slots, counted from the instruction after the jump.
///
/// ```
/// use asm::insn::{AluOp, Op, Operand, R1, R2, Width};
/// let op = Op::Alu { op: AluOp::Add, width: Width::W64, dst: R1, src: Operand::Reg(R2) };
/// assert_eq!(op.to_string(), "r1 += r2");
/// assert_eq!(op.encode()[0].to_bytes(), [0x0f, 0x21, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(Op::decode(&op.encode()), Ok((op, 1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `dst = dst op src`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Alu { op: AluOp, width: Width, dst: Reg, src: Operand },
    /// `dst = -dst`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Neg { width: Width, dst: Reg },
    /// `dst = (s8)src`: the low `bits` of `src`, sign-extended to `width`. Linux 6.6.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    MovSx { width: Width, bits: Bits, dst: Reg, src: Reg },
    /// `dst = be16 dst`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Endian { order: Endian, bits: Bits, dst: Reg },
    /// `dst = addr_space_cast(src, to, from)`: a pointer moved between address spaces (arenas). Linux 6.9.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    AddrSpaceCast { dst: Reg, src: Reg, to: u16, from: u16 },
    /// `dst = value ll`, in two slots.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    LoadImm64 { dst: Reg, value: Imm64 },
    /// `dst = *(size *)(src + off)`, zero-extended.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Load { size: Size, dst: Reg, src: Reg, off: i16 },
    /// `dst = *(s8 *)(src + off)`, sign-extended. Linux 6.6.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    LoadSx { size: Size, dst: Reg, src: Reg, off: i16 },
    /// `*(size *)(dst + off) = src`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Store { size: Size, dst: Reg, off: i16, src: Operand },
    /// `lock *(size *)(dst + off) op= src` and its kin.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Atomic { op: AtomicOp, size: Size, dst: Reg, off: i16, src: Reg },
    /// `r0 = *(size *)skb[off]`: a packet read in network order, historical.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    LoadAbs { size: Size, off: i32 },
    /// `r0 = *(size *)skb[src + off]`, historical.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    LoadInd { size: Size, src: Reg, off: i32 },
    /// `goto +off`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Jump { off: i16 },
    /// `gotol +off`. Linux 6.6.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    JumpLong { off: i32 },
    /// `gotox dst`: to an address loaded from an instruction-array map. Linux 6.19.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    JumpReg { dst: Reg },
    /// `if dst cond src goto +off`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    JumpIf { cond: Cond, width: Width, dst: Reg, src: Operand, off: i16 },
    /// `may_goto +off`: goes on until the kernel's loop budget is spent, then jumps. Linux 6.9.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    MayGoto { off: i16 },
    /// `call …`.
    Call(Call),
    /// `callx dst`: no kernel accepts it.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    CallReg { dst: Reg },
    /// `exit`: return `r0`.
    Exit,
    /// Not an operation: 8 bytes kept as they are. Only [`Op::decode_lenient`] gives it.
    Raw(Insn),
}

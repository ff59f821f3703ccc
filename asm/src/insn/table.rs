//! Stage: instructions. The one table of the instruction set: a row an operation, as RFC 9669 lists them, and what came since.
//!
//! Input: nothing. Output: [`TABLE`], which the decoder searches, the second assembler language names its mnemonics by,
//! and tests walk to be complete. Next: `decode.rs`.

use super::op::{AluOp, AtomicOp, Bits, Cond, Endian, Size, Width};

/// An operation without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each stands for the variant of `Op` with the same name")]
pub enum Kind {
    Alu(AluOp, Width),
    Neg(Width),
    MovSx(Bits, Width),
    Endian(Endian, Bits),
    AddrSpaceCast,
    /// With the pseudo source that tells the kinds of constant apart.
    LoadImm64(u8),
    Load(Size),
    LoadSx(Size),
    Store(Size),
    Atomic(AtomicOp, Size),
    LoadAbs(Size),
    LoadInd(Size),
    Jump,
    JumpLong,
    JumpReg,
    JumpIf(Cond, Width),
    MayGoto,
    /// With the pseudo source that tells the kinds of call apart.
    Call(u8),
    CallReg,
    Exit,
}

/// What tells operations with the same opcode apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Nothing: the opcode is enough.
    Code,
    /// This number in `src`.
    Src(u8),
    /// This number in `off`.
    Off(i16),
    /// This number in `imm`.
    Imm(i32),
}

/// Which fields carry an operand; all others, the key aside, are reserved and zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uses(u8);

impl Uses {
    /// The destination register.
    pub const DST: Self = Self(1);
    /// The source register.
    pub const SRC: Self = Self(2);
    /// The 16-bit offset.
    pub const OFF: Self = Self(4);
    /// The 32-bit constant.
    pub const IMM: Self = Self(8);
    /// The second slot's 32-bit constant.
    pub const IMM2: Self = Self(16);
    /// One operand is a constant in `imm`, or with bit 3 of the opcode set a register in `src`.
    pub const EITHER: Self = Self(32);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Are all of `other` among these?
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Conformance group of RFC 9669, section 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// 32-bit base, mandatory.
    Base32,
    /// 64-bit base; contains [`Group::Base32`].
    Base64,
    /// 32-bit multiply and divide.
    Divmul32,
    /// 64-bit multiply and divide.
    Divmul64,
    /// 32-bit atomics.
    Atomic32,
    /// 64-bit atomics.
    Atomic64,
    /// Historical packet access.
    Packet,
    /// Not in the RFC: Linux and LLVM have it since.
    Linux,
}

/// First mainline kernel that accepts an operation; stable kernels carry backports, so loaders probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Since {
    /// This version.
    Kernel(u8, u8),
    /// None so far.
    Never,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Mnemonic in the second assembler language, and in errors; unique.
    pub name: &'static str,
    /// Which operation.
    pub kind: Kind,
    /// Opcode byte; with [`Uses::EITHER`], of the form with a constant (the form with a register has bit 3 set as well).
    pub code: u8,
    /// What else must match.
    pub key: Key,
    /// Fields that carry operands.
    pub uses: Uses,
    /// Conformance group.
    pub group: Group,
    /// First kernel.
    pub since: Since,
}

const fn row(name: &'static str, kind: Kind, code: u8, key: Key, uses: Uses, group: Group, since: Since) -> Row {
    Row { name, kind, code, key, uses, group, since }
}

const DST: Uses = Uses::DST;
const IMM: Uses = Uses::IMM;
const OFF: Uses = Uses::OFF;
const NONE: Uses = Uses(0);
const DST_SRC: Uses = Uses::DST.and(Uses::SRC);
const DST_IMM: Uses = Uses::DST.and(Uses::IMM);
const DST_IMM2: Uses = DST_IMM.and(Uses::IMM2);
const SRC_IMM: Uses = Uses::SRC.and(Uses::IMM);
const DST_EITHER: Uses = Uses::DST.and(Uses::EITHER);
const MEMORY: Uses = DST_SRC.and(OFF);
const STORE: Uses = DST_EITHER.and(OFF);
const BRANCH: Uses = DST_EITHER.and(OFF);

const V1: Since = Since::Kernel(3, 18);
const V2: Since = Since::Kernel(4, 14);
const JMP32: Since = Since::Kernel(5, 1);
const FETCH: Since = Since::Kernel(5, 12);
const V4: Since = Since::Kernel(6, 6);
const ARENA: Since = Since::Kernel(6, 9);
const ORDERED: Since = Since::Kernel(6, 15);
const JUMP_TABLE: Since = Since::Kernel(6, 19);

use AluOp::*;
use Group::*;
use Key::*;
use Width::{W32, W64};

/// The instruction set.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    //  name             kind                                       code  key             uses        group     since
    row("add",           Kind::Alu(Add, W64),                       0x07, Code,           DST_EITHER, Base64,   V1),
    row("sub",           Kind::Alu(Sub, W64),                       0x17, Code,           DST_EITHER, Base64,   V1),
    row("mul",           Kind::Alu(Mul, W64),                       0x27, Code,           DST_EITHER, Divmul64, V1),
    row("div",           Kind::Alu(Div, W64),                       0x37, Off(0),         DST_EITHER, Divmul64, V1),
    row("sdiv",          Kind::Alu(Sdiv, W64),                      0x37, Off(1),         DST_EITHER, Divmul64, V4),
    row("or",            Kind::Alu(Or, W64),                        0x47, Code,           DST_EITHER, Base64,   V1),
    row("and",           Kind::Alu(And, W64),                       0x57, Code,           DST_EITHER, Base64,   V1),
    row("lsh",           Kind::Alu(Lsh, W64),                       0x67, Code,           DST_EITHER, Base64,   V1),
    row("rsh",           Kind::Alu(Rsh, W64),                       0x77, Code,           DST_EITHER, Base64,   V1),
    row("neg",           Kind::Neg(W64),                            0x87, Code,           DST,        Base64,   V1),
    row("mod",           Kind::Alu(Mod, W64),                       0x97, Off(0),         DST_EITHER, Divmul64, V1),
    row("smod",          Kind::Alu(Smod, W64),                      0x97, Off(1),         DST_EITHER, Divmul64, V4),
    row("xor",           Kind::Alu(Xor, W64),                       0xa7, Code,           DST_EITHER, Base64,   V1),
    row("mov",           Kind::Alu(Mov, W64),                       0xb7, Off(0),         DST_EITHER, Base64,   V1),
    row("movsx864",      Kind::MovSx(Bits::B8, W64),                0xbf, Off(8),         DST_SRC,    Base64,   V4),
    row("movsx1664",     Kind::MovSx(Bits::B16, W64),               0xbf, Off(16),        DST_SRC,    Base64,   V4),
    row("movsx3264",     Kind::MovSx(Bits::B32, W64),               0xbf, Off(32),        DST_SRC,    Base64,   V4),
    row("addr_space_cast", Kind::AddrSpaceCast,                     0xbf, Off(1),         DST_SRC.and(IMM), Linux, ARENA),
    row("arsh",          Kind::Alu(Arsh, W64),                      0xc7, Code,           DST_EITHER, Base64,   V1),

    row("add32",         Kind::Alu(Add, W32),                       0x04, Code,           DST_EITHER, Base32,   V1),
    row("sub32",         Kind::Alu(Sub, W32),                       0x14, Code,           DST_EITHER, Base32,   V1),
    row("mul32",         Kind::Alu(Mul, W32),                       0x24, Code,           DST_EITHER, Divmul32, V1),
    row("div32",         Kind::Alu(Div, W32),                       0x34, Off(0),         DST_EITHER, Divmul32, V1),
    row("sdiv32",        Kind::Alu(Sdiv, W32),                      0x34, Off(1),         DST_EITHER, Divmul32, V4),
    row("or32",          Kind::Alu(Or, W32),                        0x44, Code,           DST_EITHER, Base32,   V1),
    row("and32",         Kind::Alu(And, W32),                       0x54, Code,           DST_EITHER, Base32,   V1),
    row("lsh32",         Kind::Alu(Lsh, W32),                       0x64, Code,           DST_EITHER, Base32,   V1),
    row("rsh32",         Kind::Alu(Rsh, W32),                       0x74, Code,           DST_EITHER, Base32,   V1),
    row("neg32",         Kind::Neg(W32),                            0x84, Code,           DST,        Base32,   V1),
    row("mod32",         Kind::Alu(Mod, W32),                       0x94, Off(0),         DST_EITHER, Divmul32, V1),
    row("smod32",        Kind::Alu(Smod, W32),                      0x94, Off(1),         DST_EITHER, Divmul32, V4),
    row("xor32",         Kind::Alu(Xor, W32),                       0xa4, Code,           DST_EITHER, Base32,   V1),
    row("mov32",         Kind::Alu(Mov, W32),                       0xb4, Off(0),         DST_EITHER, Base32,   V1),
    row("movsx832",      Kind::MovSx(Bits::B8, W32),                0xbc, Off(8),         DST_SRC,    Base32,   V4),
    row("movsx1632",     Kind::MovSx(Bits::B16, W32),               0xbc, Off(16),        DST_SRC,    Base32,   V4),
    row("arsh32",        Kind::Alu(Arsh, W32),                      0xc4, Code,           DST_EITHER, Base32,   V1),

    row("le16",          Kind::Endian(Endian::Le, Bits::B16),       0xd4, Imm(16),        DST,        Base32,   V1),
    row("le32",          Kind::Endian(Endian::Le, Bits::B32),       0xd4, Imm(32),        DST,        Base32,   V1),
    row("le64",          Kind::Endian(Endian::Le, Bits::B64),       0xd4, Imm(64),        DST,        Base64,   V1),
    row("be16",          Kind::Endian(Endian::Be, Bits::B16),       0xdc, Imm(16),        DST,        Base32,   V1),
    row("be32",          Kind::Endian(Endian::Be, Bits::B32),       0xdc, Imm(32),        DST,        Base32,   V1),
    row("be64",          Kind::Endian(Endian::Be, Bits::B64),       0xdc, Imm(64),        DST,        Base64,   V1),
    row("bswap16",       Kind::Endian(Endian::Swap, Bits::B16),     0xd7, Imm(16),        DST,        Base32,   V4),
    row("bswap32",       Kind::Endian(Endian::Swap, Bits::B32),     0xd7, Imm(32),        DST,        Base32,   V4),
    row("bswap64",       Kind::Endian(Endian::Swap, Bits::B64),     0xd7, Imm(64),        DST,        Base64,   V4),

    row("lddw",          Kind::LoadImm64(0),                        0x18, Src(0),         DST_IMM2,   Base64,   V1),
    row("ld_map_fd",     Kind::LoadImm64(super::PSEUDO_MAP_FD),     0x18, Src(1),         DST_IMM,    Base64,   V1),
    row("ld_map_value",  Kind::LoadImm64(super::PSEUDO_MAP_VALUE),  0x18, Src(2),         DST_IMM2,   Base64,   Since::Kernel(5, 2)),
    row("ld_btf_id",     Kind::LoadImm64(super::PSEUDO_BTF_ID),     0x18, Src(3),         DST_IMM2,   Base64,   Since::Kernel(5, 10)),
    row("ld_func",       Kind::LoadImm64(super::PSEUDO_FUNC),       0x18, Src(4),         DST_IMM,    Base64,   Since::Kernel(5, 13)),
    row("ld_map_idx",    Kind::LoadImm64(super::PSEUDO_MAP_IDX),    0x18, Src(5),         DST_IMM,    Base64,   Since::Kernel(5, 14)),
    row("ld_map_idx_value", Kind::LoadImm64(super::PSEUDO_MAP_IDX_VALUE), 0x18, Src(6),   DST_IMM2,   Base64,   Since::Kernel(5, 14)),

    row("ldabsw",        Kind::LoadAbs(Size::W),                    0x20, Code,           IMM,        Packet,   V1),
    row("ldabsh",        Kind::LoadAbs(Size::H),                    0x28, Code,           IMM,        Packet,   V1),
    row("ldabsb",        Kind::LoadAbs(Size::B),                    0x30, Code,           IMM,        Packet,   V1),
    row("ldindw",        Kind::LoadInd(Size::W),                    0x40, Code,           SRC_IMM,    Packet,   V1),
    row("ldindh",        Kind::LoadInd(Size::H),                    0x48, Code,           SRC_IMM,    Packet,   V1),
    row("ldindb",        Kind::LoadInd(Size::B),                    0x50, Code,           SRC_IMM,    Packet,   V1),

    row("ldxw",          Kind::Load(Size::W),                       0x61, Code,           MEMORY,     Base32,   V1),
    row("ldxh",          Kind::Load(Size::H),                       0x69, Code,           MEMORY,     Base32,   V1),
    row("ldxb",          Kind::Load(Size::B),                       0x71, Code,           MEMORY,     Base32,   V1),
    row("ldxdw",         Kind::Load(Size::Dw),                      0x79, Code,           MEMORY,     Base64,   V1),
    row("ldxsw",         Kind::LoadSx(Size::W),                     0x81, Code,           MEMORY,     Base64,   V4),
    row("ldxsh",         Kind::LoadSx(Size::H),                     0x89, Code,           MEMORY,     Base64,   V4),
    row("ldxsb",         Kind::LoadSx(Size::B),                     0x91, Code,           MEMORY,     Base64,   V4),
    // The store's two forms differ in class, 0x62 and 0x63, not in bit 3: see `Row::register_code`.
    row("stw",           Kind::Store(Size::W),                      0x62, Code,           STORE,      Base32,   V1),
    row("sth",           Kind::Store(Size::H),                      0x6a, Code,           STORE,      Base32,   V1),
    row("stb",           Kind::Store(Size::B),                      0x72, Code,           STORE,      Base32,   V1),
    row("stdw",          Kind::Store(Size::Dw),                     0x7a, Code,           STORE,      Base64,   V1),

    row("lock add32",        Kind::Atomic(AtomicOp::Add, Size::W),           0xc3, Imm(0x00),  MEMORY, Atomic32, V1),
    row("lock or32",         Kind::Atomic(AtomicOp::Or, Size::W),            0xc3, Imm(0x40),  MEMORY, Atomic32, FETCH),
    row("lock and32",        Kind::Atomic(AtomicOp::And, Size::W),           0xc3, Imm(0x50),  MEMORY, Atomic32, FETCH),
    row("lock xor32",        Kind::Atomic(AtomicOp::Xor, Size::W),           0xc3, Imm(0xa0),  MEMORY, Atomic32, FETCH),
    row("lock fetch add32",  Kind::Atomic(AtomicOp::FetchAdd, Size::W),      0xc3, Imm(0x01),  MEMORY, Atomic32, FETCH),
    row("lock fetch or32",   Kind::Atomic(AtomicOp::FetchOr, Size::W),       0xc3, Imm(0x41),  MEMORY, Atomic32, FETCH),
    row("lock fetch and32",  Kind::Atomic(AtomicOp::FetchAnd, Size::W),      0xc3, Imm(0x51),  MEMORY, Atomic32, FETCH),
    row("lock fetch xor32",  Kind::Atomic(AtomicOp::FetchXor, Size::W),      0xc3, Imm(0xa1),  MEMORY, Atomic32, FETCH),
    row("lock xchg32",       Kind::Atomic(AtomicOp::Xchg, Size::W),          0xc3, Imm(0xe1),  MEMORY, Atomic32, FETCH),
    row("lock cmpxchg32",    Kind::Atomic(AtomicOp::Cmpxchg, Size::W),       0xc3, Imm(0xf1),  MEMORY, Atomic32, FETCH),
    row("lock add",          Kind::Atomic(AtomicOp::Add, Size::Dw),          0xdb, Imm(0x00),  MEMORY, Atomic64, V1),
    row("lock or",           Kind::Atomic(AtomicOp::Or, Size::Dw),           0xdb, Imm(0x40),  MEMORY, Atomic64, FETCH),
    row("lock and",          Kind::Atomic(AtomicOp::And, Size::Dw),          0xdb, Imm(0x50),  MEMORY, Atomic64, FETCH),
    row("lock xor",          Kind::Atomic(AtomicOp::Xor, Size::Dw),          0xdb, Imm(0xa0),  MEMORY, Atomic64, FETCH),
    row("lock fetch add",    Kind::Atomic(AtomicOp::FetchAdd, Size::Dw),     0xdb, Imm(0x01),  MEMORY, Atomic64, FETCH),
    row("lock fetch or",     Kind::Atomic(AtomicOp::FetchOr, Size::Dw),      0xdb, Imm(0x41),  MEMORY, Atomic64, FETCH),
    row("lock fetch and",    Kind::Atomic(AtomicOp::FetchAnd, Size::Dw),     0xdb, Imm(0x51),  MEMORY, Atomic64, FETCH),
    row("lock fetch xor",    Kind::Atomic(AtomicOp::FetchXor, Size::Dw),     0xdb, Imm(0xa1),  MEMORY, Atomic64, FETCH),
    row("lock xchg",         Kind::Atomic(AtomicOp::Xchg, Size::Dw),         0xdb, Imm(0xe1),  MEMORY, Atomic64, FETCH),
    row("lock cmpxchg",      Kind::Atomic(AtomicOp::Cmpxchg, Size::Dw),      0xdb, Imm(0xf1),  MEMORY, Atomic64, FETCH),
    row("load_acquireb",     Kind::Atomic(AtomicOp::LoadAcquire, Size::B),   0xd3, Imm(0x100), MEMORY, Linux, ORDERED),
    row("load_acquireh",     Kind::Atomic(AtomicOp::LoadAcquire, Size::H),   0xcb, Imm(0x100), MEMORY, Linux, ORDERED),
    row("load_acquirew",     Kind::Atomic(AtomicOp::LoadAcquire, Size::W),   0xc3, Imm(0x100), MEMORY, Linux, ORDERED),
    row("load_acquiredw",    Kind::Atomic(AtomicOp::LoadAcquire, Size::Dw),  0xdb, Imm(0x100), MEMORY, Linux, ORDERED),
    row("store_releaseb",    Kind::Atomic(AtomicOp::StoreRelease, Size::B),  0xd3, Imm(0x110), MEMORY, Linux, ORDERED),
    row("store_releaseh",    Kind::Atomic(AtomicOp::StoreRelease, Size::H),  0xcb, Imm(0x110), MEMORY, Linux, ORDERED),
    row("store_releasew",    Kind::Atomic(AtomicOp::StoreRelease, Size::W),  0xc3, Imm(0x110), MEMORY, Linux, ORDERED),
    row("store_releasedw",   Kind::Atomic(AtomicOp::StoreRelease, Size::Dw), 0xdb, Imm(0x110), MEMORY, Linux, ORDERED),

    row("ja",            Kind::Jump,                                0x05, Code,           OFF,        Base32,   V1),
    row("jeq",           Kind::JumpIf(Cond::Eq, W64),               0x15, Code,           BRANCH,     Base64,   V1),
    row("jgt",           Kind::JumpIf(Cond::Gt, W64),               0x25, Code,           BRANCH,     Base64,   V1),
    row("jge",           Kind::JumpIf(Cond::Ge, W64),               0x35, Code,           BRANCH,     Base64,   V1),
    row("jset",          Kind::JumpIf(Cond::Set, W64),              0x45, Code,           BRANCH,     Base64,   V1),
    row("jne",           Kind::JumpIf(Cond::Ne, W64),               0x55, Code,           BRANCH,     Base64,   V1),
    row("jsgt",          Kind::JumpIf(Cond::Sgt, W64),              0x65, Code,           BRANCH,     Base64,   V1),
    row("jsge",          Kind::JumpIf(Cond::Sge, W64),              0x75, Code,           BRANCH,     Base64,   V1),
    row("jlt",           Kind::JumpIf(Cond::Lt, W64),               0xa5, Code,           BRANCH,     Base64,   V2),
    row("jle",           Kind::JumpIf(Cond::Le, W64),               0xb5, Code,           BRANCH,     Base64,   V2),
    row("jslt",          Kind::JumpIf(Cond::Slt, W64),              0xc5, Code,           BRANCH,     Base64,   V2),
    row("jsle",          Kind::JumpIf(Cond::Sle, W64),              0xd5, Code,           BRANCH,     Base64,   V2),
    row("ja32",          Kind::JumpLong,                            0x06, Code,           IMM,        Base32,   V4),
    row("jeq32",         Kind::JumpIf(Cond::Eq, W32),               0x16, Code,           BRANCH,     Base32,   JMP32),
    row("jgt32",         Kind::JumpIf(Cond::Gt, W32),               0x26, Code,           BRANCH,     Base32,   JMP32),
    row("jge32",         Kind::JumpIf(Cond::Ge, W32),               0x36, Code,           BRANCH,     Base32,   JMP32),
    row("jset32",        Kind::JumpIf(Cond::Set, W32),              0x46, Code,           BRANCH,     Base32,   JMP32),
    row("jne32",         Kind::JumpIf(Cond::Ne, W32),               0x56, Code,           BRANCH,     Base32,   JMP32),
    row("jsgt32",        Kind::JumpIf(Cond::Sgt, W32),              0x66, Code,           BRANCH,     Base32,   JMP32),
    row("jsge32",        Kind::JumpIf(Cond::Sge, W32),              0x76, Code,           BRANCH,     Base32,   JMP32),
    row("jlt32",         Kind::JumpIf(Cond::Lt, W32),               0xa6, Code,           BRANCH,     Base32,   JMP32),
    row("jle32",         Kind::JumpIf(Cond::Le, W32),               0xb6, Code,           BRANCH,     Base32,   JMP32),
    row("jslt32",        Kind::JumpIf(Cond::Slt, W32),              0xc6, Code,           BRANCH,     Base32,   JMP32),
    row("jsle32",        Kind::JumpIf(Cond::Sle, W32),              0xd6, Code,           BRANCH,     Base32,   JMP32),
    row("jx",            Kind::JumpReg,                             0x0d, Code,           DST,        Linux,    JUMP_TABLE),
    row("may_goto",      Kind::MayGoto,                             0xe5, Src(0),         OFF,        Linux,    ARENA),
    row("call",          Kind::Call(0),                             0x85, Src(0),         IMM,        Base32,   V1),
    row("call local",    Kind::Call(super::PSEUDO_CALL),            0x85, Src(1),         IMM,        Base32,   Since::Kernel(4, 16)),
    row("call kfunc",    Kind::Call(super::PSEUDO_KFUNC_CALL),      0x85, Src(2),         IMM.and(OFF), Base32, Since::Kernel(5, 13)),
    row("callx",         Kind::CallReg,                             0x8d, Code,           DST,        Base32,   Since::Never),
    row("exit",          Kind::Exit,                                0x95, Code,           NONE,       Base32,   V1),
];

impl Row {
    /// Opcode of the form whose second operand is a register, where there are two forms.
    #[must_use]
    pub const fn register_code(&self) -> Option<u8> {
        match self.kind {
            _ if !self.uses.has(Uses::EITHER) => None,
            Kind::Store(_) => Some(self.code | 1),
            _ => Some(self.code | 8),
        }
    }

    /// Rows with this opcode byte.
    pub(super) fn with_code(code: u8) -> impl Iterator<Item = &'static Self> {
        let mut at = CHAINS.first[code as usize];
        std::iter::from_fn(move || {
            let row = TABLE.get(at as usize)?;
            let form = CHAINS.next[at as usize];
            at = if row.code == code { form.0 } else { form.1 };
            Some(row)
        })
    }

    /// The row with this mnemonic.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }
}

/// For each opcode byte the first row that has it, and for each row the next one with the same byte (by constant form, by
/// register form); `u8::MAX` ends a chain. Made by the compiler, so that decoding does not search.
struct Chains {
    first: [u8; 256],
    next: [(u8, u8); TABLE.len()],
}

static CHAINS: Chains = chains();

const _: () = assert!(TABLE.len() < u8::MAX as usize);

const fn chains() -> Chains {
    let mut chains = Chains { first: [u8::MAX; 256], next: [(u8::MAX, u8::MAX); TABLE.len()] };
    let mut at = TABLE.len();
    while at > 0 {
        at -= 1;
        #[expect(clippy::cast_possible_truncation, reason = "the table is shorter than 255 rows, asserted above")]
        let this = at as u8;
        let code = TABLE[at].code as usize;
        chains.next[at].0 = chains.first[code];
        chains.first[code] = this;
        if let Some(code) = TABLE[at].register_code() {
            chains.next[at].1 = chains.first[code as usize];
            chains.first[code as usize] = this;
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_claim_the_same_words() {
        for (i, a) in TABLE.iter().enumerate() {
            assert_eq!(TABLE.iter().position(|b| b.name == a.name), Some(i), "name {}", a.name);
            assert_eq!(TABLE.iter().position(|b| b.kind == a.kind), Some(i), "kind {:?}", a.kind);
            for b in &TABLE[..i] {
                let codes = |row: &Row| [Some(row.code), row.register_code()];
                let shared = codes(a).iter().flatten().any(|code| codes(b).contains(&Some(*code)));
                assert!(
                    !shared || (a.key != b.key && a.key != Key::Code && b.key != Key::Code),
                    "{} {}",
                    a.name,
                    b.name
                );
            }
        }
    }

    #[test]
    fn chains_find_every_row_by_each_of_its_codes() {
        for row in TABLE {
            for code in [Some(row.code), row.register_code()].into_iter().flatten() {
                assert!(Row::with_code(code).any(|found| found == row), "{} {code:#x}", row.name);
            }
        }
        let all: usize = (0..=255).map(|code| Row::with_code(code).count()).sum();
        let want: usize = TABLE.iter().map(|row| 1 + usize::from(row.register_code().is_some())).sum();
        assert_eq!(all, want);
    }
}

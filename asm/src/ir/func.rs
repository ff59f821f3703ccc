//! Stage: the intermediate representation. A function as data: blocks of operations, each with the place it comes from.
//!
//! Input: `build.rs` and `parse.rs`. Output: what the passes and the code generator read. A block's parameters are what
//! other representations call phi nodes: each way into the block says which values they get. Next: `build.rs`.

use std::panic::Location;
use std::sync::Arc;

use super::core::Core;
use super::types::{Block, GlobalDecl, GlobalId, MapDecl, MapId, StackDecl, StackId, Ty, Value};
use crate::insn::{AluOp, AtomicOp, Cond, Size, Width, helper};
use crate::object::ProgType;

/// Who may call a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// The kernel: a program.
    Prog {
        /// ELF section, such as `xdp`.
        section: Arc<str>,
        /// The type that the section's name says.
        prog_type: ProgType,
    },
    /// Functions of this object; verified at each call.
    Static,
    /// Functions of this object; verified once, for all arguments that the types allow.
    Global,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name, for BTF.
    pub name: Arc<str>,
    /// Type.
    pub ty: Ty,
}

/// A position in source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loc {
    /// Path, as the compiler names it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub col: u32,
}

impl From<&Location<'_>> for Loc {
    fn from(at: &Location<'_>) -> Self {
        Self { file: at.file().into(), line: at.line(), col: at.column() }
    }
}

/// Index into [`Func::locs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocId(pub u32);

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Func {
    /// Symbol.
    pub name: Arc<str>,
    /// Who may call it.
    pub linkage: Linkage,
    /// Parameters; they are the parameters of the first block.
    pub params: Vec<Param>,
    /// What it returns; `None` for nothing.
    pub ret: Option<Ty>,
    /// Blocks; the first is where the function starts.
    pub blocks: Vec<BlockData>,
    /// The type of each value.
    pub values: Vec<Ty>,
    /// Objects on the stack.
    pub stack: Vec<StackDecl>,
    /// Maps that it names.
    pub maps: Vec<MapDecl>,
    /// Global variables that it names.
    pub globals: Vec<GlobalDecl>,
    /// Positions in source.
    pub locs: Vec<Loc>,
}

/// Operations in a row, then one way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockData {
    /// What each way into the block hands over.
    pub params: Vec<Value>,
    /// Operations, in order.
    pub insts: Vec<Inst>,
    /// How it goes on.
    pub term: Term,
    /// Where that comes from.
    pub loc: LocId,
}

/// One operation, its result and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inst {
    /// The value it defines, if any.
    pub result: Option<Value>,
    /// What it does.
    pub op: Op,
    /// Where it comes from.
    pub loc: LocId,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A helper of the kernel.
    Helper(helper::Id),
    /// A function of this object.
    Func(Arc<str>),
    /// A function of the kernel, by its name in BTF.
    Kfunc(Arc<str>),
}

/// What an operation does. Numbers wrap; division by zero gives 0, remainder by zero the dividend; shift amounts are taken
/// modulo the width.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A number.
    Const(u64),
    /// `a op b` on the low 32 or on 64 bits; a 32-bit result is below 2³². Not [`AluOp::Mov`].
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Alu { op: AluOp, width: Width, a: Value, b: Value },
    /// The low 8, 16 or 32 bits of a number; the rest is zero.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Low { bits: u32, a: Value },
    /// The low 8, 16 or 32 bits of a number, sign-extended to 64 bits.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Sext { bits: u32, a: Value },
    /// The low 16, 32 or 64 bits of a number with their bytes in the opposite order; the rest is zero.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Swap { bits: u32, a: Value },
    /// The same value under another type: a widened number.
    Copy(Value),
    /// The same pointer, known not to be null: behind a test against null.
    NonNull(Value),
    /// The address of an object on the stack.
    Stack(StackId),
    /// A map.
    Map(MapId),
    /// An address inside a global variable, so many bytes from its start.
    Global(GlobalId, u32),
    /// The address of a function of this object, for a callback. Linux 5.13.
    Func(Arc<str>),
    /// The address of a variable of the kernel's. Linux 5.10.
    Ksym(Arc<str>),
    /// A number that the loader puts in: the answer to a question about the kernel's types. Linux 5.4.
    Core(Arc<Core>),
    /// A pointer moved by a number of bytes.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    PtrAdd { ptr: Value, by: Value },
    /// The distance in bytes between two pointers of one kind.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    PtrSub { a: Value, b: Value },
    /// Reads memory; a number is zero-extended, in the machine's byte order.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Load { size: Size, ptr: Value, off: i32 },
    /// Writes memory.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Store { size: Size, ptr: Value, off: i32, value: Value },
    /// Changes memory atomically; of the fetching kinds the result is what was there. `expected` is for
    /// [`AtomicOp::Cmpxchg`] alone.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Atomic { op: AtomicOp, size: Size, ptr: Value, off: i32, value: Value, expected: Option<Value> },
    /// Calls a function.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Call { callee: Callee, args: Vec<Value> },
}

/// A way on: a block, and what its parameters get.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where.
    pub block: Block,
    /// One value for each parameter.
    pub args: Vec<Value>,
}

impl Target {
    /// A way on to a block without parameters.
    #[must_use]
    pub const fn to(block: Block) -> Self {
        Self { block, args: Vec::new() }
    }
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// Goes on.
    Jump(Target),
    /// Goes on at `then` where `a cond b` holds, else at `other`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    If { cond: Cond, width: Width, a: Value, b: Value, then: Target, other: Target },
    /// Goes on at `ok` where the packet has `len` bytes from `ptr` on, else at `fail`.
    #[expect(missing_docs, reason = "the variant's line names every field")]
    Check { ptr: Value, len: u32, end: Value, ok: Target, fail: Target },
    /// Leaves the function.
    Return(Option<Value>),
    /// Nothing ever comes here; a function that has such a block after the passes is refused.
    Unreachable,
}

impl Op {
    /// Calls `f` with each operand.
    pub fn operands_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::Const(_)
            | Self::Stack(_)
            | Self::Map(_)
            | Self::Global(..)
            | Self::Func(_)
            | Self::Ksym(_)
            | Self::Core(_) => {}
            Self::Alu { a, b, .. } | Self::PtrSub { a, b } => {
                f(a);
                f(b);
            }
            Self::Low { a, .. } | Self::Sext { a, .. } | Self::Swap { a, .. } | Self::Copy(a) | Self::NonNull(a) => {
                f(a)
            }
            Self::PtrAdd { ptr, by } => {
                f(ptr);
                f(by);
            }
            Self::Load { ptr, .. } => f(ptr),
            Self::Store { ptr, value, .. } => {
                f(ptr);
                f(value);
            }
            Self::Atomic { ptr, value, expected, .. } => {
                f(ptr);
                f(value);
                expected.iter_mut().for_each(f);
            }
            Self::Call { args, .. } => args.iter_mut().for_each(f),
        }
    }

    /// Calls `f` with each operand.
    pub fn operands(&self, mut f: impl FnMut(Value)) {
        match self {
            Self::Const(_)
            | Self::Stack(_)
            | Self::Map(_)
            | Self::Global(..)
            | Self::Func(_)
            | Self::Ksym(_)
            | Self::Core(_) => {}
            Self::Alu { a, b, .. } | Self::PtrSub { a, b } | Self::PtrAdd { ptr: a, by: b } => {
                f(*a);
                f(*b);
            }
            Self::Low { a, .. } | Self::Sext { a, .. } | Self::Swap { a, .. } | Self::Copy(a) | Self::NonNull(a) => {
                f(*a)
            }
            Self::Load { ptr, .. } => f(*ptr),
            Self::Store { ptr, value, .. } => {
                f(*ptr);
                f(*value);
            }
            Self::Atomic { ptr, value, expected, .. } => {
                f(*ptr);
                f(*value);
                expected.iter().copied().for_each(f);
            }
            Self::Call { args, .. } => args.iter().copied().for_each(f),
        }
    }

    /// Does it only compute its result? Such an operation goes when nobody uses the result.
    #[must_use]
    pub const fn is_pure(&self) -> bool {
        !matches!(self, Self::Load { .. } | Self::Store { .. } | Self::Atomic { .. } | Self::Call { .. })
    }
}

impl Term {
    /// The ways on, in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let (first, second) = match self {
            Self::Jump(to) => (Some(to), None),
            Self::If { then, other, .. } => (Some(then), Some(other)),
            Self::Check { ok, fail, .. } => (Some(ok), Some(fail)),
            Self::Return(_) | Self::Unreachable => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The ways on, to be changed.
    pub fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let (first, second) = match self {
            Self::Jump(to) => (Some(to), None),
            Self::If { then, other, .. } => (Some(then), Some(other)),
            Self::Check { ok, fail, .. } => (Some(ok), Some(fail)),
            Self::Return(_) | Self::Unreachable => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Calls `f` with each operand, those that are handed to blocks last.
    pub fn operands_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::If { a, b, .. } | Self::Check { ptr: a, end: b, .. } => {
                f(a);
                f(b);
            }
            Self::Return(Some(value)) => f(value),
            Self::Jump(_) | Self::Return(None) | Self::Unreachable => {}
        }
        for target in self.targets_mut() {
            target.args.iter_mut().for_each(&mut f);
        }
    }

    /// Calls `f` with each operand, those that are handed to blocks last.
    pub fn operands(&self, mut f: impl FnMut(Value)) {
        self.looked_at(&mut f);
        for target in self.targets() {
            target.args.iter().copied().for_each(&mut f);
        }
    }

    /// Calls `f` with each operand that decides how it goes on, or is returned: all but those that are handed to blocks.
    pub fn looked_at(&self, mut f: impl FnMut(Value)) {
        match self {
            Self::If { a, b, .. } | Self::Check { ptr: a, end: b, .. } => {
                f(*a);
                f(*b);
            }
            Self::Return(Some(value)) => f(*value),
            Self::Jump(_) | Self::Return(None) | Self::Unreachable => {}
        }
    }
}

impl Func {
    /// The type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> Ty {
        self.values.get(value.index()).copied().unwrap_or(Ty::I64)
    }

    /// A new value.
    pub fn value(&mut self, ty: Ty) -> Value {
        self.values.push(ty);
        Value::of(self.values.len() - 1)
    }

    /// The blocks with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Block, &BlockData)> {
        self.blocks.iter().enumerate().map(|(i, data)| (Block::of(i), data))
    }

    /// The type of program, for programs.
    #[must_use]
    pub const fn prog_type(&self) -> Option<ProgType> {
        match &self.linkage {
            Linkage::Prog { prog_type, .. } => Some(*prog_type),
            Linkage::Static | Linkage::Global => None,
        }
    }
}

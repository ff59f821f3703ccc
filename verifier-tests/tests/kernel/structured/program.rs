//! Random programs with structure, as values that proptest makes and shrinks.

use asm::insn::{AluOp, Cond, Size, Width};
use proptest::prelude::*;

/// One of four variables; they live in `r6`–`r9`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Var(pub(super) u8);

/// A variable or a constant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Var(Var),
    Constant(i32),
}

/// A statement.
#[derive(Debug, Clone)]
pub(super) enum Stmt {
    Alu {
        op: AluOp,
        width: Width,
        dst: Var,
        src: Source,
    },
    /// Stores to one of four stack slots.
    Spill {
        slot: u8,
        size: Size,
        src: Var,
    },
    Fill {
        dst: Var,
        size: Size,
        slot: u8,
    },
    /// Reads an array element's value at `index & 0x38`.
    ReadValue {
        dst: Var,
        index: Var,
        size: Size,
    },
    WriteValue {
        index: Var,
        size: Size,
        src: Var,
    },
    AddValue {
        index: Var,
        src: Var,
    },
    /// Does nothing when the packet is too short.
    ReadPacket {
        dst: Var,
        off: u8,
        size: Size,
    },
    WritePacket {
        off: u8,
        size: Size,
        src: Var,
    },
    /// Looks up `key & 7` in a hash map.
    Lookup {
        dst: Var,
        key: Var,
    },
    Update {
        key: Var,
        value: Var,
    },
    Delete {
        dst: Var,
        key: Var,
    },
    If {
        cond: Cond,
        width: Width,
        left: Var,
        right: Source,
        then: Vec<Stmt>,
        other: Vec<Stmt>,
    },
    Repeat {
        times: u8,
        body: Vec<Stmt>,
    },
    /// Calls one of the two functions.
    Call {
        dst: Var,
        function: u8,
        args: [Var; 2],
    },
}

/// A whole program: an entry and two functions of two arguments.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) entry: Vec<Stmt>,
    pub(super) functions: [Vec<Stmt>; 2],
}

fn var() -> impl Strategy<Value = Var> {
    (0..4_u8).prop_map(Var)
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        var().prop_map(Source::Var),
        any::<i32>().prop_map(Source::Constant),
        (-3..9).prop_map(Source::Constant)
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::W32), Just(Width::W64)]
}

fn size() -> impl Strategy<Value = Size> {
    prop::sample::select(vec![Size::B, Size::H, Size::W, Size::Dw])
}

fn cond() -> impl Strategy<Value = Cond> {
    use Cond::*;
    prop::sample::select(vec![Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle])
}

fn alu() -> impl Strategy<Value = Stmt> {
    use AluOp::*;
    let op = prop::sample::select(vec![Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh]);
    (op, width(), var(), source()).prop_map(|(op, width, dst, src)| {
        let src = match (op, src) {
            (Lsh | Rsh | Arsh, Source::Constant(by)) => Source::Constant(by & 31),
            (Div | Mod, Source::Constant(0)) => Source::Constant(3),
            (_, src) => src,
        };
        Stmt::Alu { op, width, dst, src }
    })
}

/// Statements without others in them; those that need the context only in the entry.
fn simple(entry: bool) -> BoxedStrategy<Stmt> {
    let slot = 0..4_u8;
    let common = prop_oneof![
        4 => alu(),
        1 => (slot.clone(), size(), var()).prop_map(|(slot, size, src)| Stmt::Spill { slot, size, src }),
        1 => (var(), size(), slot).prop_map(|(dst, size, slot)| Stmt::Fill { dst, size, slot }),
        1 => (var(), var(), size()).prop_map(|(dst, index, size)| Stmt::ReadValue { dst, index, size }),
        1 => (var(), size(), var()).prop_map(|(index, size, src)| Stmt::WriteValue { index, size, src }),
        1 => (var(), var()).prop_map(|(index, src)| Stmt::AddValue { index, src }),
        1 => (var(), var()).prop_map(|(dst, key)| Stmt::Lookup { dst, key }),
        1 => (var(), var()).prop_map(|(key, value)| Stmt::Update { key, value }),
        1 => (var(), var()).prop_map(|(dst, key)| Stmt::Delete { dst, key }),
    ];
    if !entry {
        return common.boxed();
    }
    let call = (var(), 0..2_u8, [var(), var()]);
    prop_oneof![
        6 => common,
        1 => (var(), 0..70_u8, size()).prop_map(|(dst, off, size)| Stmt::ReadPacket { dst, off, size }),
        1 => (0..70_u8, size(), var()).prop_map(|(off, size, src)| Stmt::WritePacket { off, size, src }),
        1 => call.prop_map(|(dst, function, args)| Stmt::Call { dst, function, args }),
    ]
    .boxed()
}

fn block(entry: bool, depth: u32) -> BoxedStrategy<Vec<Stmt>> {
    if depth == 0 {
        return prop::collection::vec(simple(entry), 1..5).boxed();
    }
    let branch = (cond(), width(), var(), source(), block(entry, depth - 1), block(entry, depth - 1));
    let branch =
        branch.prop_map(|(cond, width, left, right, then, other)| Stmt::If { cond, width, left, right, then, other });
    let repeat = (1..5_u8, block(entry, depth - 1)).prop_map(|(times, body)| Stmt::Repeat { times, body });
    prop::collection::vec(prop_oneof![4 => simple(entry), 1 => branch, 1 => repeat], 1..7).boxed()
}

pub(super) fn program() -> impl Strategy<Value = Program> {
    (block(true, 2), [block(false, 1), block(false, 1)]).prop_map(|(entry, functions)| Program { entry, functions })
}

//! Stage: the intermediate representation as text.
//!
//! Input: a [`Func`]. Output: text that `parse.rs` reads back to the same function. One operation a line, one way to write
//! each. Next: `verify.rs`.

use std::fmt;

use super::func::{BlockData, Callee, Func, Inst, Linkage, Op, Target, Term};
use super::types::{Block, MapDecl, Value};
use crate::insn::{AluOp, AtomicOp, Size, Width};

/// `u8`, `u16`, `u32`, `u64`.
pub(super) const fn size_name(size: Size) -> &'static str {
    match size {
        Size::B => "u8",
        Size::H => "u16",
        Size::W => "u32",
        Size::Dw => "u64",
    }
}

/// `32` or `64`.
pub(super) const fn width_name(width: Width) -> &'static str {
    match width {
        Width::W32 => "32",
        Width::W64 => "64",
    }
}

/// Names of the arithmetic operations.
pub(super) const ALU: &[(AluOp, &str)] = &[
    (AluOp::Add, "add"),
    (AluOp::Sub, "sub"),
    (AluOp::Mul, "mul"),
    (AluOp::Div, "div"),
    (AluOp::Sdiv, "sdiv"),
    (AluOp::Mod, "mod"),
    (AluOp::Smod, "smod"),
    (AluOp::Or, "or"),
    (AluOp::And, "and"),
    (AluOp::Xor, "xor"),
    (AluOp::Lsh, "lsh"),
    (AluOp::Rsh, "rsh"),
    (AluOp::Arsh, "arsh"),
];

/// Names of the atomic operations.
pub(super) const ATOMIC: &[(AtomicOp, &str)] = &[
    (AtomicOp::Add, "add"),
    (AtomicOp::Or, "or"),
    (AtomicOp::And, "and"),
    (AtomicOp::Xor, "xor"),
    (AtomicOp::FetchAdd, "fetch_add"),
    (AtomicOp::FetchOr, "fetch_or"),
    (AtomicOp::FetchAnd, "fetch_and"),
    (AtomicOp::FetchXor, "fetch_xor"),
    (AtomicOp::Xchg, "xchg"),
    (AtomicOp::Cmpxchg, "cmpxchg"),
    (AtomicOp::LoadAcquire, "load_acquire"),
    (AtomicOp::StoreRelease, "store_release"),
];

fn name_of<T: PartialEq>(table: &[(T, &'static str)], item: &T) -> &'static str {
    table.iter().find(|(row, _)| row == item).map_or("?", |(_, name)| name)
}

/// Values with commas between them.
struct List<'a>(&'a [Value]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.block)?;
        if self.args.is_empty() { Ok(()) } else { write!(f, "({})", List(&self.args)) }
    }
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(id) => match id.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "helper#{}", id.0),
            },
            Self::Func(name) => write!(f, "@{name}"),
            Self::Kfunc(name) => write!(f, "kfunc {name}"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Const(number) if *number > 0xffff => write!(f, "{number:#x}"),
            Self::Const(number) => write!(f, "{number}"),
            Self::Alu { op, width, a, b } => {
                write!(f, "{}{} {a}, {b}", name_of(ALU, op), width_name(*width))
            }
            Self::Low { bits, a } => write!(f, "low{bits} {a}"),
            Self::Sext { bits, a } => write!(f, "sext{bits} {a}"),
            Self::Swap { bits, a } => write!(f, "swap{bits} {a}"),
            Self::Copy(a) => write!(f, "copy {a}"),
            Self::NonNull(a) => write!(f, "non_null {a}"),
            Self::Stack(id) => write!(f, "stack {id}"),
            Self::Map(id) => write!(f, "map {id}"),
            Self::Global(id, off) => write!(f, "global {id} + {off}"),
            Self::Func(name) => write!(f, "func @{name}"),
            Self::Ksym(name) => write!(f, "ksym {name}"),
            Self::Core(core) => write!(f, "core {core}"),
            Self::PtrAdd { ptr, by } => write!(f, "ptr_add {ptr}, {by}"),
            Self::PtrSub { a, b } => write!(f, "ptr_sub {a}, {b}"),
            Self::Load { size, ptr, off } => write!(f, "load {} {ptr} + {off}", size_name(*size)),
            Self::Store { size, ptr, off, value } => write!(f, "store {} {ptr} + {off}, {value}", size_name(*size)),
            Self::Atomic { op, size, ptr, off, value, expected } => {
                write!(f, "atomic {} {} {ptr} + {off}, {value}", name_of(ATOMIC, op), size_name(*size))?;
                expected.map_or(Ok(()), |expected| write!(f, ", {expected}"))
            }
            Self::Call { callee, args } => write!(f, "call {callee}({})", List(args)),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(to) => write!(f, "jump {to}"),
            Self::If { cond, width, a, b, then, other } => {
                write!(f, "if{} {a} {} {b} then {then} else {other}", width_name(*width), cond.symbol())
            }
            Self::Check { ptr, len, end, ok, fail } => write!(f, "check {ptr} + {len} <= {end} then {ok} else {fail}"),
            Self::Return(Some(value)) => write!(f, "return {value}"),
            Self::Return(None) => f.write_str("return"),
            Self::Unreachable => f.write_str("unreachable"),
        }
    }
}

impl fmt::Display for MapDecl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, map_type, key_size, value_size, max_entries, inner } = self;
        write!(f, "{name} {map_type} key {key_size} value {value_size} entries {max_entries}")?;
        inner.as_ref().map_or(Ok(()), |inner| write!(f, " of {inner}"))
    }
}

impl Func {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.linkage {
            Linkage::Prog { section, .. } => write!(f, "prog {section:?} {}(", self.name)?,
            Linkage::Static => write!(f, "fn {}(", self.name)?,
            Linkage::Global => write!(f, "global fn {}(", self.name)?,
        }
        for (i, param) in self.params.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {}", param.name, param.ty)?;
        }
        f.write_str(")")?;
        self.ret.map_or(Ok(()), |ret| write!(f, " -> {ret}"))?;
        writeln!(f, " {{")
    }

    fn write_decls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, s) in self.stack.iter().enumerate() {
            writeln!(f, "  s{i} = stack {} align {}", s.size, s.align)?;
        }
        for (i, m) in self.maps.iter().enumerate() {
            writeln!(f, "  m{i} = map {m}")?;
        }
        for (i, g) in self.globals.iter().enumerate() {
            let kind = if g.readonly { "const" } else { "var" };
            writeln!(f, "  g{i} = {kind} {} {}", g.name, g.size)?;
        }
        Ok(())
    }

    fn write_block(&self, block: Block, data: &BlockData, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{block}")?;
        if !data.params.is_empty() {
            f.write_str("(")?;
            for (i, param) in data.params.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                write!(f, "{comma}{param}: {}", self.ty(*param))?;
            }
            f.write_str(")")?;
        }
        f.write_str(":\n")?;
        for Inst { result, op, .. } in &data.insts {
            match result {
                Some(value) => writeln!(f, "  {value}: {} = {op}", self.ty(*value))?,
                None => writeln!(f, "  {op}")?,
            }
        }
        writeln!(f, "  {}", data.term)
    }
}

impl fmt::Display for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_decls(f)?;
        for (block, data) in self.iter() {
            self.write_block(block, data, f)?;
        }
        f.write_str("}\n")
    }
}

//! Stage: the intermediate representation. The verifier's rules on types: what may be done with which value.
//!
//! Input: a function that is well-formed SSA. Output: every rule it breaks, each measured on kernels from 5.10 on: nothing is
//! added to a context or to a pointer that may be null, memory is accessed inside its bounds and aligned where that is
//! asked, helpers get what they take. What depends on the path (packet ranges, tests against null) is in `paths.rs`.
//! Next: `paths.rs`.

use std::fmt::Display;

use super::func::{Callee, Func, Inst, LocId, Op, Term};
use super::types::{Region, Ty, Value};
use super::vars::fits;
use crate::insn::helper::{Arg, Helper};
use crate::insn::{AtomicOp, Cond, Size};
use crate::vm::{ContextType, Meaning};

/// The definitions of a function, to look values up.
pub(super) struct Defs<'a> {
    pub(super) func: &'a Func,
    ops: Vec<Option<&'a Op>>,
}

impl<'a> Defs<'a> {
    pub(super) fn of(func: &'a Func) -> Self {
        let mut ops = vec![None; func.values.len()];
        for inst in func.blocks.iter().flat_map(|block| &block.insts) {
            if let Some(value) = inst.result {
                ops[value.index()] = Some(&inst.op);
            }
        }
        Self { func, ops }
    }

    /// The number that a value is.
    pub(super) fn number(&self, value: Value) -> Option<u64> {
        match self.ops[value.index()]? {
            Op::Const(number) => Some(*number),
            Op::Copy(a) => self.number(*a),
            _ => None,
        }
    }

    /// The operation that defines a value; `None` for parameters.
    pub(super) fn op(&self, value: Value) -> Option<&'a Op> {
        self.ops[value.index()]
    }

    /// What a value is a copy of.
    pub(super) fn copied(&self, value: Value) -> Value {
        match self.ops[value.index()] {
            Some(Op::Copy(a)) => self.copied(*a),
            _ => value,
        }
    }

    /// Is the value the start of an object on the stack?
    pub(super) fn is_object(&self, value: Value) -> bool {
        matches!(self.ops[value.index()], Some(Op::Stack(_)))
    }

    /// A pointer as a root and a fixed distance.
    pub(super) fn address(&self, ptr: Value, off: i64) -> (Value, i64) {
        match self.ops[ptr.index()] {
            Some(Op::PtrAdd { ptr: root, by }) => match self.number(*by) {
                Some(by) => self.address(*root, off.wrapping_add(by.cast_signed())),
                None => (ptr, off),
            },
            Some(Op::Copy(root)) => self.address(*root, off),
            _ => (ptr, off),
        }
    }

    /// Bytes behind a root, where that is a whole object.
    pub(super) fn extent(&self, root: Value) -> Option<u32> {
        let func = self.func;
        let whole = !matches!(self.ops[root.index()], Some(Op::PtrAdd { .. }) | None);
        let Ty::Ptr(region) = func.ty(root) else { return None };
        match region {
            Region::Stack(id) if whole => Some(func.stack[id.index()].size),
            Region::MapValue(id) if whole => Some(func.maps[id.index()].value_size).filter(|size| *size > 0),
            Region::Record(size) if whole => Some(size).filter(|size| *size > 0),
            Region::Global(id) => match self.ops[root.index()] {
                Some(Op::Global(_, off)) => Some(func.globals[id.index()].size.saturating_sub(*off)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Judges the types of a function.
pub(super) fn check(func: &Func, report: &mut dyn FnMut(LocId, String)) {
    if let Some(what) = missing(func) {
        return report(LocId(0), what);
    }
    let defs = Defs::of(func);
    for block in &func.blocks {
        for inst in &block.insts {
            if let Err(what) = op(&defs, inst) {
                report(inst.loc, format!("{}: {what}", inst.op));
            }
        }
        if let Err(what) = term(&defs, &block.term) {
            report(block.loc, format!("{}: {what}", block.term));
        }
    }
}

/// Something that is named and not there.
fn missing(func: &Func) -> Option<String> {
    let region = |region: Region| match region {
        Region::Stack(id) => id.index() >= func.stack.len(),
        Region::MapValue(id) | Region::Map(id) => id.index() >= func.maps.len(),
        Region::Global(id) => id.index() >= func.globals.len(),
        _ => false,
    };
    let ty = func.values.iter().find(|ty| matches!(ty, Ty::Ptr(r) | Ty::OrNull(r) if region(*r)));
    if let Some(ty) = ty {
        return Some(format!("{ty} names something that is not declared"));
    }
    let op = func.blocks.iter().flat_map(|block| &block.insts).find(|inst| match inst.op {
        Op::Stack(id) => id.index() >= func.stack.len(),
        Op::Map(id) => id.index() >= func.maps.len(),
        Op::Global(id, _) => id.index() >= func.globals.len(),
        _ => false,
    });
    op.map(|inst| format!("{} names something that is not declared", inst.op))
}

type Verdict = Result<(), String>;

/// What is wrong is written only where it is wrong.
fn need(holds: bool, what: impl Display) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn int(func: &Func, value: Value) -> Verdict {
    need(func.ty(value).is_int(), format_args!("{value} is {}, and a number is wanted", func.ty(value)))
}

fn op(defs: &Defs<'_>, inst: &Inst) -> Verdict {
    let func = defs.func;
    let result = inst.result.map(|value| func.ty(value));
    let gives = |want: Ty| need(result == Some(want), format_args!("the result is {want}"));
    match &inst.op {
        Op::Const(number) => {
            need(result.is_some_and(|ty| ty.is_int() && number & !ty.mask() == 0), "a number that fits its type")
        }
        Op::Alu { a, b, .. } => {
            int(func, *a).and(int(func, *b)).and(need(result.is_some_and(Ty::is_int), "the result is a number"))
        }
        Op::Low { bits, a } => int(func, *a).and(need(matches!(bits, 8 | 16 | 32), "8, 16 or 32 bits")),
        Op::Sext { bits, a } => int(func, *a).and(need(matches!(bits, 8 | 16 | 32), "8, 16 or 32 bits")),
        Op::Swap { bits, a } => int(func, *a).and(need(matches!(bits, 16 | 32 | 64), "16, 32 or 64 bits")),
        Op::Copy(a) => need(result.is_some_and(|ty| fits(func.ty(*a), ty)), "a copy keeps the type or widens a number"),
        Op::NonNull(a) => match func.ty(*a) {
            Ty::OrNull(region) => gives(Ty::Ptr(region)),
            other => Err(format!("{a} is {other}, and a pointer that may be null is wanted")),
        },
        Op::Stack(id) => gives(Ty::Ptr(Region::Stack(*id))),
        Op::Map(id) => gives(Ty::Ptr(Region::Map(*id))),
        Op::Global(id, off) => {
            gives(Ty::Ptr(Region::Global(*id)))?;
            need(*off <= func.globals[id.index()].size, "outside of the variable")
        }
        Op::Func(_) => gives(Ty::Ptr(Region::Func)),
        Op::Ksym(_) => gives(Ty::Ptr(Region::Btf)),
        Op::Core(_) => gives(Ty::I64),
        Op::PtrAdd { ptr, by } => {
            int(func, *by)?;
            need(is_memory(func.ty(*ptr)), format_args!("nothing may be added to a {}", func.ty(*ptr)))?;
            gives(func.ty(*ptr))
        }
        Op::PtrSub { a, b } => need(!func.ty(*a).is_int() && !func.ty(*b).is_int(), "two pointers"),
        Op::Load { size, ptr, off } => load(defs, result, *size, (*ptr, *off)),
        Op::Store { size, ptr, off, value } => store(defs, *size, (*ptr, *off), *value),
        Op::Atomic { op, size, ptr, off, value, expected } => {
            atomic(defs, inst, *op, *size, (*ptr, *off), (*value, *expected))
        }
        Op::Call { callee: Callee::Helper(id), args } => match id.helper() {
            Some(helper) => call(defs, helper, args),
            None => Err(format!("there is no helper number {}", id.0)),
        },
        Op::Call { args, .. } => need(args.len() <= 5, "five arguments are the most"),
    }
}

/// Memory in which pointers may be moved.
const fn is_memory(ty: Ty) -> bool {
    match ty {
        Ty::Packet | Ty::PacketMeta => true,
        Ty::Ptr(region) => {
            !matches!(region, Region::Map(_) | Region::Func | Region::Sock | Region::SockCommon | Region::TcpSock)
        }
        _ => false,
    }
}

/// An access with a fixed distance from an object is inside of it, and aligned where the kernel asks for it.
fn bounds(defs: &Defs<'_>, size: Size, (ptr, off): (Value, i32)) -> Verdict {
    let (root, at) = defs.address(ptr, i64::from(off));
    let bytes = i64::from(size.bytes());
    if let Some(extent) = defs.extent(root) {
        need(at >= 0 && at + bytes <= i64::from(extent), format_args!("bytes {at} to {} of {extent}", at + bytes))?;
    }
    if let Ty::Ptr(Region::Stack(id)) = defs.func.ty(ptr) {
        let align = i64::from(defs.func.stack[id.index()].align);
        need(at % bytes == 0 && align >= bytes, "the stack is accessed at multiples of the size")?;
    }
    Ok(())
}

fn load(defs: &Defs<'_>, result: Option<Ty>, size: Size, place: (Value, i32)) -> Verdict {
    let (from, result) = (defs.func.ty(place.0), result.unwrap_or(Ty::I64));
    let readable = from == Ty::Ctx
        || is_memory(from)
        || matches!(from, Ty::Ptr(Region::Sock | Region::SockCommon | Region::TcpSock));
    need(readable, format_args!("nothing is read through a {from}"))?;
    if from == Ty::Ctx {
        context_pointer(defs.func, size, place.1)?;
    }
    match result.bits() {
        Some(bits) => need(u32::from(size.bytes()) * 8 <= bits, "the number fits its type")?,
        None => need(
            from == Ty::Ctx || matches!(from, Ty::Ptr(_)),
            "a pointer comes from a context or from memory that holds some",
        )?,
    }
    bounds(defs, size, place)
}

/// A context's pointers are read whole.
fn context_pointer(func: &Func, size: Size, off: i32) -> Verdict {
    let Some(context) = func.prog_type().and_then(ContextType::of) else { return Ok(()) };
    let (first, bytes) = (i64::from(off), i64::from(size.bytes()));
    let cut = context.fields.iter().find(|field| {
        let (start, end) = (i64::from(field.off), i64::from(field.off) + i64::from(field.size));
        let whole = first == start && first + bytes == end;
        !matches!(field.meaning, Meaning::Read | Meaning::Write) && first < end && start < first + bytes && !whole
    });
    cut.map_or(Ok(()), |field| Err(format!("`{}` is a pointer of {} bytes, read whole", field.name, field.size)))
}

fn store(defs: &Defs<'_>, size: Size, place: (Value, i32), value: Value) -> Verdict {
    let func = defs.func;
    let to = func.ty(place.0);
    writable(defs, to)?;
    let on_stack = matches!(to, Ty::Ptr(Region::Stack(_)));
    need(func.ty(value).is_int() || on_stack && size == Size::Dw, "pointers are stored on the stack only, whole")?;
    bounds(defs, size, place)
}

fn writable(defs: &Defs<'_>, to: Ty) -> Verdict {
    if let Ty::Ptr(Region::Global(id)) = to {
        return need(!defs.func.globals[id.index()].readonly, "a constant is not written");
    }
    let known = to == Ty::Ctx || is_memory(to) && to != Ty::Ptr(Region::Btf);
    need(known, format_args!("nothing is written through a {to}"))
}

fn atomic(
    defs: &Defs<'_>,
    inst: &Inst,
    op: AtomicOp,
    size: Size,
    place: (Value, i32),
    (value, expected): (Value, Option<Value>),
) -> Verdict {
    let to = defs.func.ty(place.0);
    need(!to.is_packet() && to != Ty::Ctx, "no atomic operations on packets and contexts")?;
    writable(defs, to)?;
    need(matches!(size, Size::W | Size::Dw), "32 or 64 bits")?;
    need(defs.address(place.0, i64::from(place.1)).1 % i64::from(size.bytes()) == 0, "aligned")?;
    need(expected.is_some() == (op == AtomicOp::Cmpxchg), "a comparison has something to compare with")?;
    let plain = matches!(op, AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor | AtomicOp::StoreRelease);
    need(!plain || inst.result.is_none(), "an operation that fetches nothing has no result")?;
    int(defs.func, value)?;
    bounds(defs, size, place)
}

fn call(defs: &Defs<'_>, helper: &Helper, args: &[Value]) -> Verdict {
    let variadic = helper.id == crate::insn::helper::TRACE_PRINTK;
    need(variadic || args.len() == helper.args.len(), format_args!("{} arguments", helper.args.len()))?;
    if let Some(prog_type) = defs.func.prog_type() {
        need(helper.progs.has(prog_type), format_args!("a {prog_type} program may not call it"))?;
    }
    for (place, (want, arg)) in (1..).zip(helper.args.iter().zip(args)) {
        let got = defs.func.ty(*arg);
        need(takes(*want, got, defs.number(*arg)), format_args!("argument {place} is {got}, and {want} is wanted"))?;
    }
    Ok(())
}

/// May a value of that type, or that number, be this argument?
fn takes(want: Arg, got: Ty, number: Option<u64>) -> bool {
    match want {
        Arg::Any => true,
        Arg::Scalar | Arg::Size | Arg::SizeOrZero | Arg::AllocSize => got.is_int(),
        Arg::Ctx => got == Ty::Ctx,
        Arg::CtxOrNull => got == Ty::Ctx || number == Some(0),
        Arg::Map => matches!(got, Ty::Ptr(Region::Map(_))),
        Arg::MapValueOrNull | Arg::MemOrNull | Arg::MemInOutOrNull | Arg::StackOrNull => {
            is_memory(got) || number == Some(0)
        }
        Arg::MapKey | Arg::MapValue | Arg::MapValueOut | Arg::Mem | Arg::MemOut | Arg::MemInOut => is_memory(got),
        Arg::Fixed(_) | Arg::FixedOut(_) | Arg::FixedInOut(_) | Arg::Str => is_memory(got),
        Arg::RecordRelease => matches!(got, Ty::Ptr(Region::Record(_))),
        Arg::Func => got == Ty::Ptr(Region::Func),
        // Sockets, kernel pointers and what lies in map values: many types do, and the helper's name says which.
        _ => matches!(got, Ty::Ptr(_) | Ty::Ctx) || number == Some(0),
    }
}

fn term(defs: &Defs<'_>, term: &Term) -> Verdict {
    let func = defs.func;
    match term {
        Term::If { cond, a, b, .. } => compared(defs, *cond, *a, *b),
        Term::Check { ptr, end, .. } => {
            let pair = (func.ty(*ptr), func.ty(*end));
            need(
                matches!(pair, (Ty::Packet, Ty::PacketEnd) | (Ty::PacketMeta, Ty::Packet)),
                "a packet pointer and the end of what it is in",
            )
        }
        Term::Return(value) => match (value, func.ret) {
            (Some(value), Some(ret)) => {
                let loose = func.prog_type().is_some() && func.ty(*value).is_int();
                need(
                    loose || fits(func.ty(*value), ret),
                    format_args!("{value} is {}, and {ret} is returned", func.ty(*value)),
                )
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err("nothing is returned".into()),
            (None, Some(ret)) => Err(format!("{ret} is returned")),
        },
        Term::Jump(_) | Term::Unreachable => Ok(()),
    }
}

/// Numbers with numbers; pointers with null, for equality; pointers with each other.
fn compared(defs: &Defs<'_>, cond: Cond, a: Value, b: Value) -> Verdict {
    let (ta, tb) = (defs.func.ty(a), defs.func.ty(b));
    let equality = matches!(cond, Cond::Eq | Cond::Ne);
    let null = |number: Option<u64>| number == Some(0);
    let fine = match (ta.is_int(), tb.is_int()) {
        (true, true) => true,
        (false, false) => equality || (ta.is_packet() || tb.is_packet()),
        (false, true) => equality && null(defs.number(b)),
        (true, false) => equality && null(defs.number(a)),
    };
    need(fine, format_args!("{ta} and {tb} cannot be compared so"))
}

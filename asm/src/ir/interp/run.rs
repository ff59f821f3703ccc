//! Stage: the intermediate representation, run as it is. One operation after the other.
//!
//! Input: a function and its arguments. Output: what it returns. A block's parameters get their values all at once, as the
//! way on says. Next: `calls.rs`.

use std::fmt::Write as _;

use super::super::func::{Func, Inst, LocId, Op, Target, Term};
use super::super::types::{Block, MapId, Value};
use super::{Fault, FaultKind, Stacks};
use crate::insn::{AtomicOp, Size};
use crate::vm::{self, FUNC_BASE, MAP_BASE, MAX_FRAMES, STEP_LIMIT, Vm, eval};

/// A run: what it has used up, and what is around it.
pub(super) struct Run<'a> {
    pub(super) funcs: &'a [Func],
    pub(super) vm: &'a mut Vm,
    trace: &'a mut Option<String>,
    stacks: Stacks,
    depth: usize,
    steps: u64,
}

/// A call of a function: its values so far.
struct Frame<'a> {
    func: &'a Func,
    values: Vec<u64>,
    stack: Vec<vm::RegionId>,
}

/// Where a block goes on.
enum Next<'a> {
    Block(&'a Target),
    Return(u64),
}

/// What an operation gives: a result, or the result of the whole program, which went on elsewhere.
pub(super) enum Done {
    Value(u64),
    Program(u64),
}

type Outcome<T> = Result<T, FaultKind>;

impl<'a> Run<'a> {
    pub(super) fn new(funcs: &'a [Func], vm: &'a mut Vm, trace: &'a mut Option<String>) -> Self {
        vm.reset();
        Self { funcs, vm, trace, stacks: Stacks::new(), depth: 0, steps: 0 }
    }

    /// Runs the first function; arguments that it does not take are left out.
    pub(super) fn start(mut self, args: &[u64]) -> Result<u64, Fault> {
        let wanted = self.funcs[0].params.len().min(args.len());
        self.call(0, &args[..wanted])
    }

    /// Calls a function.
    pub(super) fn call(&mut self, index: usize, args: &[u64]) -> Result<u64, Fault> {
        let func = &self.funcs[index];
        let mut frame = Frame { func, values: vec![0; func.values.len()], stack: Vec::new() };
        if self.depth == MAX_FRAMES {
            return Err(frame.fault(Block(0), func.name.to_string(), LocId(0), FaultKind::CallDepth));
        }
        frame.stack = self.objects(index);
        self.depth += 1;
        let result = self.blocks(&mut frame, args);
        self.depth -= 1;
        self.stacks.insert((self.depth, index), frame.stack);
        result
    }

    /// The objects on the stack of a call, as they are before anything is written.
    fn objects(&mut self, index: usize) -> Vec<vm::RegionId> {
        match self.stacks.remove(&(self.depth, index)) {
            Some(old) => {
                old.iter().for_each(|object| self.vm.fresh_again(*object));
                old
            }
            None => {
                let (funcs, depth) = (self.funcs, self.depth);
                funcs[index].stack.iter().map(|decl| self.vm.stack_object(depth, decl.size)).collect()
            }
        }
    }

    fn blocks(&mut self, frame: &mut Frame<'a>, args: &[u64]) -> Result<u64, Fault> {
        let func = frame.func;
        let (mut block, mut given) = (Block(0), args.to_vec());
        loop {
            let data = &func.blocks[block.index()];
            for (param, value) in data.params.iter().zip(given) {
                frame.values[param.index()] = value;
            }
            for inst in &data.insts {
                let done = self.count().and_then(|()| self.inst(frame, inst));
                match done.map_err(|stop| stop.at(frame, block, &inst.op.to_string(), inst.loc))? {
                    Done::Value(_) => self.tell(frame, block, inst),
                    Done::Program(result) => return Ok(result),
                }
            }
            let next = self.count().and_then(|()| term(frame, &data.term).map_err(Stop::Here));
            match next.map_err(|stop| stop.at(frame, block, &data.term.to_string(), data.loc))? {
                Next::Return(value) => return Ok(value),
                Next::Block(target) => {
                    given = target.args.iter().map(|arg| frame.get(*arg)).collect();
                    block = target.block;
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps > STEP_LIMIT { Err(Stop::Here(FaultKind::StepLimit(STEP_LIMIT))) } else { Ok(()) }
    }

    /// Runs one operation and keeps its result.
    fn inst(&mut self, frame: &mut Frame<'a>, inst: &'a Inst) -> Result<Done, Stop> {
        let done = match &inst.op {
            Op::Call { callee, args } => {
                let args: Vec<u64> = args.iter().map(|arg| frame.get(*arg)).collect();
                self.called(callee, &args)?
            }
            op => Done::Value(self.op(frame, op)?),
        };
        if let (Done::Value(number), Some(value)) = (&done, inst.result) {
            let ty = frame.func.ty(value);
            if ty.is_int() && number & !ty.mask() != 0 {
                return Err(FaultKind::Width { value, ty, number: *number }.into());
            }
            frame.values[value.index()] = *number;
        }
        Ok(done)
    }

    fn op(&mut self, frame: &Frame<'_>, op: &Op) -> Outcome<u64> {
        let of = |value: Value| frame.get(value);
        Ok(match op {
            Op::Const(number) => *number,
            Op::Alu { op, width, a, b } => eval::alu(*op, *width, of(*a), of(*b)),
            Op::Low { bits, a } => eval::low(*bits, of(*a)),
            Op::Sext { bits, a } => eval::sext(*bits, of(*a)),
            Op::Swap { bits, a } => eval::swap(*bits, of(*a)),
            Op::Copy(a) => of(*a),
            Op::NonNull(a) if of(*a) == 0 => return Err(FaultKind::Null(*a)),
            Op::NonNull(a) => of(*a),
            Op::Stack(id) => frame.stack[id.index()].address(0),
            Op::Map(id) => self.map(frame.func, *id)?,
            Op::Global(id, off) => {
                let name = &frame.func.globals[id.index()].name;
                let index = self.vm.map_named(name).ok_or_else(|| unknown("variable", name))?;
                self.vm.map_value_address(u32::try_from(index).unwrap_or(u32::MAX), u64::from(*off))?
            }
            Op::Func(name) => FUNC_BASE | self.func_named(name)? as u64,
            Op::Ksym(name) => return Err(unknown("variable", name)),
            Op::Core(core) => core.local(),
            Op::PtrAdd { ptr, by } => of(*ptr).wrapping_add(of(*by)),
            Op::PtrSub { a, b } => of(*a).wrapping_sub(of(*b)),
            Op::Load { size, ptr, off } => self.vm.read(moved(of(*ptr), *off), *size)?,
            Op::Store { size, ptr, off, value } => {
                self.vm.write(moved(of(*ptr), *off), *size, of(*value))?;
                0
            }
            Op::Atomic { op, size, ptr, off, value, expected } => {
                let expected = expected.map_or(0, of);
                self.atomic(*op, *size, moved(of(*ptr), *off), of(*value), expected)?
            }
            // Calls go elsewhere (`calls.rs`).
            Op::Call { .. } => 0,
        })
    }

    /// Changes memory, and gives what was there.
    fn atomic(&mut self, op: AtomicOp, size: Size, address: u64, operand: u64, expected: u64) -> Outcome<u64> {
        if !address.is_multiple_of(size.bytes().into()) {
            let size = size.bytes().into();
            return Err(vm::FaultKind::Misaligned { access: vm::Access::Store, address, size }.into());
        }
        let old = self.vm.read(address, size)?;
        let new = match op {
            AtomicOp::LoadAcquire => return Ok(old),
            AtomicOp::StoreRelease => operand,
            op => eval::atomic(op as u64, u32::from(size.bytes()) * 8, old, operand, expected),
        };
        self.vm.write(address, size, new)?;
        Ok(old)
    }

    fn map(&self, func: &Func, id: MapId) -> Outcome<u64> {
        let name = &func.maps[id.index()].name;
        let index = self.vm.map_named(name).ok_or_else(|| unknown("map", name))?;
        Ok(MAP_BASE | index as u64)
    }

    /// The number of the function of this name.
    pub(super) fn func_named(&self, name: &std::sync::Arc<str>) -> Outcome<usize> {
        self.funcs.iter().position(|func| func.name == *name).ok_or_else(|| unknown("function", name))
    }

    /// Writes what an operation did.
    fn tell(&mut self, frame: &Frame<'_>, block: Block, inst: &Inst) {
        let Some(text) = &mut *self.trace else { return };
        let (name, op) = (&frame.func.name, &inst.op);
        let _ = match inst.result {
            Some(value) => {
                let (ty, number) = (frame.func.ty(value), frame.get(value));
                writeln!(text, "{name} {block}: {value}: {ty} = {op}  → {number:#x}")
            }
            None => writeln!(text, "{name} {block}: {op}"),
        };
    }
}

impl Frame<'_> {
    fn get(&self, value: Value) -> u64 {
        self.values[value.index()]
    }

    fn fault(&self, block: Block, text: String, loc: LocId, kind: FaultKind) -> Fault {
        let loc = self.func.locs.get(loc.0 as usize).cloned();
        Fault { func: self.func.name.clone(), block, text, loc, kind }
    }
}

/// Why an operation did not end: its own fault, or one in a function that it called.
pub(super) enum Stop {
    Here(FaultKind),
    There(Fault),
}

impl<K: Into<FaultKind>> From<K> for Stop {
    fn from(kind: K) -> Self {
        Self::Here(kind.into())
    }
}

impl Stop {
    fn at(self, frame: &Frame<'_>, block: Block, text: &str, loc: LocId) -> Fault {
        match self {
            Self::Here(kind) => frame.fault(block, text.to_owned(), loc, kind),
            Self::There(fault) => fault,
        }
    }
}

/// Where a block ends.
fn term<'a>(frame: &Frame<'a>, term: &'a Term) -> Outcome<Next<'a>> {
    let of = |value: Value| frame.get(value);
    Ok(match term {
        Term::Jump(to) => Next::Block(to),
        Term::If { cond, width, a, b, then, other } => {
            Next::Block(if eval::compare(*cond, *width, of(*a), of(*b)) { then } else { other })
        }
        Term::Check { ptr, len, end, ok, fail } => {
            Next::Block(if of(*ptr).wrapping_add(u64::from(*len)) <= of(*end) { ok } else { fail })
        }
        Term::Return(value) => Next::Return(value.map_or(0, of)),
        Term::Unreachable => return Err(FaultKind::Unreachable),
    })
}

pub(super) fn unknown(what: &'static str, name: &std::sync::Arc<str>) -> FaultKind {
    FaultKind::Unknown { what, name: name.clone() }
}

fn moved(ptr: u64, off: i32) -> u64 {
    ptr.wrapping_add_signed(i64::from(off))
}

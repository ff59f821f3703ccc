//! What is reserved or found is given back on every path: ring-buffer records, sockets.
//!
//! Stage: after recording, before `ir` goes on. Input: a recorded function. Output: a mistake for each of them that some path
//! forgets, at the place where it was found to be there, or where it was asked for and never tested. That none is given
//! back twice, rustc has seen to: they move. Read next: `object.rs`.

use crate::insn::helper::{self, Helper};
use crate::ir::{Block, Callee, Func, Inst, Loc, Op, Problem, ProblemKind, Region, Term, Ty, Value};
use crate::object::MapType;

/// What must be given back.
#[derive(Clone, Copy)]
struct Debt {
    /// What the helper gave, which may be null.
    asked: Value,
    /// The same, known to be there; not yet at the call.
    held: Option<Value>,
}

/// Everything that is forgotten on some path.
pub(crate) fn leaks(func: &Func) -> Vec<Problem> {
    let mut found = Vec::new();
    for (block, data) in func.iter() {
        for (at, inst) in data.insts.iter().enumerate() {
            let Some(debt) = debt(func, inst) else { continue };
            if let Some(end) = forgotten(func, debt, block, at + 1) {
                let what = message(func, debt, &end);
                let loc = func.locs.get(inst.loc.0 as usize).cloned();
                found.push(Problem { loc, kind: ProblemKind::Malformed(what) });
            }
        }
    }
    found
}

/// What an operation asks for, or finds to be there.
fn debt(func: &Func, inst: &Inst) -> Option<Debt> {
    match (&inst.op, inst.result) {
        (Op::NonNull(asked), Some(held)) if acquired(func, *asked) => Some(Debt { asked: *asked, held: Some(held) }),
        (op, Some(asked)) if acquires(func, op) => Some(Debt { asked, held: None }),
        _ => None,
    }
}

fn acquired(func: &Func, value: Value) -> bool {
    let mut insts = func.blocks.iter().flat_map(|block| &block.insts);
    insts.any(|inst| inst.result == Some(value) && acquires(func, &inst.op))
}

/// Is what the operation gives to be given back?
fn acquires(func: &Func, op: &Op) -> bool {
    let Op::Call { callee: Callee::Helper(id), args } = op else { return false };
    let of_sockets = |map: Value| match func.ty(map) {
        Ty::Ptr(Region::Map(id)) => {
            matches!(func.maps[id.index()].map_type, MapType::SOCKMAP | MapType::SOCKHASH)
        }
        _ => false,
    };
    let looks_up = *id == helper::MAP_LOOKUP_ELEM && args.first().is_some_and(|map| of_sockets(*map));
    looks_up || id.helper().is_some_and(|helper| helper.acquires)
}

fn message(func: &Func, debt: Debt, end: &str) -> String {
    let record = matches!(func.ty(debt.asked), Ty::OrNull(Region::Record(_)));
    let (what, mend) = match (record, debt.held) {
        (true, Some(_)) => ("this record is forgotten", "submit or discard it on every path"),
        (false, Some(_)) => ("this socket is held", "release it on every path"),
        (true, None) => ("nobody tests whether this record is there", "test it, then submit or discard it"),
        (false, None) => ("nobody tests whether this socket is there", "test it, then release it"),
    };
    format!("{what} on the way to {end}: {mend}")
}

/// Where a path from there leaves the function, or comes to ask again, without having given it back.
fn forgotten(func: &Func, debt: Debt, from: Block, at: usize) -> Option<String> {
    let place = |loc: crate::ir::LocId| {
        let place = func.locs.get(loc.0 as usize);
        place.map_or_else(|| "the end".to_owned(), |Loc { file, line, .. }| format!("{file}:{line}"))
    };
    let mut seen = vec![false; func.blocks.len()];
    let mut work = vec![(from, at)];
    'paths: while let Some((block, at)) = work.pop() {
        let data = func.blocks.get(block.index())?;
        for inst in data.insts.iter().skip(at) {
            if debt.held.is_some_and(|held| releases(&inst.op, held)) {
                continue 'paths;
            }
            if inst.result == Some(debt.asked) || leaves(&inst.op) {
                return Some(place(inst.loc));
            }
        }
        if matches!(data.term, Term::Return(_)) {
            return Some(place(data.loc));
        }
        if debt.held.is_none() && matches!(data.term, Term::If { a, b, .. } if a == debt.asked || b == debt.asked) {
            continue;
        }
        for target in data.term.targets() {
            if !std::mem::replace(&mut seen[target.block.index()], true) {
                work.push((target.block, 0));
            }
        }
    }
    None
}

/// Does the operation end the program, where it succeeds?
fn leaves(op: &Op) -> bool {
    matches!(op, Op::Call { callee: Callee::Helper(helper::TAIL_CALL), .. })
}

fn releases(op: &Op, held: Value) -> bool {
    match op {
        Op::Call { callee: Callee::Helper(id), args } => {
            args.contains(&held) && id.helper().is_some_and(Helper::releases)
        }
        _ => false,
    }
}

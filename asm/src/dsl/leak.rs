//! Ring-buffer records are released on every path.
//!
//! Stage: after recording, before `ir` goes on. Input: a recorded function. Output: a mistake for each record that some path
//! to the function's end forgets, at the place where it was found to be there. That none is released twice, rustc has
//! seen to: records move. Read next: `object.rs`.

use crate::ir::{Block, Callee, Func, Loc, Op, Problem, ProblemKind, Region, Term, Ty, Value};

/// Every record that is forgotten on some path.
pub(crate) fn leaks(func: &Func) -> Vec<Problem> {
    let mut found = Vec::new();
    for (block, data) in func.iter() {
        for (at, inst) in data.insts.iter().enumerate() {
            let (Op::NonNull(_), Some(record)) = (&inst.op, inst.result) else { continue };
            if matches!(func.ty(record), Ty::Ptr(Region::Record(_)))
                && let Some(end) = forgotten(func, record, block, at + 1)
            {
                let what = format!("this record is forgotten on the way to {end}: submit or discard it on every path");
                let loc = func.locs.get(inst.loc.0 as usize).cloned();
                found.push(Problem { loc, kind: ProblemKind::Malformed(what) });
            }
        }
    }
    found
}

/// Where a path from there leaves the function without having released the record.
fn forgotten(func: &Func, record: Value, from: Block, at: usize) -> Option<String> {
    let mut seen = vec![false; func.blocks.len()];
    let mut work = vec![(from, at)];
    while let Some((block, at)) = work.pop() {
        let data = func.blocks.get(block.index())?;
        if data.insts.iter().skip(at).any(|inst| releases(&inst.op, record)) {
            continue;
        }
        if matches!(data.term, Term::Return(_)) {
            let place = func.locs.get(data.loc.0 as usize);
            return Some(place.map_or_else(|| "the end".to_owned(), |Loc { file, line, .. }| format!("{file}:{line}")));
        }
        for target in data.term.targets() {
            if !std::mem::replace(&mut seen[target.block.index()], true) {
                work.push((target.block, 0));
            }
        }
    }
    None
}

fn releases(op: &Op, record: Value) -> bool {
    match op {
        Op::Call { callee: Callee::Helper(id), args } => {
            args.contains(&record) && id.helper().is_some_and(crate::insn::helper::Helper::releases)
        }
        _ => false,
    }
}

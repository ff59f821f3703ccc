//! Stage: code generation. Pass: an array has every element below its size, and the newest kernels know.
//!
//! Input and output: a function. A lookup in an array under a constant key on the stack, below the number of elements, is
//! never null, and Linux 6.18 (as measured) sees that: the test goes. Where the profile lacks it nothing changes: an older
//! verifier wants the test. Next: `keys.rs`.

use super::super::profile::Profile;
use super::{Change, address, definitions, number};
use crate::insn::helper;
use crate::ir::{Callee, Func, Op, Region, StackId, Term, Ty, Value};
use crate::object::MapType;
use crate::vm::eval;

pub(super) fn run(func: &mut Func, profile: &Profile) -> Change {
    if !profile.sight.array_lookups {
        return Change::None;
    }
    let mut changed = false;
    // Each takes away blocks, so the next is looked for anew; what was found is not found again.
    while let Some((found, region, key)) = first(func) {
        func.stack[key.index()].align = 8;
        func.values[found.index()] = Ty::Ptr(region);
        skip_test(func, &definitions(func), found);
        changed = true;
    }
    Change::code(changed)
}

/// The first lookup that always finds something.
fn first(func: &Func) -> Option<(Value, Region, StackId)> {
    let ops = definitions(func);
    let places =
        func.blocks.iter().enumerate().flat_map(|(block, data)| (0..data.insts.len()).map(move |at| (block, at)));
    places.into_iter().find_map(|(block, at)| certain(func, &ops, block, at))
}

/// The result of a lookup that always finds something, what that is, and the object that holds the key: numbers are
/// followed through the stack only where they are stored at a multiple of eight.
fn certain(func: &Func, ops: &[Option<Op>], block: usize, at: usize) -> Option<(Value, Region, StackId)> {
    let insts = &func.blocks[block].insts;
    let inst = insts.get(at)?;
    let Op::Call { callee: Callee::Helper(helper::MAP_LOOKUP_ELEM), args } = &inst.op else { return None };
    let (found, [map, key]) = (inst.result?, args[..].try_into().ok()?);
    let (Ty::OrNull(region @ Region::MapValue(_)), Ty::Ptr(Region::Map(id))) = (func.ty(found), func.ty(map)) else {
        return None;
    };
    let map = &func.maps[id.index()];
    let is_array = [MapType::ARRAY, MapType::PERCPU_ARRAY].contains(&map.map_type);
    let key = address(ops, key, 0);
    let (Some(Op::Stack(object)), 0) = (&ops[key.0.index()], key.1) else { return None };
    // The last store into the key before the call, with nothing between that could write there.
    let (size, stored) = insts[..at]
        .iter()
        .rev()
        .map_while(|inst| match &inst.op {
            Op::Store { size, ptr, off, value } => Some(Some((*size, address(ops, *ptr, i64::from(*off)), *value))),
            op => (op.is_pure() || matches!(op, Op::Load { .. })).then_some(None),
        })
        .flatten()
        .find_map(|(size, place, value)| (place == key).then_some((size, value)))?;
    let number = eval::low(u32::from(size.bytes()) * 8, number(ops, stored)?);
    let inside = size.bytes() == 4 && map.key_size == 4 && number < u64::from(map.max_entries);
    (is_array && inside).then_some((found, region, *object))
}

/// Tests of a pointer against null lead to where it is not.
fn skip_test(func: &mut Func, ops: &[Option<Op>], found: Value) {
    use crate::insn::Cond;
    for block in &mut func.blocks {
        for inst in &mut block.insts {
            if inst.op == Op::NonNull(found) {
                inst.op = Op::Copy(found);
            }
        }
        if let Term::If { cond: cond @ (Cond::Eq | Cond::Ne), a, b, then, other, .. } = &block.term
            && *a == found
            && number(ops, *b) == Some(0)
        {
            let to = if *cond == Cond::Eq { other } else { then };
            block.term = Term::Jump(to.clone());
        }
    }
    let live = crate::ir::vars::reachable(func);
    crate::ir::vars::tidy(func, &live);
}

//! Stage: code generation. Pass: neighbouring stores become one.
//!
//! Input and output: a function. Two stores of one size to neighbouring places, the lower one aligned for twice the size,
//! become one where both store numbers, or the upper one zero, or both store what was read from neighbouring places.
//! Nothing that may read or write there stands between them. Reads are only widened over bytes that were read anyway.
//! Next: `legal.rs`.

use super::super::profile::Profile;
use super::{Change, address, cse::apart, define, definitions, number, use_counts};
use crate::insn::Size;
use crate::ir::{Func, Inst, Op, Region, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    let mut ops = definitions(func);
    let mut changed = false;
    for block in 0..func.blocks.len() {
        while merge_one(func, &mut ops, block).is_some() {
            changed = true;
        }
    }
    Change::code(changed)
}

/// A store: where, how far from the root, and of what.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    ptr: Value,
    off: i32,
    root: (Value, i64),
    size: Size,
    value: Value,
}

/// Merges the first pair that can be merged.
fn merge_one(func: &mut Func, ops: &mut Vec<Option<Op>>, block: usize) -> Option<()> {
    let stores: Vec<Place> =
        func.blocks[block].insts.iter().enumerate().filter_map(|(at, inst)| place(ops, at, inst)).collect();
    for (i, a) in stores.iter().enumerate() {
        for b in &stores[i + 1..] {
            let neighbors =
                a.root.0 == b.root.0 && a.size == b.size && (a.root.1 - b.root.1).abs() == i64::from(a.size.bytes());
            if neighbors && try_pair(func, ops, block, *a, *b).is_some() {
                return Some(());
            }
        }
    }
    None
}

fn place(ops: &[Option<Op>], at: usize, inst: &Inst) -> Option<Place> {
    match inst.op {
        Op::Store { size, ptr, off, value } => {
            Some(Place { at, ptr, off, root: address(ops, ptr, i64::from(off)), size, value })
        }
        _ => None,
    }
}

const fn twice(size: Size) -> Option<(Size, Ty)> {
    match size {
        Size::B => Some((Size::H, Ty::I16)),
        Size::H => Some((Size::W, Ty::I32)),
        Size::W => Some((Size::Dw, Ty::I64)),
        Size::Dw => None,
    }
}

/// Merges a pair, the second of which takes the place of both.
fn try_pair(func: &mut Func, ops: &mut Vec<Option<Op>>, block: usize, first: Place, second: Place) -> Option<()> {
    let (wide, ty) = twice(first.size)?;
    let (low, high) = if first.root.1 < second.root.1 { (first, second) } else { (second, first) };
    if !aligned(func, ops, low, wide) || !quiet(func, ops, block, first, second) {
        return None;
    }
    let loc = func.blocks[block].insts[second.at].loc;
    let bits = u32::from(first.size.bytes()) * 8;
    let mask = u64::MAX >> (64 - bits);
    let mut made = Vec::new();
    let value = match (number(ops, low.value), number(ops, high.value)) {
        (Some(a), Some(b)) => {
            let both = (a & mask) | (b & mask) << bits;
            // A number that takes two slots to make is no gain.
            i32::try_from(both.cast_signed()).ok().filter(|_| wide == Size::Dw).or((wide != Size::Dw).then_some(0))?;
            push(func, &mut made, Op::Const(both & ty.mask()), ty, loc)
        }
        (None, Some(0)) if func.ty(low.value).mask() <= mask => low.value,
        (None, None) => read_both(func, ops, block, (low, high, first.at), (wide, ty), &mut made)?,
        _ => return None,
    };
    made.push(Inst { result: None, op: Op::Store { size: wide, ptr: low.ptr, off: low.off, value }, loc });
    define(ops, &made);
    let insts = &mut func.blocks[block].insts;
    insts.splice(second.at..=second.at, made);
    insts.remove(first.at);
    Some(())
}

fn push(func: &mut Func, made: &mut Vec<Inst>, op: Op, ty: Ty, loc: crate::ir::LocId) -> Value {
    let value = func.value(ty);
    made.push(Inst { result: Some(value), op, loc });
    value
}

/// Both values were read from neighbouring places, each for its store only: one read of both.
fn read_both(
    func: &mut Func,
    ops: &[Option<Op>],
    block: usize,
    (low, high, first): (Place, Place, usize),
    (wide, ty): (Size, Ty),
    made: &mut Vec<Inst>,
) -> Option<Value> {
    let (Some(Op::Load { size: sa, ptr: pa, off: oa }), Some(Op::Load { size: sb, ptr: pb, off: ob })) =
        (ops[low.value.index()].clone(), ops[high.value.index()].clone())
    else {
        return None;
    };
    let ((ra, fa), (rb, fb)) = (address(ops, pa, i64::from(oa)), address(ops, pb, i64::from(ob)));
    let neighbors = ra == rb && sa == low.size && sb == sa && fb - fa == i64::from(sa.bytes());
    // A map's value is aligned as its start is; the pointer must be to the start.
    let whole = !matches!(ops[ra.index()], Some(Op::PtrAdd { .. })) && fa.rem_euclid(i64::from(wide.bytes())) == 0;
    let readable = func.ty(pa).is_packet()
        || whole && matches!(func.ty(ra), Ty::Ptr(Region::MapValue(_)) | Ty::OrNull(Region::MapValue(_)));
    if !neighbors || !readable {
        return None;
    }
    let uses = use_counts(func);
    if uses[low.value.index()] != 1 || uses[high.value.index()] != 1 {
        return None;
    }
    let insts = &func.blocks[block].insts;
    let at = |v: Value| insts.iter().position(|inst| inst.result == Some(v));
    let (la, lb) = (at(low.value)?, at(high.value)?);
    let last = low.at.max(high.at);
    let width = i64::from(wide.bytes());
    let moved = insts[la.min(lb)..last].iter().enumerate().all(|(i, inst)| match inst.op {
        Op::Store { size, ptr, off, .. } => {
            let own = la.min(lb) + i == first;
            own && !func.ty(ptr).is_packet()
                || apart(func, ops, (ptr, i64::from(off), i64::from(size.bytes())), (pa, i64::from(oa), width))
        }
        Op::Load { .. } => true,
        ref op => op.is_pure(),
    });
    let loc = insts[last].loc;
    moved.then(|| push(func, made, Op::Load { size: wide, ptr: pa, off: oa }, ty, loc))
}

/// Is the place aligned for a store of that size? In packets nothing is known, and machines that the code is for do not
/// mind; the stack must be aligned.
fn aligned(func: &Func, ops: &[Option<Op>], low: Place, wide: Size) -> bool {
    let at = low.root.1.rem_euclid(i64::from(wide.bytes())) == 0;
    match func.ty(low.ptr) {
        Ty::Packet => true,
        Ty::Ptr(Region::Stack(id)) => {
            let whole = matches!(ops[low.root.0.index()], Some(Op::Stack(_)));
            at && whole && func.stack[id.index()].align >= u32::from(wide.bytes())
        }
        Ty::Ptr(Region::MapValue(_) | Region::Record(_)) => at,
        _ => false,
    }
}

/// Does nothing between the two stores read or write what the first one writes?
fn quiet(func: &Func, ops: &[Option<Op>], block: usize, first: Place, second: Place) -> bool {
    let written = (first.ptr, i64::from(first.off), i64::from(first.size.bytes()));
    func.blocks[block].insts[first.at + 1..second.at].iter().all(|inst| match inst.op {
        Op::Load { size, ptr, off } | Op::Store { size, ptr, off, .. } => {
            apart(func, ops, written, (ptr, i64::from(off), i64::from(size.bytes())))
        }
        ref op => op.is_pure(),
    })
}

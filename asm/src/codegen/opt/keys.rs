//! Stage: code generation. Pass: a map key that lies in the packet, or in another map's value, as it is wanted is used in its place.
//!
//! Input and output: a function. The key was read, stored into an object on the stack of just that size, and that object is
//! used for nothing else. Between read and call nothing may write there, and nothing may move the packet: seen in one
//! block, or because the whole function neither writes to the packet nor moves it. The verifier
//! takes keys in packets and map values on all kernels, from the helpers that look up, store and delete. Next: `merge.rs`.

use super::super::profile::Profile;
use super::{Change, address, define, definitions};
use crate::insn::helper;
use crate::ir::dom::Dominators;
use crate::ir::{Block, Callee, Func, Inst, Op, Region, StackId, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> Change {
    if func.stack.is_empty() {
        return Change::None;
    }
    let mut ops = definitions(func);
    let dominators = Dominators::of(func);
    let mut changed = false;
    for id in 0..func.stack.len() {
        changed |= replace(func, &mut ops, &dominators, StackId::of(id)).is_some();
    }
    Change::code(changed)
}

/// Replaces one object, if it is only a key's copy.
fn replace(func: &mut Func, ops: &mut Vec<Option<Op>>, dominators: &Dominators, id: StackId) -> Option<()> {
    // What one read makes is at most eight bytes.
    let small = func.stack[id.index()].size <= 8;
    let Uses { store: (block, store), calls } = small.then(|| uses(func, ops, dominators, id))??;
    let Op::Store { size, value, .. } = func.blocks[block].insts[store].op else { return None };
    let Some(Op::Load { size: read, ptr, off }) = ops[value.index()].clone() else { return None };
    let readable = matches!(func.ty(ptr), Ty::Packet | Ty::Ptr(Region::MapValue(_)));
    if u32::from(size.bytes()) != func.stack[id.index()].size || read != size || !readable {
        return None;
    }
    if !(func.ty(ptr) == Ty::Packet && packet_is_fixed(func)) {
        let near = |(b, call): (usize, usize)| b == block && is_quiet(func, block, value, call).is_some();
        calls.iter().all(|call| near(*call)).then_some(())?;
    }
    let by = func.value(Ty::I64);
    let key = func.value(func.ty(ptr));
    let loc = func.blocks[block].insts[store].loc;
    let made = [
        Inst { result: Some(by), op: Op::Const(i64::from(off).cast_unsigned()), loc },
        Inst { result: Some(key), op: Op::PtrAdd { ptr, by }, loc },
    ];
    for (block, call) in calls {
        if let Op::Call { args, .. } = &mut func.blocks[block].insts[call].op {
            for arg in args.iter_mut().filter(|arg| is_object(ops, **arg, id)) {
                *arg = key;
            }
        }
    }
    define(ops, &made);
    func.blocks[block].insts.splice(store..=store, made);
    Some(())
}

/// Does the packet stay as and where it is, from the start of the function to its end?
fn packet_is_fixed(func: &Func) -> bool {
    func.blocks.iter().flat_map(|block| &block.insts).all(|inst| match &inst.op {
        Op::Store { ptr, .. } | Op::Atomic { ptr, .. } => !func.ty(*ptr).is_packet(),
        Op::Call { callee: Callee::Helper(id), args } => {
            let Some(helper) = id.helper() else { return false };
            let only_keys = TAKES_PACKETS.contains(id) || args.iter().all(|arg| !func.ty(*arg).is_packet());
            !helper.moves_packet && only_keys
        }
        Op::Call { .. } => false,
        _ => true,
    })
}

/// Is nothing written where the key was read, between that and the call in the same block?
fn is_quiet(func: &Func, block: usize, value: Value, call: usize) -> Option<()> {
    let insts = &func.blocks[block].insts;
    let load = insts.iter().position(|inst| inst.result == Some(value)).filter(|load| *load < call)?;
    let quiet = insts[load + 1..call].iter().all(|inst| match inst.op {
        Op::Load { .. } => true,
        Op::Store { ptr, .. } => matches!(func.ty(ptr), Ty::Ptr(Region::Stack(_))),
        ref op => op.is_pure(),
    });
    quiet.then_some(())
}

/// Helpers that may be handed pointers into a packet as keys; they only read them.
const TAKES_PACKETS: [helper::Id; 3] = [helper::MAP_LOOKUP_ELEM, helper::MAP_UPDATE_ELEM, helper::MAP_DELETE_ELEM];

/// The one store into an object, and the calls that take it as key: block and place of each.
struct Uses {
    store: (usize, usize),
    calls: Vec<(usize, usize)>,
}

/// How the object is used, if that is all.
fn uses(func: &Func, ops: &[Option<Op>], dominators: &Dominators, id: StackId) -> Option<Uses> {
    let (mut store, mut calls) = (None, Vec::new());
    for (block, data) in func.blocks.iter().enumerate() {
        for (at, inst) in data.insts.iter().enumerate() {
            let mut named = 0;
            inst.op.operands(|v| named += usize::from(is_object(ops, v, id)));
            match &inst.op {
                _ if named == 0 => {}
                Op::PtrAdd { .. } => {}
                Op::Store { ptr, off: 0, value, .. }
                    if store.is_none() && named == 1 && !is_object(ops, *value, id) =>
                {
                    (address(ops, *ptr, 0).1 == 0).then_some(())?;
                    store = Some((block, at));
                }
                Op::Call { callee: Callee::Helper(called), args } if named == 1 => {
                    let place = args.iter().position(|arg| is_object(ops, *arg, id))?;
                    (TAKES_PACKETS.contains(called) && place == 1).then_some(())?;
                    calls.push((block, at));
                }
                _ => return None,
            }
        }
        let mut named = false;
        data.term.operands(|v| named |= is_object(ops, v, id));
        if named {
            return None;
        }
    }
    let store = store?;
    let behind = |(block, call): &(usize, usize)| {
        let same = *block == store.0;
        same && *call > store.1 || !same && dominators.dominates(Block::of(store.0), Block::of(*block))
    };
    (!calls.is_empty() && calls.iter().all(behind)).then_some(Uses { store, calls })
}

fn is_object(ops: &[Option<Op>], v: Value, id: StackId) -> bool {
    ops[address(ops, v, 0).0.index()] == Some(Op::Stack(id))
}

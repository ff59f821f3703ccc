//! Stage: code generation. Pass: a map key that lies in the packet, or in another map's value, as it is wanted is used in its place.
//!
//! Input and output: a function. The key was read, stored into an object on the stack of just that size, and that object is
//! used for nothing else. Between read and call nothing may write there, and nothing may move the packet. The verifier
//! takes keys in packets and map values on all kernels, from the helpers that look up, store and delete. Next: `merge.rs`.

use super::super::profile::Profile;
use super::{address, definitions};
use crate::insn::helper;
use crate::ir::{Callee, Func, Inst, Op, Region, StackId, Ty, Value};

pub(super) fn run(func: &mut Func, _profile: &Profile) -> bool {
    let mut changed = false;
    for id in 0..func.stack.len() {
        changed |= replace(func, StackId::of(id)).is_some();
    }
    changed
}

/// Replaces one object, if it is only a key's copy.
fn replace(func: &mut Func, id: StackId) -> Option<()> {
    let ops = definitions(func);
    let (block, store, call) = uses(func, &ops, id)?;
    let data = &func.blocks[block];
    let Op::Store { size, value, .. } = data.insts[store].op else { return None };
    if u32::from(size.bytes()) != func.stack[id.index()].size {
        return None;
    }
    let load = data.insts.iter().position(|inst| inst.result == Some(value))?;
    let Op::Load { size: read, ptr, off } = data.insts[load].op else { return None };
    let readable = matches!(func.ty(ptr), Ty::Packet | Ty::Ptr(Region::MapValue(_)));
    let quiet = data.insts[load + 1..call].iter().all(|inst| inst.op.is_pure() || is_harmless(func, inst));
    if read != size || !readable || !quiet || load > store {
        return None;
    }
    let ty = func.ty(ptr);
    let loc = data.insts[store].loc;
    let by = func.value(Ty::I64);
    let key = func.value(ty);
    let made = [
        Inst { result: Some(by), op: Op::Const(i64::from(off).cast_unsigned()), loc },
        Inst { result: Some(key), op: Op::PtrAdd { ptr, by }, loc },
    ];
    let insts = &mut func.blocks[block].insts;
    if let Op::Call { args, .. } = &mut insts[call].op {
        for arg in args.iter_mut().filter(|arg| is_object(&ops, **arg, id)) {
            *arg = key;
        }
    }
    insts.splice(store..=store, made);
    Some(())
}

/// The one store into the object and the one call that takes it as key, both in one block.
fn uses(func: &Func, ops: &[Option<Op>], id: StackId) -> Option<(usize, usize, usize)> {
    let (mut store, mut call) = (None, None);
    for (block, data) in func.blocks.iter().enumerate() {
        for (at, inst) in data.insts.iter().enumerate() {
            let mut named = 0;
            inst.op.operands(|v| named += usize::from(is_object(ops, v, id)));
            match &inst.op {
                _ if named == 0 => {}
                Op::PtrAdd { .. } => {}
                Op::Store { ptr, value, .. } if store.is_none() && named == 1 && !is_object(ops, *value, id) => {
                    (address(ops, *ptr, 0).1 == 0).then_some(())?;
                    store = Some((block, at));
                }
                Op::Call { callee: Callee::Helper(called), args } if call.is_none() && named == 1 => {
                    let place = args.iter().position(|arg| is_object(ops, *arg, id))?;
                    let takes_packets = [helper::MAP_LOOKUP_ELEM, helper::MAP_UPDATE_ELEM, helper::MAP_DELETE_ELEM];
                    (takes_packets.contains(called) && place == 1).then_some(())?;
                    call = Some((block, at));
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
    let ((block, store), (same, call)) = (store?, call?);
    (block == same && store < call).then_some((block, store, call))
}

fn is_object(ops: &[Option<Op>], v: Value, id: StackId) -> bool {
    ops[address(ops, v, 0).0.index()] == Some(Op::Stack(id))
}

/// A read, or a store to the stack: writes to nothing that a key is read from.
fn is_harmless(func: &Func, inst: &Inst) -> bool {
    match inst.op {
        Op::Load { .. } => true,
        Op::Store { ptr, .. } => matches!(func.ty(ptr), Ty::Ptr(Region::Stack(_))),
        _ => false,
    }
}

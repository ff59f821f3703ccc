//! Stage: code generation. Which bits of a value may be set, as far as the verifier can see.
//!
//! Input: definitions. Output: a mask. A mask or a widening may only be dropped when the verifier knows by itself that it
//! does nothing: what a byte swap or a division gives, it does not know (before Linux 6.18, or at all). Next: `fold.rs`.

use super::super::profile::Profile;
use super::number;
use crate::insn::{AluOp, Width};
use crate::ir::{Func, Op, Value};
use crate::vm::eval;

/// How far definitions are followed.
const DEPTH: u32 = 8;

/// Bits of `value` that may be set.
pub(super) fn visible(func: &Func, ops: &[Option<Op>], profile: &Profile, value: Value) -> u64 {
    at_depth(func, ops, profile, value, DEPTH)
}

fn at_depth(func: &Func, ops: &[Option<Op>], profile: &Profile, value: Value, depth: u32) -> u64 {
    if depth == 0 || !func.ty(value).is_int() {
        return u64::MAX;
    }
    let of = |v| at_depth(func, ops, profile, v, depth - 1);
    match &ops[value.index()] {
        Some(Op::Const(number)) => *number,
        Some(Op::Copy(a)) => of(*a),
        Some(Op::Low { bits, a }) => eval::low(*bits, of(*a)),
        Some(Op::Swap { bits, .. }) if profile.sight.after_swap => eval::low(*bits, u64::MAX),
        Some(Op::Load { .. }) => func.ty(value).mask(),
        Some(Op::Alu { op, width, a, b }) => {
            let limit = if *width == Width::W32 { 0xffff_ffff } else { u64::MAX };
            let known = match op {
                AluOp::And => of(*a) & of(*b),
                AluOp::Or | AluOp::Xor => of(*a) | of(*b),
                AluOp::Rsh | AluOp::Lsh => match number(ops, *b) {
                    Some(by) => eval::alu(*op, *width, of(*a) & limit, by),
                    None => u64::MAX,
                },
                AluOp::Add => filled(of(*a)).checked_add(filled(of(*b))).map_or(u64::MAX, filled),
                _ => u64::MAX,
            };
            known & limit
        }
        _ => u64::MAX,
    }
}

/// All bits up to the highest that is set.
const fn filled(mask: u64) -> u64 {
    match mask.checked_ilog2() {
        None => 0,
        Some(top) => u64::MAX >> (63 - top),
    }
}

//! Stage: code generation. The passes over the IR: what they are, and in which order.
//!
//! Input: a checked [`Func`]. Output: a smaller one that does the same and that the verifier accepts as well. Each pass is a
//! function that says in its file what it may not do: almost everything that goes wrong between optimisers and the
//! verifier is a legal rewrite that loses a fact. Next: `fold.rs`, `cse.rs`, `cfg.rs`, `checks.rs`, `merge.rs`, `keys.rs`.

mod bits;
mod cfg;
mod checks;
mod cse;
mod dce;
mod fold;
mod keys;
mod legal;
mod merge;
mod nulls;
mod sets;

use super::Error;
use super::profile::Profile;
use crate::ir::{Func, Op, Value, verify};

/// A pass; says whether it changed anything.
type Pass = fn(&mut Func, &Profile) -> bool;

/// Run over and over until none changes anything.
const SHRINK: &[(&str, Pass)] = &[("cfg", cfg::run), ("fold", fold::run), ("cse", cse::run), ("dce", dce::run)];

/// Run once, in this order, each followed by [`SHRINK`].
const ONCE: &[(&str, Pass)] =
    &[("checks", checks::run), ("sets", sets::run), ("nulls", nulls::run), ("keys", keys::run), ("merge", merge::run)];

/// More rounds than any program needs.
const ROUNDS: usize = 16;

/// Is told of each pass that changed something, and sees what it left.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&'static str, &Func);

/// Runs the passes that the profile asks for, and those without which there is no code.
///
/// # Errors
/// [`Error::Internal`] when a pass broke a rule, in builds with debug assertions.
pub(super) fn run(func: &mut Func, profile: &Profile, watch: Watch<'_>) -> Result<(), Error> {
    if profile.passes {
        shrink(func, profile, watch)?;
        for pass in ONCE {
            if apply(func, profile, *pass, watch)? {
                shrink(func, profile, watch)?;
            }
        }
    }
    apply(func, profile, ("legal", legal::run), watch)?;
    Ok(())
}

fn shrink(func: &mut Func, profile: &Profile, watch: Watch<'_>) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let mut changed = false;
        for pass in SHRINK {
            changed |= apply(func, profile, *pass, watch)?;
        }
        if !changed {
            break;
        }
    }
    Ok(())
}

fn apply(
    func: &mut Func,
    profile: &Profile,
    (name, pass): (&'static str, Pass),
    watch: Watch<'_>,
) -> Result<bool, Error> {
    let changed = pass(func, profile);
    if changed {
        watch(name, func);
    }
    if cfg!(debug_assertions) {
        verify(func).map_err(|error| Error::Internal {
            func: func.name.clone(),
            what: format!("the pass `{name}` broke a rule:\n{error}\n{func}"),
        })?;
    }
    Ok(changed)
}

/// The operation that defines each value; `None` for parameters.
fn definitions(func: &Func) -> Vec<Option<Op>> {
    let mut ops = vec![None; func.values.len()];
    for inst in func.blocks.iter().flat_map(|block| &block.insts) {
        if let Some(value) = inst.result {
            ops[value.index()] = Some(inst.op.clone());
        }
    }
    ops
}

/// How often each value is used.
fn use_counts(func: &Func) -> Vec<u32> {
    let mut uses = vec![0; func.values.len()];
    for block in &func.blocks {
        for inst in &block.insts {
            inst.op.operands(|v| uses[v.index()] += 1);
        }
        block.term.operands(|v| uses[v.index()] += 1);
    }
    uses
}

/// The number that a value is.
fn number(ops: &[Option<Op>], value: Value) -> Option<u64> {
    match ops.get(value.index())? {
        Some(Op::Const(number)) => Some(*number),
        _ => None,
    }
}

/// A pointer as a root and a fixed distance.
fn address(ops: &[Option<Op>], ptr: Value, off: i64) -> (Value, i64) {
    match &ops[ptr.index()] {
        Some(Op::PtrAdd { ptr: root, by }) => match number(ops, *by) {
            Some(by) => address(ops, *root, off.wrapping_add(by.cast_signed())),
            None => (ptr, off),
        },
        Some(Op::NonNull(root) | Op::Copy(root)) => address(ops, *root, off),
        _ => (ptr, off),
    }
}

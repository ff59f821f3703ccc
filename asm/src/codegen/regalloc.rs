//! Stage: code generation. Registers: which of the machine's each of ours gets.
//!
//! Input: a [`Machine`] over any number of registers. Output: the same over `r0`–`r10`, with loads and stores for those that
//! found none. Iterated register coalescing (George and Appel, 1996): registers that are live together get different
//! numbers, ends of a copy the same one where that cannot make the graph harder to colour. Calls destroy `r0`–`r5`: what
//! lives across one interferes with these. Next: `regalloc/graph.rs`, `spill.rs`, `layout.rs`.

mod check;
mod color;
mod graph;

use super::Error;
use super::liveness::live_out;
use super::mir::{FIRST, MInst, MOp, Machine, VReg};
use super::profile::{Allocation, Profile};
use super::spill;
use graph::Graph;

/// Rounds of spilling after which something must be wrong.
const ROUNDS: usize = 64;

/// Gives every register one of the machine's.
///
/// # Errors
/// [`Error::Internal`] if it cannot, or in debug builds if the checker finds a mistake: no input should bring that about.
pub(super) fn allocate(machine: &mut Machine, profile: &Profile) -> Result<(), Error> {
    let allowed = match profile.allocation {
        Allocation::FewRegisters => 0b01_1100_0000,
        Allocation::Best | Allocation::SpillAll => 0b11_1111_1111,
    };
    number(machine);
    let before = cfg!(debug_assertions).then(|| machine.clone());
    give_out(machine, profile, allowed)?;
    match before.map(|before| check::check(&before, machine)) {
        Some(Err(what)) => Err(Error::Internal { func: machine.name.clone(), what }),
        _ => Ok(()),
    }
}

/// Numbers the instructions, so that they are known again.
fn number(machine: &mut Machine) {
    let insts = machine.blocks.iter_mut().flat_map(|block| &mut block.insts);
    for (id, inst) in (1..).zip(insts) {
        inst.id = id;
    }
}

fn give_out(machine: &mut Machine, profile: &Profile, allowed: u16) -> Result<(), Error> {
    let mut temporaries = Vec::new();
    if profile.allocation == Allocation::SpillAll {
        let every = (FIRST..machine.regs).map(|reg| vec![VReg(reg)]).collect::<Vec<_>>();
        spill::rewrite(machine, &every, &mut temporaries);
    }
    for _ in 0..ROUNDS {
        let live = live_out(machine);
        let mut graph = Graph::build(machine, &live, allowed, &temporaries);
        graph.reduce();
        let colors = graph.color();
        if colors.spilled.is_empty() {
            apply(machine, &colors.of);
            spill::tidy(machine);
            return Ok(());
        }
        spill::rewrite(machine, &colors.spilled, &mut temporaries);
    }
    Err(Error::Internal { func: machine.name.clone(), what: "registers cannot be given out".into() })
}

/// Puts the machine's registers in, and drops copies of a register to itself.
fn apply(machine: &mut Machine, colors: &[u32]) {
    for block in &mut machine.blocks {
        for MInst { op, .. } in &mut block.insts {
            op.regs_mut(|reg, _| *reg = VReg(colors[reg.index()]));
        }
        block.term.regs_mut(|reg| *reg = VReg(colors[reg.index()]));
        block.insts.retain(|MInst { op, .. }| !is_idle(op));
    }
    machine.regs = FIRST;
}

/// A copy of a register to itself.
fn is_idle(op: &MOp) -> bool {
    op.as_move().is_some_and(|(dst, src)| dst == src)
}

//! Stage: code generation. Which registers hold something that is still read, at the ends of blocks.
//!
//! Input: a [`Machine`]. Output: a set of registers a block, by the usual backward iteration to a fixed point; loops need
//! no care of their own. Next: `regalloc.rs`.

use super::mir::{FP, MBlock, MInst, Machine, Role, VReg};

/// A set of registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegSet(Vec<u64>);

impl RegSet {
    pub(super) fn new(regs: u32) -> Self {
        Self(vec![0; regs as usize / 64 + 1])
    }

    pub(super) fn insert(&mut self, reg: VReg) -> bool {
        let (word, bit) = (&mut self.0[reg.index() / 64], 1 << (reg.index() % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn remove(&mut self, reg: VReg) {
        self.0[reg.index() / 64] &= !(1 << (reg.index() % 64));
    }

    pub(super) fn contains(&self, reg: VReg) -> bool {
        self.0[reg.index() / 64] >> (reg.index() % 64) & 1 == 1
    }

    /// Adds all of `other`; did that change anything?
    pub(super) fn union(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            changed |= *b & !*a != 0;
            *a |= b;
        }
        changed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = VReg> + '_ {
        self.0.iter().zip(0u32..).flat_map(|(word, i)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some(VReg(i * 64 + bit))
            })
        })
    }
}

/// Registers of a mask of machine registers.
pub(super) fn machine_regs(mask: u16) -> impl Iterator<Item = VReg> {
    (0..16u32).filter(move |i| mask >> i & 1 == 1).map(VReg)
}

/// Goes backward over one instruction: what is live before it, given what is live behind.
pub(super) fn step_back(inst: &MInst, live: &mut RegSet) {
    let (reads, writes) = inst.op.fixed();
    inst.op.regs(|reg, role| {
        if role == Role::Def {
            live.remove(reg);
        }
    });
    machine_regs(writes).for_each(|reg| live.remove(reg));
    for reg in machine_regs(reads) {
        live.insert(reg);
    }
    inst.op.regs(|reg, role| {
        if role != Role::Def && reg != FP {
            live.insert(reg);
        }
    });
}

/// What is live before the terminator of a block, given what is live at its end.
pub(super) fn before_term(block: &MBlock, live: &mut RegSet) {
    block.term.regs(|reg| {
        if reg != FP {
            live.insert(reg);
        }
    });
}

/// What is live at the end of each block.
pub(super) fn live_out(machine: &Machine) -> Vec<RegSet> {
    let mut live_in = vec![RegSet::new(machine.regs); machine.blocks.len()];
    let mut live_out = live_in.clone();
    let mut changed = true;
    while changed {
        changed = false;
        for (i, block) in machine.blocks.iter().enumerate().rev() {
            for to in block.term.targets() {
                live_out[i].union(&live_in[to]);
            }
            let mut live = live_out[i].clone();
            before_term(block, &mut live);
            block.insts.iter().rev().for_each(|inst| step_back(inst, &mut live));
            changed |= live_in[i].union(&live);
        }
    }
    live_out
}

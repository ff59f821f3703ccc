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

    /// Adds all of `other` but what is in `without`; did that change anything?
    fn union_but(&mut self, other: &Self, without: &Self) -> bool {
        let mut changed = false;
        for ((a, b), without) in self.0.iter_mut().zip(&other.0).zip(&without.0) {
            changed |= *b & !*without & !*a != 0;
            *a |= *b & !*without;
        }
        changed
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

    /// Those that `other` has not.
    pub(super) fn but(&self, other: &Self) -> impl Iterator<Item = VReg> {
        let left = self.0.iter().zip(&other.0).map(|(word, other)| word & !other);
        left.zip(0u32..).flat_map(|(word, i)| ones(word).map(move |bit| VReg(i * 64 + bit)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = VReg> + '_ {
        self.0.iter().zip(0u32..).flat_map(|(word, i)| ones(*word).map(move |bit| VReg(i * 64 + bit)))
    }

    /// Takes out the one with the lowest number.
    pub(super) fn pop_first(&mut self) -> Option<VReg> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// The one with the lowest number.
    pub(super) fn first(&self) -> Option<VReg> {
        self.iter().next()
    }
}

/// Registers of a mask of machine registers.
pub(super) fn machine_regs(mask: u16) -> impl Iterator<Item = VReg> {
    ones(u64::from(mask)).map(VReg)
}

/// The bits that are set, from the lowest on.
fn ones(mut left: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros())?;
        left &= left - 1;
        Some(bit)
    })
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
    let (mut live_in, written): (Vec<RegSet>, Vec<RegSet>) =
        machine.blocks.iter().map(|block| read_and_written(block, machine.regs)).unzip();
    let mut live_out = vec![RegSet::new(machine.regs); machine.blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (i, block) in machine.blocks.iter().enumerate().rev() {
            for to in block.term.targets() {
                live_out[i].union(&live_in[to]);
            }
            changed |= live_in[i].union_but(&live_out[i], &written[i]);
        }
    }
    live_out
}

/// What a block reads before it writes it, and all that it writes.
fn read_and_written(block: &MBlock, regs: u32) -> (RegSet, RegSet) {
    let (mut read, mut written) = (RegSet::new(regs), RegSet::new(regs));
    before_term(block, &mut read);
    for inst in block.insts.iter().rev() {
        step_back(inst, &mut read);
        for reg in machine_regs(inst.op.fixed().1) {
            written.insert(reg);
        }
        inst.op.regs(|reg, role| {
            if role == Role::Def {
                written.insert(reg);
            }
        });
    }
    (read, written)
}

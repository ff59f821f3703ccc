//! Stage: code generation. Values that found no register live on the stack.
//!
//! Input: groups of registers; a group shares one place. Output: the machine function with loads before uses and stores
//! behind definitions, always of eight bytes: the verifier keeps what it knows of a value only then. A group that is
//! defined once, by a constant or an address that can be made again, is made again at each use instead. A place is never
//! used for two groups, so that no old pointer can be read where a number is meant. Next: `frame.rs`.

use std::collections::HashMap;

use super::mir::{Base, MInst, MOp, MTerm, Machine, Role, Slot, SlotData, Src, VReg};
use crate::insn::{Size, Width};
use crate::ir::LocId;

/// How a group's value is had again.
#[derive(Clone, Debug)]
enum Home {
    Slot(Slot),
    Again(MOp),
}

/// Rewrites the code; registers made on the way go to `temporaries`, which must not be spilled again.
pub(super) fn rewrite(machine: &mut Machine, groups: &[Vec<VReg>], temporaries: &mut Vec<VReg>) {
    let group_of: HashMap<VReg, usize> =
        groups.iter().enumerate().flat_map(|(i, group)| group.iter().map(move |reg| (*reg, i))).collect();
    let homes = homes(machine, groups.len(), &group_of);
    let mut spiller = Spiller { group_of, homes, temporaries, regs: machine.regs, near: Vec::new() };
    for block in &mut machine.blocks {
        let insts = std::mem::take(&mut block.insts);
        spiller.near.clear();
        for inst in insts {
            let (_, destroyed) = inst.op.fixed();
            spiller.inst(inst, &mut block.insts);
            spiller.pass(destroyed != 0);
        }
        spiller.term(&mut block.term, block.loc, &mut block.insts);
    }
    machine.regs = spiller.regs;
}

/// Where each group lives.
fn homes(machine: &mut Machine, count: usize, group_of: &HashMap<VReg, usize>) -> Vec<Home> {
    let mut defs: Vec<(u32, Option<MOp>)> = vec![(0, None); count];
    for inst in machine.blocks.iter().flat_map(|block| &block.insts) {
        inst.op.regs(|reg, role| {
            if let Some(group) = group_of.get(&reg).filter(|_| role != Role::Use) {
                let again = matches!(inst.op, MOp::Wide { .. } | MOp::Frame { .. } | MOp::Mov { src: Src::Imm(_), .. });
                let (times, op) = &mut defs[*group];
                *times += 1;
                *op = again.then(|| inst.op.clone());
            }
        });
    }
    let mut slot = || {
        machine.slots.push(SlotData { size: 8, align: 8, spill: true });
        Slot(u32::try_from(machine.slots.len() - 1).unwrap_or(u32::MAX))
    };
    let home = |(times, op): (u32, Option<MOp>)| match op {
        Some(op) if times == 1 => Home::Again(op),
        _ => Home::Slot(slot()),
    };
    defs.into_iter().map(home).collect()
}

struct Spiller<'a> {
    group_of: HashMap<VReg, usize>,
    homes: Vec<Home>,
    temporaries: &'a mut Vec<VReg>,
    regs: u32,
    /// What was in a register just now: group, register, and for how many more instructions it may be taken from there.
    near: Vec<(usize, VReg, u32)>,
}

/// For how many instructions a value that was loaded or stored is taken from the register it was in.
const NEAR: u32 = 3;

impl Spiller<'_> {
    fn home(&self, reg: VReg) -> Option<Home> {
        self.group_of.get(&reg).map(|group| self.homes[*group].clone())
    }

    /// One more instruction lies behind; a call forgets everything.
    fn pass(&mut self, call: bool) {
        self.near.retain_mut(|(_, _, left)| {
            *left -= 1;
            *left > 0 && !call
        });
    }

    /// The register that holds a group's value since just now.
    fn nearby(&self, reg: VReg) -> Option<VReg> {
        let group = self.group_of.get(&reg)?;
        self.near.iter().find(|(near, _, _)| near == group).map(|(_, held, _)| *held)
    }

    /// A group's value is in `held`, and on the stack.
    fn note(&mut self, reg: VReg, held: VReg) {
        let Some(group) = self.group_of.get(&reg).copied() else { return };
        self.near.retain(|(near, _, _)| *near != group);
        self.near.push((group, held, NEAR));
    }

    fn temporary(&mut self) -> VReg {
        let reg = VReg(self.regs);
        self.regs += 1;
        self.temporaries.push(reg);
        reg
    }

    /// Brings a value back into a register.
    fn fetch(home: &Home, dst: VReg) -> MOp {
        match home {
            Home::Slot(slot) => MOp::Load { size: Size::Dw, dst, base: Base::Slot(*slot), off: 0 },
            Home::Again(op) => {
                let mut op = op.clone();
                op.regs_mut(|reg, _| *reg = dst);
                op
            }
        }
    }

    fn inst(&mut self, mut inst: MInst, out: &mut Vec<MInst>) {
        if self.copy(&inst, out) {
            return;
        }
        let loc = inst.loc;
        let mut seen: Vec<(VReg, VReg)> = Vec::new();
        let mut behind = Vec::new();
        let mut gone = false;
        let mut op = inst.op.clone();
        op.regs_mut(|reg, role| {
            let Some(home) = self.home(*reg) else { return };
            let mut known = seen.iter().find(|(old, _)| old == reg).map(|(_, new)| *new);
            if known.is_none() && role == Role::Use {
                known = self.nearby(*reg);
            }
            let new = known.unwrap_or_else(|| self.temporary());
            if known.is_none() && role != Role::Def {
                out.push(MInst::new(Self::fetch(&home, new), loc));
            }
            // The definition of what is made again at each use goes away.
            if role == Role::Use || matches!(home, Home::Slot(_)) {
                self.note(*reg, new);
            }
            if role != Role::Use {
                match home {
                    Home::Slot(slot) => behind.push(store(slot, Src::Reg(new), loc)),
                    Home::Again(_) => gone = true,
                }
            }
            seen.push((*reg, new));
            *reg = new;
        });
        if !gone {
            inst.op = op;
            out.push(inst);
            out.extend(behind);
        }
    }

    /// A copy from or to the stack is a load or a store by itself.
    fn copy(&mut self, inst: &MInst, out: &mut Vec<MInst>) -> bool {
        let (dst, src) = match &inst.op {
            MOp::Mov { width: Width::W64, dst, src } => (*dst, *src),
            _ => return false,
        };
        let from = match src {
            Src::Reg(reg) => self.home(reg),
            Src::Imm(_) => None,
        };
        let loc = inst.loc;
        let held = from.as_ref().and_then(|_| match src {
            Src::Reg(from) => self.nearby(from),
            Src::Imm(_) => None,
        });
        if let Some(group) = self.group_of.get(&dst) {
            self.near.retain(|(near, _, _)| near != group);
        }
        match (self.home(dst), from, src) {
            (Some(Home::Slot(to)), Some(Home::Slot(from)), _) if to == from => {}
            (Some(Home::Slot(to)), None, Src::Reg(src)) if src.is_machine() => {
                // What a call gave is often tested at once.
                let via = self.temporary();
                out.push(MInst::new(MOp::Mov { width: Width::W64, dst: via, src: Src::Reg(src) }, loc));
                out.push(store(to, Src::Reg(via), loc));
                self.note(dst, via);
            }
            // A constant goes straight to its place: the same instruction in another form.
            (Some(Home::Slot(to)), None, src) => out.push(MInst { id: inst.id, ..store(to, src, loc) }),
            (None, Some(home), _) => match held {
                Some(held) => out.push(MInst::new(MOp::Mov { width: Width::W64, dst, src: Src::Reg(held) }, loc)),
                None => out.push(MInst::new(Self::fetch(&home, dst), loc)),
            },
            (Some(Home::Slot(to)), Some(home), _) => {
                let via = held.unwrap_or_else(|| {
                    let via = self.temporary();
                    out.push(MInst::new(Self::fetch(&home, via), loc));
                    via
                });
                out.push(store(to, Src::Reg(via), loc));
            }
            _ => return false,
        }
        true
    }

    fn term(&mut self, term: &mut MTerm, loc: LocId, out: &mut Vec<MInst>) {
        let mut seen: Vec<(VReg, VReg)> = Vec::new();
        term.regs_mut(|reg| {
            let Some(home) = self.home(*reg) else { return };
            let known = seen.iter().find(|(old, _)| old == reg).map(|(_, new)| *new).or_else(|| self.nearby(*reg));
            let new = known.unwrap_or_else(|| {
                let new = self.temporary();
                out.push(MInst::new(Self::fetch(&home, new), loc));
                new
            });
            seen.push((*reg, new));
            *reg = new;
        });
    }
}

/// Drops what turns out to be idle once registers have numbers: loads of what the register holds already, stores that another
/// one overwrites before anything reads them. Nobody but the code made here touches these places.
pub(super) fn tidy(machine: &mut Machine) {
    let slots = &machine.slots;
    let place = |base: &Base| match base {
        Base::Slot(slot) if slots[slot.0 as usize].spill => Some(*slot),
        _ => None,
    };
    for block in &mut machine.blocks {
        let mut held: Vec<(Slot, VReg)> = Vec::new();
        block.insts.retain(|inst| {
            if let MOp::Load { dst, base, .. } = &inst.op
                && let Some(slot) = place(base)
                && held.contains(&(slot, *dst))
            {
                return false;
            }
            let (_, destroyed) = inst.op.fixed();
            held.retain(|(_, reg)| reg.0 >= 16 || destroyed & (1 << reg.0) == 0);
            inst.op.regs(|reg, role| {
                if role != Role::Use {
                    held.retain(|(_, other)| *other != reg);
                }
            });
            match &inst.op {
                MOp::Load { dst, base, .. } => held.extend(place(base).map(|slot| (slot, *dst))),
                MOp::Store { base, src, .. } => {
                    if let Some(slot) = place(base) {
                        held.retain(|(other, _)| *other != slot);
                        if let Src::Reg(reg) = src {
                            held.push((slot, *reg));
                        }
                    }
                }
                _ => {}
            }
            true
        });
        let mut overwritten: Vec<Slot> = Vec::new();
        let mut idle = vec![false; block.insts.len()];
        for (at, inst) in block.insts.iter().enumerate().rev() {
            match &inst.op {
                MOp::Store { base, .. } => {
                    if let Some(slot) = place(base) {
                        idle[at] = overwritten.contains(&slot);
                        overwritten.push(slot);
                    }
                }
                MOp::Load { base, .. } => {
                    if let Some(slot) = place(base) {
                        overwritten.retain(|other| *other != slot);
                    }
                }
                _ => {}
            }
        }
        let mut idle = idle.into_iter();
        block.insts.retain(|_| !idle.next().unwrap_or(false));
    }
}

fn store(slot: Slot, src: Src, loc: LocId) -> MInst {
    MInst::new(MOp::Store { size: Size::Dw, base: Base::Slot(slot), off: 0, src }, loc)
}

//! Stage: code generation. Does the code with registers given out do what the code without did?
//!
//! Input: a function before and after. Output: nothing, or what is wrong. It shares nothing with the allocator but the types:
//! it walks the new code and keeps, for every register and every place on the stack, the names (registers of the old code)
//! whose value is there. Where an old instruction reads a name, the new one must read a place that holds it; where ways
//! meet, a place holds what it holds on all of them. Next: `../frame.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::liveness::machine_regs;
use super::super::mir::{Base, MBlock, MInst, MOp, MTerm, Machine, Role, Slot, Src, VReg};
use crate::insn::{Size, Width};

/// Where a value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Reg(u32),
    Slot(Slot),
}

/// Which names' values each place holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State(BTreeMap<Place, BTreeSet<VReg>>);

impl State {
    fn names(&self, place: Place) -> BTreeSet<VReg> {
        self.0.get(&place).cloned().unwrap_or_default()
    }

    fn holds(&self, place: Place, name: VReg) -> bool {
        self.0.get(&place).is_some_and(|names| names.contains(&name))
    }

    /// A name gets a new value: no place holds it any more.
    fn forget(&mut self, name: VReg) {
        for names in self.0.values_mut() {
            names.remove(&name);
        }
    }

    fn define(&mut self, place: Place, name: VReg) {
        self.forget(name);
        self.0.insert(place, BTreeSet::from([name]));
    }

    /// What holds on both ways.
    fn meet(&mut self, other: &Self) {
        for (place, names) in &mut self.0 {
            let there = other.names(*place);
            names.retain(|name| there.contains(name));
        }
        self.0.retain(|_, names| !names.is_empty());
    }
}

/// Judges an allocation.
///
/// # Errors
/// The first thing that is wrong, in words.
pub(super) fn check(before: &Machine, after: &Machine) -> Result<(), String> {
    let checker = Checker { before, after, again: defined_once(before) };
    let mut known: Vec<Option<State>> = vec![None; before.blocks.len()];
    let mut entry = State::default();
    machine_regs(0x3ff).for_each(|reg| entry.define(Place::Reg(reg.0), reg));
    known[0] = Some(entry);
    let mut work = vec![0];
    while let Some(block) = work.pop() {
        let Some(state) = known[block].clone() else { continue };
        let out = checker.block(block, state)?;
        for to in after.blocks[block].term.targets() {
            let new = match &known[to] {
                None => out.clone(),
                Some(old) => {
                    let mut both = old.clone();
                    both.meet(&out);
                    both
                }
            };
            if known[to].as_ref() != Some(&new) {
                known[to] = Some(new);
                work.push(to);
            }
        }
    }
    Ok(())
}

/// Names that one instruction defines, which can be repeated anywhere: a constant or an address.
fn defined_once(before: &Machine) -> BTreeMap<VReg, MOp> {
    let mut defs: BTreeMap<VReg, Vec<&MOp>> = BTreeMap::new();
    for inst in before.blocks.iter().flat_map(|block| &block.insts) {
        inst.op.regs(|reg, role| {
            if role != Role::Use {
                defs.entry(reg).or_default().push(&inst.op);
            }
        });
    }
    let repeatable = |op: &MOp| matches!(op, MOp::Wide { .. } | MOp::Frame { .. } | MOp::Mov { src: Src::Imm(_), .. });
    defs.into_iter()
        .filter(|(_, ops)| ops.len() == 1 && repeatable(ops[0]))
        .map(|(reg, ops)| (reg, ops[0].clone()))
        .collect()
}

struct Checker<'a> {
    before: &'a Machine,
    after: &'a Machine,
    again: BTreeMap<VReg, MOp>,
}

impl Checker<'_> {
    fn block(&self, block: usize, mut state: State) -> Result<State, String> {
        let (old, new) = (&self.before.blocks[block], &self.after.blocks[block]);
        let mut left = old.insts.iter();
        for inst in &new.insts {
            if inst.id == 0 {
                self.inserted(&inst.op, &mut state)?;
                continue;
            }
            loop {
                let was =
                    left.next().ok_or_else(|| format!("block {block}: instruction {} came from nowhere", inst.id))?;
                if was.id == inst.id {
                    self.kept(was, inst, &mut state)
                        .map_err(|what| format!("block {block}, {:?} as {:?}: {what}", was.op, inst.op))?;
                    break;
                }
                self.dropped(was, &mut state).map_err(|what| format!("block {block}, {:?}: {what}", was.op))?;
            }
        }
        for was in left {
            self.dropped(was, &mut state).map_err(|what| format!("block {block}, {:?}: {what}", was.op))?;
        }
        self.term(old, new, &state).map_err(|what| format!("end of block {block}: {what}"))?;
        Ok(state)
    }

    /// An instruction that the allocator put in: moves values, computes nothing.
    fn inserted(&self, op: &MOp, state: &mut State) -> Result<(), String> {
        let (place, names) = match op {
            MOp::Load { size: Size::Dw, dst, base: Base::Slot(slot), off: 0 } => {
                (Place::Reg(dst.0), state.names(Place::Slot(*slot)))
            }
            MOp::Store { size: Size::Dw, base: Base::Slot(slot), off: 0, src: Src::Reg(src) } => {
                (Place::Slot(*slot), state.names(Place::Reg(src.0)))
            }
            MOp::Mov { width: Width::W64, dst, src: Src::Reg(src) } => {
                (Place::Reg(dst.0), state.names(Place::Reg(src.0)))
            }
            MOp::Wide { dst, .. } | MOp::Frame { dst, .. } | MOp::Mov { dst, src: Src::Imm(_), .. } => {
                (Place::Reg(dst.0), self.repeated(op))
            }
            other => return Err(format!("{other:?} was put in and does more than move a value")),
        };
        state.0.insert(place, names);
        Ok(())
    }

    /// The names that always have the value that an instruction gives.
    fn repeated(&self, op: &MOp) -> BTreeSet<VReg> {
        let same = |reg: VReg, other: &MOp| {
            let mut op = op.clone();
            op.regs_mut(|dst, _| *dst = reg);
            op == *other
        };
        self.again.iter().filter(|(reg, other)| same(**reg, other)).map(|(reg, _)| *reg).collect()
    }

    /// An instruction that is gone: a copy, which names a value once more; or one that is repeated where it is wanted.
    fn dropped(&self, was: &MInst, state: &mut State) -> Result<(), String> {
        match &was.op {
            MOp::Mov { width: Width::W64, dst, src: Src::Reg(src) } => {
                if dst != src {
                    state.forget(*dst);
                    state.0.values_mut().filter(|names| names.contains(src)).for_each(|names| {
                        names.insert(*dst);
                    });
                }
                Ok(())
            }
            MOp::Mov { width: Width::W64, dst, src: Src::Imm(_) } if !self.again.contains_key(dst) => {
                Err("a constant was dropped that is not the name's only value".into())
            }
            MOp::Wide { dst, .. } | MOp::Frame { dst, .. } | MOp::Mov { dst, src: Src::Imm(_), .. }
                if self.again.contains_key(dst) =>
            {
                Ok(())
            }
            _ => Err("was dropped".into()),
        }
    }

    /// An instruction that is still there, with places for names.
    fn kept(&self, was: &MInst, is: &MInst, state: &mut State) -> Result<(), String> {
        if let (MOp::Mov { width: Width::W64, dst, src }, MOp::Store { size: Size::Dw, base, off: 0, src: stored }) =
            (&was.op, &is.op)
        {
            return moved_to_stack(*dst, *src, *base, *stored, state);
        }
        let mut places = Vec::new();
        is.op.regs(|reg, _| places.push(reg));
        let mut renamed = was.op.clone();
        let mut pairs = Vec::new();
        let mut place = places.into_iter();
        renamed.regs_mut(|name, role| {
            let at = place.next().unwrap_or(*name);
            pairs.push((*name, at, role));
            *name = at;
        });
        if renamed != is.op {
            return Err("was changed in more than its registers".into());
        }
        for (name, at, role) in &pairs {
            if *role != Role::Def {
                read(state, *name, *at)?;
            }
        }
        let (reads, writes) = was.op.fixed();
        for reg in machine_regs(reads) {
            read(state, reg, reg)?;
        }
        for reg in machine_regs(writes) {
            state.forget(reg);
            state.0.remove(&Place::Reg(reg.0));
        }
        if writes != 0 {
            state.define(Place::Reg(0), VReg(0));
        }
        for (name, at, role) in pairs {
            if role != Role::Use {
                state.define(Place::Reg(at.0), name);
            }
        }
        Ok(())
    }

    fn term(&self, old: &MBlock, new: &MBlock, state: &State) -> Result<(), String> {
        let mut places = Vec::new();
        new.term.regs(|reg| places.push(reg));
        let mut place = places.into_iter();
        let mut renamed: MTerm = old.term;
        let mut wrong = None;
        renamed.regs_mut(|name| {
            let at = place.next().unwrap_or(*name);
            if let Err(what) = read(state, *name, at) {
                wrong = Some(what);
            }
            *name = at;
        });
        match wrong {
            Some(what) => Err(what),
            None if renamed != new.term => Err("was changed in more than its registers".into()),
            None => Ok(()),
        }
    }
}

/// A copy to a name that lives on the stack: of a constant, or of what a register holds.
fn moved_to_stack(name: VReg, from: Src, base: Base, stored: Src, state: &mut State) -> Result<(), String> {
    let Base::Slot(slot) = base else { return Err("became a store to memory".into()) };
    let mut names = match (from, stored) {
        (Src::Imm(was), Src::Imm(is)) if was == is => BTreeSet::new(),
        (Src::Reg(was), Src::Reg(is)) => {
            read(state, was, is)?;
            state.names(Place::Reg(is.0))
        }
        _ => return Err("stores something else".into()),
    };
    state.forget(name);
    names.insert(name);
    state.0.insert(Place::Slot(slot), names);
    Ok(())
}

fn read(state: &State, name: VReg, at: VReg) -> Result<(), String> {
    if name.0 == 10 && at.0 == 10 || state.holds(Place::Reg(at.0), name) {
        return Ok(());
    }
    Err(format!("register {} is read for {}, and holds {:?}", at.0, name.0, state.names(Place::Reg(at.0))))
}

#[cfg(test)]
mod tests {
    use super::super::super::profile::{Allocation, Profile};
    use super::super::super::select::select;
    use super::*;
    use crate::insn::{Cond, helper};
    use crate::ir::{Func, FuncBuilder, Ty};

    /// A loop that calls a function, with more values than registers are kept across it.
    fn busy() -> Func {
        let mut b = FuncBuilder::subprog("busy", &[("a", Ty::I64), ("b", Ty::I64)], Some(Ty::I64));
        let values: Vec<_> = (1..7).map(|k| b.iconst(Ty::I64, k)).collect();
        let vars: Vec<_> = values.iter().map(|_| b.var(Ty::I64)).collect();
        for (var, value) in vars.iter().zip(&values) {
            let sum = b.add(b.param(0), *value);
            b.def(*var, sum);
        }
        let (head, body, done) = (b.block(), b.block(), b.block());
        b.jump(head);
        b.switch_to(head);
        let (x, limit) = (b.use_var(vars[0]), b.param(1));
        b.branch(Cond::Lt, x, limit, body, done);
        b.switch_to(body);
        let time = b.call(helper::KTIME_GET_NS, &[]).unwrap();
        for pair in vars.windows(2) {
            let (x, y) = (b.use_var(pair[0]), b.use_var(pair[1]));
            let x = b.xor(x, y);
            let x = b.add(x, time);
            b.def(pair[0], x);
        }
        b.jump(head);
        b.switch_to(done);
        let mut sum = b.param(1);
        for var in vars {
            let x = b.use_var(var);
            sum = b.mul(sum, x);
        }
        b.ret(Some(sum));
        b.finish().unwrap()
    }

    #[test]
    fn wrong_registers_are_found() {
        for allocation in [Allocation::Best, Allocation::FewRegisters, Allocation::SpillAll] {
            let profile = Profile { allocation, ..Profile::linux_5_10() };
            let mut before = select(&busy(), &profile).unwrap();
            super::super::number(&mut before);
            let mut after = before.clone();
            super::super::allocate(&mut after, &profile).unwrap();
            assert_eq!(check(&before, &after), Ok(()), "{allocation:?}");
            let (mut tried, mut found) = (0, 0);
            for block in 0..after.blocks.len() {
                for at in 0..after.blocks[block].insts.len() {
                    let mut wrong = after.clone();
                    let inst = &mut wrong.blocks[block].insts[at];
                    inst.op.regs_mut(|reg, _| reg.0 = (reg.0 + 3) % 10);
                    // What the allocator put in may be a copy of what lies elsewhere too.
                    if inst.id != 0 && *inst != after.blocks[block].insts[at] {
                        tried += 1;
                        found += u32::from(check(&before, &wrong).is_err());
                    }
                }
            }
            assert!(tried > 20 && found == tried, "{allocation:?}: {found} of {tried}");
        }
    }

    #[test]
    fn a_missing_reload_is_found() {
        let profile = Profile { allocation: Allocation::FewRegisters, ..Profile::linux_5_10() };
        let mut before = select(&busy(), &profile).unwrap();
        super::super::number(&mut before);
        let mut after = before.clone();
        super::super::allocate(&mut after, &profile).unwrap();
        let reload = |inst: &MInst| inst.id == 0 && matches!(inst.op, MOp::Load { .. });
        let (block, at) = after
            .blocks
            .iter()
            .enumerate()
            .find_map(|(block, data)| Some((block, data.insts.iter().position(reload)?)))
            .expect("three registers are not enough");
        after.blocks[block].insts.remove(at);
        assert!(check(&before, &after).is_err());
    }
}

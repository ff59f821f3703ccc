//! Stage: the intermediate representation. The checker: well-formed SSA, judged apart from whoever made it.
//!
//! Input: a [`Func`]. Output: nothing, or every rule it breaks. It runs when a function is built, after every pass in
//! debug builds, and before instructions are made: malformed code is an error, never mended. Next: `rules.rs`, `paths.rs`.

use std::collections::BTreeSet;

use super::dom::Dominators;
use super::error::{Error, Problem, ProblemKind};
use super::func::{Func, LocId, Target};
use super::types::{Block, Value};
use super::vars::fits;
use super::{paths, rules};

/// Judges a function.
///
/// # Errors
/// Every rule that is broken, with the place in source.
pub fn verify(func: &Func) -> Result<(), Error> {
    let mut checker = Checker { func, problems: Vec::new(), defined: vec![None; func.values.len()] };
    checker.judge();
    if checker.problems.is_empty() {
        Ok(())
    } else {
        Err(Error { func: func.name.clone(), problems: checker.problems })
    }
}

struct Checker<'a> {
    func: &'a Func,
    problems: Vec<Problem>,
    /// Block and place of each value's definition; parameters stand at place 0, operations from 1 on.
    defined: Vec<Option<(Block, usize)>>,
}

impl Checker<'_> {
    /// Each set of rules takes for granted that those before it hold.
    fn judge(&mut self) {
        let func = self.func;
        self.blocks();
        if !self.problems.is_empty() {
            return;
        }
        let dominators = Dominators::of(func);
        self.uses(&dominators);
        if self.problems.is_empty() {
            rules::check(func, &mut |loc, what| self.bad(loc, what));
        }
        if self.problems.is_empty() {
            let around = (None, &BTreeSet::new());
            paths::check(func, &dominators, around, &mut |loc, what| self.bad(loc, what));
        }
    }

    fn bad(&mut self, loc: LocId, text: String) {
        let loc = self.func.locs.get(loc.0 as usize).cloned();
        self.problems.push(Problem { loc, kind: ProblemKind::Malformed(text) });
    }

    /// Every value is defined once, every way on leads to a block with as many parameters as it hands over.
    fn blocks(&mut self) {
        let func = self.func;
        let Some(entry) = func.blocks.first() else {
            return self.bad(LocId(0), "there are no blocks".into());
        };
        let declared = func.params.iter().map(|param| param.ty);
        if entry.params.len() != func.params.len() || !declared.eq(entry.params.iter().map(|param| func.ty(*param))) {
            self.bad(LocId(0), "the first block's parameters are not the function's".into());
        }
        if func.params.len() > 5 {
            self.bad(LocId(0), format!("{} parameters; five are the most", func.params.len()));
        }
        for (block, data) in func.iter() {
            for param in &data.params {
                self.define(*param, (block, 0), data.loc);
            }
            for (place, inst) in data.insts.iter().enumerate() {
                if let Some(value) = inst.result {
                    self.define(value, (block, place + 1), inst.loc);
                }
            }
            for target in data.term.targets() {
                self.target(target, data.loc);
            }
        }
    }

    fn define(&mut self, value: Value, at: (Block, usize), loc: LocId) {
        match self.defined.get_mut(value.index()) {
            Some(cell @ None) => *cell = Some(at),
            Some(Some(_)) => self.bad(loc, format!("{value} is defined a second time")),
            None => self.bad(loc, format!("{value} has no type")),
        }
    }

    fn target(&mut self, target: &Target, loc: LocId) {
        let Some(to) = self.func.blocks.get(target.block.index()) else {
            self.bad(loc, format!("there is no {}", target.block));
            return;
        };
        if target.block == Block(0) {
            self.bad(loc, "the first block is gone back to".into());
        }
        if to.params.len() != target.args.len() {
            let (want, got) = (to.params.len(), target.args.len());
            self.bad(loc, format!("{} has {want} parameters and gets {got}", target.block));
        }
        for (param, arg) in to.params.iter().zip(&target.args) {
            let (want, got) = (self.func.ty(*param), self.func.ty(*arg));
            if !fits(got, want) {
                self.bad(loc, format!("{arg} is {got} and goes to {param} of {}, which is {want}", target.block));
            }
        }
    }

    /// Every use is dominated by its definition.
    fn uses(&mut self, dominators: &Dominators) {
        let func = self.func;
        for (block, data) in func.iter() {
            if !dominators.reaches(block) {
                self.bad(data.loc, format!("nothing leads to {block}"));
                continue;
            }
            for (place, inst) in data.insts.iter().enumerate() {
                inst.op.operands(|v| self.used(v, (block, place + 1), dominators, inst.loc));
            }
            data.term.operands(|v| self.used(v, (block, usize::MAX), dominators, data.loc));
        }
    }

    fn used(&mut self, value: Value, at: (Block, usize), dominators: &Dominators, loc: LocId) {
        match self.defined.get(value.index()).copied().flatten() {
            None => self.bad(loc, format!("{value} is used and never defined")),
            Some((block, place)) => {
                let before = if block == at.0 { place < at.1 } else { dominators.dominates(block, at.0) };
                if !before {
                    self.bad(
                        loc,
                        format!("{value} is used in {}, where its definition in {block} need not have been", at.0),
                    );
                }
            }
        }
    }
}

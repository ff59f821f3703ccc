//! Stage: the intermediate representation. Variables become values: SSA on the fly.
//!
//! Input: definitions and uses, in the order in which a front end meets them. Output: values and block parameters. The
//! algorithm is that of Braun and others, "Simple and Efficient Construction of Static Single Assignment Form" (2013): a
//! use in a block whose ways in are not all known makes a parameter that is completed when the block is sealed.
//! Parameters that turn out to carry one value only are removed at the end. Next: `ops.rs`.

use super::build::FuncBuilder;
use super::error::ProblemKind;
use super::func::{Func, Op};
use super::types::{Block, Ty, Value, Var};

impl FuncBuilder {
    /// A variable: may be given a value many times, on any path.
    pub fn var(&mut self, ty: Ty) -> Var {
        self.vars.push(ty);
        Var::of(self.vars.len() - 1)
    }

    /// The type of a variable.
    #[must_use]
    pub fn var_ty(&self, var: Var) -> Ty {
        self.vars.get(var.index()).copied().unwrap_or(Ty::I64)
    }

    /// From here on the variable has this value.
    #[track_caller]
    pub fn def(&mut self, var: Var, value: Value) {
        let (want, got) = (self.var_ty(var), self.ty(value));
        if !fits(got, want) {
            self.problem(ProblemKind::Type { what: "definition", value, got, want: "a value of the variable's type" });
        }
        let block = self.filled();
        self.defs.insert((var, block), value);
    }

    /// The variable's value here.
    #[track_caller]
    pub fn use_var(&mut self, var: Var) -> Value {
        let block = self.filled();
        self.read(var, block)
    }

    /// Says that all ways into the block are known.
    #[track_caller]
    pub fn seal(&mut self, block: Block) {
        let state = &mut self.state[block.index()];
        if std::mem::replace(&mut state.sealed, true) {
            return;
        }
        for (var, param) in std::mem::take(&mut state.incomplete) {
            self.complete(var, block, param);
        }
    }

    #[track_caller]
    fn read(&mut self, var: Var, block: Block) -> Value {
        let mut at = block;
        let mut passed = Vec::new();
        let value = loop {
            if let Some(value) = self.defs.get(&(var, at)) {
                break *value;
            }
            passed.push(at);
            let state = &self.state[at.index()];
            match (state.sealed, &state.preds[..]) {
                (true, [(pred, _)]) if *pred != at => at = *pred,
                (true, []) => break self.undefined(var, at),
                (sealed, _) => {
                    let param = self.block_param(at, self.var_ty(var));
                    self.defs.insert((var, at), param);
                    if sealed {
                        self.complete(var, at, param);
                    } else {
                        self.state[at.index()].incomplete.push((var, param));
                    }
                    break param;
                }
            }
        };
        for block in passed {
            self.defs.insert((var, block), value);
        }
        value
    }

    /// Gives a new parameter its value on every way in.
    #[track_caller]
    fn complete(&mut self, var: Var, block: Block, param: Value) {
        let Some(place) = self.func.blocks[block.index()].params.iter().position(|p| *p == param) else { return };
        for (pred, edge) in self.state[block.index()].preds.clone() {
            let value = self.read(var, pred);
            if let Some(target) = self.func.blocks[pred.index()].term.targets_mut().nth(edge) {
                let place = place.min(target.args.len());
                target.args.insert(place, value);
            }
        }
    }

    /// A read that no definition reaches: a mistake in the first block, of no account in one that nothing leads to.
    #[track_caller]
    fn undefined(&mut self, var: Var, block: Block) -> Value {
        if block == Block(0) {
            self.problem(ProblemKind::Undefined);
        }
        let value = self.func.value(self.var_ty(var));
        let loc = self.here();
        self.func.blocks[block.index()].insts.insert(0, super::Inst { result: Some(value), op: Op::Const(0), loc });
        value
    }
}

/// May a value of type `got` stand where `want` is wanted? A narrow number is a wide one.
#[must_use]
pub(crate) fn fits(got: Ty, want: Ty) -> bool {
    match (got.bits(), want.bits()) {
        (Some(got), Some(want)) => got <= want,
        _ => got == want,
    }
}

/// Which blocks the first one leads to.
pub(crate) fn reachable(func: &Func) -> Vec<bool> {
    let mut seen = vec![false; func.blocks.len()];
    let mut work = vec![Block(0)];
    while let Some(block) = work.pop() {
        if !std::mem::replace(&mut seen[block.index()], true) {
            work.extend(func.blocks[block.index()].term.targets().map(|to| to.block));
        }
    }
    seen
}

/// Removes blocks that nothing leads to, and parameters that carry one value only; was there any?
pub(crate) fn tidy(func: &mut Func, reachable: &[bool]) -> bool {
    let all = !reachable.contains(&false);
    if !all {
        keep_blocks(func, reachable);
    }
    prune_params(func) || !all
}

/// Removes the other blocks; those that stay are numbered anew.
fn keep_blocks(func: &mut Func, keep: &[bool]) {
    let mut kept = 0;
    let number = |keep: &bool| {
        kept += usize::from(*keep);
        Block::of(kept.saturating_sub(1))
    };
    let new: Vec<Block> = keep.iter().map(number).collect();
    let mut keep = keep.iter();
    func.blocks.retain(|_| keep.next().is_some_and(|keep| *keep));
    for target in func.blocks.iter_mut().flat_map(|block| block.term.targets_mut()) {
        target.block = new[target.block.index()];
    }
}

/// What a parameter gets on the ways in, besides itself.
#[derive(Clone, Copy, PartialEq)]
enum Gets {
    Nothing,
    One(Value),
    Many,
}

/// Replaces every parameter that gets one value on all ways in (besides itself) by that value; was there any?
fn prune_params(func: &mut Func) -> bool {
    if func.blocks.iter().skip(1).all(|block| block.params.is_empty()) {
        return false;
    }
    let mut same: Vec<Value> = (0..func.values.len()).map(Value::of).collect();
    let mut changed = false;
    while prune_once(func, &mut same) {
        changed = true;
    }
    if changed {
        replace_all(func, |v| find(&same, v));
    }
    changed
}

/// What a value was replaced by, in the end.
pub(crate) fn find(same: &[Value], mut v: Value) -> Value {
    while same[v.index()] != v {
        v = same[v.index()];
    }
    v
}

fn prune_once(func: &mut Func, same: &mut [Value]) -> bool {
    let gets = incoming(func, same);
    let mut changed = false;
    for (index, gets) in gets.iter().enumerate().skip(1) {
        for (place, gets) in gets.iter().enumerate().rev() {
            let Gets::One(value) = *gets else { continue };
            let param = func.blocks[index].params[place];
            if find(same, value) == param || !fits(func.ty(value), func.ty(param)) {
                continue;
            }
            same[param.index()] = value;
            remove_param(func, Block::of(index), place);
            changed = true;
        }
    }
    changed
}

/// What each parameter of each block gets.
fn incoming(func: &Func, same: &[Value]) -> Vec<Vec<Gets>> {
    let mut gets: Vec<Vec<Gets>> = func.blocks.iter().map(|b| vec![Gets::Nothing; b.params.len()]).collect();
    for target in func.blocks.iter().flat_map(|block| block.term.targets()) {
        let to = target.block.index();
        for (place, (arg, param)) in target.args.iter().zip(&func.blocks[to].params).enumerate() {
            let arg = find(same, *arg);
            let cell = &mut gets[to][place];
            *cell = match *cell {
                _ if arg == *param => *cell,
                Gets::Nothing => Gets::One(arg),
                Gets::One(old) if old == arg => Gets::One(arg),
                Gets::One(_) | Gets::Many => Gets::Many,
            };
        }
    }
    gets
}

/// Removes a parameter of a block, and what each way in hands over for it.
pub(crate) fn remove_param(func: &mut Func, block: Block, place: usize) {
    func.blocks[block.index()].params.remove(place);
    for data in &mut func.blocks {
        for target in data.term.targets_mut() {
            if target.block == block {
                target.args.remove(place);
            }
        }
    }
}

/// Puts `f(v)` in the place of every operand `v`.
pub(crate) fn replace_all(func: &mut Func, f: impl Fn(Value) -> Value) {
    for block in &mut func.blocks {
        for inst in &mut block.insts {
            inst.op.operands_mut(|v| *v = f(*v));
        }
        block.term.operands_mut(|v| *v = f(*v));
    }
}

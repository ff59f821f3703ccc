//! Stage: the intermediate representation. Order of blocks, ways in, and which block every path to another goes through.
//!
//! Input: a [`Func`]. Output: [`Dominators`], by the algorithm of Cooper, Harvey and Kennedy (2001). Next: `verify.rs`.

use super::func::Func;
use super::types::Block;

/// Ways in, reverse postorder and dominators of a function.
#[derive(Clone, Debug)]
pub(crate) struct Dominators {
    /// Blocks in reverse postorder: definitions before uses, but for loops.
    pub(crate) order: Vec<Block>,
    /// Ways into each block.
    pub(crate) preds: Vec<Vec<Block>>,
    /// Place in `order`; `usize::MAX` where nothing leads to.
    rank: Vec<usize>,
    /// Immediate dominator by rank.
    idom: Vec<usize>,
}

impl Dominators {
    pub(crate) fn of(func: &Func) -> Self {
        let order = reverse_postorder(func);
        let mut rank = vec![usize::MAX; func.blocks.len()];
        for (i, block) in order.iter().enumerate() {
            rank[block.index()] = i;
        }
        let mut preds = vec![Vec::new(); func.blocks.len()];
        for block in &order {
            for target in func.blocks[block.index()].term.targets() {
                preds[target.block.index()].push(*block);
            }
        }
        let mut this = Self { idom: vec![usize::MAX; order.len()], order, preds, rank };
        this.solve();
        this
    }

    fn solve(&mut self) {
        self.idom[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for i in 1..self.order.len() {
                let mut new = usize::MAX;
                for pred in &self.preds[self.order[i].index()] {
                    let pred = self.rank[pred.index()];
                    if self.idom[pred] != usize::MAX {
                        new = if new == usize::MAX { pred } else { self.meet(new, pred) };
                    }
                }
                changed |= self.idom[i] != new;
                self.idom[i] = new;
            }
        }
    }

    fn meet(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            while a > b {
                a = self.idom[a];
            }
            while b > a {
                b = self.idom[b];
            }
        }
        a
    }

    /// Does anything lead to the block?
    pub(crate) fn reaches(&self, block: Block) -> bool {
        self.rank[block.index()] != usize::MAX
    }

    /// Does the way from `a` to `b` lead to a block that stands in the order before `a`, or to itself?
    pub(crate) fn leads_back(&self, a: Block, b: Block) -> bool {
        self.rank[b.index()] <= self.rank[a.index()]
    }

    /// Does every path to `b` go through `a`? A block dominates itself.
    pub(crate) fn dominates(&self, a: Block, b: Block) -> bool {
        let (a, mut b) = (self.rank[a.index()], self.rank[b.index()]);
        if a == usize::MAX || b == usize::MAX {
            return false;
        }
        while b > a {
            b = self.idom[b];
        }
        a == b
    }
}

/// Blocks that are reached, each before those it leads to, but for loops.
fn reverse_postorder(func: &Func) -> Vec<Block> {
    let mut seen = vec![false; func.blocks.len()];
    let mut order = Vec::with_capacity(func.blocks.len());
    let mut stack = vec![(Block(0), 0)];
    seen[0] = true;
    while let Some((block, edge)) = stack.pop() {
        match func.blocks[block.index()].term.targets().nth(edge) {
            None => order.push(block),
            Some(target) => {
                stack.push((block, edge + 1));
                let to = target.block;
                if to.index() < seen.len() && !std::mem::replace(&mut seen[to.index()], true) {
                    stack.push((to, 0));
                }
            }
        }
    }
    order.reverse();
    order
}

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
    /// Where the ways into each block start in `ways`, and where the last ones end.
    starts: Vec<usize>,
    /// The blocks that lead to the first block, to the second, and so on.
    ways: Vec<Block>,
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
        let (starts, ways) = ways_in(func, &order);
        let mut this = Self { idom: vec![usize::MAX; order.len()], order, starts, ways, rank };
        this.solve();
        this
    }

    /// The blocks that lead to this one, once for each way.
    pub(crate) fn preds(&self, block: Block) -> &[Block] {
        &self.ways[self.starts[block.index()]..self.starts[block.index() + 1]]
    }

    fn solve(&mut self) {
        self.idom[0] = 0;
        // Without loops all that lead to a block stand before it, and once is enough.
        let mut loops = false;
        let mut changed = true;
        while changed {
            changed = false;
            for i in 1..self.order.len() {
                let mut new = usize::MAX;
                for pred in self.preds(self.order[i]) {
                    let pred = self.rank[pred.index()];
                    if self.idom[pred] == usize::MAX {
                        loops = true;
                    } else {
                        new = if new == usize::MAX { pred } else { self.meet(new, pred) };
                    }
                }
                changed |= loops && self.idom[i] != new;
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

/// The ways into each block, in the order of the blocks that they come from: where those of each block start, and all of them.
fn ways_in(func: &Func, order: &[Block]) -> (Vec<usize>, Vec<Block>) {
    let targets = |from: &Block| func.blocks[from.index()].term.targets().map(|to| to.block.index());
    let mut starts = vec![0; func.blocks.len() + 1];
    order.iter().flat_map(targets).for_each(|to| starts[to + 1] += 1);
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let mut ways = vec![Block(0); starts[func.blocks.len()]];
    let mut next = starts.clone();
    for from in order {
        for to in targets(from) {
            ways[next[to]] = *from;
            next[to] += 1;
        }
    }
    (starts, ways)
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

//! Stage: code generation. The interference graph, and how it is taken apart.
//!
//! Input: a machine function and what is live at the ends of its blocks. Output: nodes on a stack, in the order in which
//! they were removed, with copies' ends made one where that is safe. Next: `color.rs`.

use std::collections::BTreeSet;

use super::super::liveness::{RegSet, before_term, machine_regs, step_back};
use super::super::mir::{COLORS, FP, MBlock, Machine, Role, VReg};

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the machine's, or not in the code at all.
    Fixed,
    /// Few neighbours, no copies: can be removed.
    Simplify,
    /// Few neighbours, but an end of a copy.
    Freeze,
    /// Many neighbours.
    Spill,
    /// Removed.
    Stacked,
    /// Made one with another.
    Joined,
}

/// A copy, and how often it is thought to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) dst: VReg,
    pub(super) src: VReg,
    weight: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be looked at.
    Ready,
    /// Not possible yet.
    Waiting,
    /// Done with.
    Done,
}

pub(super) struct Graph {
    pub(super) allowed: u16,
    /// Colours there are.
    limit: u32,
    matrix: Vec<RegSet>,
    pub(super) neighbors: Vec<Vec<VReg>>,
    degree: Vec<u32>,
    pub(super) place: Vec<Place>,
    /// What a node was made one with.
    alias: Vec<VReg>,
    pub(super) copies: Vec<Copy>,
    /// Copies that a node is an end of.
    pub(super) ends: Vec<Vec<usize>>,
    cost: Vec<u64>,
    simplify: RegSet,
    freeze: RegSet,
    spill: RegSet,
    /// Copies that are ready, heaviest first.
    ready: BTreeSet<(u64, usize)>,
    pub(super) stack: Vec<VReg>,
}

impl Graph {
    pub(super) fn build(machine: &Machine, live_out: &[RegSet], allowed: u16, temporaries: &[VReg]) -> Self {
        let count = machine.regs as usize;
        let mut graph = Self {
            allowed,
            limit: allowed.count_ones(),
            matrix: vec![RegSet::new(machine.regs); count],
            neighbors: vec![Vec::new(); count],
            degree: vec![0; count],
            place: vec![Place::Fixed; count],
            alias: (0..machine.regs).map(VReg).collect(),
            copies: Vec::new(),
            ends: vec![Vec::new(); count],
            cost: vec![0; count],
            simplify: RegSet::new(machine.regs),
            freeze: RegSet::new(machine.regs),
            spill: RegSet::new(machine.regs),
            ready: BTreeSet::new(),
            stack: Vec::new(),
        };
        for (block, live) in machine.blocks.iter().zip(live_out) {
            graph.add_block(block, live.clone());
        }
        for temporary in temporaries {
            graph.cost[temporary.index()] = u64::MAX;
        }
        graph.sort_out();
        graph
    }

    /// Adds what one block says, backward.
    fn add_block(&mut self, block: &MBlock, mut live: RegSet) {
        let (mut defs, mut others): (Vec<VReg>, Vec<VReg>) = Default::default();
        let weight = 10u64.pow(block.depth.min(6));
        before_term(block, &mut live);
        block.term.regs(|reg| self.touched(reg, weight));
        for inst in block.insts.iter().rev() {
            if let Some((dst, src)) = inst.op.as_move()
                && src != FP
            {
                live.remove(src);
                self.add_copy(dst, src, weight);
            }
            let (_, writes) = inst.op.fixed();
            defs.clear();
            defs.extend(machine_regs(writes));
            inst.op.regs(|reg, role| {
                self.touched(reg, weight);
                if role != Role::Use {
                    defs.push(reg);
                }
            });
            for def in &defs {
                live.insert(*def);
            }
            for def in &defs {
                others.clear();
                others.extend(live.but(&self.matrix[def.index()]));
                others.iter().for_each(|other| self.add_edge(*def, *other));
            }
            step_back(inst, &mut live);
        }
    }

    fn touched(&mut self, reg: VReg, weight: u64) {
        self.cost[reg.index()] = self.cost[reg.index()].saturating_add(weight);
        if !reg.is_machine() {
            self.place[reg.index()] = Place::Spill;
        }
    }

    fn add_copy(&mut self, dst: VReg, src: VReg, weight: u64) {
        self.copies.push(Copy { dst, src, weight, state: State::Ready });
        for end in [dst, src] {
            self.ends[end.index()].push(self.copies.len() - 1);
        }
    }

    /// Is it one of the machine's registers that may not be given out?
    fn is_foreign(&self, reg: VReg) -> bool {
        reg.is_machine() && (reg.index() >= COLORS || self.allowed >> reg.0 & 1 == 0)
    }

    fn add_edge(&mut self, a: VReg, b: VReg) {
        if a == b || self.is_foreign(a) || self.is_foreign(b) || !self.matrix[a.index()].insert(b) {
            return;
        }
        self.matrix[b.index()].insert(a);
        for (one, other) in [(a, b), (b, a)] {
            if !one.is_machine() {
                self.neighbors[one.index()].push(other);
                self.degree[one.index()] += 1;
            }
        }
    }

    /// The first lists.
    fn sort_out(&mut self) {
        for index in 0..self.place.len() {
            if self.place[index] == Place::Spill {
                self.enlist(VReg(u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        self.ready = (0..self.copies.len()).map(|i| (u64::MAX - self.copies[i].weight, i)).collect();
    }

    /// Puts a node into the list it belongs to.
    fn enlist(&mut self, node: VReg) {
        self.simplify.remove(node);
        self.freeze.remove(node);
        self.spill.remove(node);
        let place = if self.degree[node.index()] >= self.limit {
            Place::Spill
        } else if self.has_copies(node) {
            Place::Freeze
        } else {
            Place::Simplify
        };
        self.place[node.index()] = place;
        match place {
            Place::Spill => self.spill.insert(node),
            Place::Freeze => self.freeze.insert(node),
            _ => self.simplify.insert(node),
        };
    }

    fn has_copies(&self, node: VReg) -> bool {
        self.ends[node.index()].iter().any(|copy| self.copies[*copy].state != State::Done)
    }

    /// What a node has been made one with.
    pub(super) fn find(&self, mut node: VReg) -> VReg {
        while self.alias[node.index()] != node {
            node = self.alias[node.index()];
        }
        node
    }

    /// The neighbours that are still in the graph.
    fn adjacent(&self, node: VReg) -> impl Iterator<Item = VReg> {
        self.neighbors[node.index()].iter().copied().filter(|n| self.is_there(*n))
    }

    fn is_there(&self, node: VReg) -> bool {
        !matches!(self.place[node.index()], Place::Stacked | Place::Joined)
    }

    /// Does `f` with each neighbour that is still in the graph. Only the node's own neighbours may not change.
    fn each_adjacent(&mut self, node: VReg, mut f: impl FnMut(&mut Self, VReg)) {
        let neighbors = std::mem::take(&mut self.neighbors[node.index()]);
        for neighbor in &neighbors {
            if self.is_there(*neighbor) {
                f(self, *neighbor);
            }
        }
        self.neighbors[node.index()] = neighbors;
    }

    /// Takes the graph apart.
    pub(super) fn reduce(&mut self) {
        loop {
            if let Some(node) = self.simplify.pop_first() {
                self.remove(node);
            } else if let Some((_, copy)) = self.ready.pop_first() {
                self.coalesce(copy);
            } else if let Some(node) = self.freeze.first() {
                self.give_up_copies(node);
            } else if let Some(node) = self.cheapest() {
                self.give_up_copies(node);
                self.simplify.remove(node);
                self.spill.remove(node);
                self.remove(node);
            } else {
                return;
            }
        }
    }

    /// The node whose spilling costs least: few uses outside of loops, many neighbours.
    fn cheapest(&self) -> Option<VReg> {
        let price = |node: &VReg| match self.cost[node.index()] {
            u64::MAX => u64::MAX,
            cost => cost.saturating_mul(1000) / u64::from(self.degree[node.index()].max(1)),
        };
        self.spill.iter().min_by_key(|node| (price(node), *node))
    }

    fn remove(&mut self, node: VReg) {
        self.place[node.index()] = Place::Stacked;
        self.stack.push(node);
        self.each_adjacent(node, Self::lose_neighbor);
    }

    fn lose_neighbor(&mut self, node: VReg) {
        if node.is_machine() {
            return;
        }
        self.degree[node.index()] -= 1;
        if self.degree[node.index()] + 1 == self.limit {
            self.wake(node);
            self.each_adjacent(node, Self::wake);
            self.enlist(node);
        }
    }

    /// Copies of a node may have become possible.
    fn wake(&mut self, node: VReg) {
        for copy in &self.ends[node.index()] {
            if self.copies[*copy].state == State::Waiting {
                self.copies[*copy].state = State::Ready;
                self.ready.insert((u64::MAX - self.copies[*copy].weight, *copy));
            }
        }
    }

    fn coalesce(&mut self, copy: usize) {
        let Copy { dst, src, .. } = self.copies[copy];
        let (a, b) = (self.find(dst), self.find(src));
        let (keep, join) = if b.is_machine() { (b, a) } else { (a, b) };
        if keep == join {
            self.copies[copy].state = State::Done;
        } else if join.is_machine() || self.matrix[keep.index()].contains(join) || self.is_foreign(keep) {
            self.copies[copy].state = State::Done;
            self.relist(join);
        } else if self.is_safe(keep, join) {
            self.copies[copy].state = State::Done;
            self.unite(keep, join);
        } else {
            self.copies[copy].state = State::Waiting;
            return;
        }
        self.relist(keep);
    }

    /// A node that is an end of no copy any more can be removed.
    fn relist(&mut self, node: VReg) {
        if self.place[node.index()] == Place::Freeze {
            self.enlist(node);
        }
    }

    /// Can two nodes be made one without making the graph harder to colour? George's test against one of the machine's
    /// registers, Briggs' test else.
    fn is_safe(&self, keep: VReg, join: VReg) -> bool {
        let high = |n: &VReg| n.is_machine() || self.degree[n.index()] >= self.limit;
        if keep.is_machine() {
            return self.adjacent(join).all(|n| !high(&n) || n.is_machine() || self.matrix[n.index()].contains(keep));
        }
        // A neighbour of both will have one neighbour less.
        let still_high = |n: &VReg| {
            let shared = self.matrix[keep.index()].contains(*n) && self.matrix[join.index()].contains(*n);
            n.is_machine() || self.degree[n.index()] - u32::from(shared) >= self.limit
        };
        let others = self.adjacent(join).filter(|n| !self.matrix[keep.index()].contains(*n));
        self.adjacent(keep).chain(others).filter(still_high).count() < self.limit as usize
    }

    fn unite(&mut self, keep: VReg, join: VReg) {
        self.freeze.remove(join);
        self.spill.remove(join);
        self.place[join.index()] = Place::Joined;
        self.alias[join.index()] = keep;
        let ends = std::mem::take(&mut self.ends[join.index()]);
        self.ends[keep.index()].extend(ends);
        self.cost[keep.index()] = self.cost[keep.index()].saturating_add(self.cost[join.index()]);
        self.wake(keep);
        self.each_adjacent(join, |graph, neighbor| {
            graph.add_edge(neighbor, keep);
            graph.lose_neighbor(neighbor);
        });
        if self.place[keep.index()] == Place::Freeze && self.degree[keep.index()] >= self.limit {
            self.enlist(keep);
        }
    }

    /// Leaves a node's copies as they are.
    fn give_up_copies(&mut self, node: VReg) {
        for copy in self.ends[node.index()].clone() {
            if self.copies[copy].state == State::Done {
                continue;
            }
            self.copies[copy].state = State::Done;
            self.ready.remove(&(u64::MAX - self.copies[copy].weight, copy));
            let (dst, src) = (self.find(self.copies[copy].dst), self.find(self.copies[copy].src));
            let other = if dst == self.find(node) { src } else { dst };
            if !self.has_copies(other) {
                self.relist(other);
            }
        }
        self.relist(node);
    }
}

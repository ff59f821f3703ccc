//! Stage: code generation. Colours for the nodes of the graph, in the reverse order of their removal.
//!
//! Input: a graph taken apart. Output: [`Colors`]. Registers that calls destroy are taken first: the kernel saves `r6`–`r9`
//! only in functions that use them. Next: `../spill.rs`.

use super::super::mir::{COLORS, VReg};
use super::graph::{Graph, Place};

/// What became of the nodes.
pub(super) struct Colors {
    /// The machine register of each register.
    pub(super) of: Vec<u32>,
    /// Those that found none: each group shares one place on the stack.
    pub(super) spilled: Vec<Vec<VReg>>,
}

impl Graph {
    /// Gives out colours.
    pub(super) fn color(&mut self) -> Colors {
        let count = self.place.len();
        let mut of: Vec<Option<u32>> =
            (0..u32::try_from(count).unwrap_or(u32::MAX)).map(|reg| VReg(reg).is_machine().then_some(reg)).collect();
        let mut failed = Vec::new();
        for node in std::mem::take(&mut self.stack).into_iter().rev() {
            match self.pick(node, &of) {
                Some(color) => of[node.index()] = Some(color),
                None => failed.push(node),
            }
        }
        let mut spilled: Vec<Vec<VReg>> = failed.iter().map(|node| vec![*node]).collect();
        for index in 0..count {
            let node = VReg(u32::try_from(index).unwrap_or(u32::MAX));
            if self.place[index] == Place::Joined {
                let root = self.find(node);
                of[index] = of[root.index()];
                if let Some(group) = failed.iter().position(|f| *f == root) {
                    spilled[group].push(node);
                }
            }
        }
        Colors { of: of.into_iter().map(|color| color.unwrap_or(0)).collect(), spilled }
    }

    fn pick(&self, node: VReg, of: &[Option<u32>]) -> Option<u32> {
        let mut free = u32::from(self.allowed);
        for neighbor in &self.neighbors[node.index()] {
            if let Some(color) = of[self.find(*neighbor).index()] {
                free &= !(1 << color);
            }
        }
        let hint = self.ends[node.index()].iter().find_map(|copy| {
            let copy = &self.copies[*copy];
            let (dst, src) = (self.find(copy.dst), self.find(copy.src));
            let other = if dst == node { src } else { dst };
            of[other.index()].filter(|color| free >> color & 1 == 1)
        });
        let first = || (0..u32::try_from(COLORS).unwrap_or(0)).find(|color| free >> color & 1 == 1);
        hint.or_else(first)
    }
}

//! Stage: code generation. The order of blocks: as many as can be fall through to the next.
//!
//! Input: a [`Machine`] with registers given out. Output: the same with its blocks in the order of emission; jumps to empty
//! blocks go to where these lead, and of blocks that only hand over the same constants there is one. Next: `emit.rs`.

use super::mir::{MBlock, MInst, MOp, MTerm, Machine, Src};

/// Puts the blocks in order.
pub(super) fn order(machine: &mut Machine) {
    let mut forward = forwards(&machine.blocks);
    let twin = twins(&machine.blocks, &forward);
    forward.iter_mut().for_each(|to| *to = twin[*to]);
    for block in &mut machine.blocks {
        block.term.retarget(|to| forward[to]);
        if let MTerm::If { then, other, .. } = block.term
            && then == other
        {
            block.term = MTerm::Jump(then);
        }
    }
    let order = traces(&machine.blocks, forward[0]);
    let mut place = vec![usize::MAX; machine.blocks.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    let mut blocks: Vec<MBlock> = order.iter().map(|old| machine.blocks[*old].clone()).collect();
    for block in &mut blocks {
        block.term.retarget(|to| place[to]);
    }
    machine.blocks = blocks;
}

/// Where a jump to each block ends up.
fn forwards(blocks: &[MBlock]) -> Vec<usize> {
    let step = |at: usize| match blocks[at].term {
        MTerm::Jump(to) if blocks[at].insts.is_empty() => to,
        _ => at,
    };
    let end = |start: usize| {
        let mut at = start;
        for _ in 0..blocks.len() {
            match step(at) {
                next if next == at => return at,
                next => at = next,
            }
        }
        start
    };
    (0..blocks.len()).map(end).collect()
}

/// The first block that does the same as each: puts constants into registers and goes on. Blocks that do more are not shared,
/// as the verifier may know different things there.
fn twins(blocks: &[MBlock], forward: &[usize]) -> Vec<usize> {
    let only_constants = |block: &MBlock| {
        let constant = |inst: &MInst| matches!(inst.op, MOp::Mov { src: Src::Imm(_), .. });
        matches!(block.term, MTerm::Jump(_)) && block.insts.iter().all(constant)
    };
    let same = |a: &MBlock, b: &MBlock| {
        let (mut x, mut y) = (a.term, b.term);
        x.retarget(|to| forward[to]);
        y.retarget(|to| forward[to]);
        x == y && a.insts.len() == b.insts.len() && a.insts.iter().zip(&b.insts).all(|(a, b)| a.op == b.op)
    };
    let mut firsts: Vec<usize> = Vec::new();
    let mut twins: Vec<usize> = (0..blocks.len()).collect();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| only_constants(block)) {
        match firsts.iter().find(|first| same(&blocks[**first], block)) {
            Some(first) => twins[at] = *first,
            None => firsts.push(at),
        }
    }
    twins
}

/// The blocks in traces: each is followed by one that it leads to, if there is one left.
fn traces(blocks: &[MBlock], first: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(blocks.len());
    let mut placed = vec![false; blocks.len()];
    let mut work = vec![first];
    let ranks = ranks(blocks, first);
    while let Some(start) = work.pop() {
        let mut at = Some(start).filter(|start| !placed[*start]);
        while let Some(block) = at {
            placed[block] = true;
            order.push(block);
            let mut next: Vec<usize> = blocks[block].term.targets().filter(|to| !placed[*to]).collect();
            // The way that goes on stays, the one that leaves is jumped to; a way that comes to the other one goes first.
            next.sort_by_key(|to| (leaves(&blocks[*to]), std::cmp::Reverse(blocks[*to].depth), ranks[*to]));
            at = next.first().copied();
            work.extend(next.into_iter().skip(1));
        }
    }
    order
}

/// Place of each block in reverse postorder: before those it leads to, but for loops.
fn ranks(blocks: &[MBlock], first: usize) -> Vec<usize> {
    let mut ranks = vec![usize::MAX; blocks.len()];
    let mut seen = vec![false; blocks.len()];
    let mut left = blocks.len();
    let mut stack = vec![(first, 0)];
    seen[first] = true;
    while let Some((at, edge)) = stack.pop() {
        match blocks[at].term.targets().nth(edge) {
            None => {
                left -= 1;
                ranks[at] = left;
            }
            Some(to) => {
                stack.push((at, edge + 1));
                if !std::mem::replace(&mut seen[to], true) {
                    stack.push((to, 0));
                }
            }
        }
    }
    ranks
}

/// Does the block leave the function?
fn leaves(block: &MBlock) -> bool {
    block.term == MTerm::Exit
}

/// Notes how many loops each block is in: a block is in the loop of a way back if it is on a path from its target to it.
pub(super) fn depths(machine: &mut Machine) {
    let count = machine.blocks.len();
    let mut preds = vec![Vec::new(); count];
    for (i, block) in machine.blocks.iter().enumerate() {
        block.term.targets().for_each(|to| preds[to].push(i));
    }
    for (head, tails) in ways_back(&machine.blocks) {
        let mut inside = vec![false; count];
        inside[head] = true;
        let mut work = tails;
        while let Some(at) = work.pop() {
            if !std::mem::replace(&mut inside[at], true) {
                work.extend(&preds[at]);
            }
        }
        for (block, inside) in machine.blocks.iter_mut().zip(inside) {
            block.depth += u32::from(inside);
        }
    }
}

/// Targets of ways back, by depth-first search, and where these come from.
fn ways_back(blocks: &[MBlock]) -> Vec<(usize, Vec<usize>)> {
    let mut found: Vec<(usize, Vec<usize>)> = Vec::new();
    // 0: not seen, 1: on the path, 2: done.
    let mut state = vec![0u8; blocks.len()];
    let mut stack = vec![(0, 0)];
    state[0] = 1;
    while let Some((at, edge)) = stack.pop() {
        let Some(to) = blocks[at].term.targets().nth(edge) else {
            state[at] = 2;
            continue;
        };
        stack.push((at, edge + 1));
        match state[to] {
            0 => {
                state[to] = 1;
                stack.push((to, 0));
            }
            1 => match found.iter_mut().find(|(head, _)| *head == to) {
                Some((_, tails)) => tails.push(at),
                None => found.push((to, vec![at])),
            },
            _ => {}
        }
    }
    found
}

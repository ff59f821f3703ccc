//! Stage: code generation. Several copies at once, as copies one after another.
//!
//! Input: pairs of registers, all read before any is written. Output: single copies in an order that does the same; a
//! cycle takes one more register. Next: `liveness.rs`.

use super::mir::VReg;

/// The copies `(dst, src)` in an order in which no copy destroys what a later one reads; `fresh` makes a register.
pub(super) fn sequential(mut pairs: Vec<(VReg, VReg)>, mut fresh: impl FnMut() -> VReg) -> Vec<(VReg, VReg)> {
    pairs.retain(|(dst, src)| dst != src);
    let mut out = Vec::with_capacity(pairs.len());
    while !pairs.is_empty() {
        let free = (0..pairs.len()).find(|i| pairs.iter().all(|(_, src)| *src != pairs[*i].0));
        match free {
            Some(i) => out.push(pairs.swap_remove(i)),
            None => {
                // Every destination is still read: only cycles are left. Park one.
                let (dst, _) = pairs[0];
                let parked = fresh();
                out.push((parked, dst));
                for (_, src) in &mut pairs {
                    if *src == dst {
                        *src = parked;
                    }
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Runs copies on registers that start as their own numbers.
    fn run(copies: &[(VReg, VReg)]) -> HashMap<u32, u32> {
        let mut regs: HashMap<u32, u32> = HashMap::new();
        for (dst, src) in copies {
            let value = regs.get(&src.0).copied().unwrap_or(src.0);
            regs.insert(dst.0, value);
        }
        regs
    }

    #[test]
    fn every_permutation_and_fan_of_four_is_right() {
        for code in 0..4u32.pow(4) {
            let pairs: Vec<_> = (0..4).map(|i| (VReg(11 + i), VReg(11 + code / 4u32.pow(i) % 4))).collect();
            let mut next = 100;
            let copies = sequential(pairs.clone(), || {
                next += 1;
                VReg(next)
            });
            let regs = run(&copies);
            for (dst, src) in pairs {
                assert_eq!(regs.get(&dst.0).copied().unwrap_or(dst.0), src.0, "{code}: {copies:?}");
            }
        }
    }
}

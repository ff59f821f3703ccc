//! The seed of every random test of a run: the same one each time, so that a red run is red again when repeated.
//!
//! In: the environment. Out: a variable for `cargo test` and for guests. Next to read: `steps.rs`.

use std::env;

/// The variable that proptest reads: a decimal `u64`.
pub const VARIABLE: &str = "PROPTEST_RNG_SEED";

/// The seed where the environment names none.
const FIXED: &str = "1";

/// The seed of this run: the caller's own, to look for what the fixed one does not find, else the fixed one.
pub fn of_run() -> String {
    env::var(VARIABLE).unwrap_or_else(|_| FIXED.to_owned())
}

/// The seed of a run on one kernel, which follows from the kernel's name: each kernel looks at other random programs, and
/// at the same ones in each run.
pub fn of_kernel(run: &str, kernel: &str) -> String {
    let Ok(run) = run.parse::<u64>() else { return run.to_owned() };
    let name = kernel.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    // A campaign counts its batches up from the seed.
    run.wrapping_add(name.wrapping_mul(10_000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_has_a_seed_of_its_own_each_time() {
        let seeds = ["5.10", "6.1", "6.12", "6.18", "7"].map(|kernel| of_kernel("1", kernel));
        assert_eq!(seeds, ["5.10", "6.1", "6.12", "6.18", "7"].map(|kernel| of_kernel("1", kernel)));
        assert!((1..5).all(|n| !seeds[..n].contains(&seeds[n])), "{seeds:?}");
        assert_eq!(of_kernel("no number", "6.1"), "no number", "proptest complains of it in its own words");
    }
}

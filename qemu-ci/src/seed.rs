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

//! Connections of TCP for tests that judge what is done to them: two ends in one process, conversations by chance of which every byte is
//! checked, a storm of closes, and what the kernel says it spends on all of it.
//!
//! Stage: test support, of tests that load the programs themselves (`progs/tests/live`) and of those that run the command
//! (`loader/cli/tests/kernel`). Input: a network namespace with loopback up. Output: a judgement. What does not go as in TCP is a panic
//! that says which connection it was, because that is what a test wants. Next file to read: `pair.rs`, then `soak.rs`.
#![forbid(unsafe_code)]

mod chance;
pub mod pair;
mod script;
pub mod soak;
pub mod stat;
pub mod storm;
pub mod tally;

use std::time::Duration;

/// Long enough that nothing but a stalled stream takes it.
pub const LONG: Duration = Duration::from_secs(10);

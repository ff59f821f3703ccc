//! Process 1 of a test guest, as a program of its own: small, for guests that run other people's programs.
//!
//! In and out: see `process.rs`, next to read.
#![forbid(unsafe_code)]

fn main() {
    guest_init::process::main();
}

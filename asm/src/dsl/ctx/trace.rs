//! Tracing: programs that run where the kernel is, and see what it has in its hands.
//!
//! Stage: contexts. Output: arguments as numbers. Read next: `../call.rs`.

use super::{contexts, word};
use crate::dsl::value::Val;

contexts! {
    /// The context of `kprobe` programs: the registers of x86-64 as they stood. C: `struct pt_regs`, Linux 4.1.
    Kprobe -> u32 {}
    /// The context of `tracepoint` programs: the tracepoint's record. Linux 4.7.
    Tracepoint -> u32 {}
    /// The context of `fentry` and `fexit` programs: the function's arguments, then its result. Linux 5.5.
    Fentry -> u32 {}
}

/// Where the registers that hold a function's first six arguments lie in x86-64's `struct pt_regs`.
const ARGUMENTS: [i32; 6] = [112, 104, 96, 88, 72, 64];

impl Kprobe {
    /// Argument number `N` of the function, from 0; of six.
    #[track_caller]
    pub fn arg<const N: usize>(&self) -> Val<u64> {
        const { assert!(N < ARGUMENTS.len(), "a function has six arguments in registers") };
        word(self, ARGUMENTS[N])
    }
}

impl Tracepoint {
    /// The number of 8 bytes at an offset of the record: `/sys/kernel/tracing/events/*/format` tells the offsets.
    #[track_caller]
    pub fn word<const OFFSET: i32>(&self) -> Val<u64> {
        word(self, OFFSET)
    }
}

impl Fentry {
    /// Argument number `N` of the function, from 0, as a number.
    #[track_caller]
    pub fn arg<const N: i32>(&self) -> Val<u64> {
        word(self, N * 8)
    }
}

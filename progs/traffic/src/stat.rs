//! What the kernel says it spends on TCP.
//!
//! Stage: test support. Input: `/proc/net/sockstat` of the thread's namespace. Output: numbers, before and after. Next file to read: `lib.rs`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::LONG;

/// A number of the row `TCP:`. `inuse` is of this namespace, `alloc` and `mem`, which is in pages, of all of them.
#[must_use]
pub fn sockstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat").expect("procfs");
    let row = text.lines().find(|line| line.starts_with("TCP:")).expect("there is TCP");
    let words: Vec<&str> = row.split(' ').collect();
    let at = words.iter().position(|word| *word == name).expect("a column");
    words[at + 1].parse().expect("a number")
}

/// What is spent at one time.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Sockets of this namespace.
    inuse: u64,
    /// Sockets that have memory, also such as nobody has open.
    alloc: u64,
    /// Pages of buffers.
    mem: u64,
}

/// Sockets, and pages, that others on this machine may take meanwhile.
const OTHERS: u64 = 512;

impl Spent {
    /// What is spent now.
    #[must_use]
    pub fn now() -> Self {
        Self { inuse: sockstat("inuse"), alloc: sockstat("alloc"), mem: sockstat("mem") }
    }

    /// Waits until it is not more than this again.
    pub fn given_back(self) {
        let begun = Instant::now();
        loop {
            let now = Self::now();
            if now.inuse <= self.inuse && now.alloc <= self.alloc + OTHERS && now.mem <= self.mem + OTHERS {
                return;
            }
            assert!(begun.elapsed() < LONG, "{now:?}, and before {self:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

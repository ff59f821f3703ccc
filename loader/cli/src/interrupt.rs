//! ^C: the first one asks, the second one insists.
//!
//! Input: SIGINT, SIGTERM and SIGHUP. Output: a flag that `up` looks at between its steps, so that a step is never left half done.
//! Read next: `up.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// Sets the flag when the user wants to stop. Call before any other thread is made: they inherit the blocked signals.
///
/// # Errors
/// When the signals cannot be blocked.
pub(crate) fn watch() -> Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block SIGINT")?;
    let flag = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&flag);
    // Nobody waits for this thread: it ends with the process.
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            if asked.swap(true, Ordering::Relaxed) {
                std::process::exit(1); // the next `up` or `down` clears what this leaves
            }
        }
    });
    Ok(flag)
}

//! What host and guest say to each other: a [`Plan`] goes in with the initramfs, [`Line`]s come out of a
//! serial port of their own.
//!
//! The guest half is process 1 (`process.rs`); the host half is `qemu-ci`'s `console.rs`. Both are built from this file, so
//! they cannot drift apart. Next to read: `process.rs`.
#![forbid(unsafe_code)]

mod batch;
mod item;
mod kmsg;
mod mounts;
mod port;
pub mod process;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the initramfs carries the [`Plan`], as JSON.
pub const PLAN_PATH: &str = "/plan.json";

/// Where the initramfs carries process 1, and what it is called as: a kernel starts this without being told.
pub const INIT_PATH: &str = "/init";

/// The most bytes of an item's output that one [`Event::End`] carries when the item does not say; of a longer output the
/// middle is left out.
pub const DETAIL_LIMIT: usize = 16 * 1024;

/// Everything the guest has to do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Drawn anew for each boot and repeated in each line, so that a line of another run can never be taken for ours.
    pub nonce: String,
    /// The device on which [`Line`]s leave, which differs between machines.
    pub port: String,
    /// Environment of every command.
    pub env: BTreeMap<String, String>,
    /// The tests.
    pub items: Vec<Item>,
    /// Given for an interactive guest: this command gets the console instead of the items being run.
    pub shell: Option<Vec<String>>,
}

/// One test: its commands run one after the other in one set of namespaces and one cgroup, until one fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// As the report shows it, for example `netlink::live addr::adds_and_lists`.
    pub name: String,
    /// Argument vectors; the first element is an absolute path in the guest.
    pub commands: Vec<Vec<String>>,
    /// Working directory in the guest.
    pub cwd: String,
    /// Guest milliseconds for all commands together.
    pub timeout_ms: u64,
    /// Environment beside the plan's.
    pub env: BTreeMap<String, String>,
    /// Module files to insert before, dependencies first. A module already inserted is left alone.
    pub modules: Vec<String>,
    /// True: it stays in the guest's own network, where the machine's network cards are, in place of an empty one.
    #[serde(default)]
    pub machine_network: bool,
    /// The name by which the command chooses one test of Rust's test runner. Neighbours that differ in nothing else are run in
    /// one process, one after the other.
    #[serde(default)]
    pub test: Option<String>,
    /// Bytes of output to report, in place of [`DETAIL_LIMIT`]. The port takes 0.6 MB a second.
    pub output_limit: Option<usize>,
}

/// One line of the result stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// [`Plan::nonce`].
    pub nonce: String,
    /// Counts up from 0, so a lost line is noticed.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a [`Line`] reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Process 1 runs; nothing has been tested yet.
    Hello {
        /// `uname -r`.
        release: String,
        /// `MemAvailable`, in KiB.
        memory_kb: u64,
        /// Kernel complaints before the first test; empty when the boot was clean.
        splat: String,
    },
    /// The item with this index begins.
    Start {
        /// Index into [`Plan::items`].
        item: usize,
    },
    /// The item with this index has ended.
    End {
        /// Index into [`Plan::items`].
        item: usize,
        /// How it ended.
        status: Status,
        /// Guest milliseconds it took. A guest's clock may run fast on a loaded host: a hint, not a measurement.
        ms: u64,
        /// Its output, shortened in the middle.
        detail: String,
        /// What the kernel complained about meanwhile; empty when it did not.
        splat: String,
    },
    /// All items have been reported; nothing follows. Without this line a guest has not ended well, whatever QEMU's exit
    /// status: that is 0 after a panic too.
    Bye {
        /// How many [`Event::End`] lines were sent.
        ended: usize,
    },
}

/// How an item ended, as the guest sees it. What it is worth on this kernel is judged by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Every command exited with 0.
    Pass,
    /// A command failed, or could not be run.
    Fail,
    /// Killed because its time was over.
    Timeout,
}

/// Words by which the kernel reports a defect of its own. Case matters.
const SPLATS: &[&str] = &[
    "BUG:",
    "WARNING: CPU",
    "WARNING: possible",
    "WARNING: suspicious",
    "WARNING: inconsistent",
    "KASAN:",
    "KCSAN:",
    "UBSAN:",
    "kernel BUG at",
    "Oops:",
    "general protection fault",
    "rcu: INFO:",
    "self-detected stall",
    "detected stalls on CPUs",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "unregister_netdevice: waiting",
    "refcount_t:",
    "Kernel panic",
    "Out of memory:",
];

/// True for a line of the kernel log that reports a defect or the end of the kernel's resources.
pub fn is_splat(line: &str) -> bool {
    let begins_word = |at: usize| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let known = |words: &str| line.match_indices(words).any(|(at, _)| begins_word(at));
    // Newer kernels name the source line first: `WARNING: kernel/bpf/verifier.c:12 at f+0x1/0x2, CPU#0: …`.
    let names_source = || line.split_once("WARNING: ").is_some_and(|(_, rest)| rest.contains(".c:"));
    SPLATS.iter().any(|words| known(words)) || names_source()
}

/// Cuts `text` to about `limit` bytes: a quarter of it from the beginning, the rest from the end, at line or character
/// borders, with a note of how much is missing.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let head = floor(text, limit / 4);
    let tail = floor(text, text.len() - (limit - limit / 4));
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The nearest character border at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splats_are_told_from_ordinary_lines() {
        for (line, want) in [
            ("WARNING: CPU: 0 PID: 71 at kernel/bpf/verifier.c:1 check+0x1/0x2", true),
            ("WARNING: kernel/bpf/verifier.c:12 at f+0x1/0x2, CPU#0: t/71", true),
            ("Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on", false),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", true),
            ("rcu: INFO: rcu_sched self-detected stall on CPU", true),
            ("BUG: KASAN: slab-out-of-bounds in x", true),
            ("veth0: entered promiscuous mode", false),
            ("DEBUG: nothing of ours", false),
            ("process 'x' launched '/bin/y' with NULL argv: empty string added", false),
        ] {
            // "DEBUG:" contains "BUG:", which is why the check looks at the word's beginning.
            assert_eq!(is_splat(line), want, "{line}");
        }
    }

    #[test]
    fn a_line_is_one_json_object() {
        let line = Line { nonce: "n".into(), seq: 3, event: Event::Start { item: 7 } };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, r#"{"nonce":"n","seq":3,"event":"start","item":7}"#);
    }

    proptest! {
        #[test]
        fn lines_come_back_as_they_went(nonce in "[a-f0-9]{8}", seq: u64, item in 0usize..9999, ms: u64, detail: String) {
            let line = Line { nonce, seq, event: Event::End { item, status: Status::Fail, ms, detail, splat: "BUG: x".into() } };
            let text = serde_json::to_string(&line).unwrap();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        }

        #[test]
        fn shortened_text_keeps_both_ends(text: String, limit in 8usize..64) {
            let short = shorten(&text, limit);
            prop_assert!(short.len() <= limit.max(text.len()) + 64);
            let first = text.chars().next();
            prop_assert!(first.is_none_or(|c| c.len_utf8() > limit / 4 || short.starts_with(c)));
            let last = text.chars().last();
            prop_assert!(last.is_none_or(|c| short.ends_with(c)));
        }
    }
}

//! What comes out of a guest, made sense of.
//!
//! In: lines of the result stream, and the console's text afterwards. Out: how each item ended, and how the guest did.
//! Nothing here touches a process, so every way of ending is tested with text. Next to read: `verdicts.rs`.

use std::fmt;
use std::time::Duration;

use guest_init::{Event, Line, Status, is_splat};

/// How the guest as a whole ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It reported everything and said goodbye.
    Done,
    /// Process 1 never said hello.
    Stalled {
        /// How long it was waited for.
        after: Duration,
    },
    /// It said nothing for longer than the running test may take.
    Hung {
        /// How long it was waited for.
        after: Duration,
    },
    /// The kernel panicked; the console's words.
    Panicked(String),
    /// QEMU ended, and nobody knows why.
    Gone(String),
    /// It could not be started or listened to: a full disk, no QEMU, no kernel.
    Broken(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Stalled { after } => write!(f, "boot stalled: no sign of process 1 after {} s", after.as_secs()),
            Self::Hung { after } => write!(f, "guest hung: silent for {} s", after.as_secs()),
            Self::Panicked(words) => write!(f, "kernel panic: {words}"),
            Self::Gone(how) => write!(f, "guest gone before its end: {how}"),
            Self::Broken(why) => write!(f, "guest not run: {why}"),
        }
    }
}

/// How one item ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As the guest reported.
    Reported {
        /// How.
        status: Status,
        /// Guest milliseconds.
        ms: u64,
        /// Output.
        detail: String,
        /// The kernel's complaints meanwhile.
        splat: String,
    },
    /// It had begun when the guest ended.
    Lost,
    /// It had not begun.
    NotRun,
}

/// What the guest said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `uname -r`.
    pub release: String,
    /// Kernel complaints during boot.
    pub splat: String,
}

/// The state of a result stream.
#[derive(Debug)]
pub struct Stream {
    nonce: String,
    next: u64,
    hello: Option<Hello>,
    running: Option<usize>,
    items: Vec<Ended>,
    bye: bool,
    /// What was wrong with the stream itself.
    faults: Vec<String>,
}

impl Stream {
    /// A stream that owes results of so many items.
    pub fn new(nonce: &str, items: usize) -> Self {
        Self {
            nonce: nonce.to_owned(),
            next: 0,
            hello: None,
            running: None,
            items: vec![Ended::NotRun; items],
            bye: false,
            faults: Vec::new(),
        }
    }

    /// Takes one line in.
    pub fn line(&mut self, text: &str) {
        let Ok(line) = serde_json::from_str::<Line>(text) else {
            return self.fault(format!("unreadable line: {}", guest_init::shorten(text, 200)));
        };
        if line.nonce != self.nonce {
            return self.fault(format!("line of another run: {}", line.nonce));
        }
        if line.seq != self.next {
            self.fault(format!("lines {} to {} are lost", self.next, line.seq.saturating_sub(1)));
        }
        self.next = line.seq + 1;
        match line.event {
            Event::Hello { release, splat, .. } => self.hello = Some(Hello { release, splat }),
            Event::Start { item } => {
                self.running = Some(item);
                self.set(item, Ended::Lost);
            }
            Event::End { item, status, ms, detail, splat } => {
                self.running = None;
                self.set(item, Ended::Reported { status, ms, detail, splat });
            }
            Event::Bye { .. } => self.bye = true,
        }
    }

    /// Notes an item's end; an index that is none is a fault.
    fn set(&mut self, item: usize, ended: Ended) {
        match self.items.get_mut(item) {
            Some(slot) => *slot = ended,
            None => self.fault(format!("a line about item {item}, which is not in the plan")),
        }
    }

    /// Notes what is wrong.
    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// What process 1 said first, if it has.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The item that runs now.
    pub fn running(&self) -> Option<usize> {
        self.running
    }

    /// True when a first item has begun: from then on a guest is never started again.
    pub fn has_begun(&self) -> bool {
        self.items.iter().any(|ended| *ended != Ended::NotRun)
    }

    /// True when the guest has said goodbye.
    pub fn is_over(&self) -> bool {
        self.bye
    }

    /// The end: how each item ended, and what was wrong with the stream.
    pub fn finish(self) -> (Vec<Ended>, Vec<String>) {
        (self.items, self.faults)
    }
}

/// Tells how a guest ended that has not said goodbye. QEMU's exit status is 0 after a panic and after a reset, so it says
/// nothing; the console may.
pub fn ending(how: &str, console: &str) -> Ending {
    match panic_words(console) {
        Some(words) => Ending::Panicked(words),
        None => Ending::Gone(format!("QEMU: {how}")),
    }
}

/// What the console says of a panic, after `Kernel panic - not syncing: `.
fn panic_words(console: &str) -> Option<String> {
    let (_, words) = console.split_once("Kernel panic - not syncing: ")?;
    let before = console.lines().rev().find(|line| line.contains("guest-init: "));
    let words = words.lines().next().unwrap_or_default().trim();
    Some(match before {
        // Process 1 has said why it ended, and the kernel only that it did.
        Some(said) if words.contains("kill init") => said.trim().to_owned(),
        _ => words.to_owned(),
    })
}

/// The kernel's complaints on a console, for a guest that could no longer report them itself.
pub fn complaints(console: &str) -> Vec<String> {
    console.lines().filter(|line| is_splat(line)).map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(seq: u64, event: Event) -> String {
        serde_json::to_string(&Line { nonce: "n1".into(), seq, event }).unwrap()
    }

    fn whole() -> Vec<String> {
        let end = |item, status| Event::End { item, status, ms: 5, detail: String::new(), splat: String::new() };
        vec![
            line(0, Event::Hello { release: "6.1".into(), memory_kb: 9, splat: String::new() }),
            line(1, Event::Start { item: 0 }),
            line(2, end(0, Status::Pass)),
            line(3, Event::Start { item: 1 }),
            line(4, end(1, Status::Fail)),
            line(5, Event::Bye { ended: 2 }),
        ]
    }

    fn read(lines: &[String]) -> Stream {
        let mut stream = Stream::new("n1", 2);
        lines.iter().for_each(|line| stream.line(line));
        stream
    }

    #[test]
    fn a_whole_stream_has_no_faults() {
        let stream = read(&whole());
        assert!(stream.is_over() && stream.hello().is_some() && stream.running().is_none());
        let (items, faults) = stream.finish();
        assert!(items.iter().all(|item| matches!(item, Ended::Reported { ms: 5, .. })), "{items:?}");
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_guest_that_ends_early_loses_what_ran() {
        let stream = read(&whole()[..4]);
        assert!(stream.has_begun() && !stream.is_over());
        assert_eq!(stream.running(), Some(1));
        assert_eq!(stream.finish().0[1], Ended::Lost);
        assert!(!read(&whole()[..1]).has_begun());
    }

    #[test]
    fn faults_of_the_stream_are_named() {
        let mut lost = whole();
        lost.remove(2);
        let mut other = whole();
        other.insert(2, line(2, Event::Bye { ended: 9 }).replace("n1", "n0"));
        let mut garbage = whole();
        garbage[2].truncate(20);
        let mut beyond = whole();
        beyond.push(line(6, Event::Start { item: 7 }));
        for (lines, want) in
            [(lost, "lines 2 to 2 are lost"), (other, "another run"), (garbage, "unreadable"), (beyond, "item 7")]
        {
            let (_, faults) = read(&lines).finish();
            assert!(faults.iter().any(|fault| fault.contains(want)), "{want}: {faults:?}");
        }
    }

    #[test]
    fn a_panic_is_told_from_other_ends() {
        let panic = "x\n[  1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n";
        let said = format!("guest-init: mount bpf: no such device\n{panic}");
        for (console, want) in [
            ("", "guest gone before its end: QEMU: exit status: 0"),
            (panic, "kernel panic: Attempted to kill init"),
            (&said, "kernel panic: guest-init: mount bpf: no such device"),
        ] {
            let ending = ending("exit status: 0", console).to_string();
            assert!(ending.contains(want), "{want}: {ending}");
        }
    }

    proptest! {
        #[test]
        fn no_stream_panics(lines in prop::collection::vec((0usize..6, any::<prop::sample::Index>(), any::<u8>()), 0..12)) {
            let whole = whole();
            let mut stream = Stream::new("n1", 2);
            for (which, at, byte) in lines {
                let mut bytes = whole[which].clone().into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                stream.line(&String::from_utf8_lossy(&bytes));
            }
            prop_assert_eq!(stream.finish().0.len(), 2);
        }
    }
}

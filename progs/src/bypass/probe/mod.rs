//! What this kernel does with TCP that is cut short, found out by trying: in a network namespace and a cgroup of the probe's own, with
//! the programs that will run, on real sockets. No release is ever asked for.
//!
//! Stage: control plane. Input: the kernel. Output: [`Verdicts`], a table for people and programs, and the [`Choice`] that follows from
//! it. Next file to read: `ground.rs`, then `trials.rs`; `verdict.rs` says what follows from what.

mod ground;
mod trials;
mod verdict;

use std::io;
use std::thread::Builder;
use std::time::{Duration, Instant};

use loader::lab::cgroup::Inside;
use loader::link::cgroup::Cgroup;
use serde::Serialize;

use super::control::{self, Bypass, Counting};

pub use ground::GroundError;
pub use verdict::{Choice, Verdict};

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no place to try it in.
    #[error("no place of its own for the self-probe of `bypass`")]
    Ground(#[from] GroundError),
    /// The programs do not come up, or do not go.
    #[error("the self-probe of `bypass` cannot bring it up")]
    Bypass(#[from] control::Error),
    /// The cgroup is there, and no program is attached to it.
    #[error("the self-probe of `bypass` cannot attach to its cgroup")]
    Link(#[from] loader::link::Error),
    /// No thread for it.
    #[error("the self-probe of `bypass` gets no thread")]
    Thread(#[source] io::Error),
    /// Its thread has panicked: a mistake in this crate.
    #[error("the self-probe of `bypass` has panicked")]
    Panic,
}

/// What one trial has seen, or why it saw nothing: in the kernel's words, or what did not come in time.
pub type Trial<T> = Result<T, String>;

/// What was seen, before anything is concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// By which hook reads are counted: it was seen to count.
    pub counting: Counting,
    /// Bytes that came in the order in which they were sent, by both ways in turn.
    pub order: Trial<usize>,
    /// Bytes that a sender gets rid of while nobody reads.
    pub held: Trial<usize>,
    /// The same on plain TCP.
    pub held_by_tcp: Trial<usize>,
    /// Edge-triggered wake-ups that came, of `trials::WAKE_UPS`.
    pub woken: Trial<u32>,
    /// Reads that block and were told to try again though nobody asked for that, of `trials::HALF_CLOSES`.
    pub retries: Trial<u32>,
    /// Bytes that came of those sent before it was taken down, and one after, of `trials::LEFT`.
    pub left: Trial<usize>,
    /// Whether who splices, and who asks for `FIONREAD`, is found out and left with TCP from then on.
    pub found: Trial<Found>,
    /// What `splice` took of `trials::TEN` redirected bytes.
    pub spliced: Trial<u64>,
    /// What `FIONREAD` said of `trials::TEN` redirected bytes.
    pub readable_redirected: Trial<u64>,
    /// What it said of as many that came by TCP to an enrolled socket.
    pub readable_by_tcp: Trial<u64>,
}

/// Who is found out here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Who splices.
    pub splice: bool,
    /// Who asks for `FIONREAD`.
    pub fionread: bool,
}

/// The verdicts on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// A row a question.
    pub rows: Vec<Verdict>,
    /// What follows from all of them.
    pub choice: Choice,
    /// What they were concluded from.
    pub seen: Seen,
    /// How long it took.
    pub took_ms: u64,
}

/// Tries everything. The process is in another cgroup while this runs, and back in its own when it returns.
///
/// # Errors
///
/// [`Error::Ground`] without a cgroup v2 hierarchy in which a child can be made, or without the right to make a network namespace;
/// [`Error::Bypass`] where the programs do not load at all.
pub fn run() -> Result<Verdicts, Error> {
    let begun = Instant::now();
    // Programs that are up already for a cgroup above see what is tried, too: they are to put this into quarantine, and not the command.
    let thread = Builder::new().name(COMMAND.to_owned());
    let thread = thread.spawn(|| ground::in_netns(|| look(&ground::enter()?))?).map_err(Error::Thread)?;
    let seen = thread.join().map_err(|_| Error::Panic)??;
    Ok(Verdicts { took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), ..Verdicts::of(seen) })
}

impl Verdicts {
    /// What follows from what was seen, on whatever kernel.
    #[must_use]
    pub fn of(seen: Seen) -> Self {
        let (rows, choice) = verdict::conclude(&seen);
        Self { rows, choice, seen, took_ms: 0 }
    }
}

fn look(ground: &Inside) -> Result<Seen, Error> {
    let held_by_tcp = trials::held();
    for counting in [Counting::Tracepoint, Counting::Function] {
        let Ok(mut bypass) = Bypass::load_sized(counting, Some(ROOM)) else { continue };
        bypass.attach(&Cgroup::open(ground.path())?)?;
        // What is tried here is what others are kept from for.
        bypass.quarantine_for(Duration::ZERO)?;
        if trials::counts(&bypass) != Ok(true) {
            continue;
        }
        return Ok(Seen {
            counting,
            order: trials::order(),
            held: trials::held(),
            held_by_tcp,
            woken: trials::woken(),
            retries: trials::retries(),
            spliced: trials::spliced(&bypass),
            readable_redirected: trials::readable_redirected(&bypass),
            readable_by_tcp: trials::readable_by_tcp(&bypass),
            found: trials::found(&bypass),
            left: trials::left(bypass, PATIENCE),
        });
    }
    // Nothing is redirected then, so there is nothing to see.
    Ok(Seen::nothing(held_by_tcp))
}

/// The command that its sockets are made by.
const COMMAND: &str = "bypass-probe";

/// Room for the ends of its connections, of which few live at a time.
const ROOM: u32 = 1024;

/// How long the programs may take to go.
const PATIENCE: Duration = Duration::from_secs(1);

impl Seen {
    /// What is seen where nobody counts what is read.
    #[must_use]
    pub fn nothing(held_by_tcp: Trial<usize>) -> Self {
        let no = || "nothing is redirected".to_owned();
        Self {
            counting: Counting::None,
            order: Err(no()),
            held: Err(no()),
            held_by_tcp,
            woken: Err(no()),
            retries: Err(no()),
            left: Err(no()),
            found: Err(no()),
            spliced: Err(no()),
            readable_redirected: Err(no()),
            readable_by_tcp: Err(no()),
        }
    }
}

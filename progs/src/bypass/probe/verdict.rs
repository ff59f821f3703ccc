//! What follows from what was seen: pure, so that every kernel's answers can be judged on any other.
//!
//! Stage: control plane. Input: [`Seen`]. Output: a row a question, and the [`Choice`]. Next file to read: `../control.rs`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::trials::{FAR_TOO_MUCH, HALF_CLOSES, LEFT, TEN, WAKE_UPS};
use super::{Seen, Trial, Verdicts};
use crate::bypass::control::Counting;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What was asked.
    pub row: &'static str,
    /// What was seen, in words.
    pub saw: String,
    /// Is it as it is in TCP, or as it has to be?
    pub good: bool,
    /// What follows.
    pub so: &'static str,
}

/// How the programs are to run on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// May anything be redirected? The variable `open`.
    pub open: bool,
    /// The hook that counts what is read; the program of another one is not wanted.
    pub counting: Counting,
    /// `splice` sees what was redirected.
    pub splice: bool,
    /// `FIONREAD` sees what was redirected, and what came by TCP.
    pub fionread: bool,
    /// May everybody be enrolled whom no rule denies? Not where `FIONREAD` misses bytes and nobody finds out who asks: there only whom a
    /// rule allows. The variable `policy.only_allowed` is the opposite.
    pub everybody: bool,
}

/// The programs that count, and the hook of each.
const COUNTERS: [(&str, Counting); 2] = [("heard", Counting::Tracepoint), ("heard_fexit", Counting::Function)];

impl Choice {
    /// Is the program of this name wanted?
    #[must_use]
    pub fn wants(&self, program: &str) -> bool {
        COUNTERS.iter().all(|(name, hook)| *name != program || *hook == self.counting)
    }
}

/// A row of which TCP has the right answer: what came, of how much, and what follows if it is all.
fn row<T: Display + PartialEq>(row: &'static str, saw: &Trial<T>, all: &T, of: &str, so: [&'static str; 2]) -> Verdict {
    let good = saw.as_ref() == Ok(all);
    let saw = match saw {
        Ok(saw) => format!("{saw} of {of}"),
        Err(why) => why.clone(),
    };
    Verdict { row, saw, good, so: so[usize::from(!good)] }
}

/// What follows where something is wrong that has to be right.
const OFF: &str = "all goes by TCP";

fn counted(counting: Counting) -> Verdict {
    let saw = match counting {
        Counting::Tracepoint => "by the tracepoint",
        Counting::Function => "at the end of the function that receives",
        Counting::None => "by neither hook",
    };
    let good = counting != Counting::None;
    Verdict { row: "reads are counted", saw: saw.to_owned(), good, so: if good { "redirect" } else { OFF } }
}

/// The rows that have to be good.
fn needed(seen: &Seen) -> Vec<Verdict> {
    let rows = [
        counted(seen.counting),
        row("order", &seen.order, &(512 << 10), "524288 bytes", ["redirect", OFF]),
        limit(seen),
        row("wake-ups", &seen.woken, &WAKE_UPS, &format!("{WAKE_UPS} edges"), ["redirect", OFF]),
        row(
            "EAGAIN after a half-close",
            &seen.retries,
            &0,
            &format!("{HALF_CLOSES} reads"),
            ["half-closed sockets leave", OFF],
        ),
        row(
            "taken down while in use",
            &seen.left,
            &LEFT,
            &format!("{LEFT} bytes"),
            ["queues are left to readers", OFF],
        ),
    ];
    rows.into()
}

/// A queue is bounded, whatever TCP's own bound is.
fn limit(seen: &Seen) -> Verdict {
    let (good, saw) = match (&seen.held, &seen.held_by_tcp) {
        (Ok(ours), Ok(plain)) => {
            (*ours < FAR_TOO_MUCH || ours == plain, format!("{ours} bytes unread, {plain} by TCP"))
        }
        (Err(why), _) | (_, Err(why)) => (false, why.clone()),
    };
    Verdict { row: "receive limit", saw, good, so: if good { "credit, then TCP" } else { OFF } }
}

/// What has to be so where anything is redirected, and what is good to know.
pub(super) fn conclude(seen: &Seen) -> (Vec<Verdict>, Choice) {
    if seen.counting == Counting::None {
        // Nothing is redirected then, and nothing else was tried.
        let choice = Choice { open: false, counting: Counting::None, splice: true, fionread: true, everybody: true };
        return (vec![counted(seen.counting)], choice);
    }
    let mut rows = needed(seen);
    let open = rows.iter().all(|row| row.good);
    let ten = TEN as u64;
    let of = format!("{TEN} bytes");
    let found = seen.found.clone().unwrap_or_default();
    let so = |found| ["any reader may", if found { "its users are left with TCP" } else { "only whom a rule allows" }];
    rows.extend([
        row("splice of redirected bytes", &seen.spliced, &ten, &of, so(found.splice)),
        row("FIONREAD of redirected bytes", &seen.readable_redirected, &ten, &of, so(found.fionread)),
        row("FIONREAD of bytes by TCP", &seen.readable_by_tcp, &ten, &of, so(found.fionread)),
    ]);
    let sees = |name: &str| rows.iter().filter(|row| row.row.starts_with(name)).all(|row| row.good);
    let (splice, fionread) = (sees("splice"), sees("FIONREAD"));
    let everybody = (splice || found.splice) && (fionread || found.fionread);
    let choice = Choice { open, counting: seen.counting, splice, fionread, everybody };
    (rows, choice)
}

/// The table: what is not as in TCP, or not as it has to be, is marked.
impl Display for Verdicts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let widest =
            |cell: fn(&Verdict) -> &str| self.rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0);
        let (row, saw) = (widest(|row| row.row), widest(|row| &row.saw));
        for one in &self.rows {
            let mark = if one.good { ' ' } else { '!' };
            writeln!(f, " {mark} {:row$}  {:saw$}  {}", one.row, one.saw, one.so)?;
        }
        let choice = match self.choice {
            Choice { open: false, .. } => "everything goes by TCP",
            Choice { everybody: false, .. } => "connections of this host are redirected if a rule allows both ends",
            _ => "connections of this host are redirected",
        };
        writeln!(f, "   {choice}")
    }
}

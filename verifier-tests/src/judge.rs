//! Judging a case: the whole road from text to the running kernel's verifier.
//!
//! Input: a [`Case`]. Output: a [`Verdict`], and compared with the marks an [`Outcome`]. Read next: `loader::load`.

use std::fmt;
use std::sync::Arc;

use loader::Spec;
use loader::btf::KernelBtf;
use loader::load::{Error, LoadOptions, Loaded, load};
use loader::prog;
use loader::sys::uapi::LogLevel;
use loader::verifier::parse;

use super::{Case, Mark, Version};

/// The first kernel that tells a program's processed instructions without a log.
const TELLS_COUNT: Version = (5, 16);

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What had to happen.
    Right,
    /// The kernel is older than the feature: what the test runner is to be told.
    Skipped(String),
    /// Something else: what.
    Wrong(String),
}

/// What the kernel says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every program is accepted.
    Accepted {
        /// Instructions the verifier went through, all programs together; 0 where nobody asked.
        processed: u64,
    },
    /// Something is refused.
    Refused {
        /// The line of the file, from 1, where the refusal names one.
        line: Option<u32>,
        /// What the verifier says behind the last instruction; or what the loader says.
        words: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { processed: 0 } => f.write_str("accepted"),
            Self::Accepted { processed } => write!(f, "accepted, {processed} processed"),
            Self::Refused { line: Some(line), words } => write!(f, "line {line}: {words}"),
            Self::Refused { line: None, words } => f.write_str(words),
        }
    }
}

/// The running kernel as a judge: its version, and its types, which are read once.
#[derive(Debug)]
pub struct Judge {
    kernel: Version,
    types: Option<Arc<KernelBtf>>,
}

impl Judge {
    /// The running kernel, whose version is `kernel`. One without types judges what needs none.
    #[must_use]
    pub fn new(kernel: Version) -> Self {
        Self { kernel, types: KernelBtf::running().ok().map(Arc::new) }
    }

    /// Loads the programs of a case and compares.
    #[must_use]
    pub fn judge(&self, case: &Case) -> Outcome {
        if let Some((feature, (major, minor))) = case.needs.as_ref().filter(|(_, first)| self.kernel < *first) {
            return Outcome::Skipped(format!("skip: {feature} needs Linux {major}.{minor}"));
        }
        let marks: Vec<&Mark> = case.marks.iter().filter(|mark| mark.holds(self.kernel)).collect();
        let verdict = match self.verdict(case, case.budget.is_some()) {
            Ok(verdict) => verdict,
            Err(why) => return Outcome::Wrong(why),
        };
        let fits = match &verdict {
            Verdict::Accepted { processed } => {
                marks.is_empty() && case.budget.is_none_or(|budget| *processed <= budget)
            }
            Verdict::Refused { line, words } => {
                let said = |mark: &&Mark| words.contains(&mark.message) && (mark.line.is_none() || mark.line == *line);
                marks.iter().any(said)
            }
        };
        if fits {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{}; the kernel says: {verdict}", wanted(case, &marks)))
        }
    }

    /// Loads the programs of a case, and counts what the verifier went through if `count`.
    ///
    /// # Errors
    /// The file cannot be made an object.
    pub fn verdict(&self, case: &Case, count: bool) -> Result<Verdict, String> {
        let bytes = case.program.object().write().map_err(|e| e.to_string())?;
        let spec = Spec::parse(&bytes).map_err(|e| chain(&e))?;
        let mut options = LoadOptions { kernel_btf: self.types.clone(), ..LoadOptions::default() };
        options.flags = spec.progs.iter().map(|prog| (prog.name.clone(), case.flags)).collect();
        // A log costs more than the judgement; most programs need none.
        options.log = (count && self.kernel < TELLS_COUNT).then_some(LogLevel::REFUSAL | LogLevel::STATS);
        Ok(match load(&spec, &options) {
            Ok(loaded) if count => Verdict::Accepted { processed: processed(&loaded) },
            Ok(_) => Verdict::Accepted { processed: 0 },
            Err(error) => refused(&error),
        })
    }
}

/// The verifier's own count, over all programs.
fn processed(loaded: &Loaded) -> u64 {
    let of = |prog: &prog::Prog| match prog.log() {
        Some(log) => parse(log).processed,
        None => prog.info().ok().map(|info| info.verified_insns.into()),
    };
    loaded.progs().filter_map(|(_, prog)| of(prog)).sum()
}

fn refused(error: &Error) -> Verdict {
    if let Error::Prog { source, .. } = error
        && let prog::Error::Refused(refusal) = &**source
    {
        let line = refusal.place.as_ref().map(|place| place.line);
        return Verdict::Refused { line, words: closing(&refusal.log) };
    }
    Verdict::Refused { line: None, words: chain(error) }
}

/// How Linux 7.3 begins what it says in longer words once more.
const REPORT: &str = "Verification failed:";

/// The lines behind the last instruction, without the report and the statistics.
fn closing(log: &str) -> String {
    let terse = log.split(REPORT).next().unwrap_or(log);
    let is_trace = |line: &&str| line.contains(": (") || line.starts_with("; ");
    let lines: Vec<&str> = terse.lines().rev().take_while(|line| !is_trace(line)).collect();
    let said = lines.iter().rev().filter(|line| !line.is_empty()).take_while(|line| !line.starts_with("processed "));
    said.copied().collect::<Vec<_>>().join("\n")
}

fn wanted(case: &Case, marks: &[&Mark]) -> String {
    let one = |mark: &&Mark| match mark.line {
        Some(line) => format!("line {line}, \"{}\"", mark.message),
        None => format!("\"{}\"", mark.message),
    };
    match (marks, case.budget) {
        ([], Some(budget)) => format!("must be accepted after at most {budget} instructions"),
        ([], None) => "must be accepted".to_owned(),
        _ => format!("must be refused: {}", marks.iter().map(one).collect::<Vec<_>>().join(" or ")),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

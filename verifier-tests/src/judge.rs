//! Judging a case: the whole road from text to the running kernel's verifier.
//!
//! Input: a [`Case`]. Output: a [`Verdict`], and compared with the marks an [`Outcome`]. Read next: `loader::load`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use asm::object::section::{ProgType, SectionFlags};
use loader::Spec;
use loader::btf::KernelBtf;
use loader::load::{Error, LoadOptions, Loaded, load};
use loader::prog;
use loader::spec::ProgSpec;
use loader::sys::uapi::LogLevel;
use loader::verifier::parse;

use super::{Case, Mark, Version};

/// The first kernel that tells a program's processed instructions without a log.
const TELLS_COUNT: Version = (5, 16, 0);

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What had to happen.
    Right,
    /// The kernel is older than the feature: what the test runner is to be told.
    Skipped(String),
    /// This machine does not let even root load programs of this kind (not the verifier's doing): nothing is judged.
    Denied(String),
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
    /// Not allowed here, without a word from the verifier.
    Denied {
        /// What the loader makes of it.
        words: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { processed: 0 } => f.write_str("accepted"),
            Self::Accepted { processed } => write!(f, "accepted, {processed} processed"),
            Self::Refused { line: Some(line), words } => write!(f, "line {line}: {words}"),
            Self::Refused { line: None, words } | Self::Denied { words } => f.write_str(words),
        }
    }
}

/// The running kernel as a judge: its version, and its types, which are read once, when the first case needs them.
#[derive(Debug)]
pub struct Judge {
    kernel: Version,
    types: OnceLock<Option<Arc<KernelBtf>>>,
}

impl Judge {
    /// The running kernel, whose version is `kernel`. One without types judges what needs none.
    #[must_use]
    pub fn new(kernel: Version) -> Self {
        Self { kernel, types: OnceLock::new() }
    }

    /// The kernel's types, if loading this needs them.
    fn types(&self, spec: &Spec) -> Option<Arc<KernelBtf>> {
        let typed =
            |prog: &ProgSpec| prog.flags.contains(SectionFlags::ATTACH_BTF) && prog.prog_type != Some(ProgType::EXT);
        let needed = !spec.externs.is_empty()
            || spec.progs.iter().any(typed)
            || spec.funcs.iter().any(|func| !func.core.is_empty());
        needed.then(|| self.types.get_or_init(|| KernelBtf::running().ok().map(Arc::new)).clone())?
    }

    /// Loads the programs of a case and compares.
    #[must_use]
    pub fn judge(&self, case: &Case) -> Outcome {
        if let Some((feature, (major, minor, _))) = case.needs.as_ref().filter(|(_, first)| self.kernel < *first) {
            return Outcome::Skipped(format!("skip: {feature} needs Linux {major}.{minor}"));
        }
        let marks: Vec<&Mark> = case.marks.iter().filter(|mark| mark.holds(self.kernel)).collect();
        let verdict = match self.verdict(case, case.budget.is_some()) {
            Ok(verdict) => verdict,
            Err(why) => return Outcome::Wrong(why),
        };
        let said = |line: Option<u32>, words: &str| {
            marks.iter().any(|mark| words.contains(&mark.message) && (mark.line.is_none() || mark.line == line))
        };
        let fits = match &verdict {
            Verdict::Accepted { processed } => {
                marks.is_empty() && case.budget.is_none_or(|budget| *processed <= budget)
            }
            Verdict::Refused { line, words } => said(*line, words),
            Verdict::Denied { words } if said(None, words) => true,
            Verdict::Denied { words } => return Outcome::Denied(words.clone()),
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
        let mut options = LoadOptions { kernel_btf: self.types(&spec), ..LoadOptions::default() };
        options.flags = spec.progs.iter().map(|prog| (prog.name.clone(), case.flags)).collect();
        // A log costs more than the judgement; most programs need none.
        options.log = (count && self.kernel < TELLS_COUNT).then_some(LogLevel::REFUSAL | LogLevel::STATS);
        Ok(match load_in_turn(&spec, options) {
            Ok(loaded) if count => Verdict::Accepted { processed: processed(&loaded) },
            Ok(_) => Verdict::Accepted { processed: 0 },
            Err(error) => refused(&error),
        })
    }
}

/// Loads an object; programs that replace a function of another one come after that one, which is the first of the others.
fn load_in_turn(spec: &Spec, mut options: LoadOptions) -> Result<Loaded, Error> {
    let named = |extend: bool| {
        let chosen = spec.progs.iter().filter(move |prog| (prog.prog_type == Some(ProgType::EXT)) == extend);
        chosen.map(|prog| prog.name.clone()).collect::<BTreeSet<_>>()
    };
    let extensions = named(true);
    if extensions.is_empty() {
        return load(spec, &options);
    }
    options.only = Some(named(false));
    let others = load(spec, &options)?;
    for name in &extensions {
        let target = others.progs().next().and_then(|(_, prog)| prog::Prog::from_id(prog.id().ok()?).ok());
        options.attach_prog.extend(target.map(|target| (name.clone(), target)));
    }
    options.only = Some(extensions);
    load(spec, &options)
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
    let words = chain(error);
    match error {
        Error::Prog { source, .. } if matches!(**source, prog::Error::Denied { .. }) => Verdict::Denied { words },
        _ => Verdict::Refused { line: None, words },
    }
}

/// How Linux 7.3 begins what it says in longer words once more.
const REPORT: &str = "Verification failed:";

/// The lines behind the last instruction, without the report and the statistics.
fn closing(log: &str) -> String {
    let terse = log.split(REPORT).next().unwrap_or(log);
    // `5: (95) exit`; and the source of an instruction, which bears our marks: `; exit #! words` or `5: exit #! words`.
    let numbered = |line: &str| line.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let is_trace = |line: &&str| line.starts_with("; ") || numbered(line);
    let lines: Vec<&str> = terse.lines().rev().take_while(|line| !is_trace(line)).collect();
    // Linux 5.10 puts the registers between instruction and verdict: `R0_w=map_value(…) R10=fp0`.
    let is_state = |line: &str| line.split_whitespace().next().is_some_and(|word| word.contains('='));
    let said = lines
        .iter()
        .rev()
        .filter(|line| !line.is_empty() && !is_state(line))
        .take_while(|line| !line.starts_with("processed "));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_behind_the_last_instruction_counts() {
        for (log, want) in [
            ("; exit #! R0 !read_ok\n0: (95) exit\nR0 !read_ok\nprocessed 1 insns", "R0 !read_ok"),
            ("0: (95) exit\nR0_w=map_value(id=0) R10=fp0\ninvalid access\nR0 outside\n", "invalid access\nR0 outside"),
            ("back-edge from insn 5 to 3\n5: call f #! words of ours\n", ""),
            ("6: BUG_c3\nBPF_STX uses reserved fields\n", "BPF_STX uses reserved fields"),
            ("0: (95) exit\nR0 !read_ok\n\nVerification failed: x\n 0: (95) exit\n", "R0 !read_ok"),
        ] {
            assert_eq!(closing(log), want, "{log}");
        }
    }
}

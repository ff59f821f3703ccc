//! Judging a case: the whole road from text to the running kernel's verifier.
//!
//! Input: a [`Case`]. Output: an [`Outcome`]. Read next: `loader::load`.

use loader::Spec;
use loader::load::{Error, LoadOptions, load};
use loader::prog;
use loader::sys::uapi::LogLevel;
use loader::verifier::{Refusal, parse};

use super::{Case, Mark, Version};

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

/// Loads the programs of a case into the running kernel, whose version is `kernel`, and compares.
#[must_use]
pub fn judge(case: &Case, kernel: Version) -> Outcome {
    if let Some((feature, (major, minor))) = case.needs.as_ref().filter(|(_, first)| kernel < *first) {
        return Outcome::Skipped(format!("skip: {feature} needs Linux {major}.{minor}"));
    }
    let spec = case.program.object().write().map_err(|e| e.to_string());
    let spec = match spec.and_then(|bytes| Spec::parse(&bytes).map_err(|e| e.to_string())) {
        Ok(spec) => spec,
        Err(why) => return Outcome::Wrong(why),
    };
    let marks: Vec<&Mark> = case.marks.iter().filter(|mark| mark.holds(kernel)).collect();
    let options = LoadOptions { log: Some(LogLevel::REFUSAL | LogLevel::STATS), ..LoadOptions::default() };
    let verdict = match load(&spec, &options) {
        Ok(loaded) if marks.is_empty() => within(case.budget, loaded.progs().filter_map(|(_, prog)| prog.log())),
        Ok(_) => Err(format!("accepted; must be refused: {}", wanted(&marks))),
        Err(error) => match refusal_of(&error) {
            Some(refusal) => refused(refusal, &marks),
            None => Err(chain(&error)),
        },
    };
    verdict.map_or_else(Outcome::Wrong, |()| Outcome::Right)
}

/// The verifier's refusal, where that is what went wrong.
fn refusal_of(error: &Error) -> Option<&Refusal> {
    let Error::Prog { source, .. } = error else { return None };
    match &**source {
        prog::Error::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

/// The verifier's own count, over all programs.
fn within<'l>(budget: Option<u64>, logs: impl Iterator<Item = &'l str>) -> Result<(), String> {
    let processed: u64 = logs.filter_map(|log| parse(log).processed).sum();
    match budget {
        Some(budget) if processed > budget => {
            Err(format!("{processed} instructions processed; the budget is {budget}"))
        }
        Some(_) if processed == 0 => Err("the verifier's log has no count".into()),
        _ => Ok(()),
    }
}

fn refused(refusal: &Refusal, marks: &[&Mark]) -> Result<(), String> {
    let line = refusal.place.as_ref().map(|place| place.line);
    let said = |mark: &&&Mark| refusal.log.contains(&mark.message) && (mark.line.is_none() || mark.line == line);
    if marks.iter().find(said).is_some() {
        return Ok(());
    }
    let must = if marks.is_empty() { "must be accepted".to_owned() } else { wanted(marks) };
    Err(format!("{must}; the kernel says:\n{refusal}"))
}

fn wanted(marks: &[&Mark]) -> String {
    let one = |mark: &&Mark| match mark.line {
        Some(line) => format!("line {line}, \"{}\"", mark.message),
        None => format!("\"{}\"", mark.message),
    };
    marks.iter().map(one).collect::<Vec<_>>().join(" or ")
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

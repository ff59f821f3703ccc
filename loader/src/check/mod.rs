//! Stage: will it load? Input: a [`Spec`]. Output: a [`ProgReport`] for each program, from the running kernel ([`here`],
//! nothing attached, nothing pinned, nothing left) or, with no system call at all, from another kernel's types
//! ([`target`]). Programs are judged one by one: a refused one does not hide the others.
//!
//! The reports survive JSON, because kernels in guests send them home. Read next: `target.rs`.

pub mod target;

use std::collections::BTreeSet;
use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::load::{self, Error, LoadOptions};
use crate::prog;
use crate::spec::{ProgSpec, Spec};
use crate::sys::uapi::LogLevel;
use crate::verifier::{self, Cost, Explained, Place};

/// Lines of a refusal's log that are kept: where the verifier stood at the end.
const LOG_LINES: usize = 60;

/// What is known of one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgReport {
    /// Its name.
    pub program: String,
    /// Its type, such as `xdp`; the section's name where that says none.
    pub r#type: String,
    /// Whether it loads.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether a program loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The kernel took it.
    Accepted(Cost),
    /// The verifier refused it.
    Refused {
        /// Why, and where.
        #[serde(flatten)]
        why: Box<Explained>,
        /// What it would have needed and this kernel does not have.
        missing: Vec<String>,
        /// The end of the verifier's log.
        log: Vec<String>,
    },
    /// It did not come to the verifier: a map, the object's needs, a permission.
    Failed {
        /// Each a cause of the one before.
        causes: Vec<String>,
    },
    /// The kernel's types know everything that it needs.
    Known {
        /// What they cannot tell, or tell only half.
        doubts: Vec<Finding>,
    },
    /// Something that it needs is not in the kernel's types.
    Lacks {
        /// What.
        missing: Vec<Finding>,
        /// What they cannot tell, or tell only half.
        doubts: Vec<Finding>,
    },
    /// The object does not want it loaded unless asked to (`?` before its section's name).
    LeftOut,
}

impl Verdict {
    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Accepted(_) | Self::Known { .. } | Self::LeftOut)
    }
}

/// Something that a program needs, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What, and what is with it.
    pub what: String,
    /// The source line that needs it.
    pub at: Option<Place>,
}

/// Loads each program on the running kernel and lets it go again. Maps are made for it anew and go with it.
///
/// ```no_run
/// let spec = loader::Spec::parse(&std::fs::read("lb.o")?)?;
/// for report in loader::check::here(&spec) {
///     println!("{}: {}", report.program, report.verdict.is_well());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn here(spec: &Spec) -> Vec<ProgReport> {
    let judge = |prog: &ProgSpec| if prog.autoload { load_alone(spec, &prog.name) } else { Verdict::LeftOut };
    spec.progs.iter().map(|prog| report(prog, judge(prog))).collect()
}

fn report(prog: &ProgSpec, verdict: Verdict) -> ProgReport {
    let kind = prog.prog_type.map_or_else(|| prog.section.clone(), |prog_type| prog_type.to_string());
    ProgReport { program: prog.name.clone(), r#type: kind, verdict }
}

/// Loads one program for its statistics; one that is refused once more, for the verifier's words.
fn load_alone(spec: &Spec, name: &str) -> Verdict {
    let only = |log| LoadOptions { only: Some(BTreeSet::from([name.to_owned()])), log, ..LoadOptions::default() };
    let attempt = |log| {
        let loaded = load::load(spec, &only(log))?;
        Ok(verifier::cost(loaded.prog(name)?.log().unwrap_or_default()))
    };
    match attempt(Some(LogLevel::STATS)) {
        Ok(cost) => Verdict::Accepted(cost),
        Err(Error::Prog { .. }) => attempt(None).map_or_else(|error| refused(&error), Verdict::Accepted),
        Err(error) => refused(&error),
    }
}

fn refused(error: &Error) -> Verdict {
    if let Error::Prog { missing, source } = error
        && let prog::Error::Refused(refusal) = &**source
    {
        let lines: Vec<&str> = refusal.log.lines().collect();
        let log = lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).map(|&line| line.to_owned()).collect();
        return Verdict::Refused { why: Box::new(refusal.explain()), missing: missing.clone(), log };
    }
    Verdict::Failed { causes: causes(error) }
}

/// The messages of an error and its causes.
fn causes(error: &dyn StdError) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !causes.last().is_some_and(|last| last.contains(&text)) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_json() {
        let at = Some(Place { file: "a.s".into(), line: 3, column: 5, text: "r0 = r1".into() });
        let why = Explained {
            errno: "EACCES".into(),
            said: "R1 !read_ok".into(),
            reason: None,
            at: at.clone(),
            source: None,
            insn: Some(0),
            insn_text: None,
            path: None,
            advice: Some("write it".into()),
        };
        let finding = Finding { what: "helper bpf_loop".into(), at };
        for verdict in [
            Verdict::Accepted(Cost { insns: Some(2), states: None, stack: vec![0] }),
            Verdict::Refused { why: Box::new(why), missing: vec!["x".into()], log: vec!["R1 !read_ok".into()] },
            Verdict::Failed { causes: vec!["a".into(), "b".into()] },
            Verdict::Known { doubts: vec![finding.clone()] },
            Verdict::Lacks { missing: vec![finding], doubts: Vec::new() },
            Verdict::LeftOut,
        ] {
            let report = ProgReport { program: "p".into(), r#type: "xdp".into(), verdict };
            let text = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<ProgReport>(&text).unwrap(), report, "{text}");
        }
    }
}

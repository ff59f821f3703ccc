//! Stage: apply. What `up` tells while it works, and its report at the end.
//!
//! Input: steps as they are done. Output: values that the command line prints or writes as JSON. Read next: `up.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::record::LinkRecord;
use crate::lab::trial;
use crate::map::Migrated;
use crate::plan::{Plan, Step};

/// Something worth telling, as it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step begins.
    Begin {
        /// The deployment.
        deployment: &'a str,
        /// The step.
        step: &'a Step,
    },
    /// Something the user should know, such as that bpffs was mounted.
    Note(String),
    /// An attachment was negotiated.
    Attached(&'a LinkRecord),
    /// A trial is over.
    Tried(&'a trial::Report),
    /// A step failed; this is being taken back.
    Undo(String),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { deployment, step } => write!(f, "{deployment}: {step}"),
            Self::Note(text) => f.write_str(text),
            Self::Attached(link) => {
                write!(f, "  {}: ", link.at())?;
                for refusal in &link.refused {
                    write!(f, "{} refused: {}; ", refusal.mode, refusal.words)?;
                }
                match link.got {
                    Some(mode) => write!(f, "{mode}"),
                    None if link.bare => f.write_str("attached, without a link"),
                    None => f.write_str("attached"),
                }
            }
            Self::Tried(report) => {
                let trial = &report.trial;
                write!(f, "  {} of {} {} exchanges worked", report.succeeded, trial.exchanges, trial.protocol)
            }
            Self::Undo(text) => write!(f, "undo: {text}"),
        }
    }
}

/// Takes events; what it does with them is the caller's business.
pub type Tell<'a> = dyn FnMut(Event<'_>) + 'a;

/// What `up` did to one deployment.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The deployment.
    pub name: String,
    /// Whether anything was changed.
    pub changed: bool,
    /// The steps that were done.
    pub plan: Plan,
    /// The attachments, with what was refused and what was got.
    pub links: Vec<LinkRecord>,
    /// Optional programs and attachments that the kernel refused, by pin name, in its words.
    pub left_out: BTreeMap<String, String>,
    /// The directory of the lab's cgroup, if it has one.
    pub cgroup: Option<PathBuf>,
    /// The trials.
    pub trials: Vec<trial::Report>,
    /// Maps whose entries were copied into new ones.
    pub migrated: Vec<Migrated>,
    /// Where the time went.
    pub took: Took,
}

/// Wall-clock time of the parts of `up`, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Took {
    /// Creating maps, relocating and verifying programs.
    pub load_ms: f64,
    /// Making the lab.
    pub lab_ms: f64,
    /// Filling the maps, copying entries into new ones.
    pub configure_ms: f64,
    /// Pinning and attaching.
    pub attach_ms: f64,
    /// The trials.
    pub trial_ms: f64,
}

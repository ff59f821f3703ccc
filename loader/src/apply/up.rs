//! Stage: apply. `up`: all deployments of a manifest, together or not at all.
//!
//! Input: prepared deployments. Output: a report each; or the first error, with everything taken back. Read next: `job.rs`.

use std::sync::atomic::AtomicBool;

use super::drain::Draining;
use super::error::Error;
use super::event::{Event, Report, Tell};
use super::job::Job;
use super::prepare::Prepared;
use super::privilege;
use crate::pin::{BPFFS, Bpffs};

/// Brings deployments up: every object of all of them is verified before the first hook changes.
///
/// Systems whose programs change let go of their connections first; `draining` says which there are, and how long that may take.
/// `cancel` may be set by another thread (on ^C); the step at work is finished, then everything is taken back.
///
/// # Errors
/// What was tried, where, and who refused. What was there before is there again then, unless a note says otherwise.
pub fn up<'s>(
    prepared: &[Prepared<'s>],
    draining: Draining<'s>,
    cancel: &AtomicBool,
    tell: &mut Tell<'_>,
) -> Result<Vec<Report>, Error> {
    privilege::check("loader up", prepared.iter().any(|one| one.wanted.lab.is_some()))?;
    let bpffs = Bpffs::open()?;
    if bpffs.mounted() {
        tell(Event::Note(format!("mounted bpffs on {BPFFS}, where there was none")));
    }
    let mut jobs = Vec::new();
    match run(prepared, draining, &bpffs, &mut jobs, cancel, tell) {
        Ok(()) => Ok(jobs.into_iter().map(Job::finish).collect()),
        Err(error) => {
            for job in jobs.into_iter().rev() {
                job.abort(tell);
            }
            Err(error)
        }
    }
}

fn run<'p, 's>(
    prepared: &'p [Prepared<'s>],
    draining: Draining<'s>,
    bpffs: &Bpffs,
    jobs: &mut Vec<Job<'p, 's>>,
    cancel: &AtomicBool,
    tell: &mut Tell<'_>,
) -> Result<(), Error> {
    for one in prepared {
        jobs.push(Job::begin(one, draining, bpffs)?);
    }
    for job in jobs.iter_mut() {
        job.load(cancel, tell)?;
    }
    for job in jobs.iter_mut() {
        job.apply(cancel, tell)?;
    }
    Ok(())
}

//! `loader bench bypass`: local TCP as it is, by the usual pair of programs, and by ours, side by side.
//!
//! Input: rounds; every case is measured once in each mode in each, one after the other, so that what disturbs the machine disturbs all
//! alike. Output: latency, throughput and time in the kernel, the ratios of each round's figures, plots. Everything happens in a network
//! namespace and a cgroup of its own. Read next: `cases.rs`, `traffic.rs`, `clients.rs`, `figures.rs`, `plot.rs`.

mod cases;
mod clients;
mod figures;
mod plot;
mod traffic;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use loader::lab::cgroup::Inside;
use loader::link::cgroup::Cgroup;
use nix::sched::{CloneFlags, unshare};
use progs::bypass::control::{Bypass, Naive};

use self::cases::{Case, Effort, Figure};
use self::figures::{Figures, MODES, Mode};
use crate::interrupt;
use crate::render::Out;

/// What `loader bench bypass` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; each measures every case once in every mode
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// Round trips of a latency figure, and requests of redis-benchmark
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    trips: usize,

    /// Milliseconds that a stream is measured for
    #[arg(long, value_name = "MS", default_value_t = 150)]
    stream: u64,

    /// Measure this figure only, and what is measured with it (may be repeated): p50_64b, throughput_64k, redis_rps, p50_64b_free, ...
    #[arg(long = "case", value_name = "FIGURE")]
    cases: Vec<String>,

    /// Write latency.svg and throughput.svg to this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

/// Runs the experiment.
pub(super) fn run(args: &Args, out: &mut Out) -> Result<()> {
    let (cases, left_out) = chosen(&args.cases)?;
    let stop = interrupt::watch()?;
    let figures = std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own")?;
            all_rounds(args, &cases, &stop, out)
        });
        rounds.join().unwrap_or_else(|_| Err(anyhow!("a measurement ended in a panic")))
    })?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = super::kernel()?;
    let report = figures.report(kernel, cpus, left_out);
    if let Some(dir) = &args.svg {
        plot::write(&report, dir)?;
    }
    out.result(&report, figures::text)
}

/// The cases that are asked for and can be measured here, and what to say of the others.
fn chosen(asked: &[String]) -> Result<(Vec<Case>, Vec<&'static str>)> {
    let mut cases = cases::all();
    let names: BTreeSet<String> = cases.iter().flat_map(|case| case.names()).map(|(name, _)| name).collect();
    if let Some(unknown) = asked.iter().find(|name| !names.contains(*name)) {
        bail!("there is no figure `{unknown}`; there are: {}", Vec::from_iter(names).join(" "));
    }
    cases.retain(|case| asked.is_empty() || case.names().iter().any(|(name, _)| asked.contains(name)));
    let missing: BTreeSet<_> =
        cases.iter().filter_map(|case| case.needs()).filter(|needs| needs.missing().is_some()).collect();
    cases.retain(|case| case.needs().is_none_or(|needs| !missing.contains(&needs)));
    Ok((cases, missing.into_iter().filter_map(clients::Outside::missing).collect()))
}

/// Whoever wants to stop waits for the figure that is being measured: then all is taken back.
fn all_rounds(args: &Args, cases: &[Case], stop: &AtomicBool, out: &mut Out) -> Result<Figures> {
    let mut route = netlink::route::Socket::open().context("netlink")?;
    let lo = route.link_by_name("lo").context("every namespace has a loopback")?.ifindex;
    route.link_set_up(lo).context("bring loopback up")?;
    let cgroup = Inside::of_process("bp-bench-")?;
    let effort = Effort { trips: args.trips, stream: Duration::from_millis(args.stream) };
    let mut figures = Figures::default();
    for round in 1..=args.rounds.max(1) {
        out.progress(format!("round {round} of {}", args.rounds.max(1)));
        for case in cases {
            for mode in MODES {
                if stop.load(Ordering::Relaxed) {
                    bail!("interrupted");
                }
                let measured = measure(*case, effort, mode, cgroup.path());
                let (name, _) = case.names().swap_remove(0);
                figures.note(mode, measured.with_context(|| format!("measure {name}, {}", mode.name()))?);
            }
        }
    }
    Ok(figures)
}

fn measure(case: Case, effort: Effort, mode: Mode, cgroup: &Path) -> Result<Vec<Figure>> {
    let cgroup = Cgroup::open(cgroup)?;
    let _naive = (mode == Mode::Naive).then(|| Naive::attach(&cgroup)).transpose()?;
    let ours = (mode == Mode::Ours).then(|| Bypass::load(None)).transpose()?;
    // Nobody reads any more when it is dropped: there is nothing to wait for.
    let _ours = ours.map(|mut ours| ours.attach(&cgroup).map(|()| ours)).transpose()?;
    case.measure(effort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_not_there_is_answered_with_those_that_are() {
        let error = chosen(&["p50_65b".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`p50_65b`") && error.contains("p50_64b "), "{error}");
    }

    #[test]
    fn what_is_measured_together_is_chosen_together() {
        let (cases, _) = chosen(&["p99_64b".to_owned()]).unwrap();
        assert_eq!(cases.len(), 1);
    }
}

//! `loader up`: a manifest becomes the state of the kernel.
//!
//! Input: [`Args`]. Output: a report for each deployment. Read next: `systems.rs`, then `loader::apply`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use loader::apply::{self, Draining, Prepared, Report};
use loader::manifest;
use loader::plan::{Observed, Plan};
use loader::system::System;
use progs::bypass::probe::Verdicts;
use serde::Serialize;

use crate::bypass;
use crate::interrupt;
use crate::render::Out;
use crate::report;
use crate::systems;

/// What `loader up` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest: a TOML file
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// Fill `${KEY}` in the manifest
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,

    /// At most so many exchanges in each trial of a lab, and requests on each connection
    #[arg(long, value_name = "N")]
    exchanges: Option<u32>,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// How long to wait for readers of what programs that change have put into their queues
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    drain: Duration,
}

/// A number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= 86_400.0);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| "0 to 86400".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as iface=eth1".to_owned()),
    }
}

/// Reads a manifest with the systems that are built in.
pub(crate) fn read(path: &Path, set: Vec<(String, String)>) -> Result<manifest::Manifest> {
    let set: BTreeMap<String, String> = set.into_iter().collect();
    let manifest = manifest::read(path, &systems::sections(), &set)?;
    bypass::check(&manifest)?;
    Ok(manifest)
}

/// The names of a manifest's deployments; for those that a manifest names, its variables do not matter.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    Ok(manifest::names(path)?)
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let begin = Instant::now();
    let mut manifest = read(&args.manifest, args.set)?;
    let probe = if args.dry_run { None } else { bypass::settle(&mut manifest)? };
    if let Some(most) = args.exchanges {
        let labs = manifest.deployments.iter_mut().filter_map(|one| one.lab.as_mut());
        for trial in labs.flat_map(|lab| &mut lab.trials) {
            trial.exchanges = trial.exchanges.min(most);
            trial.rounds = trial.rounds.min(most.max(1));
        }
    }
    let systems = systems::all();
    let systems = systems::refs(&systems);
    let prepared: Vec<Prepared<'_>> =
        manifest.deployments.iter().map(|one| apply::prepare(one, &systems)).collect::<Result<_, _>>()?;
    if args.dry_run {
        return dry_run(&prepared, &systems, out);
    }
    let cancel = interrupt::watch()?;
    let draining = Draining { systems: &systems, patience: args.drain };
    let reports = apply::up(&prepared, draining, &cancel, &mut |event| out.progress(event))?;
    let result = UpResult { deployments: reports, probe, total_ms: begin.elapsed().as_secs_f64() * 1e3 };
    out.result(&result, text)
}

/// The plans as they would be carried out now. Where the present state cannot be read, they are those of a fresh machine.
fn dry_run(prepared: &[Prepared<'_>], systems: &[&dyn System], out: &mut Out) -> Result<()> {
    let mut plans = Vec::new();
    for one in prepared {
        let observed = match apply::observe(&one.wanted.name, one.wanted.lab.as_ref(), systems) {
            Ok(observed) if observed.bpffs => observed,
            Ok(observed) => {
                out.progress("bpffs is not mounted; `up` mounts it first");
                observed
            }
            Err(error) => {
                out.progress(format!("{error}; planned as for a fresh machine"));
                Observed::default()
            }
        };
        plans.push(Plan::new(&one.wanted, &observed)?);
    }
    out.result(&plans, |plans| plans.iter().map(Plan::to_string).collect())
}

/// What `loader up` prints.
#[derive(Debug, Serialize)]
struct UpResult {
    deployments: Vec<Report>,
    /// How this kernel wants `bypass` to run, if that is among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<Verdicts>,
    /// From reading the manifest to here.
    total_ms: f64,
}

fn text(result: &UpResult) -> String {
    let mut text = String::new();
    for report in &result.deployments {
        text += &report::text(report);
    }
    text += &result.probe.as_ref().map_or_else(String::new, bypass::text);
    text + &format!("up in {:.2} s\n", result.total_ms / 1e3)
}

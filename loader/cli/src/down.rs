//! `loader down`: deployments go away, and it is proven.
//!
//! Input: [`Args`]. Output: the ids of everything that is gone. Read next: `loader::apply`'s `down`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use loader::apply::{self, Draining, Removed};

use crate::render::Out;
use crate::{systems, up};

/// What `loader down` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A deployment's name, or a manifest: all of its deployments
    #[arg(value_name = "NAME|MANIFEST", required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,

    /// Every deployment there is
    #[arg(long)]
    all: bool,

    /// How long to wait for readers of what programs have put into their queues
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = up::seconds)]
    drain: Duration,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let names = match args.target {
        None => apply::deployments()?,
        Some(target) => resolve(&target, out)?,
    };
    let systems = systems::all();
    let systems = systems::refs(&systems);
    let draining = Draining { systems: &systems, patience: args.drain };
    // One that cannot be taken away must not keep the others.
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match apply::down(&name, draining) {
            Ok(one) => removed.push(one),
            Err(error) => failed.push((name, error)),
        }
    }
    out.result(&removed, |removed| removed.iter().map(text).collect())?;
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0).1.into()),
        _ => {
            for (name, error) in failed.iter().skip(1) {
                out.progress(format!("{name}: {error}"));
            }
            bail!("{} deployments were not taken away; the first: {}: {}", failed.len(), failed[0].0, failed[0].1)
        }
    }
}

/// What ends in `.toml` or has a slash is a manifest, everything else a name. Of a manifest, what is not up is left out:
/// nothing is left to do for it.
fn resolve(target: &str, out: &mut Out) -> Result<Vec<String>> {
    let is_manifest = Path::new(target).extension().is_some_and(|end| end == "toml") || target.contains('/');
    if !is_manifest {
        return Ok(vec![target.to_owned()]);
    }
    let there = apply::deployments()?;
    let mut names: Vec<String> = up::names(Path::new(target))?;
    names.reverse(); // what came up last goes first
    names.retain(|name| {
        let up = there.contains(name);
        if !up {
            out.progress(format!("{name} is not up"));
        }
        up
    });
    Ok(names)
}

fn text(removed: &Removed) -> String {
    let mut text = format!(
        "{}: down; gone are {} links, {} programs, {} maps, {} namespaces\n",
        removed.name,
        removed.links.len(),
        removed.progs.len(),
        removed.maps.len(),
        removed.namespaces.len()
    );
    for drained in &removed.drained {
        text += &format!("  {drained}\n");
    }
    for moved in &removed.moved {
        text += &format!("  {moved}\n");
    }
    for bare in &removed.bare {
        text += &format!("  took {bare}\n");
    }
    for left in &removed.left {
        text += &format!("  {left}\n");
    }
    text
}

//! `loader bypass`: what is asked of `bypass` beside bringing it up. And what `up` has to know before it does that: how this kernel wants it.
//!
//! Input: [`Args`], or a manifest. Output: the verdicts of the self-probe; a manifest in which they are obeyed. Read next:
//! `progs::bypass::probe`.

use anyhow::Result;
use loader::manifest::Manifest;
use progs::bypass::probe::{self, Verdicts};

use serde_json::json;

use crate::render::Out;

/// What `loader bypass` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// One question.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Try what this kernel does with TCP that is cut short
    ///
    /// On real sockets in a network namespace and a cgroup of its own, with the programs that `up` would load; nothing stays behind.
    /// `!` marks what is not as in TCP. `up` tries the same before it brings `bypass` up, and obeys what follows.
    Probe,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &mut Out) -> Result<()> {
    match args.what {
        What::Probe => out.result(&probe::run()?, text),
    }
}

/// The table.
pub(crate) fn text(verdicts: &Verdicts) -> String {
    format!("self-probe of bypass, {} ms\n{verdicts}", verdicts.took_ms)
}

/// The object that is asked about.
const OBJECT: &str = "bypass";

/// Where a manifest wants `bypass`, asks this kernel how it is to run, and has the manifest want that.
pub(crate) fn settle(manifest: &mut Manifest) -> Result<Option<Verdicts>> {
    let mut wanting = manifest.deployments.iter_mut().filter(|one| one.programs.iter().any(|p| p.object == OBJECT));
    let Some(first) = wanting.next() else { return Ok(None) };
    let verdicts = probe::run()?;
    for deployment in std::iter::once(first).chain(wanting) {
        deployment.programs.retain(|program| program.object != OBJECT || verdicts.choice.wants(&program.name));
        if !verdicts.choice.open {
            deployment.settled.insert("open".to_owned(), 0.into());
        }
        if verdicts.choice.fionread {
            // Where it counts all, nobody has to be kept from it.
            deployment.settled.insert("policy".to_owned(), json!({ "hold_fionread": 0 }));
        }
    }
    Ok(Some(verdicts))
}

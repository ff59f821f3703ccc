//! `loader bench`: experiments, ours and a peer side by side in one run.
//!
//! One file an experiment. Read next: `codegen.rs`, `load.rs`, `bypass/mod.rs`.

mod bypass;
mod codegen;
mod load;
mod twins;

use anyhow::{Context, Result};

use crate::render::Out;

/// What `loader bench` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    name: Name,
}

/// The experiments.
#[derive(Debug, clap::Subcommand)]
enum Name {
    /// Local TCP: as it is, by the usual pair of sockmap programs, and by ours
    Bypass(bypass::Args),
    /// The teaching programs as our compiler makes them, beside clang: size, verifier's work, machine code, time
    Codegen(codegen::Args),
    /// The balancer's objects from files to their interfaces: by one `loader up`, and by bpftool and ip
    Load(load::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    match args.name {
        Name::Bypass(args) => bypass::run(&args, out),
        Name::Codegen(args) => codegen::run(&args, out),
        Name::Load(args) => load::run(&args, out),
    }
}

/// Release of the running kernel.
fn kernel() -> Result<String> {
    Ok(nix::sys::utsname::uname().context("name of this kernel")?.release().to_string_lossy().into_owned())
}

/// The middle one of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

//! `loader bench`: experiments, ours and a peer side by side in one run.
//!
//! One file an experiment. Read next: `codegen.rs`, `bypass/mod.rs`.

mod bypass;
mod codegen;
mod twins;

use anyhow::Result;

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
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    match args.name {
        Name::Bypass(args) => bypass::run(&args, out),
        Name::Codegen(args) => codegen::run(&args, out),
    }
}

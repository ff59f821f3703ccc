//! `loader bench`: experiments, ours and a peer side by side in one run.
//!
//! One file an experiment. Read next: `codegen.rs`.

mod codegen;

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
    /// The teaching programs as our compiler makes them, beside clang: size, verifier's work, machine code, time
    Codegen(codegen::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    match args.name {
        Name::Codegen(args) => codegen::run(&args, out),
    }
}

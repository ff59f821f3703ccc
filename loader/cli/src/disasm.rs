//! `loader disasm`: an object file as assembly text, which `loader asm` reads back.
//!
//! Input: [`Args`]. Output: text. Read next: `loader::disasm`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::render::Out;
use crate::systems;

/// What `loader disasm` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An ELF object, or the name of a built-in one
    object: PathBuf,

    /// Show where each instruction comes from in the source
    #[arg(long)]
    lines: bool,
}

#[derive(Serialize)]
struct Disassembled {
    object: PathBuf,
    text: String,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let name = args.object.display().to_string();
    let spec = loader::Spec::parse(&systems::read_object(&args.object)?)
        .with_context(|| format!("{name} cannot be disassembled"))?;
    let text = loader::disasm::disasm(&spec, args.lines);
    out.result(&Disassembled { object: args.object, text }, |done| done.text.clone())
}

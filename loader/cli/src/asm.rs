//! `loader asm`: assembly text becomes an object file.
//!
//! Input: [`Args`]. Output: an ELF object that any loader reads. Read next: `asm::text`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::render::Out;
use crate::systems;

/// What `loader asm` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Assembly text
    file: PathBuf,

    /// The object to write
    #[arg(short, long, value_name = "OBJ")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Assembled {
    object: PathBuf,
    bytes: usize,
    functions: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let name = args.file.display().to_string();
    let program = systems::assemble(&args.file)?;
    let bytes = program.object().write().with_context(|| format!("{name} makes no object"))?;
    std::fs::write(&args.output, &bytes).with_context(|| format!("cannot write {}", args.output.display()))?;
    let functions = program.functions().iter().map(|function| function.name.to_string()).collect();
    out.result(&Assembled { object: args.output, bytes: bytes.len(), functions }, |done| {
        format!("{}: {} bytes; {}\n", done.object.display(), done.bytes, done.functions.join(", "))
    })
}

//! `loader emit`: a built-in program at any stage of the road from source to object.
//!
//! Input: [`Args`]. Output: the intermediate representation, each pass over it, or the instructions as text, or an ELF object that any loader
//! reads. Read next: `asm::dsl`, `asm::codegen`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use asm::codegen::{Profile, optimize};
use asm::ir::Func;
use serde::Serialize;

use crate::render::Out;
use crate::systems;

/// What `loader emit` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program: `lb`, `count`, `tiny`, ..
    program: String,

    /// The file to write; text goes to standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The oldest kernel that it is to load on
    #[arg(long, value_name = "RELEASE", default_value = "5.10")]
    kernel: String,

    /// The stage
    #[arg(long, value_enum, default_value_t = Stage::Obj)]
    emit: Stage,
}

/// A stage of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// The intermediate representation, as it was recorded
    Ir,
    /// The intermediate representation, as it was recorded and after each pass that changed it
    Passes,
    /// Assembly text, with the source line of each instruction
    Insn,
    /// The object file
    Obj,
}

#[derive(Serialize)]
struct Emitted {
    program: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let Some(profile) = Profile::named(&args.kernel) else {
        bail!("{} is no release from 5.10 on, such as 6.1", args.kernel);
    };
    let bytes = match args.emit {
        Stage::Ir => intermediate(&args.program)?.into_bytes(),
        Stage::Passes => passes(&args.program, &profile)?.into_bytes(),
        Stage::Insn => instructions(&args.program, &profile)?.into_bytes(),
        Stage::Obj => systems::built_in(&args.program, &profile)?,
    };
    let text = match &args.output {
        Some(file) => {
            std::fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
            None
        }
        None if args.emit == Stage::Obj => bail!("an object is no text: say where it goes with -o FILE"),
        None => Some(String::from_utf8(bytes.clone())?),
    };
    let done = Emitted { program: args.program, output: args.output, bytes: bytes.len(), text };
    out.result(&done, |done| match (&done.text, &done.output) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => format!("{}: {} bytes\n", file.display(), done.bytes),
        (None, None) => String::new(),
    })
}

/// The functions of a program, as they were recorded.
fn recorded(program: &str) -> Result<Vec<Func>> {
    Ok(systems::module(program)?.ir()?.funcs)
}

fn intermediate(program: &str) -> Result<String> {
    Ok(recorded(program)?.iter().map(|func| format!("{func}\n")).collect())
}

fn passes(program: &str, profile: &Profile) -> Result<String> {
    let mut text = String::new();
    for func in recorded(program)? {
        writeln!(text, "# as recorded\n{func}")?;
        optimize(&func, profile, &mut |pass, after| text += &format!("# after {pass}\n{after}\n"))?;
    }
    Ok(text)
}

fn instructions(program: &str, profile: &Profile) -> Result<String> {
    let spec = loader::Spec::parse(&systems::built_in(program, profile)?)?;
    Ok(loader::disasm::disasm(&spec, true))
}

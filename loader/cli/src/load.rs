//! `loader load`: every program and map of one object, loaded and pinned; nothing is attached.
//!
//! Input: [`Args`]. Output: name, id, tag and type of each. Read next: `loader::load`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use loader::apply::{self, Pinned};

use crate::render::{Out, table};
use crate::systems;

/// What `loader load` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An ELF object, assembly text (.s), or the name of a built-in object
    object: PathBuf,

    /// Where to pin: a directory on bpffs, made when it is not there
    #[arg(long, value_name = "DIR")]
    pin: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let name = args.object.display().to_string();
    let bytes = systems::read_source(&args.object)?;
    let spec = loader::Spec::parse(&bytes).with_context(|| format!("{name} cannot be loaded"))?;
    let pinned = apply::load_and_pin(&spec, &args.pin, &mut |event| out.progress(event))
        .with_context(|| format!("{name} was not loaded; nothing is left of it"))?;
    out.result(&pinned, text)
}

fn text(pinned: &Pinned) -> String {
    let programs = table(
        ["program", "id", "tag", "type", "pin"],
        pinned.programs.iter().map(|prog| {
            [
                prog.name.clone(),
                prog.id.to_string(),
                prog.tag.clone(),
                prog.kind.clone(),
                prog.pin.display().to_string(),
            ]
        }),
    );
    let maps = table(
        ["map", "id", "type", "key", "value", "entries", "pin"],
        pinned.maps.iter().map(|map| {
            [
                map.name.clone(),
                map.id.to_string(),
                map.kind.clone(),
                map.key_size.to_string(),
                map.value_size.to_string(),
                map.max_entries.to_string(),
                map.pin.display().to_string(),
            ]
        }),
    );
    programs + &maps
}

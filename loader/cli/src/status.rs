//! `loader status`: what is wanted, what the kernel has, what is foreign, and where they differ.
//!
//! Input: [`Args`]. Output: a few tables a deployment. Read next: `loader::apply`'s `status`.

use anyhow::Result;
use loader::apply::record::Stage;
use loader::apply::{self, Status};

use crate::render::{Out, number, table};
use crate::systems;

/// What `loader status` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A deployment's name; all of them without one
    name: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let systems = systems::all();
    let systems = systems::refs(&systems);
    let names = args.name.map_or_else(apply::deployments, |name| Ok(vec![name]))?;
    let all: Vec<Status> = names.iter().map(|name| apply::status(name, &systems)).collect::<Result<_, _>>()?;
    out.result(&all, |all| if all.is_empty() { "nothing is up\n".to_owned() } else { all.iter().map(text).collect() })
}

fn text(status: &Status) -> String {
    let stage = match status.stage {
        Some(Stage::Up) if status.drift.is_empty() => "up, as wanted",
        Some(Stage::Up) => "up, but not as wanted",
        Some(Stage::Changing) => "half done",
        None => "without a record",
    };
    let mut text = format!("{}: {stage}\n", status.name);
    if let Some(manifest) = &status.manifest {
        text += &format!("  from {}\n", manifest.display());
    }
    text += &links(status);
    text += &programs(status);
    for (system, counters) in &status.counters {
        text += &format!("  {system} counted\n");
        text += &counters.text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    }
    text += &status.left_out.iter().map(|(pin, why)| format!("  without {pin}: {why}\n")).collect::<String>();
    for (title, lines) in [("drift", &status.drift), ("foreign", &status.foreign)] {
        text += &lines.iter().map(|line| format!("  {title}: {line}\n")).collect::<String>();
    }
    text
}

fn links(status: &Status) -> String {
    table(
        ["attached to", "program", "link", "wanted", "mode", "refused"],
        status.links.iter().map(|link| {
            let refused: Vec<_> = link.refused.iter().map(|one| format!("{}: {}", one.mode, one.words)).collect();
            [
                link.at.clone(),
                link.program.clone(),
                match link.id {
                    Some(id) => id.to_string(),
                    None if link.attached => "without".to_owned(),
                    None => "gone".to_owned(),
                },
                link.wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                match link.mode {
                    Some(mode) => mode.to_string(),
                    None if link.wanted.is_empty() && link.attached => "attached".to_owned(),
                    None => "none".to_owned(),
                },
                refused.join("; "),
            ]
        }),
    )
}

fn programs(status: &Status) -> String {
    table(
        ["program", "id", "tag", "insns", "jited bytes", "runs", "ns a run"],
        status.programs.iter().map(|prog| {
            let each = prog.run_time_ns.checked_div(prog.run_count);
            [
                prog.pin.clone(),
                prog.id.to_string(),
                prog.tag.clone(),
                prog.insns.to_string(),
                prog.jited_bytes.to_string(),
                number(prog.run_count),
                each.map_or_else(|| "-".to_owned(), number),
            ]
        }),
    )
}

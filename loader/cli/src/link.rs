//! `loader link`: what is attached where, by whatever loader.
//!
//! Input: [`Args`]. Output: a table or JSON. Read next: `loader::link`.

use anyhow::Result;
use loader::link::{Info, Link};
use loader::prog::Prog;
use loader::sys::obj::Kind;
use serde::Serialize;

use crate::refs;
use crate::render::{Out, table};

/// What `loader link` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every link in the kernel
    List,
}

/// A link, and the name of its program.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    info: Info,
    program: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let Command::List = args.command;
    let links = refs::all(Kind::Link, |id| Link::from_id(id).ok()?.info().ok())?;
    let row = |(_, info): (u32, Info)| {
        let program = Prog::from_id(info.prog_id).ok().map(|prog| prog.name().to_owned());
        Row { info, program }
    };
    let rows: Vec<Row> = links.into_iter().map(row).collect();
    out.result(&rows, |rows| {
        table(
            ["link", "type", "program", "id", "attached to"],
            rows.iter().map(|Row { info, program }| {
                let at = match (info.ifindex, info.cgroup) {
                    (Some(0), _) | (_, Some(0)) => "nothing any more".to_owned(),
                    (Some(ifindex), _) => format!("ifindex {ifindex}"),
                    (_, Some(cgroup)) => format!("cgroup {cgroup}"),
                    (None, None) => String::new(),
                };
                let program = program.clone().unwrap_or_default();
                [info.id.to_string(), info.link_type.to_string(), program, info.prog_id.to_string(), at]
            }),
        )
    })
}

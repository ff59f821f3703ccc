//! `loader prog`: programs in the kernel, whoever loaded them.
//!
//! Input: [`Args`]. Output: tables, instructions, or what a run gave. Read next: `loader::prog`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use asm::insn::{Insn, Op};
use loader::prog::{Info, Prog, SourceLine};
use loader::sys::obj::Kind;
use serde::Serialize;

use crate::hex;
use crate::refs::{self, Ref};
use crate::render::{Out, number, table};

/// What `loader prog` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every program in the kernel
    List,
    /// All that the kernel says of one program
    Show {
        /// Its id, pin or name
        #[arg(value_name = "PROG")]
        prog: Ref,
    },
    /// The instructions that run, as the verifier left them, under the lines of source that they come from
    Dump {
        /// Its id, pin or name
        #[arg(value_name = "PROG")]
        prog: Ref,
        /// The machine code, as hex
        #[arg(long)]
        jited: bool,
    },
    /// Run a program on a packet, without attaching it
    Run {
        /// Its id, pin or name
        #[arg(value_name = "PROG")]
        prog: Ref,
        /// The packet's bytes, as hex
        #[arg(long, value_name = "HEX", conflicts_with = "packet", required_unless_present = "packet")]
        data: Option<String>,
        /// A file with the packet's bytes
        #[arg(long, value_name = "FILE")]
        packet: Option<PathBuf>,
        /// How often
        #[arg(long, value_name = "N", default_value_t = 1)]
        repeat: u32,
    },
}

#[derive(Serialize)]
struct Dumped {
    id: u32,
    /// One string an instruction, or for machine code hex in one.
    code: Vec<String>,
    /// The lines of source, each with the position of its first instruction; none where whoever loaded it gave none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<SourceLine>,
}

#[derive(Serialize)]
struct Ran {
    retval: u32,
    data: String,
    /// Of one run, on average.
    nanoseconds: u128,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    match args.command {
        Command::List => {
            let all = refs::all(Kind::Prog, |id| Prog::from_id(id).ok()?.info().ok())?;
            out.result(&all.into_iter().map(|(_, info)| info).collect::<Vec<_>>(), |all| list(all))
        }
        Command::Show { prog } => out.result(&prog.prog()?.info()?, show),
        Command::Dump { prog, jited } => {
            let prog = prog.prog()?;
            let id = prog.id()?;
            if jited {
                let code = vec![hex::hex(&prog.jited()?)];
                return out.result(&Dumped { id, code, lines: Vec::new() }, |dumped| dumped.code.concat() + "\n");
            }
            let (insns, lines) = (listing(&prog.xlated()?), prog.source_lines()?);
            let text = with_source(&insns, &lines);
            let code = insns.into_iter().map(|(_, text)| text).collect();
            out.result(&Dumped { id, code, lines }, |_| text)
        }
        Command::Run { prog, data, packet, repeat } => {
            let data = match (data, packet) {
                (Some(digits), _) => hex::bytes(&digits).context("--data")?,
                (None, Some(path)) => {
                    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
                }
                (None, None) => Vec::new(),
            };
            let ran = prog.prog()?.test_run(&data, repeat)?;
            let ran = Ran { retval: ran.retval, data: hex::hex(&ran.data_out), nanoseconds: ran.duration.as_nanos() };
            out.result(&ran, |ran| format!("returned {} after {} ns\n{}\n", ran.retval, ran.nanoseconds, ran.data))
        }
    }
}

fn list(all: &[Info]) -> String {
    table(
        ["id", "name", "type", "tag", "insns", "jited", "maps"],
        all.iter().map(|info| {
            let maps: Vec<String> = info.map_ids.iter().map(u32::to_string).collect();
            [
                info.id.to_string(),
                info.name.clone(),
                info.prog_type.to_string(),
                info.tag.clone(),
                info.xlated_insns.to_string(),
                number(info.jited_bytes.into()),
                maps.join(","),
            ]
        }),
    )
}

fn show(info: &Info) -> String {
    let mut text = format!("program {} `{}`, {}, tag {}\n", info.id, info.name, info.prog_type, info.tag);
    let license = if info.gpl_compatible { "compatible with the GPL" } else { "not compatible with the GPL" };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    line(
        "code",
        format!("{} instructions, {} bytes of machine code", info.xlated_insns, number(info.jited_bytes.into())),
    );
    if info.verified_insns > 0 {
        line("verifier", format!("went through {} instructions", number(info.verified_insns.into())));
    }
    line(
        "loaded",
        format!("{:.0} s after boot by user {}, license {license}", info.load_time.as_secs_f64(), info.created_by_uid),
    );
    line("runs", format!("{} in {:?}; counted while statistics are on", number(info.run_count), info.run_time));
    let maps: Vec<String> = info.map_ids.iter().map(u32::to_string).collect();
    line("maps", if maps.is_empty() { "none".to_owned() } else { maps.join(", ") });
    line("types", if info.btf_id == 0 { "none".to_owned() } else { format!("BTF {}", info.btf_id) });
    text
}

/// Instructions, each with its position as a number and in the text.
fn listing(code: &[u8]) -> Vec<(usize, String)> {
    let (slots, _) = code.as_chunks::<8>();
    let insns: Vec<Insn> = slots.iter().map(|slot| Insn::from_bytes(*slot)).collect();
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some((op, slots)) = insns.get(at..).and_then(Op::decode_lenient) {
        // Where a descriptor stood, the kernel shows the map's id.
        lines.push((at, format!("{at:5}: {op}").replace("map[fd:", "map[id:")));
        at += slots;
    }
    lines
}

/// Instructions under the lines that they come from, written as in the verifier's log.
fn with_source(insns: &[(usize, String)], lines: &[SourceLine]) -> String {
    let (mut text, mut lines) = (String::new(), lines.iter().peekable());
    for (at, insn) in insns {
        while let Some(line) = lines.next_if(|line| line.at as usize <= *at) {
            let _ = writeln!(text, "; {} @ {}:{}:{}", line.text, line.file, line.line, line.column);
        }
        let _ = writeln!(text, "{insn}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_stand_under_their_lines() {
        let code =
            [[0x18, 1, 0, 0, 7, 0, 0, 0], [0; 8], [0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat();
        let line =
            |at, line, text: &str| SourceLine { at, file: "x.rs".to_owned(), line, column: 5, text: text.to_owned() };
        let all = [line(0, 7, "let map = 7;"), line(2, 8, "Ok(Pass)"), line(2, 9, "}")];
        let insns = listing(&code);
        let want = "; let map = 7; @ x.rs:7:5\n    0: r1 = 0x7 ll\n; Ok(Pass) @ x.rs:8:5\n; } @ x.rs:9:5\n    2: r0 = 2\n    3: exit\n";
        assert_eq!(with_source(&insns, &all), want);
        assert_eq!(with_source(&insns, &[]), "    0: r1 = 0x7 ll\n    2: r0 = 2\n    3: exit\n", "without lines");
        assert_eq!(with_source(&[], &all), "", "where the kernel shows no instructions");
    }
}

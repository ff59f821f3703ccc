//! The command `loader`: parse, dispatch, exit code.
//!
//! Input: the command line. Output: exit status 0 (done), 1 (failed), 2 (wrong usage); results on standard output,
//! progress and errors on standard error. Read next: `cli.rs` (what can be said), then one file a command.
#![forbid(unsafe_code)]

mod asm;
mod bench;
mod bypass;
mod check;
mod cli;
mod disasm;
mod down;
mod emit;
mod features;
mod hex;
mod interrupt;
mod link;
mod load;
mod map;
mod prog;
mod refs;
mod render;
mod report;
mod status;
mod systems;
mod up;
mod vm;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use render::Out;

fn main() -> ExitCode {
    // `check --kernel` boots guests with this program as their process 1.
    if guest_init::process::is_called() {
        guest_init::process::main();
    }
    let cli = Cli::parse(); // wrong usage ends here, with status 2
    let mut out = Out::new(cli.json);
    let done = match cli.command {
        Command::Up(args) => up::run(args, &mut out),
        Command::Down(args) => down::run(args, &mut out),
        Command::Status(args) => status::run(args, &mut out),
        Command::Check(args) => check::run(args, &mut out),
        Command::Features(args) => features::run(args, &mut out),
        Command::Prog(args) => prog::run(args, &mut out),
        Command::Map(args) => map::run(args, &mut out),
        Command::Link(args) => link::run(args, &mut out),
        Command::Load(args) => load::run(args, &mut out),
        Command::Emit(args) => emit::run(args, &mut out),
        Command::Asm(args) => asm::run(args, &mut out),
        Command::Disasm(args) => disasm::run(args, &mut out),
        Command::Vm(args) => vm::run(args, &mut out),
        Command::Bypass(args) => bypass::run(&args, &mut out),
        Command::Bench(args) => bench::run(args, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if render::is_closed_pipe(&error) => ExitCode::SUCCESS,
        // The result itself has said it.
        Err(error) if error.is::<check::NotAll>() => ExitCode::FAILURE,
        Err(error) => {
            out.error(&error);
            ExitCode::FAILURE
        }
    }
}

//! `cargo ci`: parses the command line and hands over to the library.
//!
//! In: arguments. Out: exit status 0 (all well), 1 (something failed), 2 (wrong usage). Next to read: `lib.rs`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use qemu_ci::arch::Arch;
use qemu_ci::matrix::Options;
use qemu_ci::nic::Nic;
use qemu_ci::repo::Repo;
use qemu_ci::run::{self, Job};
use qemu_ci::{kernels, selftests, steps};

/// Every check of the workspace, and real kernels in QEMU to run it on.
#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, clippy with warnings as errors, dependencies (where cargo-deny is installed)
    Check,
    /// The rules of the workspace no compiler knows, and the documentation
    Lint,
    /// Every test of the workspace on this kernel; needs root for the kernel tests
    Test {
        /// Passed on to `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Look up what the kernels of kernels.toml are today, and write kernels.lock
    Resolve(Choice),
    /// Download and unpack kernels
    Fetch(Choice),
    /// The kernels there are, and which of them are in the cache
    List,
    /// The main job and every kernel test of the workspace, in guests of real kernels
    Kernels {
        #[command(flatten)]
        choice: Choice,
        /// Guests at a time; without it, as many as processors
        #[arg(long)]
        jobs: Option<usize>,
        /// In place of everything else the tests of a network card's driver, by its name in suites.toml
        #[arg(long)]
        nic: Option<String>,
        /// So many passes, whose verdicts must all be the same
        #[arg(long, default_value_t = 1)]
        repeat: usize,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// A program of this machine, in guests of real kernels
    Run {
        #[command(flatten)]
        choice: Choice,
        /// Guests at a time; without it, as many as processors
        #[arg(long)]
        jobs: Option<usize>,
        #[command(flatten)]
        along: Along,
        /// The command; files among its arguments are taken along
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// A shell on one kernel, the last of those chosen
    Shell {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        along: Along,
    },
    /// The kernel's own verifier tests, compiled from its source package, judged on that kernel
    Selftests,
    /// Everything: check, lint, test, kernels; installs what is missing when run as root
    All,
    /// Runs a test binary, as root where it needs it; `cargo ci test` puts this between cargo and the binary
    #[command(hide = true)]
    AsRoot {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Which kernels.
#[derive(Args)]
struct Choice {
    /// What the kernels run on: x86_64, aarch64, or um (User-mode Linux)
    #[arg(long, default_value_t)]
    arch: Arch,
    /// Names of kernels.toml, with commas, or `all`; without it the required ones
    #[arg(long)]
    kernel: Option<String>,
    /// Refuse kernels that are not what kernels.lock says
    #[arg(long)]
    locked: bool,
}

/// What goes into a guest besides the command.
#[derive(Args)]
struct Along {
    /// Kernel module to insert first; may be given several times
    #[arg(long = "module")]
    modules: Vec<String>,
    /// File or directory to take along; may be given several times
    #[arg(long = "file")]
    files: Vec<String>,
    /// Another program to take along, with its libraries; may be given several times
    #[arg(long = "program")]
    programs: Vec<String>,
    /// Seconds the command may take
    #[arg(long)]
    timeout: Option<u64>,
    /// Memory of the guest in MiB
    #[arg(long)]
    memory: Option<u64>,
    /// Network card by QEMU's name of the model, with its queues behind a colon if it has several: virtio-net-pci:4; may be
    /// given several times, and all see each other. Its driver is a --module
    #[arg(long = "nic", value_name = "MODEL[:QUEUES]")]
    nics: Vec<Nic>,
}

impl Along {
    /// As the library wants it.
    fn job(self, command: Vec<String>) -> Job {
        let Self { modules, files, programs, timeout, memory, nics } = self;
        Job { command, modules, files, programs, timeout, memory_mb: memory, nics }
    }
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; true when all is well.
fn dispatch(command: Command) -> anyhow::Result<bool> {
    let repo = Repo::find()?;
    Ok(match command {
        Command::Check => steps::alone(steps::check(&repo)?),
        Command::Lint => steps::alone(steps::lint(&repo)?),
        Command::Test { arguments } => steps::alone(steps::test(&repo, &arguments)?),
        Command::Resolve(choice) => kernels::resolve(&repo, choice.arch, choice.kernel.as_deref())?,
        Command::Fetch(choice) => kernels::fetch(&repo, choice.arch, choice.kernel.as_deref(), choice.locked)?,
        Command::List => kernels::list(&repo)?,
        Command::Kernels { choice: Choice { arch, kernel, locked }, jobs, nic, repeat, filter } => {
            let options =
                Options { arch, kernels: kernel, strict: locked, jobs, nic, repeat, filter, ..Options::default() };
            steps::alone(steps::kernels(&repo, &options)?)
        }
        Command::Run { choice: Choice { arch, kernel, locked }, jobs, along, command } => {
            let options = Options { arch, kernels: kernel, strict: locked, jobs, ..Options::default() };
            run::run(&repo, &options, &along.job(command))?
        }
        Command::Shell { choice: Choice { arch, kernel, locked }, along } => {
            let options = Options { arch, kernels: kernel, strict: locked, ..Options::default() };
            run::shell(&repo, &options, &along.job(Vec::new()))?
        }
        Command::Selftests => selftests::run(&repo)?,
        Command::All => steps::all(&repo)?,
        Command::AsRoot { command } => steps::as_root(&command)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `cargo ci …` of the workflow is one that this program takes, whatever stands for the expressions in it.
    #[test]
    fn public_ci_calls_commands_that_there_are() {
        let workflow = include_str!("../../.github/workflows/ci.yml");
        let mut called = Vec::new();
        for line in workflow.lines().filter_map(|line| line.split_once("run: cargo ci ")) {
            let mut command = line.1.to_owned();
            while let Some((before, rest)) = command.split_once("${{") {
                let (_, after) = rest.split_once("}}").expect("an expression ends");
                command = format!("{before}x86_64{after}");
            }
            let words = ["cargo ci"].into_iter().chain(command.split_whitespace());
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{command}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
            called.push(command);
        }
        for step in ["check", "lint", "test", "kernels"] {
            assert!(called.iter().any(|command| command.split_whitespace().next() == Some(step)), "{step}: {called:?}");
        }
    }
}

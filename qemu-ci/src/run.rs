//! `cargo ci run -- CMD` and `cargo ci shell`: a program of this machine on another kernel.
//!
//! In: a command, kernels. Out: what it printed on each, and a table; or a shell on one. The command finds the current
//! directory, its own libraries and the files it names as arguments. Next to read: `matrix.rs`.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use guest_init::{Item, Plan};

use crate::arch::Arch;
use crate::build;
use crate::cache::Cache;
use crate::fetch::Fetcher;
use crate::guest::{self, Guest, Patience};
use crate::initramfs::{Tree, archive};
use crate::kernels;
use crate::matrix::{self, Options};
use crate::modules;
use crate::nic::Nic;
use crate::qemu::MEMORY_MB;
use crate::repo::Repo;
use crate::suites::{Task, Work, base, environment};
use crate::{host, tools};

/// Time for a command, in seconds, when nothing else is asked for.
const TIMEOUT: u64 = 300;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Names of kernel modules.
    pub modules: Vec<String>,
    /// Files to take along, beside those named as arguments.
    pub files: Vec<String>,
    /// Other programs that the command starts.
    pub programs: Vec<String>,
    /// Seconds.
    pub timeout: Option<u64>,
    /// MiB.
    pub memory_mb: Option<u64>,
    /// Network cards.
    pub nics: Vec<Nic>,
}

/// Runs a command on each kernel and prints what it said.
///
/// # Errors
/// The command is not there, or what concerns all kernels alike.
pub fn run(repo: &Repo, options: &Options, job: &Job) -> Result<bool> {
    tools::ensure(&tools::of_guests(options.arch))?;
    let report = matrix::run_work(repo, options, || work(repo, options.arch, job))?;
    for row in &report.rows {
        println!("---- Linux {} ({})", row.name, row.release);
        row.tests.iter().for_each(|test| print!("{}", test.detail));
    }
    print!("{}", report.text());
    report.red().iter().for_each(|red| println!("{}", red.what));
    Ok(report.tally().failed == 0)
}

/// One task and what it needs.
fn work(repo: &Repo, arch: Arch, job: &Job) -> Result<Work> {
    let words: Vec<_> = job.command.iter().map(String::as_str).collect();
    let built = build::build(repo, arch, &words, &[])?;
    let mut tree = base(&built)?;
    let here = env::current_dir().context("current directory")?;
    tree.directory(&here.to_string_lossy());
    let (program, arguments) = job.command.split_first().context("no command to run")?;
    let path = match built.program(program) {
        Some(_) => format!("/bin/{program}"),
        None => host::add(&mut tree, program)?.to_string_lossy().into_owned(),
    };
    for other in &job.programs {
        host::add(&mut tree, other)?;
    }
    let named = arguments.iter().filter(|word| here.join(word).is_file());
    for file in job.files.iter().chain(named) {
        let path = here.join(file);
        tree.copy(&path.to_string_lossy(), &path)?;
    }
    let command = [&[path], arguments].concat();
    let task = Task {
        item: Item {
            name: job.command.join(" "),
            commands: vec![command],
            cwd: here.to_string_lossy().into_owned(),
            machine_network: !job.nics.is_empty(),
            timeout_ms: job.timeout.unwrap_or(TIMEOUT) * 1000,
            ..Item::default()
        },
        modules: job.modules.clone(),
        of_runner: false,
    };
    let memory_mb = job.memory_mb.unwrap_or(MEMORY_MB);
    Ok(Work {
        tasks: vec![task],
        shared: archive(&tree)?,
        env: environment(),
        memory_mb,
        nics: job.nics.clone(),
        drivers: Vec::new(),
    })
}

/// Programs that make a shell useful, where this machine has them.
const SHELL: [&str; 22] = [
    "bash", "sh", "ls", "cat", "grep", "head", "tail", "less", "ps", "mount", "umount", "mkdir", "rm", "cp", "sleep",
    "dmesg", "uname", "ip", "tc", "bpftool", "ping", "nsenter",
];

/// Boots one kernel and gives it the terminal.
///
/// # Errors
/// The kernel is not to be had, or there is no shell here.
pub fn shell(repo: &Repo, options: &Options, job: &Job) -> Result<bool> {
    tools::ensure(&tools::of_guests(options.arch))?;
    let chosen = kernels::chosen(repo, options.arch, options.kernels.as_deref())?;
    let Some(choice @ (wanted, _)) = chosen.last() else { bail!("no kernel to boot") };
    let kernel = Fetcher::new(Cache::of_user()?, options.strict).obtain(choice)?;
    let image = kernel.image.kernel()?;
    let built = build::build(repo, options.arch, &["loader"], &[])?;
    let mut tree = base(&built)?;
    for program in SHELL.iter().filter(|program| tools::find(program).is_some()) {
        host::add(&mut tree, program)?;
    }
    for program in &job.programs {
        host::add(&mut tree, program)?;
    }
    for file in &job.files {
        tree.copy(&std::path::absolute(file).context("path")?.to_string_lossy(), Path::new(file))?;
    }
    let shell = ["bash", "sh"].into_iter().find(|shell| tools::find(shell).is_some()).context("no shell here")?;
    let mut own = Tree::new();
    let mut item = Item::default();
    for module in modules::resolve(&kernel.image, &job.modules)? {
        let path = format!("/modules/{}.ko", module.name);
        own.file(&path, module.bytes);
        item.modules.push(path);
    }
    let command = [format!("/bin/{shell}"), "-i".to_owned()].to_vec();
    let env = BTreeMap::from_iter(environment().into_iter().chain([("TERM".to_owned(), "vt100".to_owned())]));
    let plan = Plan {
        nonce: guest::nonce(),
        port: wanted.arch.results().to_owned(),
        env,
        items: vec![item],
        shell: Some(command),
    };
    eprintln!("Linux {}: `exit` ends the guest", kernel.kernel.release);
    guest::interactive(&Guest {
        arch: wanted.arch,
        emulator: &wanted.arch.emulator(&image)?,
        kernel: &image,
        shared: &archive(&tree)?,
        own,
        plan,
        memory_mb: job.memory_mb.unwrap_or(2 * MEMORY_MB),
        nics: &job.nics,
        directory: repo.out().join("shell"),
        patience: Patience::default(),
    })?;
    Ok(true)
}

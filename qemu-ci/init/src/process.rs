//! Process 1 of a test guest: mounts, runs the plan's items, reports each, ends the machine.
//!
//! In: [`PLAN_PATH`] from the initramfs. Out: [`crate::Line`]s on the port that the plan names; its own words on the first (the
//! console). It needs no file of the host and no program but the tests themselves. It is a library's function so that a
//! program which boots guests to run itself in them can be their process 1 too: one file does it all. Next to read: `item.rs`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::setsid;

use crate::port::{Port, Report};
use crate::{Event, INIT_PATH, Item, PLAN_PATH, Plan, item, kmsg, mounts, port};

/// True when a guest's kernel has started this program as its process 1, or process 1 has as the wrapper of an item.
pub fn is_called() -> bool {
    std::env::args_os().next().is_some_and(|name| name == INIT_PATH)
}

/// Does the work of process 1 until the machine is off, or that of an item's wrapper.
pub fn main() -> ! {
    // The same file is the wrapper that each item runs in; see `item.rs`.
    let mut arguments = std::env::args().skip(1);
    if let (2.., Some(index), Some(item)) = (std::process::id(), arguments.next(), arguments.next()) {
        std::process::exit(item::inside(&index, &item));
    }
    if let Err(error) = run() {
        eprintln!("guest-init: {error:#}");
    }
    port::leave();
}

/// Starts this program again, as the wrapper of the item with this index. It is given the item: to read the whole plan once
/// more took longer than many a test.
///
/// # Errors
/// The item cannot be written as an argument.
pub(crate) fn wrapper(index: usize, item: &Item) -> Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    let item = serde_json::to_string(item).context("encode the item")?;
    command.arg0(INIT_PATH).args([index.to_string(), item]);
    Ok(command)
}

/// Carries out the plan.
///
/// # Errors
/// What process 1 itself could not do; a failing test is no error.
fn run() -> Result<()> {
    mounts::guest()?;
    let plan = read_plan()?;
    if let Some(command) = &plan.shell {
        return shell(command, &plan);
    }
    let mut port = Port::open(&plan.port)?;
    let mut log = kmsg::Log::open()?;
    let hello = Event::Hello {
        release: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        memory_kb: available_memory(),
        splat: log.splats(),
    };
    port.send(&plan.nonce, hello)?;
    let (mut inserted, mut index) = (Vec::new(), 0);
    let mut report = Report::new(&mut port, &plan.nonce, &mut log);
    while let Some(items) = plan.items.get(index..).filter(|items| !items.is_empty()) {
        index += item::run(index, items, &plan.env, &mut inserted, &mut report)?;
    }
    port.send(&plan.nonce, Event::Bye { ended: plan.items.len() })?;
    port.drain()
}

/// The plan that came with the initramfs.
fn read_plan() -> Result<Plan> {
    let text = fs::read(PLAN_PATH).with_context(|| format!("read {PLAN_PATH}"))?;
    serde_json::from_slice(&text).with_context(|| format!("{PLAN_PATH} is not a plan"))
}

/// `MemAvailable` in KiB; 0 when the kernel does not say.
fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// Gives the console to one command; the guest ends with it.
fn shell(command: &[String], plan: &Plan) -> Result<()> {
    let modules: Vec<_> = plan.items.iter().flat_map(|item| item.modules.clone()).collect();
    item::insert(&modules, &mut Vec::new())?;
    let (program, arguments) = command.split_first().context("the shell command is empty")?;
    // The first terminal that a session's leader opens becomes the session's: the shell then has job control.
    setsid().context("begin a session")?;
    // `/dev/console` itself cannot become a session's terminal; the last of those behind it can.
    let active = fs::read_to_string("/sys/class/tty/console/active").context("which terminal is the console")?;
    let path = format!("/dev/{}", active.split_whitespace().last().unwrap_or("console"));
    let terminal = File::options().read(true).write(true).open(&path).with_context(|| format!("open {path}"))?;
    let (input, output) = (terminal.try_clone()?, terminal.try_clone()?);
    let mut child = Command::new(program);
    let status =
        child.args(arguments).env_clear().envs(&plan.env).stdin(input).stdout(output).stderr(terminal).status();
    println!("guest-init: {program} has ended: {status:?}");
    Ok(())
}

//! One item of the plan: its modules, its namespaces and cgroup, its commands, its time.
//!
//! In: an [`Item`], or several that are tests of one binary. Out: a report of each. The item runs inside a second process of this same program ([`inside`]), which
//! leaves the guest's namespaces and enters the item's cgroup before it starts the first command; so whatever the item
//! leaves behind goes away with the namespaces, and whoever it leaves running is found in the cgroup.
//! Next to read: `mounts.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::batch::{self, Said, Words};
use crate::port::Report;
use crate::{Item, Status, mounts, process};

/// Exit status of the wrapper when the item could not even be started.
const CANNOT_START: i32 = 125;

/// How often a running item is looked at when it prints nothing. Its end is seen at once, by the end of its output; each look
/// takes the processor from it, and makes an emulated one forget where code and data lie.
const LOOK_MS: u8 = 100;

/// Runs the first of some items to its end or its timeout, together with its neighbours where one process can run them, clears
/// up after it and reports. Out: how many have ended. When a process ends early or hangs, that is the end of the test that ran;
/// those that had not begun are the next call's.
///
/// # Errors
/// The port takes no more.
pub(crate) fn run(
    index: usize,
    items: &[Item],
    env: &BTreeMap<String, String>,
    inserted: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Result<usize> {
    let items = items.get(..batch::together(items)).unwrap_or_default();
    match (items, batch::merged(items)) {
        ([_, _, ..], Some(merged)) => run_together(index, items, &merged, env, inserted, report),
        ([item, ..], _) => run_alone(index, item, env, inserted, report),
        ([], _) => Ok(0),
    }
}

/// Runs one item.
fn run_alone(
    index: usize,
    item: &Item,
    env: &BTreeMap<String, String>,
    inserted: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Result<usize> {
    report.begin(index)?;
    let ended = insert(&item.modules, inserted).and_then(|()| supervise(index, item, env, &mut |_| Ok(false)));
    let (status, output) = ended.map_or_else(not_started, |ended| ended.verdict(item));
    report.end(index, item, status, &output)?;
    Ok(1)
}

/// Runs the tests of `items` in one process, that of `merged`.
fn run_together(
    first: usize,
    items: &[Item],
    merged: &Item,
    env: &BTreeMap<String, String>,
    inserted: &mut Vec<String>,
    report: &mut Report<'_>,
) -> Result<usize> {
    let mut words = Words::new(batch::names(items));
    let mut heard = |words: &mut Words<'_>, text: &mut Vec<u8>| {
        let said = words.read(text);
        for one in &said {
            match one {
                Said::Begun(number) => report.begin(first + number)?,
                Said::Ended { number, passed, output } => {
                    report.end(first + number, merged, status_of(*passed), output)?;
                }
            }
        }
        Ok(!said.is_empty())
    };
    let ended = insert(&merged.modules, inserted)
        .and_then(|()| supervise(first, merged, env, &mut |text| heard(&mut words, text)));
    let (status, output) = match &ended {
        Ok(Ended { exit: Some(_), output }) if let Some((output, passed)) = batch::closed(output) => {
            (status_of(passed), output.to_owned())
        }
        _ => ended.map_or_else(not_started, |ended| ended.early(merged)),
    };
    let last = match words.running() {
        Some(number) => number,
        None => {
            report.begin(first)?;
            0
        }
    };
    report.end(first + last, merged, status, &output)?;
    Ok(last + 1)
}

/// The end of an item whose process could not be started.
fn not_started(error: anyhow::Error) -> (Status, String) {
    (Status::Fail, format!("guest-init: {error:#}\n"))
}

fn status_of(passed: bool) -> Status {
    if passed { Status::Pass } else { Status::Fail }
}

/// Inserts modules, dependencies first; the host has put them in that order.
///
/// # Errors
/// The module the kernel refused, and why.
pub(crate) fn insert(modules: &[String], inserted: &mut Vec<String>) -> Result<()> {
    for path in modules {
        if inserted.contains(path) {
            continue;
        }
        let file = File::open(path).with_context(|| format!("open module {path}"))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::Error::EEXIST) => inserted.push(path.clone()),
            Err(error) => bail!("the kernel refuses module {path}: {error}"),
        }
    }
    Ok(())
}

/// The end of a process.
struct Ended {
    /// `None`: it was still running when its time was over.
    exit: Option<ExitStatus>,
    /// What it printed, without what was taken meanwhile.
    output: String,
}

impl Ended {
    /// What the end of an item's process says of the item.
    fn verdict(self, item: &Item) -> (Status, String) {
        let Self { exit, mut output } = self;
        let (status, words) = match exit {
            Some(exit) if exit.success() => return (Status::Pass, output),
            Some(exit) => (Status::Fail, exit.to_string()),
            None => (Status::Timeout, format!("still running after {} ms, killed", item.timeout_ms)),
        };
        output.push_str(&format!("\nguest-init: {words}\n"));
        (status, output)
    }

    /// The same of a test whose runner did not come to its end: then no exit status is a good one.
    fn early(self, item: &Item) -> (Status, String) {
        let (status, mut output) = self.verdict(item);
        if status == Status::Pass {
            output.push_str("\nguest-init: the process ended before the test runner did\n");
        }
        (if status == Status::Timeout { status } else { Status::Fail }, output)
    }
}

/// Looks at what was printed so far, and may take of it; true when the time begins anew.
type Follow<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> Result<bool>;

/// Starts the wrapper, watches it, and clears up after it.
fn supervise(index: usize, item: &Item, env: &BTreeMap<String, String>, follow: Follow<'_>) -> Result<Ended> {
    let cgroup = PathBuf::from(format!("/sys/fs/cgroup/item-{index}"));
    fs::create_dir(&cgroup).with_context(|| format!("create {}", cgroup.display()))?;
    let (output, input) = pipe().context("create a pipe")?;
    let child = process::wrapper(index, item)?
        .env_clear()
        .envs(env)
        .envs(&item.env)
        .stdin(Stdio::null())
        .stdout(input.try_clone().context("duplicate a pipe")?)
        .stderr(input)
        .spawn()
        .context("start the item's wrapper")?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    let watched = watch(pid, output, Duration::from_millis(item.timeout_ms), follow);
    clear(&cgroup);
    watched
}

/// Collects output and waits for the wrapper; orphans that land at process 1 meanwhile are reaped.
fn watch(pid: Pid, mut output: PipeReader, limit: Duration, follow: Follow<'_>) -> Result<Ended> {
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("make a pipe non-blocking")?;
    let mut begin = Instant::now();
    let mut text = Vec::new();
    let exit = loop {
        // An error here (a signal) only means to look earlier; a closed pipe must not make this a busy loop.
        let closed = {
            let mut watched = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut watched, PollTimeout::from(LOOK_MS));
            watched[0].revents().is_some_and(|seen| seen == PollFlags::POLLHUP)
        };
        let _ = output.read_to_end(&mut text);
        if follow(&mut text)? {
            begin = Instant::now();
        }
        if let Some(exit) = reap(pid, closed)? {
            break Some(exit);
        }
        if begin.elapsed() > limit {
            break None;
        }
    };
    let _ = output.read_to_end(&mut text);
    follow(&mut text)?;
    Ok(Ended { exit, output: String::from_utf8_lossy(&text).into_owned() })
}

/// Reaps ended processes; returns the wrapper's status when it was among them. With `pause`, sleeps a little first.
fn reap(wrapper: Pid, pause: bool) -> Result<Option<ExitStatus>> {
    if pause {
        std::thread::sleep(Duration::from_millis(1));
    }
    loop {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let Some(pid) = waitid(Id::All, options).context("wait for a child")?.pid() else {
            return Ok(None);
        };
        let raw = match waitpid(pid, None).context("reap a child")? {
            nix::sys::wait::WaitStatus::Exited(_, code) => code << 8,
            nix::sys::wait::WaitStatus::Signaled(_, signal, _) => signal as i32,
            _ => continue,
        };
        if pid == wrapper {
            return Ok(Some(ExitStatus::from_raw(raw)));
        }
    }
}

/// Kills what is left in the cgroup and removes it, children first. Best effort: the next item has its own.
fn clear(cgroup: &Path) {
    for _ in 0..200 {
        let mut left = Vec::new();
        members(cgroup, &mut left);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some()) {}
        std::thread::sleep(Duration::from_millis(5));
    }
    remove(cgroup);
}

/// The processes of a cgroup and of those below it.
fn members(cgroup: &Path, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw));
    for below in below(cgroup) {
        members(&below, found);
    }
}

/// Removes a cgroup and those below it.
fn remove(cgroup: &Path) {
    for below in below(cgroup) {
        remove(&below);
    }
    let _ = fs::remove_dir(cgroup);
}

/// The directories in a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The wrapper: enters the item's namespaces and cgroup and runs its commands. Returns its exit status.
pub(crate) fn inside(index: &str, item: &str) -> i32 {
    match commands(index, item) {
        Ok(code) => code,
        Err(error) => {
            println!("guest-init: {error:#}");
            CANNOT_START
        }
    }
}

/// Runs the commands until one fails. It returns only where the last was not reached or could not be started.
fn commands(index: &str, item: &str) -> Result<i32> {
    let item: &Item = &serde_json::from_str(item).context("what the wrapper was started with is no item")?;
    fs::write(format!("/sys/fs/cgroup/item-{index}/cgroup.procs"), "0").context("enter the item's cgroup")?;
    let network = if item.machine_network { CloneFlags::empty() } else { CloneFlags::CLONE_NEWNET };
    unshare(network | CloneFlags::CLONE_NEWNS).context("leave the guest's namespaces")?;
    // The guest's own network keeps the guest's own sysfs, which is bound to it.
    if !item.machine_network {
        mounts::own_sysfs()?;
    }
    let Some((last, before)) = item.commands.split_last() else { return Ok(0) };
    for command in before {
        println!("$ {}", command.join(" "));
        let mut process = process_of(command, item)?;
        let status = process.status().with_context(|| cannot_run(command, item))?;
        if let Some(signal) = status.signal() {
            println!("guest-init: {} was ended by signal {signal}", command.join(" "));
            return Ok(1);
        }
        if !status.success() {
            return Ok(status.code().unwrap_or(1));
        }
    }
    if !before.is_empty() {
        println!("$ {}", last.join(" "));
    }
    // The last takes this process's place: each process costs an emulated processor some ten milliseconds.
    let refused = process_of(last, item)?.exec();
    Err(refused).with_context(|| cannot_run(last, item))
}

/// A command of the item, ready to be started.
fn process_of(command: &[String], item: &Item) -> Result<Command> {
    let (program, arguments) = command.split_first().context("an empty command")?;
    let mut process = Command::new(program);
    process.args(arguments).current_dir(&item.cwd);
    Ok(process)
}

/// What is said of a command that cannot be started.
fn cannot_run(command: &[String], item: &Item) -> String {
    format!("run {} in {}", command.first().map_or("", String::as_str), item.cwd)
}

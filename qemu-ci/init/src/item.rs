//! One item of the plan: its modules, its namespaces and cgroup, its commands, its time.
//!
//! In: an [`Item`]. Out: its [`End`]. The item runs inside a second process of this same program ([`inside`]), which
//! leaves the guest's namespaces and enters the item's cgroup before it starts the first command; so whatever the item
//! leaves behind goes away with the namespaces, and whoever it leaves running is found in the cgroup.
//! Next to read: `mounts.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
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

use crate::{DETAIL_LIMIT, Item, Status, kmsg, mounts, process, shorten};

/// Exit status of the wrapper when the item could not even be started.
const CANNOT_START: i32 = 125;

/// How often a running item is looked at when it prints nothing.
const LOOK_MS: u8 = 10;

/// What is reported of an item.
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) ms: u64,
    pub(crate) detail: String,
    pub(crate) splat: String,
}

/// Runs an item to its end or its timeout and clears up after it.
pub(crate) fn run(
    index: usize,
    item: &Item,
    env: &BTreeMap<String, String>,
    inserted: &mut Vec<String>,
    log: &mut kmsg::Log,
) -> End {
    let begin = Instant::now();
    let cgroup = PathBuf::from(format!("/sys/fs/cgroup/item-{index}"));
    let ended = insert(&item.modules, inserted).and_then(|()| supervise(index, item, env, &cgroup));
    let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, output) = ended.unwrap_or_else(|error| (Status::Fail, format!("guest-init: {error:#}\n")));
    End { status, ms, detail: shorten(&output, item.output_limit.unwrap_or(DETAIL_LIMIT)), splat: log.splats() }
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

/// Starts the wrapper and watches it.
fn supervise(index: usize, item: &Item, env: &BTreeMap<String, String>, cgroup: &Path) -> Result<(Status, String)> {
    fs::create_dir(cgroup).with_context(|| format!("create {}", cgroup.display()))?;
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
    let watched = watch(pid, output, Duration::from_millis(item.timeout_ms));
    clear(cgroup);
    watched
}

/// Collects output and waits for the wrapper; orphans that land at process 1 meanwhile are reaped.
fn watch(pid: Pid, mut output: PipeReader, limit: Duration) -> Result<(Status, String)> {
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("make a pipe non-blocking")?;
    let begin = Instant::now();
    let mut text = Vec::new();
    let exit = loop {
        // An error here (a signal) only means to look earlier; a closed pipe must not make this a busy loop.
        let closed = {
            let mut watched = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut watched, PollTimeout::from(LOOK_MS));
            watched[0].revents().is_some_and(|seen| seen == PollFlags::POLLHUP)
        };
        let _ = output.read_to_end(&mut text);
        if let Some(exit) = reap(pid, closed)? {
            break Some(exit);
        }
        if begin.elapsed() > limit {
            break None;
        }
    };
    let _ = output.read_to_end(&mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    Ok(match exit {
        Some(exit) if exit.success() => (Status::Pass, text),
        Some(exit) => {
            text.push_str(&format!("\nguest-init: {exit}\n"));
            (Status::Fail, text)
        }
        None => {
            text.push_str(&format!("\nguest-init: still running after {} ms, killed\n", limit.as_millis()));
            (Status::Timeout, text)
        }
    })
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

/// Runs the commands until one fails.
fn commands(index: &str, item: &str) -> Result<i32> {
    let item: Item = serde_json::from_str(item).context("what the wrapper was started with is no item")?;
    fs::write(format!("/sys/fs/cgroup/item-{index}/cgroup.procs"), "0").context("enter the item's cgroup")?;
    let network = if item.machine_network { CloneFlags::empty() } else { CloneFlags::CLONE_NEWNET };
    unshare(network | CloneFlags::CLONE_NEWNS).context("leave the guest's namespaces")?;
    // The guest's own network keeps the guest's own sysfs, which is bound to it.
    if !item.machine_network {
        mounts::own_sysfs()?;
    }
    for command in &item.commands {
        let (program, arguments) = command.split_first().context("an empty command")?;
        if item.commands.len() > 1 {
            println!("$ {}", command.join(" "));
        }
        let status = Command::new(program)
            .args(arguments)
            .current_dir(&item.cwd)
            .status()
            .with_context(|| format!("run {program} in {}", item.cwd))?;
        if let Some(signal) = status.signal() {
            println!("guest-init: {program} was ended by signal {signal}");
            return Ok(1);
        }
        if !status.success() {
            return Ok(status.code().unwrap_or(1));
        }
    }
    Ok(0)
}

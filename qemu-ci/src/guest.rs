//! One guest, from its start to its end.
//!
//! In: a kernel, an initramfs and a plan. Out: a [`Run`]. The host's clock is the judge here: a guest's own may run at
//! another speed. A guest has ended well when it has said goodbye, in its own words and with this run's nonce; QEMU's exit
//! status is 0 after a panic too, and no safe code in a guest could set it (the distribution's kernels have no
//! `/dev/port`). Next to read: `console.rs`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest_init::{PLAN_PATH, Plan};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::arch::Arch;
use crate::console::{self, Ended, Ending, Stream};
use crate::initramfs::{Tree, archive};
use crate::nic::{self, Nic};
use crate::qemu::{Machine, arguments};
use crate::tools;

/// How long a guest is waited for, by the host's clock, which stands still while the guest waits for a processor of a busy host.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until process 1 says hello. A boot takes about two seconds.
    pub boot: Duration,
    /// Without a line, beyond the time that the running test may take.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { boot: Duration::from_secs(60), silence: Duration::from_secs(30) }
    }
}

/// What a guest is made of.
#[derive(Debug)]
pub struct Guest<'a> {
    /// What it runs on.
    pub arch: Arch,
    /// The program to start: see [`Arch::emulator`].
    pub emulator: &'a Path,
    /// The kernel's file.
    pub kernel: &'a Path,
    /// The part of the initramfs that all guests share, an archive already.
    pub shared: &'a [u8],
    /// This kernel's part: its modules.
    pub own: Tree,
    /// What to do.
    pub plan: Plan,
    /// MiB.
    pub memory_mb: u64,
    /// Network cards.
    pub nics: &'a [Nic],
    /// Where initramfs and console are written; emptied first, so nothing of an older run can be taken for this one's.
    pub directory: PathBuf,
    /// When it is given up.
    pub patience: Patience,
}

/// What became of a guest.
#[derive(Clone, Debug)]
pub struct Run {
    /// `uname -r` of the guest; empty when it never said hello.
    pub release: String,
    /// From QEMU's start to process 1; `None` when it never said hello.
    pub boot: Option<Duration>,
    /// From QEMU's start to its end.
    pub total: Duration,
    /// Processor time that QEMU took. Unlike `total` it says little about what else the machine did.
    pub cpu: Duration,
    /// How it ended.
    pub ending: Ending,
    /// How each item of the plan ended.
    pub items: Vec<Ended>,
    /// What else was wrong: faults of the result stream, complaints of the kernel outside of tests.
    pub faults: Vec<String>,
    /// Guests that never said hello and were started again before this one.
    pub retries: usize,
}

impl Run {
    /// A guest that could not be started.
    pub fn broken(items: usize, why: String) -> Self {
        Self {
            release: String::new(),
            boot: None,
            total: Duration::ZERO,
            cpu: Duration::ZERO,
            ending: Ending::Broken(why),
            items: vec![Ended::NotRun; items],
            faults: Vec::new(),
            retries: 0,
        }
    }
}

impl Run {
    /// One result of two guests that did different items of the same kernel's.
    pub fn merge(self, other: Self) -> Self {
        let items = self.items.into_iter().zip(other.items);
        Self {
            release: if self.release.is_empty() { other.release } else { self.release },
            boot: self.boot.max(other.boot),
            total: self.total.max(other.total),
            cpu: self.cpu + other.cpu,
            ending: if self.ending == Ending::Done { other.ending } else { self.ending },
            items: items.map(|(one, another)| if one == Ended::NotRun { another } else { one }).collect(),
            faults: [self.faults, other.faults].concat(),
            retries: self.retries + other.retries,
        }
    }
}

/// Runs a guest. One that never said hello is started a second time: no test had begun, so none is hidden by that.
pub fn run(guest: &Guest<'_>) -> Run {
    let first = attempt(guest);
    if !matches!(first.ending, Ending::Stalled { .. }) {
        return first;
    }
    Run { retries: 1, ..attempt(guest) }
}

/// One start of a guest; what the host cannot do ends up in [`Ending::Broken`].
fn attempt(guest: &Guest<'_>) -> Run {
    let begin = Instant::now();
    let items = guest.plan.items.len();
    let tried = start(guest).and_then(|child| listen(guest, child, begin));
    tried.unwrap_or_else(|error| Run { total: begin.elapsed(), ..Run::broken(items, format!("{error:#}")) })
}

/// A QEMU process, with those that it starts (User-mode Linux makes one of each of a guest's), that does not outlive this
/// one.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Each fails only when it is gone already.
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the initramfs and starts QEMU.
fn start(guest: &Guest<'_>) -> Result<Qemu> {
    let console = guest.directory.join("console.log");
    let machine = prepare(guest, Some(console.clone()))?;
    let errors = match guest.arch {
        // Its console is its standard error.
        Arch::Um => Stdio::from(File::create(&console).with_context(|| format!("create {}", console.display()))?),
        Arch::X86_64 | Arch::Aarch64 => Stdio::piped(),
    };
    let child = command(guest.emulator, &machine)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .context("start QEMU")?;
    Ok(Qemu(child))
}

/// Writes the initramfs: the shared part, the modules, the plan.
fn prepare(guest: &Guest<'_>, console: Option<PathBuf>) -> Result<Machine> {
    let directory = &guest.directory;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let mut own = guest.own.clone();
    own.file(PLAN_PATH, serde_json::to_vec(&guest.plan).context("encode the plan")?);
    let initrd = directory.join("initramfs.cpio");
    let writing = || format!("write {}", initrd.display());
    let mut file = File::create(&initrd).with_context(writing)?;
    file.write_all(guest.shared)
        .and_then(|()| file.write_all(&archive(&own).map_err(std::io::Error::other)?))
        .with_context(writing)?;
    Ok(Machine {
        arch: guest.arch,
        kernel: guest.kernel.to_owned(),
        memory_mb: guest.memory_mb.max(enough(file.metadata().with_context(writing)?.len())),
        initrd,
        cpus: nic::cpus(guest.nics),
        nics: guest.nics.to_vec(),
        bridge: bridge(guest)?,
        console,
        tsc_khz: crate::qemu::tsc_khz(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
    })
}

/// Writes the script that puts network cards on a bridge, where they need one; its path.
fn bridge(guest: &Guest<'_>) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::path::absolute(guest.directory.join("bridge")).context("current directory")?;
    if nic::need_bridge(guest.nics) {
        let writing = || format!("write {}", path.display());
        fs::write(&path, nic::BRIDGE).with_context(writing)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(writing)?;
    }
    Ok(path)
}

/// MiB with which an initramfs of so many bytes can be unpacked: for a moment it is there twice.
fn enough(bytes: u64) -> u64 {
    128 + 2 * bytes.div_ceil(1 << 20)
}

/// QEMU, in a wrapper that ends it with us where the machine has one, and in one that gives it a network where it needs one.
///
/// # Errors
/// The machine has no such wrapper.
fn command(qemu: &Path, machine: &Machine) -> Result<Command> {
    let mut words: Vec<OsString> = Vec::new();
    if nic::need_bridge(&machine.nics) {
        words.extend(nic::apart()?.into_iter().map(OsString::from));
    }
    if tools::find("setpriv").is_some() {
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
    }
    let program = words.first().cloned().unwrap_or_else(|| qemu.into());
    words.push(qemu.into());
    let mut command = Command::new(program);
    command.args(words.into_iter().skip(1)).args(arguments(machine));
    Ok(command)
}

/// Reads results until the guest has ended, or has to be.
fn listen(guest: &Guest<'_>, mut qemu: Qemu, begin: Instant) -> Result<Run> {
    let lines = reader(qemu.0.stdout.take().context("QEMU's standard output")?);
    let errors = qemu.0.stderr.take().map(gather);
    let mut stream = Stream::new(&guest.plan.nonce, guest.plan.items.len());
    let mut boot = None;
    let mut silence = Silence::begin(qemu.0.id());
    let silent = loop {
        let limit = patience(&stream, guest);
        match lines.recv_timeout(limit.saturating_sub(silence.lasts())) {
            Ok(line) => stream.line(&line),
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if silence.lasts() < limit => continue,
            Err(RecvTimeoutError::Timeout) => break Some(limit),
        }
        silence = Silence::begin(qemu.0.id());
        if boot.is_none() && stream.hello().is_some() {
            boot = Some(begin.elapsed());
        }
        if stream.is_over() {
            break None;
        }
    };
    let cpu = processor_time(qemu.0.id());
    // After the goodbye there is nothing to wait for; before it, an end of the stream is QEMU's own end.
    let status = if stream.is_over() || silent.is_some() { None } else { qemu.0.wait().ok() };
    drop(qemu);
    let console = fs::read(guest.directory.join("console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let ending = match silent {
        None if stream.is_over() => Ending::Done,
        None => {
            console::ending(&how(status, &errors.and_then(|errors| errors.recv().ok()).unwrap_or_default()), &console)
        }
        Some(after) if stream.hello().is_none() => Ending::Stalled { after },
        Some(after) => Ending::Hung { after },
    };
    let hello = stream.hello().cloned();
    let (items, mut faults) = stream.finish();
    faults.extend(hello.as_ref().map(|hello| hello.splat.trim().to_owned()).filter(|splat| !splat.is_empty()));
    if ending != Ending::Done {
        faults.extend(console::complaints(&console));
    }
    let release = hello.map_or_else(String::new, |hello| hello.release);
    Ok(Run { release, boot, total: begin.elapsed(), cpu, ending, items, faults, retries: 0 })
}

/// Time without a line, in which the guest could have run.
struct Silence {
    pid: u32,
    since: Instant,
    starved: Duration,
}

impl Silence {
    fn begin(pid: u32) -> Self {
        Self { pid, since: Instant::now(), starved: starved(pid) }
    }

    fn lasts(&self) -> Duration {
        self.since.elapsed().saturating_sub(starved(self.pid).saturating_sub(self.starved))
    }
}

/// How long that thread of a process that waited longest was able to run and had no processor: of QEMU the one that emulates.
fn starved(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let accounts = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    Duration::from_nanos(accounts.filter_map(|account| waited(&account)).max().unwrap_or(0))
}

/// The nanoseconds in a run queue that a thread's `schedstat` tells of, behind those on a processor.
fn waited(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

/// Processor time that a process has taken, and that of its threads; none when there is no such process.
fn processor_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: the third column and those that follow.
    let columns = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = columns.skip(11).take(2).filter_map(|column| column.parse::<u64>().ok()).sum();
    // A hundred ticks a second, whatever the kernel's own clock: `USER_HZ`.
    Duration::from_millis(ticks * 10)
}

/// How long the guest may be silent now.
fn patience(stream: &Stream, guest: &Guest<'_>) -> Duration {
    if stream.hello().is_none() {
        return guest.patience.boot;
    }
    let item = stream.running().and_then(|index| guest.plan.items.get(index));
    guest.patience.silence + item.map_or(Duration::ZERO, |item| Duration::from_millis(item.timeout_ms))
}

/// QEMU's end in words.
fn how(status: Option<ExitStatus>, errors: &str) -> String {
    let status = status.map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
    match errors.trim().lines().last() {
        Some(last) => format!("{status}: {last}"),
        None => status,
    }
}

/// Lines of a stream, from a thread that ends with it.
fn reader(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line);
            // An empty line is what a port that is switched to raw mode may leave behind.
            if !text.trim().is_empty() && sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    lines
}

/// All of a stream, once it has ended.
fn gather(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, text) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is worth keeping.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}

/// Gives a guest to the terminal until it ends.
///
/// # Errors
/// It could not be started.
pub fn interactive(guest: &Guest<'_>) -> Result<()> {
    let machine = prepare(guest, None)?;
    command(guest.emulator, &machine)?.status().context("start QEMU")?;
    Ok(())
}

/// A nonce no other run has.
pub fn nonce() -> String {
    let mut bytes = [0; 8];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if random.is_err() {
        bytes = std::process::id().to_le_bytes().repeat(2).try_into().unwrap_or_default();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read() {
        let begin = Instant::now();
        while processor_time(std::process::id()) < Duration::from_millis(20) {
            assert!(begin.elapsed() < Duration::from_secs(60), "a busy process takes none");
        }
        assert_eq!(processor_time(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn waiting_for_a_processor_is_read() {
        assert_eq!(waited("12 345 6\n"), Some(345));
        assert_eq!([waited(""), waited("12"), waited("12 many 6")], [None; 3]);
        assert_eq!(starved(u32::MAX), Duration::ZERO);
    }

    /// More threads than processors: some of them wait, and that time is not held against a guest.
    #[test]
    fn silence_without_a_processor_does_not_count() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let processors = thread::available_parallelism().expect("a processor").get();
        let (over, silence) = (AtomicBool::new(false), Silence::begin(std::process::id()));
        thread::scope(|scope| {
            for _ in 0..=processors {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            while starved(silence.pid) <= silence.starved && silence.since.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(1));
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(starved(silence.pid) > silence.starved, "nobody ever waits");
        assert!(silence.lasts() < silence.since.elapsed());
    }
}

//! `loader bench load`: how long it takes from object files to programs that run, beside what everybody has installed.
//!
//! Input: rounds. Output: time and processor time of one `loader up`, and of `bpftool prog loadall` and `ip link set xdp pinned` for each
//! of the same objects, one after the other in each round, as separate processes; and the ratios. Everything happens on veth pairs in a
//! network namespace of its own. Read next: `loader::apply`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use asm::codegen::Profile;
use netlink::route::{VethPeer, VethSpec};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;

use super::median;
use crate::render::{Out, table};
use crate::systems;

/// The built-in objects and their programs, each for an interface of its own.
const OBJECTS: [(&str, &str); 3] = [("lb", "balance"), ("lb-decap", "decap"), ("pass", "pass")];

/// What `loader bench load` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, both load and attach everything once
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: usize,
}

/// What one way of doing it took, milliseconds.
#[derive(Clone, Copy, Default, Serialize)]
struct Took {
    /// From the first process' start to the last one's end.
    elapsed: f64,
    /// Of processors, the kernel's part included.
    cpu: f64,
}

#[derive(Serialize)]
struct Row {
    /// `ours` or `bpftool + ip`.
    by: &'static str,
    /// Medians of the rounds.
    #[serde(flatten)]
    took: Took,
}

#[derive(Serialize)]
struct Report {
    kernel: String,
    programs: usize,
    rounds: usize,
    /// Milliseconds.
    rows: [Row; 2],
    /// Ours / theirs: medians of the rounds' ratios.
    ratio: Took,
}

/// Runs the experiment.
pub(super) fn run(args: &Args, out: &mut Out) -> Result<()> {
    let rounds = args.rounds.max(1);
    let measured = std::thread::scope(|scope| {
        let all = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own")?;
            let bench = Bench::new()?;
            (0..rounds).map(|_| bench.round()).collect::<Result<Vec<_>>>()
        });
        all.join().unwrap_or_else(|_| Err(anyhow!("a measurement ended in a panic")))
    })?;
    let middle = |of: &dyn Fn(&(Took, Took)) -> Took| {
        let sorted = |part: fn(Took) -> f64| {
            let mut all: Vec<f64> = measured.iter().map(|round| part(of(round))).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        Took { elapsed: median(&sorted(|took| took.elapsed)), cpu: median(&sorted(|took| took.cpu)) }
    };
    let rows = [
        Row { by: "ours", took: middle(&|(ours, _)| *ours) },
        Row { by: "bpftool + ip", took: middle(&|(_, theirs)| *theirs) },
    ];
    let ratio = middle(&|(ours, theirs)| Took { elapsed: ours.elapsed / theirs.elapsed, cpu: ours.cpu / theirs.cpu });
    out.result(&Report { kernel: super::kernel()?, programs: OBJECTS.len(), rounds, rows, ratio }, text)
}

/// Objects, a manifest, and where their programs go.
struct Bench {
    dir: tempfile::TempDir,
    /// Of the deployment, of the directory of bpftool's pins, and the beginning of the interfaces' names.
    name: String,
    loader: PathBuf,
}

impl Bench {
    /// Writes the objects and makes the interfaces, in this thread's network namespace.
    fn new() -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let dir = tempfile::tempdir().context("make a directory for objects")?;
        let mut manifest = format!("name = \"{name}\"\n");
        let mut route = netlink::route::Socket::open().context("netlink")?;
        for (at, (object, prog)) in OBJECTS.iter().enumerate() {
            let file = dir.path().join(format!("{object}.o"));
            std::fs::write(&file, systems::built_in(object, &Profile::linux_5_10())?).context("write an object")?;
            let peer = format!("peer{at}");
            let veth =
                VethSpec { name: &iface(at), peer: VethPeer { name: &peer, ..<_>::default() }, ..<_>::default() };
            route.link_create_veth(veth).context("make an interface")?;
            let attach = format!("{{ xdp = \"{}\", mode = \"native\" }}", iface(at));
            manifest += &format!("[[program]]\nobject = \"{object}.o\"\nname = \"{prog}\"\nattach = {attach}\n");
        }
        std::fs::write(dir.path().join("manifest.toml"), manifest).context("write a manifest")?;
        Ok(Self { dir, name, loader: std::env::current_exe().context("the path of this program")? })
    }

    /// Ours and theirs once, and everything away again after each.
    fn round(&self) -> Result<(Took, Took)> {
        let _away = Away(self);
        let manifest = self.dir.path().join("manifest.toml");
        let ours = took(|| run_one(&self.loader, ["up".as_ref(), manifest.as_os_str()]))?;
        run_one(&self.loader, ["down", &self.name])?;
        let pins = self.pins();
        std::fs::create_dir(&pins).with_context(|| format!("make {}", pins.display()))?;
        let theirs = took(|| {
            for (at, (object, prog)) in OBJECTS.iter().enumerate() {
                let (file, pins) = (self.dir.path().join(format!("{object}.o")), pins.join(object));
                run_one("bpftool", ["prog".as_ref(), "loadall".as_ref(), file.as_os_str(), pins.as_os_str()])?;
                let (dev, pin) = (iface(at), pins.join(prog));
                let words = ["link", "set", "dev", &dev, "xdp", "pinned"].map(OsStr::new);
                run_one("ip", words.into_iter().chain([pin.as_os_str()]))?;
            }
            Ok(())
        })?;
        self.detach()?;
        Ok((ours, theirs))
    }

    fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.name)
    }

    /// Takes away what bpftool and ip have made; their interfaces go with their namespace in any case.
    fn detach(&self) -> Result<()> {
        for at in 0..OBJECTS.len() {
            run_one("ip", ["link", "set", "dev", &iface(at), "xdp", "off"])?;
        }
        std::fs::remove_dir_all(self.pins()).with_context(|| format!("remove {}", self.pins().display()))
    }
}

/// Takes the pins of both away, whatever happened before.
struct Away<'b>(&'b Bench);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        // There is nothing, unless the round has failed; then that is the error to tell.
        let _ = Command::new(&self.0.loader).args(["down", &self.0.name]).output();
        let _ = std::fs::remove_dir_all(self.0.pins());
    }
}

fn iface(at: usize) -> String {
    format!("bench{at}")
}

/// Runs a program to its end; what it says is shown if it fails.
fn run_one(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let program = program.as_ref();
    let name = program.to_string_lossy();
    let done = Command::new(program).args(args).output();
    let done = done.with_context(|| format!("cannot run {name} (apt-get install bpftool iproute2)"))?;
    let words = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name} failed\n{}", words.trim());
    Ok(())
}

/// What some processes take.
fn took(work: impl FnOnce() -> Result<()>) -> Result<Took> {
    let (begin, cpu) = (Instant::now(), children()?);
    work()?;
    Ok(Took { elapsed: begin.elapsed().as_secs_f64() * 1e3, cpu: children()? - cpu })
}

/// Milliseconds of processors that ended processes have taken until now.
fn children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the processes' time")?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(std::time::Duration::from_micros(microseconds.unsigned_abs()).as_secs_f64() * 1e3)
}

fn text(report: &Report) -> String {
    let mut text = table(
        ["by", "elapsed ms", "processor ms"],
        report
            .rows
            .iter()
            .map(|row| [row.by.to_owned(), format!("{:.1}", row.took.elapsed), format!("{:.1}", row.took.cpu)]),
    );
    text += &format!(
        "{} programs from files to interfaces, medians of {} rounds; ours / theirs: elapsed {:.2}, processor {:.2}\n",
        report.programs, report.rounds, report.ratio.elapsed, report.ratio.cpu
    );
    text
}

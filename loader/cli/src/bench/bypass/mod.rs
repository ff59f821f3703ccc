//! `loader bench bypass`: local TCP as it is, by the usual pair of programs, and by ours, side by side.
//!
//! Input: rounds; every mode is measured once in each, so that what disturbs the machine disturbs all alike. Output: latency of
//! requests and throughput of streams with both ends on one CPU, and the ratios of each round's figures. Everything happens in a network
//! namespace and a cgroup of its own. Read next: `traffic.rs`.

mod traffic;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use loader::link::cgroup::Cgroup;
use nix::sched::{CloneFlags, unshare};
use progs::bypass::control::{Bypass, Naive};
use serde::Serialize;

use crate::render::{Out, table};

/// What `loader bench bypass` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; each measures every mode once
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// Round trips of a latency figure
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    trips: usize,

    /// Milliseconds that a stream is measured for
    #[arg(long, value_name = "MS", default_value_t = 300)]
    stream: u64,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Plain,
    Naive,
    Ours,
}

const MODES: [Mode; 3] = [Mode::Plain, Mode::Naive, Mode::Ours];

/// Figures of all rounds, by case and mode.
type Figures = BTreeMap<(&'static str, Mode), Vec<f64>>;

#[derive(Serialize)]
struct Row {
    case: &'static str,
    mode: Mode,
    unit: &'static str,
    min: f64,
    median: f64,
    max: f64,
}

#[derive(Serialize)]
struct Report {
    kernel: String,
    cpus: usize,
    rows: Vec<Row>,
    /// Ours / plain: medians of the rounds' ratios.
    ratio: BTreeMap<&'static str, f64>,
}

/// The cases: name, unit.
const CASES: [(&str, &str); 5] = [
    ("p50_64b", "us"),
    ("p99_64b", "us"),
    ("throughput_64b", "MB/s"),
    ("throughput_1k", "MB/s"),
    ("throughput_64k", "MB/s"),
];

/// Runs the experiment.
pub(super) fn run(args: &Args, out: &mut Out) -> Result<()> {
    let figures = std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own")?;
            all_rounds(args, out)
        });
        rounds.join().unwrap_or_else(|_| Err(anyhow!("a measurement ended in a panic")))
    })?;
    let mut rows = Vec::new();
    for (case, unit) in CASES {
        for mode in MODES {
            let values = sorted(&figures, case, mode);
            let (Some(min), Some(max)) = (values.first(), values.last()) else { continue };
            rows.push(Row { case, mode, unit, min: *min, median: median(&values), max: *max });
        }
    }
    let ratio = CASES.iter().map(|(case, _)| (*case, ratio(&figures, case))).collect();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = nix::sys::utsname::uname().context("name of this kernel")?.release().to_string_lossy().into_owned();
    out.result(&Report { kernel, cpus, rows, ratio }, text)
}

fn all_rounds(args: &Args, out: &mut Out) -> Result<Figures> {
    let mut route = netlink::route::Socket::open().context("netlink")?;
    let lo = route.link_by_name("lo").context("every namespace has a loopback")?.ifindex;
    route.link_set_up(lo).context("bring loopback up")?;
    let cgroup = OwnCgroup::enter()?;
    let mut figures = Figures::new();
    for round in 1..=args.rounds.max(1) {
        for mode in MODES {
            out.progress(format!("round {round} of {}: {mode:?}", args.rounds));
            one_round(args, mode, &cgroup.path, &mut figures).with_context(|| format!("{mode:?}"))?;
        }
    }
    Ok(figures)
}

fn one_round(args: &Args, mode: Mode, cgroup: &Path, figures: &mut Figures) -> Result<()> {
    let cgroup = Cgroup::open(cgroup)?;
    let _naive = (mode == Mode::Naive).then(|| Naive::attach(&cgroup)).transpose()?;
    let ours = (mode == Mode::Ours).then(Bypass::load).transpose()?;
    let ours = ours.map(|mut ours| ours.attach(&cgroup).map(|()| ours)).transpose()?;
    let mut note = |case, value| figures.entry((case, mode)).or_default().push(value);
    let trips = traffic::trips(64, args.trips)?;
    note("p50_64b", trips.p50);
    note("p99_64b", trips.p99);
    let stream = Duration::from_millis(args.stream);
    for (case, size) in [("throughput_64b", 64), ("throughput_1k", 1 << 10), ("throughput_64k", 64 << 10)] {
        note(case, traffic::stream(size, stream)?);
    }
    // Nobody reads any more: there is nothing to wait for.
    drop(ours);
    Ok(())
}

fn sorted(figures: &Figures, case: &'static str, mode: Mode) -> Vec<f64> {
    let mut values = figures.get(&(case, mode)).cloned().unwrap_or_default();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle one of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of each round's ratio.
fn ratio(figures: &Figures, case: &'static str) -> f64 {
    let of = |mode| figures.get(&(case, mode)).into_iter().flatten();
    let mut ratios: Vec<f64> = of(Mode::Ours).zip(of(Mode::Plain)).map(|(ours, plain)| ours / plain).collect();
    ratios.sort_by(f64::total_cmp);
    median(&ratios)
}

fn text(report: &Report) -> String {
    let mut text = table(
        ["case", "mode", "min", "median", "max", "unit"],
        report.rows.iter().map(|row| {
            let [min, median, max] = [row.min, row.median, row.max].map(|value| format!("{value:.2}"));
            [row.case.to_owned(), format!("{:?}", row.mode).to_lowercase(), min, median, max, row.unit.to_owned()]
        }),
    );
    text += "ours / plain, medians of the rounds:";
    for (case, ratio) in &report.ratio {
        text += &format!(" {case} {ratio:.2}");
    }
    text + "\n"
}

/// A cgroup below the one that this process is in, and the process in it, which goes back at the end.
struct OwnCgroup {
    path: PathBuf,
    before: PathBuf,
}

impl OwnCgroup {
    fn enter() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = rows.find(|row| row.get(2) == Some(&"cgroup2")).context("no cgroup v2 hierarchy is mounted")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("read the own cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("this process is in no cgroup v2")?;
        let before = Path::new(mount[1]).join(own);
        let path = before.join(format!("bp-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        let entered = Self { path, before };
        fs::write(entered.path.join("cgroup.procs"), "0").context("enter the cgroup")?;
        Ok(entered)
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let _moved = fs::write(self.before.join("cgroup.procs"), "0");
        let _removed = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let mut figures = Figures::new();
        figures.insert(("p50_64b", Mode::Plain), vec![1.0, 10.0, 100.0]);
        figures.insert(("p50_64b", Mode::Ours), vec![0.5, 6.0, 70.0]);
        assert!((ratio(&figures, "p50_64b") - 0.6).abs() < 1e-12);
    }
}

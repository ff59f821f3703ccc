//! Every task on every kernel.
//!
//! In: chosen kernels and a [`Work`]. Out: a [`Report`]. Kernels are fetched while the binaries are built; guests run on
//! as many threads as there are jobs, the slowest kernels first. Next to read: `report.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use guest_init::Plan;

use crate::arch::Arch;
use crate::build;
use crate::cache::Cache;
use crate::config::{Choice, Wanted};
use crate::console::Ended;
use crate::crew;
use crate::fetch::{Fetcher, Obtained};
use crate::guest::{self, Guest, Patience, Run};
use crate::initramfs::Tree;
use crate::kernels;
use crate::modules;
use crate::repo::Repo;
use crate::report::{Report, Row, TestRow};
use crate::seed;
use crate::steps::{KERNEL_TARGETS, NIC_TARGET};
use crate::suites::{Suites, Work};
use crate::verdicts::Table;
use crate::version::Kernel;

/// What to run where.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the kernels run on.
    pub arch: Arch,
    /// Names of kernels with commas; `None`: the required ones.
    pub kernels: Option<String>,
    /// Refuse what differs from the lock.
    pub strict: bool,
    /// Guests at a time; `None`: as many as processors.
    pub jobs: Option<usize>,
    /// So many passes; 0 is one too.
    pub repeat: usize,
    /// Only tests whose name contains this.
    pub filter: Option<String>,
    /// The network card, by its name in `suites.toml`, whose driver is tested in place of everything else.
    pub nic: Option<String>,
    /// When a guest is given up.
    pub patience: Patience,
}

impl Options {
    /// How many guests run at a time: as many as processors. One more was slower: what it gains while others wait for a timer, each of them
    /// loses where they share a cache.
    pub fn parallel(&self) -> usize {
        self.jobs.unwrap_or_else(crew::processors).max(1)
    }
}

/// Runs everything and reports.
///
/// # Errors
/// What concerns all kernels alike: a file that cannot be read, binaries that do not build.
pub fn run(repo: &Repo, options: &Options) -> Result<Report> {
    let suites = Suites::read(&repo.path("qemu-ci/suites.toml"))?;
    let cards = options.nic.as_deref().map(|name| suites.cards(name)).transpose()?;
    let of_cards = || cards.as_ref().and_then(|cards| cards.kernels.clone());
    let options = &Options { kernels: options.kernels.clone().or_else(of_cards), ..options.clone() };
    run_work(repo, options, || {
        // The tests take much longer to build than the programs that a job starts.
        let a_job = options.filter.as_deref().is_some_and(|filter| suites.is_job(filter));
        let built = match &options.nic {
            Some(_) => build::build(repo, options.arch, &[], &[NIC_TARGET])?,
            None if a_job => build::build(repo, options.arch, &["loader"], &[])?,
            None => build::build(repo, options.arch, &["loader"], &KERNEL_TARGETS)?,
        };
        let mut work = suites.work(repo, &built, options.filter.as_deref())?;
        if let Some(cards) = &cards {
            cards.put(&mut work);
        }
        Ok(work)
    })
}

/// Runs some work on each kernel and judges it; it is prepared while the kernels are fetched.
///
/// # Errors
/// What concerns all kernels alike.
pub fn run_work(repo: &Repo, options: &Options, work: impl FnOnce() -> Result<Work> + Send) -> Result<Report> {
    let begin = Instant::now();
    let chosen = kernels::chosen(repo, options.arch, options.kernels.as_deref())?;
    let table = Table::read(&repo.path("qemu-ci/verdicts.toml"))?;
    let done = on_each(&chosen, options, &repo.out(), work)?;
    Ok(done.judged(&table, begin.elapsed()))
}

/// Some work, and what became of it on each kernel.
#[derive(Debug)]
pub struct Done {
    /// The work.
    pub work: Work,
    /// One a kernel, in the order of the kernels.
    pub guests: Vec<OnKernel>,
    /// Time until the first boot: preparing the work, fetching kernels.
    pub prepared: Duration,
}

impl Done {
    /// The results, judged; all of it took `total`.
    pub fn judged(self, table: &Table, total: Duration) -> Report {
        let Self { work, guests, prepared } = self;
        Report { rows: guests.into_iter().map(|guest| judge(guest, &work, table)).collect(), prepared, total }
    }
}

/// What became of a kernel.
#[derive(Debug)]
pub struct OnKernel {
    /// As it was wanted.
    pub wanted: Wanted,
    /// What it is; `None` when it could not be had, and then the run says why.
    pub kernel: Option<Obtained>,
    /// Its guest.
    pub run: Run,
}

/// Runs some work on each kernel, without judging it; it is prepared while the kernels are fetched. Initramfs and console
/// of each guest are below `out`.
///
/// # Errors
/// What concerns all kernels alike: the cache cannot be used, the work cannot be prepared.
pub fn on_each(
    chosen: &[Choice],
    options: &Options,
    out: &Path,
    work: impl FnOnce() -> Result<Work> + Send,
) -> Result<Done> {
    let begin = Instant::now();
    let (work, obtained) = thread::scope(|scope| {
        let preparing = scope.spawn(work);
        let fetcher = Fetcher::new(Cache::of_user()?, options.strict);
        let obtained = fetcher.obtain_all(chosen, options.parallel());
        let work = preparing.join().map_err(|_| anyhow!("the thread that builds what runs has panicked"))??;
        Ok::<_, anyhow::Error>((work, obtained))
    })?;
    let prepared = begin.elapsed();
    let kernels: Vec<Try> = chosen.iter().map(|(wanted, _)| wanted.clone()).zip(obtained).collect();
    let runs = boot_all(out, &kernels, &work, options);
    let guests = kernels.into_iter().zip(runs);
    let guests = guests.map(|((wanted, kernel), run)| OnKernel { wanted, kernel: kernel.ok(), run }).collect();
    Ok(Done { work, guests, prepared })
}

/// A kernel as wanted, and what came of fetching it.
type Try = (Wanted, Result<Obtained>);

/// One boot: a kernel and what is done in it.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    /// Index of the kernel.
    kernel: usize,
    /// Counts the boots of one kernel from 0.
    part: usize,
    /// Indexes of the tasks.
    tasks: Vec<usize>,
}

/// Fewer tasks than this are not worth another boot.
const WORTH_A_BOOT: usize = 16;

/// Deals the tasks of each kernel out to boots: one a kernel, but of those that run last and are fewer than processors several, each
/// with its part of the tasks.
fn shares(suited: &[Vec<usize>], jobs: usize, processors: usize) -> Vec<Share> {
    let last = suited.len() % jobs;
    let mut shares = Vec::new();
    for (kernel, tasks) in suited.iter().enumerate() {
        let parts =
            if kernel < last { (processors.min(jobs) / last).min(tasks.len() / WORTH_A_BOOT).max(1) } else { 1 };
        // Tests of one kind stand together and take alike: each part gets every second of them.
        let of_part = |part: usize| tasks.iter().skip(part).step_by(parts).copied().collect();
        shares.extend((0..parts).map(|part| Share { kernel, part, tasks: of_part(part) }));
    }
    shares
}

/// Boots each kernel that was obtained; the result is in the order of the kernels.
fn boot_all(out: &Path, kernels: &[Try], work: &Work, options: &Options) -> Vec<Run> {
    let jobs = options.parallel();
    let suits = |wanted: &Wanted| {
        let tasks = work.tasks.iter().enumerate().filter(|(_, task)| wanted.suits(&task.item.name));
        tasks.map(|(index, _)| index).collect()
    };
    let suited: Vec<_> = kernels.iter().map(|(wanted, _)| suits(wanted)).collect();
    let mut shares = shares(&suited, jobs, crew::processors());
    // Younger kernels take longer, and kernels.toml lists them last.
    shares.reverse();
    let booted = crew::each(&shares, jobs, |share| {
        let (wanted, tried) = kernels.get(share.kernel)?;
        let run = match tried {
            Ok(kernel) => boot(out, wanted, kernel, work, share, options.patience),
            Err(error) => Run::broken(work.tasks.len(), format!("{error:#}")),
        };
        eprintln!("Linux {}: {}", wanted.label(), run.ending);
        Some(run)
    });
    let lost = || Run::broken(work.tasks.len(), "the thread that ran the guest has panicked".to_owned());
    let mut done: BTreeMap<usize, Run> = BTreeMap::new();
    for (share, run) in shares.iter().zip(booted) {
        let run = run.flatten().unwrap_or_else(lost);
        let merged = match done.remove(&share.kernel) {
            Some(other) => other.merge(run),
            None => run,
        };
        done.insert(share.kernel, merged);
    }
    (0..kernels.len()).map(|index| done.remove(&index).unwrap_or_else(lost)).collect()
}

/// Boots one kernel with its share of what is to do; the results are as many as there are tasks of all shares.
fn boot(out: &Path, wanted: &Wanted, kernel: &Obtained, work: &Work, share: &Share, patience: Patience) -> Run {
    let count = work.tasks.len();
    let tried = prepare(wanted, kernel, work, &share.tasks);
    let (emulator, image, own, plan) = match tried {
        Ok(prepared) => prepared,
        Err(error) => return Run::broken(count, format!("{error:#}")),
    };
    let name = if share.part == 0 { wanted.label() } else { format!("{}-part-{}", wanted.label(), share.part + 1) };
    let run = guest::run(&Guest {
        arch: wanted.arch,
        emulator: &emulator,
        kernel: &image,
        shared: &work.shared,
        own,
        plan,
        memory_mb: work.memory_mb,
        nics: &work.nics,
        directory: out.join(name),
        patience,
    });
    let mut items = vec![Ended::NotRun; count];
    for (index, ended) in share.tasks.iter().zip(run.items) {
        items[*index] = ended;
    }
    Run { items, ..run }
}

/// The emulator, and what is particular to one kernel: its file, its modules, the plan that names them.
fn prepare(wanted: &Wanted, kernel: &Obtained, work: &Work, tasks: &[usize]) -> Result<(PathBuf, PathBuf, Tree, Plan)> {
    work.drivers.iter().try_for_each(|driver| driver.bring(kernel))?;
    let mut own = Tree::new();
    let mut items = Vec::new();
    let mut resolved: BTreeMap<&[String], Vec<String>> = BTreeMap::new();
    for task in tasks.iter().filter_map(|index| work.tasks.get(*index)) {
        if !resolved.contains_key(task.modules.as_slice()) {
            let found = modules::resolve(&kernel.image, &task.modules);
            let found = found.with_context(|| format!("modules of {} on {}", task.item.name, wanted.name))?;
            let mut paths = Vec::new();
            for module in found {
                let path = format!("/modules/{}.ko", module.name);
                own.file(&path, module.bytes);
                paths.push(path);
            }
            resolved.insert(&task.modules, paths);
        }
        let mut item = task.item.clone();
        item.modules = resolved.get(task.modules.as_slice()).cloned().unwrap_or_default();
        items.push(item);
    }
    let port = wanted.arch.results().to_owned();
    let mut env = work.env.clone();
    env.entry(seed::VARIABLE.to_owned()).and_modify(|run| *run = seed::of_kernel(run, &wanted.name));
    let plan = Plan { nonce: guest::nonce(), port, env, items, shell: None };
    let image = kernel.image.kernel()?;
    Ok((wanted.arch.emulator(&image)?, image, own, plan))
}

/// Judges a guest's results.
fn judge(OnKernel { wanted, kernel, run }: OnKernel, work: &Work, table: &Table) -> Row {
    let release = if run.release.is_empty() {
        kernel.as_ref().map_or_else(String::new, |kernel| kernel.kernel.release.clone())
    } else {
        run.release.clone()
    };
    let version: Option<Kernel> = release.parse().ok();
    let suited = work.tasks.iter().zip(&run.items).filter(|(task, _)| wanted.suits(&task.item.name));
    let judged = suited.map(|(task, ended)| {
        let version = version.unwrap_or(Kernel { major: 0, minor: 0 });
        let verdict = table.judge(&task.item.name, &wanted.label(), version, ended, task.of_runner);
        TestRow::new(&task.item.name, ended, verdict)
    });
    let tests = judged.collect();
    Row {
        name: wanted.label(),
        required: wanted.required,
        release,
        version: kernel.as_ref().map_or_else(String::new, |kernel| kernel.kernel.version.clone()),
        drift: kernel.and_then(|kernel| kernel.drift),
        boot: run.boot,
        total: run.total,
        cpu: run.cpu,
        tests,
        ending: run.ending,
        faults: run.faults,
        retries: run.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_processor_is_idle_while_the_last_kernel_runs() {
        let all: Vec<usize> = (0..40).collect();
        let boots = |kernels: usize, tasks: &[usize], jobs| {
            let shares = shares(&vec![tasks.to_vec(); kernels], jobs, 2);
            for kernel in 0..kernels {
                let mut done: Vec<_> = shares.iter().filter(|s| s.kernel == kernel).flat_map(|s| &s.tasks).collect();
                done.sort();
                assert_eq!(done, tasks.iter().collect::<Vec<_>>(), "each task once on kernel {kernel}");
            }
            shares.iter().map(|share| (share.kernel, share.part, share.tasks.len())).collect::<Vec<_>>()
        };
        assert_eq!(boots(3, &all, 2), [(0, 0, 20), (0, 1, 20), (1, 0, 40), (2, 0, 40)]);
        assert_eq!(boots(4, &all, 3)[..3], [(0, 0, 20), (0, 1, 20), (1, 0, 40)]);
        assert_eq!(boots(5, &all, 3).len(), 5, "two are left when three have ended");
        assert_eq!(boots(1, &all, 3), [(0, 0, 20), (0, 1, 20)]);
        assert_eq!(boots(2, &all, 2), [(0, 0, 40), (1, 0, 40)]);
        assert_eq!(boots(1, &all[..7], 2), [(0, 0, 7)]);
        assert_eq!(boots(2, &all, 1), [(0, 0, 40), (1, 0, 40)]);
        assert_eq!(boots(1, &[], 2), [(0, 0, 0)]);
    }
}

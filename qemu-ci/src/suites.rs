//! What runs in guests: the main job, and every test of the workspace that needs a kernel to itself.
//!
//! In: `suites.toml`, and what cargo says it has built. Out: a [`Work`]: items with the modules they declare, and the
//! archive of everything they need but a kernel. Next to read: `build.rs` for the binaries, `matrix.rs` for the use.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest_init::{INIT_PATH, Item};
use serde::Deserialize;

use crate::arch::Arch;
use crate::build::{Built, INIT, TestBinary};
use crate::cross::Cross;
use crate::driver::Driver;
use crate::host;
use crate::initramfs::{Tree, archive};
use crate::nic::{self, Nic};
use crate::qemu::MEMORY_MB;
use crate::repo::Repo;
use crate::seed;
use crate::steps::NIC_TARGET;
use crate::{selftests, tools};

/// Variables of the environment that name data of judges outside of the workspace; what they name goes along.
const JUDGES: [&str; 3] = ["BPF_CONFORMANCE_DIR", "VERIFIER_MATRIX", selftests::OBJECTS];

/// The largest file of the workspace that goes along as data of tests.
const DATA_LIMIT: u64 = 1 << 20;

/// `suites.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suites {
    defaults: Needs,
    #[serde(default)]
    job: Vec<Job>,
    #[serde(default)]
    tests: Vec<Tests>,
    #[serde(default)]
    nic: Vec<Cards>,
}

/// What a suite needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Needs {
    modules: Vec<String>,
    timeout_seconds: u64,
    memory_mb: u64,
}

/// Commands in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    name: String,
    commands: Vec<Vec<String>>,
    modules: Option<Vec<String>>,
    timeout_seconds: Option<u64>,
}

/// What a test target needs beyond the defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tests {
    package: String,
    target: String,
    modules: Option<Vec<String>>,
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout_seconds: Option<u64>,
    memory_mb: Option<u64>,
    #[serde(default)]
    alone: Vec<String>,
}

/// Network cards that the tests of drivers are run on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cards {
    name: String,
    /// None where the test makes its interfaces itself.
    #[serde(default)]
    cards: Vec<Nic>,
    modules: Vec<String>,
    /// Compiled for each kernel, where the distribution does not.
    driver: Option<Driver>,
    /// Those it is tested on when none is chosen, as `--kernel` takes them.
    pub kernels: Option<String>,
}

impl Cards {
    /// Has the work done on these cards.
    pub fn put(&self, work: &mut Work) {
        work.nics.clone_from(&self.cards);
        work.drivers.extend(self.driver.clone());
        for task in &mut work.tasks {
            task.modules.clone_from(&self.modules);
            task.item.machine_network = !self.cards.is_empty();
            task.item.env.insert(NIC.to_owned(), self.name.clone());
        }
    }
}

/// The variable by which a test of drivers knows which one it is about.
const NIC: &str = "NIC";

/// A thing to do in each guest; the modules are still names, because each kernel has its own files for them.
#[derive(Clone, Debug)]
pub struct Task {
    /// The item, without modules.
    pub item: Item,
    /// Names of the modules it declares.
    pub modules: Vec<String>,
    /// True for one test of Rust's test runner, which says itself how many it ran.
    pub of_runner: bool,
}

/// Everything that guests share.
#[derive(Debug)]
pub struct Work {
    /// What to do, in order.
    pub tasks: Vec<Task>,
    /// Programs and data, as an archive.
    pub shared: Vec<u8>,
    /// Environment of every command.
    pub env: BTreeMap<String, String>,
    /// MiB.
    pub memory_mb: u64,
    /// Network cards that the machine has.
    pub nics: Vec<Nic>,
    /// Drivers that are compiled for each kernel.
    pub drivers: Vec<Driver>,
}

impl Suites {
    /// Reads `suites.toml`.
    ///
    /// # Errors
    /// It is missing or has a mistake.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Lists the tasks and packs what they need. With a filter, only tasks whose name contains it.
    ///
    /// # Errors
    /// A test binary does not list its tests, or a file cannot be read.
    pub fn work(&self, repo: &Repo, built: &Built, filter: Option<&str>) -> Result<Work> {
        let mut tree = base(built)?;
        let mut tasks = Vec::new();
        let mut memory_mb = self.defaults.memory_mb.max(MEMORY_MB);
        let root = repo.path("").to_string_lossy().trim_end_matches('/').to_owned();
        tree.directory(&root);
        let chosen = |task: &Task| filter.is_none_or(|filter| task.item.name.contains(filter));
        let jobs = self.job.iter().filter(|_| built.program("loader").is_some() && !built.is_of(NIC_TARGET));
        tasks.extend(jobs.map(|job| self.job_task(job, &root)).filter(chosen));
        for binary in &built.tests {
            let row = self.tests.iter().find(|row| row.package == binary.package && row.target == binary.target);
            memory_mb = memory_mb.max(row.and_then(|row| row.memory_mb).unwrap_or(0));
            tree.directory(&binary.directory.to_string_lossy());
            let path = format!("/tests/{}-{}", binary.package, binary.target);
            let before = tasks.len();
            let tests = list(binary, built.arch)?.into_iter().map(|test| self.test_task(binary, row, &path, &test));
            tasks.extend(tests.filter(|task| chosen(task)));
            if tasks.len() > before {
                tree.copy_program(&path, &binary.path)?;
                // A guest of another architecture has no second opinion: a test that would hear it says so.
                let programs = row.iter().flat_map(|row| &row.programs).filter(|_| built.arch.runs_ours());
                programs.map(|name| host::add(&mut tree, name)).try_for_each(|added| added.map(drop))?;
            }
        }
        let mut env = environment();
        env.insert(seed::VARIABLE.to_owned(), seed::of_run());
        data(repo, &mut tree)?;
        judges(&mut tree, &mut env)?;
        Ok(Work { tasks, shared: archive(&tree)?, env, memory_mb, nics: Vec::new(), drivers: Vec::new() })
    }

    /// The network cards of this name.
    ///
    /// # Errors
    /// `suites.toml` has no such cards, or this machine's QEMU has not.
    pub fn cards(&self, name: &str) -> Result<Cards> {
        let known = || self.nic.iter().map(|nic| nic.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.nic.iter().find(|nic| nic.name == name);
        let found = found.with_context(|| format!("no network card `{name}`: suites.toml has {}", known()))?;
        let qemu = tools::find(tools::QEMU.program).with_context(|| tools::by_hand(&[tools::QEMU]))?;
        nic::check(&qemu, &found.cards)?;
        Ok(found.clone())
    }

    /// True for the whole name of a job, which then needs no tests.
    pub fn is_job(&self, name: &str) -> bool {
        self.job.iter().any(|job| job.name == name)
    }

    /// A job as a task.
    fn job_task(&self, job: &Job, root: &str) -> Task {
        let seconds = job.timeout_seconds.unwrap_or(self.defaults.timeout_seconds);
        Task {
            item: Item {
                name: job.name.clone(),
                commands: job.commands.clone(),
                cwd: root.to_owned(),
                timeout_ms: seconds * 1000,
                ..Item::default()
            },
            modules: job.modules.clone().unwrap_or_else(|| self.defaults.modules.clone()),
            of_runner: false,
        }
    }

    /// One test of a binary as a task.
    fn test_task(&self, binary: &TestBinary, row: Option<&Tests>, path: &str, test: &str) -> Task {
        let seconds = row.and_then(|row| row.timeout_seconds).unwrap_or(self.defaults.timeout_seconds);
        let command = [path, "--exact", test, "--nocapture", "--test-threads=1"].map(str::to_owned);
        Task {
            item: Item {
                name: format!("{}::{} {test}", binary.package, binary.target),
                commands: vec![command.to_vec()],
                cwd: binary.directory.to_string_lossy().into_owned(),
                timeout_ms: seconds * 1000,
                env: row.map(|row| row.env.clone()).unwrap_or_default(),
                test: row.is_none_or(|row| !row.alone.iter().any(|name| name == test)).then(|| test.to_owned()),
                ..Item::default()
            },
            modules: row.and_then(|row| row.modules.clone()).unwrap_or_else(|| self.defaults.modules.clone()),
            of_runner: true,
        }
    }
}

/// Environment of every command in a guest.
pub fn environment() -> BTreeMap<String, String> {
    [("PATH", "/bin"), ("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LC_ALL", "C"), ("RUST_BACKTRACE", "0")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Process 1 and the programs. A program is reachable under its path on this machine too:
/// tests know that one from `CARGO_BIN_EXE_…`.
pub fn base(built: &Built) -> Result<Tree> {
    let mut tree = Tree::of_guest();
    let init = built.program(INIT).context("cargo did not build process 1")?;
    tree.copy_program(INIT_PATH, init)?;
    for (name, path) in built.programs.iter().filter(|(name, _)| name.as_str() != INIT) {
        let inside = format!("/bin/{name}");
        tree.copy_program(&inside, path)?;
        tree.link(&path.to_string_lossy(), &inside);
    }
    Ok(tree)
}

/// The names of a binary's tests.
fn list(binary: &TestBinary, arch: Arch) -> Result<Vec<String>> {
    let listing = || format!("{} --list", binary.path.display());
    let mut command = match Cross::of(arch)? {
        Some(cross) => cross.runner(&binary.path),
        None => Command::new(&binary.path),
    };
    let output =
        command.args(["--list", "--format", "terse"]).current_dir(&binary.directory).output().with_context(listing)?;
    ensure!(output.status.success(), "{}: {}", listing(), String::from_utf8_lossy(&output.stderr).trim());
    Ok(parse_list(&String::from_utf8_lossy(&output.stdout)))
}

/// `module::name: test` lines.
fn parse_list(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Files of the workspace that tests and the main job may read, at the same paths as here.
fn data(repo: &Repo, tree: &mut Tree) -> Result<()> {
    let mut git = repo.command("git");
    let listed = git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output();
    let listed = listed.context("start git")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| is_data(name)) {
        let path = repo.path(name);
        if path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= DATA_LIMIT) {
            tree.copy(&path.to_string_lossy(), &path)?;
        }
    }
    Ok(())
}

/// True for a file that is neither source nor about the repository.
fn is_data(name: &str) -> bool {
    let other = [".rs", ".md", ".lock", ".gitignore", "Cargo.toml"].iter().any(|end| name.ends_with(end));
    !name.is_empty() && !other && name.contains('/') && !name.starts_with("qemu-ci/") && !name.starts_with('.')
}

/// The judges' data, at the same paths as here.
fn judges(tree: &mut Tree, env: &mut BTreeMap<String, String>) -> Result<()> {
    for name in JUDGES {
        let Some(path) = env::var_os(name).map(PathBuf::from).filter(|path| path.exists()) else { continue };
        let path = path.canonicalize().with_context(|| format!("{name}={}", path.display()))?;
        tree.copy(&path.to_string_lossy(), &path)?;
        env.insert(name.to_owned(), path.to_string_lossy().into_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_of_the_repository_are_read() {
        let suites: Suites = toml::from_str(include_str!("../suites.toml")).unwrap();
        assert!(suites.job.iter().any(|job| job.name == "main job"));
        // But for igb, which the QEMU of the workflow's container does not have.
        let tested: Vec<_> = suites.nic.iter().map(|nic| nic.name.as_str()).filter(|name| *name != "igb").collect();
        let workflow = include_str!("../../.github/workflows/ci.yml");
        assert!(workflow.contains(&format!("nic: [{}]", tested.join(", "))), "{tested:?}");
    }

    #[test]
    fn lists_of_tests_are_read() {
        assert_eq!(parse_list("a::b: test\nc: benchmark\nd e: test\n\n"), ["a::b", "d e"]);
    }

    #[test]
    fn data_is_told_from_source() {
        for (name, want) in [
            ("progs/all.toml", true),
            ("netlink/tests/fixtures/a.hex", true),
            ("progs/Cargo.toml", false),
            ("asm/src/lib.rs", false),
            ("Cargo.toml", false),
            ("docs/architecture.md", false),
            (".ci/run", false),
            ("qemu-ci/kernels.toml", false),
        ] {
            assert_eq!(is_data(name), want, "{name}");
        }
    }
}

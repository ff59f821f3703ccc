//! The steps of `cargo ci`: each runs to its end, shows what it ran, and says how much passed.
//!
//! In: the workspace. Out: a [`Step`] each; the closing line `N passed, N failed`. Next to read: `kernels.rs`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::matrix::{self, Options};
use crate::red::{self, Collector, Red};
use crate::repo::{Repo, show, show_and_run};
use crate::tally::Tally;
use crate::{lint as rules, repeat, seed, tools};

/// Names of test targets that need a kernel to themselves, and root.
pub const KERNEL_TARGETS: [&str; 2] = ["kernel", "live"];

/// Name of the test target that is run on network cards, one model at a time.
pub const NIC_TARGET: &str = "nic";

/// Target of the tests that boot kernels themselves. They are marked `test = false`, so that no other command
/// runs them, least of all one in a guest.
const BOOTING_TESTS: &str = "guests";

/// How a step went.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the user typed after `cargo ci`.
    pub name: &'static str,
    /// Tests, or commands for a step without tests.
    pub tally: Tally,
    /// Wall time.
    pub time: Duration,
    /// What to know beyond the counts.
    pub notes: Vec<String>,
    /// What failed, and what it said.
    pub red: Vec<Red>,
}

impl Step {
    /// A step that begins now.
    fn begin(name: &'static str) -> (Self, Instant) {
        (
            Self { name, tally: Tally::default(), time: Duration::ZERO, notes: Vec::new(), red: Vec::new() },
            Instant::now(),
        )
    }

    /// Runs a step; one that breaks is a failed one, so that the others still run.
    fn of(name: &'static str, run: impl FnOnce() -> Result<Self>) -> Self {
        let (mut broken, begin) = Self::begin(name);
        run().unwrap_or_else(|error| {
            broken.tally = Tally::BROKEN;
            broken.time = begin.elapsed();
            broken.notes.push(format!("{error:#}"));
            broken
        })
    }

    /// Runs a command of the step and counts it.
    fn command(&mut self, command: &mut Command) -> Result<()> {
        match show_and_run(command)?.success() {
            true => self.tally.passed += 1,
            false => {
                self.tally.failed += 1;
                self.notes.push(format!("`{}` failed", words(command)));
            }
        }
        Ok(())
    }

    /// True when nothing failed.
    pub fn is_well(&self) -> bool {
        self.tally.failed == 0
    }
}

/// The command without its directory.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|word| word.to_string_lossy());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Formatting, clippy with warnings as errors, the fuzz targets, and the dependencies.
///
/// # Errors
/// Cargo could not be started.
pub fn check(repo: &Repo) -> Result<Step> {
    let (mut step, begin) = Step::begin("check");
    step.command(&mut repo.cargo(&["fmt", "--all", "--check"]))?;
    step.command(&mut repo.cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The fuzz targets are built by nobody else; run, they need a nightly compiler.
    step.command(&mut repo.cargo(&["check", "--quiet", "--package", "asm-fuzz", "--features", "targets", "--bins"]))?;
    if tools::find("cargo-deny").is_some() {
        // Without the advisories, whose data base is elsewhere: a check must not need anybody's server.
        step.command(&mut repo.cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
    } else {
        step.notes.push("cargo-deny is not installed: dependencies not checked".to_owned());
    }
    step.time = begin.elapsed();
    Ok(step)
}

/// The rules of the workspace that no compiler knows, and the documentation with warnings as errors.
///
/// # Errors
/// A source file could not be read, or cargo not be started.
pub fn lint(repo: &Repo) -> Result<Step> {
    let (mut step, begin) = Step::begin("lint");
    let broken = rules::workspace(repo)?;
    match broken.is_empty() {
        true => step.tally.passed += 1,
        false => step.tally.failed += broken.len(),
    }
    step.notes.extend(broken);
    let mut doc = repo.cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    step.command(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    step.time = begin.elapsed();
    Ok(step)
}

/// Every test of the workspace, on the running kernel.
///
/// Without root, test binaries named in [`KERNEL_TARGETS`] are run through `sudo` where that works without a password;
/// where it does not, they fail and say why.
///
/// # Errors
/// Cargo could not be started.
pub fn test(repo: &Repo, arguments: &[String]) -> Result<Step> {
    let (mut step, begin) = Step::begin("test");
    let mut cargo = repo.cargo(&["test", "--workspace", "--no-fail-fast"]);
    if !geteuid().is_root() {
        let this = std::env::current_exe().context("path of this program")?;
        cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", format!("{} as-root", this.display()));
    }
    // Tests that compare with these fail without them, and say so in their own words.
    if let Err(error) = tools::ensure(&[tools::LLVM, tools::CLANG, tools::LIBBPF]) {
        step.notes.push(format!("{error:#}"));
    }
    run_tests(&mut step, cargo.env("REQUIRE_TOOLS", "1").args(arguments))?;
    step.time = begin.elapsed();
    Ok(step)
}

/// Runs tests through cargo, shows their output and counts them.
fn run_tests(step: &mut Step, cargo: &mut Command) -> Result<()> {
    cargo.env(seed::VARIABLE, seed::of_run()).stdout(Stdio::piped());
    show(cargo);
    let mut child = cargo.spawn().context("start cargo")?;
    let output = child.stdout.take().context("output of cargo")?;
    let mut out = std::io::stdout();
    let mut failed = 0;
    let mut red = Collector::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read cargo's output")?;
        out.write_all(&line).and_then(|()| out.write_all(b"\n")).context("write to standard output")?;
        let line = String::from_utf8_lossy(&line);
        red.line(&line);
        let tally = Tally::of_line(&line).unwrap_or_default();
        failed += tally.failed;
        step.tally += tally;
    }
    step.red.extend(red.finish());
    let status = child.wait().context("wait for cargo")?;
    if !status.success() && failed == 0 {
        step.tally += Tally::BROKEN;
        step.notes.push("cargo test failed without a failing test: see its messages above".to_owned());
    }
    Ok(())
}

/// The main job and every kernel test, in guests; then the tests that boot guests themselves. The report is printed, and
/// written as `report.json` and `report.xml` beside the consoles.
///
/// # Errors
/// What concerns all kernels alike; what concerns one is a red row.
pub fn kernels(repo: &Repo, options: &Options) -> Result<Step> {
    let (mut step, begin) = Step::begin("kernels");
    tools::ensure(&tools::of_guests(options.arch))?;
    let mut passes = Vec::new();
    for number in 1..=options.repeat.max(1) {
        passes.push(matrix::run(repo, options)?);
        if options.repeat > 1 {
            let (last, tally) = (&passes[number - 1], passes[number - 1].tally());
            eprintln!("pass {number} of {}: {tally}, {:.1} s", options.repeat, last.total.as_secs_f64());
        }
    }
    let differences = repeat::differences(&passes);
    let report = passes.pop().context("no pass")?;
    print!("{}", report.text());
    let out = repo.out();
    for (name, text) in [("report.json", format!("{:#}\n", report.json())), ("report.xml", report.junit())] {
        fs::write(out.join(name), text).with_context(|| format!("write {}", out.join(name).display()))?;
    }
    step.notes.push(format!("reports and consoles: {}", out.display()));
    step.tally = report.tally();
    step.tally.failed += differences.len();
    step.red = report.red();
    step.red.extend(differences);
    if options.filter.is_none() && options.nic.is_none() && options.arch.is_default() {
        // Of the whole workspace: with other features than `cargo ci test` chose, everything would be built again.
        run_tests(&mut step, &mut repo.cargo(&["test", "--workspace", "--test", BOOTING_TESTS]))?;
    }
    step.time = begin.elapsed();
    Ok(step)
}

/// Everything, in the order of how soon it tells something; what is missing is installed first.
///
/// # Errors
/// A tool is missing and cannot be installed.
pub fn all(repo: &Repo) -> Result<bool> {
    tools::ensure(&[tools::LINKER, tools::QEMU, tools::BPFTOOL, tools::IPROUTE])?;
    let options = Options::default();
    let steps = [
        Step::of("check", || check(repo)),
        Step::of("lint", || lint(repo)),
        Step::of("test", || test(repo, &[])),
        Step::of("kernels", || kernels(repo, &options)),
    ];
    Ok(close(&steps))
}

/// The end of a command that is a single step.
pub fn alone(step: Step) -> bool {
    close(&[step])
}

/// Prints what failed, how the steps went and the final counts; true when all is well. Whoever keeps only the end of a long
/// output still has the causes.
pub fn close(steps: &[Step]) -> bool {
    let mut total = Tally::default();
    let red: Vec<_> = steps.iter().flat_map(|step| step.red.iter().cloned()).collect();
    println!("\n{}", red::closing(&red));
    for step in steps {
        let word = if step.is_well() { "ok" } else { "FAILED" };
        println!("{:<8} {word:<6} {:>7.1} s  {}", step.name, step.time.as_secs_f64(), step.tally);
        for note in &step.notes {
            println!("         {note}");
        }
        total += step.tally;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

/// Runs a test binary in place of this process, through `sudo` when it is a kernel test.
///
/// # Errors
/// It could not be started.
pub fn as_root(command: &[String]) -> Result<bool> {
    let Some((program, arguments)) = command.split_first() else { bail!("no command to run") };
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = name.rsplit_once('-').map_or(name.as_str(), |(target, _)| target);
    let sudo = || Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let mut child = if KERNEL_TARGETS.contains(&target) && sudo() {
        let mut child = Command::new("sudo");
        child.args(["-n", "-E", "--", program]);
        child
    } else {
        Command::new(program)
    };
    Err(child.args(arguments).exec()).with_context(|| format!("start {program}"))
}

//! `loader bench codegen`: generated code in figures that do not depend on the machine's load.
//!
//! Input: the teaching programs and, where clang is installed, the C texts of the same names, compiled in the same run.
//! Output: for each, slots of 8 bytes, instructions that the running kernel's verifier went through, bytes of machine code;
//! and how long all of it took to make. Read next: `asm::codegen`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use asm::codegen::Profile;
use loader::{LoadOptions, Spec};
use serde::Serialize;

use crate::render::{Out, table};
use crate::systems;

/// Rounds of code generation; the shortest counts.
const ROUNDS: usize = 20;

/// A slow machine makes fewer rounds: none begins after this time.
const ENOUGH: Duration = Duration::from_millis(200);

/// What `loader bench codegen` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Other C texts to compile beside ours than the built-in ones: NAME.c for each program
    #[arg(long, value_name = "DIR")]
    c: Option<PathBuf>,

    /// The C compiler
    #[arg(long, value_name = "PROGRAM", default_value = "clang-22")]
    clang: PathBuf,

    /// The oldest kernel that the code is for
    #[arg(long, value_name = "RELEASE", default_value = "newest")]
    kernel: String,
}

/// One object's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Figures {
    /// Instructions of 8 bytes, both halves of a wide one counted.
    slots: u32,
    /// What the verifier went through; 0 before Linux 5.16.
    processed: u32,
    /// Bytes of machine code.
    jited: u32,
}

#[derive(Serialize)]
struct Row {
    case: String,
    #[serde(flatten)]
    ours: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    clang: Option<Figures>,
}

/// Ours / clang's.
#[derive(Default, Serialize)]
struct Ratio {
    /// Geometric mean over the programs.
    slots: f64,
    /// The same, of the verifier's work.
    processed: f64,
    /// The same, of machine code.
    jited: f64,
    /// Time for all programs, from source to ELF.
    time: f64,
}

#[derive(Serialize)]
struct Report {
    kernel: String,
    cpus: usize,
    /// Milliseconds to generate every program and write it as ELF, the shortest of some rounds.
    generation_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clang_ms: Option<f64>,
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
}

/// Runs the experiment.
pub(super) fn run(args: &Args, out: &mut Out) -> Result<()> {
    let profile = if args.kernel == "newest" { Some(Profile::newest()) } else { Profile::named(&args.kernel) };
    let profile = profile.with_context(|| format!("{} is no release from 5.10 on, such as 6.1", args.kernel))?;
    let theirs = match &args.c {
        Some(dir) => Some(compile_all(dir, &args.clang)?),
        None if Command::new(&args.clang).arg("--version").output().is_ok() => Some(compile_twins(&args.clang)?),
        None => {
            out.progress(format_args!("{} is not installed: our figures alone", args.clang.display()));
            None
        }
    };
    let names: Vec<&str> = match &theirs {
        Some((objects, _)) => objects.iter().map(|(name, _)| *name).collect(),
        None => progs::examples::NAMES.to_vec(),
    };
    let generation_ms = generation(&names, &profile)?;
    let mut rows = Vec::new();
    for name in names {
        let clang = theirs.iter().flat_map(|(objects, _)| objects).find(|(other, _)| *other == name);
        let clang = clang.map(|(_, bytes)| figures(bytes, &format!("{name} by clang"))).transpose()?;
        let ours = figures(&systems::built_in(name, &profile)?, name)?;
        rows.push(Row { case: name.to_owned(), ours, clang });
    }
    let clang_ms = theirs.map(|(_, ms)| ms);
    let ratio = clang_ms.map(|ms| ratio(&rows, generation_ms / ms));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = super::kernel()?;
    out.result(&Report { kernel, cpus, generation_ms, clang_ms, rows, ratio }, text)
}

/// The shortest time in which all of them become ELF.
fn generation(names: &[&str], profile: &Profile) -> Result<f64> {
    let (mut shortest, start) = (f64::INFINITY, Instant::now());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for name in names {
            systems::built_in(name, profile)?;
        }
        shortest = shortest.min(ms(begin));
        if start.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(shortest)
}

/// The objects of clang by the names of ours, and the time it took.
type Compiled = (Vec<(&'static str, Vec<u8>)>, f64);

/// Compiles the twins that are built in.
fn compile_twins(clang: &Path) -> Result<Compiled> {
    let dir = tempfile::tempdir().context("make a directory for C texts")?;
    for (name, text) in super::twins::TEXTS {
        std::fs::write(dir.path().join(name), text).with_context(|| format!("write {name}"))?;
    }
    compile_all(dir.path(), clang)
}

/// Compiles the C text of each program that has one.
fn compile_all(dir: &Path, clang: &Path) -> Result<Compiled> {
    let into = tempfile::tempdir().context("make a directory for objects")?;
    let (mut objects, mut time) = (Vec::new(), 0.0);
    for &name in progs::examples::NAMES {
        let (text, object) = (dir.join(format!("{name}.c")), into.path().join(name));
        if !text.exists() {
            continue;
        }
        let begin = Instant::now();
        let done = Command::new(clang)
            .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu", "-c", "-o"])
            .args([&object, &text])
            .output()
            .with_context(|| format!("cannot run {}", clang.display()))?;
        time += ms(begin);
        let words = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{} does not compile\n{}", text.display(), words.trim());
        objects.push((name, std::fs::read(&object).with_context(|| format!("read {}", object.display()))?));
    }
    ensure!(!objects.is_empty(), "{} has none of {}.c", dir.display(), progs::examples::NAMES.join(".c, "));
    Ok((objects, time))
}

/// Loads an object and asks the kernel about its programs.
fn figures(bytes: &[u8], name: &str) -> Result<Figures> {
    let spec = Spec::parse(bytes).with_context(|| format!("{name} cannot be loaded"))?;
    let loaded = loader::load(&spec, &LoadOptions::default()).with_context(|| format!("{name} was not loaded"))?;
    let slots = spec.funcs.iter().map(|func| func.insns.len()).sum::<usize>();
    let mut all = Figures { slots: u32::try_from(slots).unwrap_or(u32::MAX), processed: 0, jited: 0 };
    for (_, prog) in loaded.progs() {
        let info = prog.info()?;
        all.processed += info.verified_insns;
        all.jited += info.jited_bytes;
    }
    Ok(all)
}

fn ratio(rows: &[Row], time: f64) -> Ratio {
    let mean = |of: fn(&Figures) -> u32| {
        let pairs = rows.iter().filter_map(|row| Some((of(&row.ours), of(row.clang.as_ref()?))));
        let logs: Vec<f64> = pairs.map(|(ours, theirs)| (f64::from(ours) / f64::from(theirs.max(1))).ln()).collect();
        let count = u32::try_from(logs.len()).unwrap_or(u32::MAX).max(1);
        (logs.iter().sum::<f64>() / f64::from(count)).exp()
    };
    Ratio { slots: mean(|f| f.slots), processed: mean(|f| f.processed), jited: mean(|f| f.jited), time }
}

fn text(report: &Report) -> String {
    let figures = |f: &Figures| format!("{} / {} / {}", f.slots, f.processed, f.jited);
    let mut text = table(
        ["program", "slots / processed / jited", "clang -O2 -mcpu=v3"],
        report.rows.iter().map(|row| {
            [row.case.clone(), figures(&row.ours), row.clang.as_ref().map_or_else(|| "-".to_owned(), figures)]
        }),
    );
    text += &format!("{} programs generated and written as ELF in {:.2} ms", report.rows.len(), report.generation_ms);
    if let (Some(clang), Some(ratio)) = (report.clang_ms, &report.ratio) {
        text += &format!(
            "; clang took {clang:.0} ms, {:.0} times as long\ngeometric means, ours / clang: slots {:.3}, processed {:.3}, jited {:.3}",
            ratio.time.recip(),
            ratio.slots,
            ratio.processed,
            ratio.jited
        );
    }
    text + "\n"
}

/// Milliseconds since then.
fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_geometric_mean() {
        let figures = |slots| Figures { slots, processed: 10, jited: 10 };
        let row = |ours, clang| Row { case: String::new(), ours: figures(ours), clang: Some(figures(clang)) };
        let ratio = ratio(&[row(10, 20), row(20, 10), row(8, 1), row(1, 8)], 0.5);
        assert!((ratio.slots - 1.0).abs() < 1e-12 && (ratio.processed - 1.0).abs() < 1e-12, "{}", ratio.slots);
        let halves = self::ratio(&[row(10, 20), row(5, 10)], 0.5);
        assert!((halves.slots - 0.5).abs() < 1e-12, "{}", halves.slots);
    }
}

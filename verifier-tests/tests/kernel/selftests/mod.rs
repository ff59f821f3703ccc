//! The kernel's own verifier tests, compiled from its source, as a judge of our loader: each program must meet the fate that
//! its tags foretell.
//!
//! `SELFTEST_OBJECTS` names a directory with the compiled `verifier_*.c` of one kernel's
//! `tools/testing/selftests/bpf/progs`; `cargo ci selftests` makes it and boots that kernel. The objects are input: nothing
//! of them is kept. Known disagreements stand, each with its reason, in `exceptions.txt`. Read next: `tags.rs`.

mod tags;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use asm::object::ProgType;
use loader::Spec;
use loader::btf::KernelBtf;
use loader::load::{Error, LoadOptions, Loaded, load};
use loader::prog;
use loader::sys::prog::{TestRun, test_run};
use loader::sys::uapi::{ProgFlags, UpdateFlags};
use tags::{Expected, PACKET, Result64};

/// `FILE.PROGRAM: why`, a line each.
const EXCEPTIONS: &str = include_str!("exceptions.txt");

/// Maps that the kernel's harness fills before a run, and with what: `struct test_val` with `index` 28 and a mark in `foo[6]`.
const FILLED: [&str; 2] = ["map_array_ro", "map_array_48b"];

/// How the programs fared.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    excepted: usize,
    /// How many, by why.
    not_judged: BTreeMap<&'static str, usize>,
}

#[test]
fn every_selftest_meets_its_fate() {
    super::need_root();
    let Some(dir) = std::env::var_os("SELFTEST_OBJECTS") else {
        return println!("SELFTEST_OBJECTS is not set: nothing to judge");
    };
    let types = Arc::new(KernelBtf::running().expect("the kernel shows its types"));
    let exceptions = exceptions();
    let (mut tally, files) = (Tally::default(), objects(Path::new(&dir)));
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(file).expect("an object");
        match Spec::parse(&bytes) {
            Ok(_) if exceptions.contains_key(name.as_str()) => {
                tally.failed.push(format!("{name}: is read, though it is an exception"));
            }
            Ok(spec) => judge_file(&name, &spec, &types, &exceptions, &mut tally),
            Err(_) if exceptions.contains_key(name.as_str()) => tally.excepted += 1,
            Err(error) => tally.failed.push(format!("{name}: {error}")),
        }
    }
    let others: usize = tally.not_judged.values().sum();
    println!("{} files: {} passed, {} failed, {others} not judged", files.len(), tally.passed, tally.failed.len());
    println!("{} known exceptions; not judged: {:?}", tally.excepted, tally.not_judged);
    assert!(tally.failed.is_empty(), "\n{}", tally.failed.join("\n"));
    assert!(tally.passed > 0, "no program was judged");
}

fn objects(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "o"));
    files.sort();
    files
}

fn exceptions() -> BTreeMap<&'static str, &'static str> {
    let lines = EXCEPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").expect("FILE.PROGRAM: why")).collect()
}

fn judge_file(file: &str, spec: &Spec, types: &Arc<KernelBtf>, exceptions: &BTreeMap<&str, &str>, tally: &mut Tally) {
    let Some(btf) = &spec.btf else { return tally.failed.push(format!("{file}: no types")) };
    let tests: Vec<(&str, Result<Expected, String>)> =
        spec.progs.iter().map(|prog| (prog.name.as_str(), Expected::of(btf, &prog.name))).collect();
    let helpers: Vec<&str> =
        tests.iter().filter(|(_, test)| test.as_ref().is_ok_and(|test| test.helper)).map(|(name, _)| *name).collect();
    for (name, test) in &tests {
        let full = format!("{file}.{name}");
        let verdict = match test {
            Ok(test) => match why_not(test) {
                Some(why) => {
                    *tally.not_judged.entry(why).or_default() += 1;
                    continue;
                }
                None => judge(spec, name, test, &helpers, types),
            },
            Err(why) => Err(why.clone()),
        };
        match (verdict, exceptions.get(full.as_str())) {
            (Ok(()), None) => tally.passed += 1,
            (Ok(()), Some(why)) => tally.failed.push(format!("{full}: passes, though it is an exception ({why})")),
            (Err(_), Some(_)) => tally.excepted += 1,
            (Err(why), None) => tally.failed.push(format!("{full}: {why}")),
        }
    }
}

/// Why a program says nothing to us.
fn why_not(test: &Expected) -> Option<&'static str> {
    let machine = std::env::consts::ARCH.replace("aarch64", "arm64");
    match test {
        Expected { helper: true, .. } => Some("loaded with others"),
        Expected { machines, .. } if !machines.is_empty() && !machines.contains(&machine) => Some("for other machines"),
        Expected { other_types: true, .. } => Some("for types of another file"),
        Expected { accepted: None, .. } => Some("for the unprivileged, or no test"),
        _ => None,
    }
}

fn judge(spec: &Spec, name: &str, test: &Expected, helpers: &[&str], types: &Arc<KernelBtf>) -> Result<(), String> {
    let only: BTreeSet<String> = helpers.iter().chain([&name]).map(|&name| name.to_owned()).collect();
    let options = LoadOptions {
        only: Some(only),
        kernel_btf: Some(Arc::clone(types)),
        flags: [(name.to_owned(), ProgFlags::from_bits_retain(test.flags))].into(),
        log: test.log.filter(|log| !log.is_empty()),
        ..LoadOptions::default()
    };
    match (load(spec, &options), test.accepted == Some(true)) {
        (Ok(loaded), true) => accepted(&loaded, name, test),
        (Ok(_), false) => Err("accepted; must be refused".to_owned()),
        (Err(error), true) => Err(format!("must be accepted; {}", words_of(&error))),
        (Err(error), false) => has(&words_of(&error), test),
    }
}

fn accepted(loaded: &Loaded, name: &str, test: &Expected) -> Result<(), String> {
    let prog = loaded.prog(name).map_err(|e| e.to_string())?;
    has(prog.log().unwrap_or_default(), test)?;
    let Some(want) = test.result else { return Ok(()) };
    for map in FILLED.iter().filter_map(|name| loaded.map(name).ok()) {
        let mut value = [0; 48];
        value[..4].copy_from_slice(&28u32.to_ne_bytes());
        value[28..32].copy_from_slice(&0xabcd_ef12_u32.to_ne_bytes());
        map.update(&0u32.to_ne_bytes(), &value, UpdateFlags::ANY).map_err(|e| e.to_string())?;
    }
    // A system-call program takes no packet, and refuses one.
    let syscall = prog.info().is_ok_and(|info| info.prog_type == ProgType::SYSCALL);
    let packet = [0; PACKET];
    let mut out = [0; 4 * PACKET];
    let mut run = TestRun::default();
    if !syscall {
        run = TestRun { data_in: &packet, data_out: &mut out, repeat: 1, ..run };
    }
    let retval = test_run(prog.as_fd(), &mut run).map_err(|e| format!("test run: {e}"))?.retval;
    match want {
        Result64::Is(want) if want != retval => Err(format!("gives back {retval}, not {want}")),
        _ => Ok(()),
    }
}

/// What was said about a refusal: the verifier's log, or whatever the loader met before it.
fn words_of(error: &Error) -> String {
    if let Error::Prog { source, .. } = error
        && let prog::Error::Refused(refusal) = &**source
    {
        return refusal.log.clone();
    }
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn has(log: &str, test: &Expected) -> Result<(), String> {
    match words::missing(log, &test.words) {
        None => Ok(()),
        Some(word) => {
            let end: Vec<&str> = log.lines().rev().take(6).collect();
            let end = end.into_iter().rev().collect::<Vec<_>>().join("\n    ");
            Err(format!("the log has no {word:?} (behind those before it); it ends\n    {end}"))
        }
    }
}

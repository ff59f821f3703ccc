//! The case files, a test a subject.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use verifier_tests::{Case, Judge, Outcome};

/// Set where nothing is above the kernel: there a program that may not be loaded at all is a failure.
const NOTHING_DENIED: &str = "NOTHING_DENIED";

/// Judges every case of a subject; the failures of all of them are one message.
fn subject(name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    static JUDGE: LazyLock<Judge> = LazyLock::new(|| Judge::new(crate::kernel_release()));
    let strict = std::env::var_os(NOTHING_DENIED).is_some();
    let (mut right, mut wrong) = (0, Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a text");
        let name = file.file_name().expect("a name").to_string_lossy();
        let outcome = match Case::parse(&name, &text) {
            Ok(case) => JUDGE.judge(&case),
            Err(error) => Outcome::Wrong(error.to_string()),
        };
        match outcome {
            Outcome::Right => right += 1,
            Outcome::Skipped(why) => println!("{name}: {why}"),
            Outcome::Denied(why) if !strict => println!("{name}: not judged: {why}"),
            Outcome::Denied(why) | Outcome::Wrong(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    println!("{name}: {right} of {} cases as expected", files.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

/// The subject whose cases are loaded by an ordinary user.
const UNPRIVILEGED: &str = "unprivileged";

/// Set in the process of the ordinary user.
const NOBODY: &str = "VERIFIER_TEST_NOBODY";

/// Whether ordinary users may load programs: 0 where they may.
const SETTING: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";

/// The same binary, once more, as the user `nobody`. Only where nothing but tests runs: what ordinary users may do is for
/// the whole machine.
#[test]
fn unprivileged() {
    if std::env::var_os(NOBODY).is_some() {
        return subject(UNPRIVILEGED);
    }
    super::need_root();
    if std::env::var_os(NOTHING_DENIED).is_none() {
        return println!(
            "not judged: only in guests, for the whole machine would have to let ordinary users load programs"
        );
    }
    std::fs::write(SETTING, "0").expect("ordinary users may load programs");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "cases::unprivileged", "--nocapture"]).env(NOBODY, "1").uid(65534).gid(65534);
    let output = command.output().expect("it starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains("cases as expected"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A test a subject; a directory without one is found by [`every_subject_is_judged`].
macro_rules! subjects {
    ($($test:ident = $name:literal;)*) => {
        $(#[test]
        fn $test() {
            super::need_root();
            subject($name);
        })*

        #[test]
        fn every_subject_is_judged() {
            let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).expect("cases");
            let subjects = entries.flatten().filter(|entry| entry.path().is_dir());
            let mut found: Vec<_> = subjects.map(|entry| entry.file_name()).collect();
            found.retain(|name| name != UNPRIVILEGED);
            found.sort();
            assert_eq!(found, [$($name),*]);
        }
    };
}

subjects! {
    arguments = "arguments";
    atomics = "atomics";
    bounds = "bounds";
    bugs = "bugs";
    calls = "calls";
    collections = "collections";
    context = "context";
    dynptr = "dynptr";
    extensions = "extensions";
    generators = "generators";
    globals = "globals";
    instructions = "instructions";
    iterators = "iterators";
    kfuncs = "kfuncs";
    kptrs = "kptrs";
    locks = "locks";
    loops = "loops";
    maps = "maps";
    packets = "packets";
    rcu = "rcu";
    refs = "refs";
    stack = "stack";
    timers = "timers";
}

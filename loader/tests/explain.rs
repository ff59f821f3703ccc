//! What people read of the refusals of real kernels.
//!
//! `golden/verifier/CASE.KERNEL.log` is what that kernel said of a program of `verifier-tests/cases`, after a line with its
//! errno and the program; recorded by `loader check --kernel KERNEL --json CASE`, field `log`. `golden/verifier.txt` holds the
//! explanations: `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use loader::errno::Errno;
use loader::verifier::Refusal;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// File name, errno and log of each refusal.
fn refusals() -> Vec<(String, Errno, String)> {
    let entries = std::fs::read_dir(golden().join("verifier")).expect("the logs");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a log");
        let (head, log) = text.split_once('\n').expect("a head");
        let errno = match head.split(' ').next() {
            Some("EACCES") => Errno::EACCES,
            Some("EINVAL") => Errno::EINVAL,
            Some("E2BIG") => Errno::E2BIG,
            other => panic!("{}: errno {other:?}", path.display()),
        };
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), errno, log.to_owned())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn refusals_of_real_kernels_are_explained() {
    let mut text = String::new();
    for (name, errno, log) in refusals() {
        writeln!(text, "== {name}\n{}\n", Refusal::new("case", errno, log)).expect("text");
    }
    let path = golden().join("verifier.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let want = std::fs::read_to_string(&path).expect("the explanations");
    assert!(text == want, "the explanations differ from {}:\n{text}", path.display());
}

/// No refusal is left without words of ours and something to do.
#[test]
fn every_refusal_has_a_reason_and_an_advice() {
    let all = refusals();
    assert!(all.len() >= 60, "{} logs", all.len());
    for (name, errno, log) in all {
        let explained = Refusal::new("case", errno, log).explain();
        assert!(explained.reason.is_some() && explained.advice.is_some(), "{name}: {explained:?}");
    }
}

//! The case files, a test a subject.

use std::path::Path;

use verifier_tests::{Case, Judge, Outcome};

/// Judges every case of a subject; the failures of all of them are one message.
fn subject(name: &str) {
    super::need_root();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let judge = Judge::new(super::kernel_version());
    let (mut right, mut wrong) = (0, Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a text");
        let name = file.file_name().expect("a name").to_string_lossy();
        let outcome = match Case::parse(&name, &text) {
            Ok(case) => judge.judge(&case),
            Err(error) => Outcome::Wrong(error.to_string()),
        };
        match outcome {
            Outcome::Right => right += 1,
            Outcome::Skipped(why) => println!("{name}: {why}"),
            Outcome::Wrong(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    println!("{name}: {right} of {} cases as expected", files.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    assert!(right > 0, "{} has no case for this kernel", dir.display());
}

#[test]
fn bounds() {
    subject("bounds");
}

#[test]
fn calls() {
    subject("calls");
}

#[test]
fn instructions() {
    subject("instructions");
}

#[test]
fn loops() {
    subject("loops");
}

#[test]
fn maps() {
    subject("maps");
}

#[test]
fn packets() {
    subject("packets");
}

#[test]
fn refs() {
    subject("refs");
}

#[test]
fn stack() {
    subject("stack");
}

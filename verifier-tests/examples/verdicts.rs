//! What the running kernel says of case files, a line a file, marks or not: to write a new case, or to see what a new
//! kernel changes. Root; on another kernel `cargo ci run --kernel 6.1 --file DIR -- verdicts DIR`.
//!
//! Input: files, or directories with `*.bpf` below them. Output: `FILE: VERDICT`, of a refusal its first line. Read next: `../src/judge.rs`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use verifier_tests::{Case, Judge, Version};

fn main() -> ExitCode {
    let mut files = Vec::new();
    std::env::args().skip(1).for_each(|path| collect(Path::new(&path), &mut files));
    if files.is_empty() {
        eprintln!("usage: verdicts FILE|DIRECTORY...");
        return ExitCode::from(2);
    }
    files.sort();
    let judge = Judge::new(running());
    for file in files {
        let name = file.display().to_string();
        let case = std::fs::read_to_string(&file).map_err(|e| e.to_string());
        let case = case.and_then(|text| Case::parse(&name, &text).map_err(|e| e.to_string()));
        match case.and_then(|case| judge.verdict(&case, true)) {
            Ok(verdict) => println!("{name}: {}", verdict.to_string().lines().next().unwrap_or_default()),
            Err(why) => println!("{name}: no case: {why}"),
        }
    }
    ExitCode::SUCCESS
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) if path.extension().is_some_and(|extension| extension == "bpf") => files.push(path.to_owned()),
        Err(_) => {}
    }
}

/// The running kernel's version; 0 where the release does not tell.
fn running() -> Version {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

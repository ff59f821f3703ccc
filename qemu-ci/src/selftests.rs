//! `cargo ci selftests`: the kernel's own verifier tests, compiled from Debian's source package of that kernel, as a judge of
//! our loader.
//!
//! In: the kernel named `KERNEL`; its source package, clang, bpftool and python3 of this machine. Out: objects below
//! `target/`, and a run of verifier-tests in that kernel's guest, which judges them by their tags. The source is input
//! only: nothing of it is kept in the repository. Next to read: `verifier-tests/tests/kernel/selftests/mod.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::cache::Cache;
use crate::fetch::Fetcher;
use crate::repo::{Repo, show_and_run};
use crate::{kernels, source, tools};

/// The variable by which the test finds the objects.
pub const OBJECTS: &str = "SELFTEST_OBJECTS";

/// The kernel whose tests they are: they hold for the kernel they come with.
const KERNEL: &str = "6.12";

/// Where the tests lie in the source.
const TESTS: &str = "tools/testing/selftests/bpf";

/// What is needed of the source: a directory, and the ends of the files' names.
const NEEDED: [(&str, &[&str]); 5] = [
    (TESTS, &[".c", ".h"]),
    ("tools/lib/bpf", &[".h"]),
    ("tools/include", &[".h"]),
    ("scripts", &["bpf_doc.py"]),
    ("include/uapi/linux", &["/bpf.h"]),
];

/// Compiles the tests and has them judged; true when all is well.
///
/// # Errors
/// A tool, the kernel or its source is not to be had, or too few of the tests compile.
pub fn run(repo: &Repo) -> Result<bool> {
    tools::ensure(&[tools::LINKER, tools::QEMU, tools::CLANG, tools::BPFTOOL, tools::PYTHON])?;
    let objects = objects(repo)?;
    let this = std::env::current_exe().context("path of this program")?;
    let mut judge = repo.command(this);
    judge.args(["kernels", "--kernel", KERNEL, "selftests::"]).env(OBJECTS, &objects);
    Ok(show_and_run(&mut judge)?.success())
}

/// The directory of the compiled tests.
fn objects(repo: &Repo) -> Result<PathBuf> {
    let chosen = kernels::chosen(repo, Arch::X86_64, Some(KERNEL))?;
    let choice = chosen.first().with_context(|| format!("kernels.toml has no kernel {KERNEL}"))?;
    let kernel = Fetcher::new(Cache::of_user()?, false).obtain(choice)?;
    let directory = repo.out().join("selftests").join(&kernel.kernel.version);
    let files = directory.join("source");
    if !directory.join("complete").is_file() {
        source::unpack(&Cache::of_user()?.writer()?, &kernel.kernel, &files, is_needed)?;
        fs::write(directory.join("complete"), "").context("mark the source as complete")?;
    }
    let headers = directory.join("headers");
    let vmlinux = kernel.image.kernel()?;
    write_headers(&files, &headers, &vmlinux)?;
    compile(&files, &headers, &directory.join("objects"))
}

/// Whether a path of the source is of use.
fn is_needed(path: &str) -> bool {
    NEEDED.iter().any(|(directory, ends)| path.starts_with(directory) && ends.iter().any(|end| path.ends_with(end)))
}

/// The headers that are made: the kernel's types, and the helpers' prototypes.
fn write_headers(source: &Path, headers: &Path, vmlinux: &Path) -> Result<()> {
    fs::create_dir_all(headers.join("bpf")).with_context(|| format!("create {}", headers.display()))?;
    let btf = ["btf", "dump", "file", &vmlinux.to_string_lossy(), "format", "c"].map(ToOwned::to_owned);
    let bpftool = tools::find("bpftool").context("bpftool")?;
    output(Command::new(bpftool).args(btf), &headers.join("vmlinux.h"))?;
    let mut doc = Command::new("python3");
    doc.arg(source.join("scripts/bpf_doc.py"))
        .args(["--header", "--file"])
        .arg(source.join("include/uapi/linux/bpf.h"));
    output(&mut doc, &headers.join("bpf/bpf_helper_defs.h"))?;
    for entry in fs::read_dir(source.join("tools/lib/bpf")).context("headers of libbpf")? {
        let from = entry.context("headers of libbpf")?.path();
        let name = from.file_name().context("a file has a name")?;
        fs::copy(&from, headers.join("bpf").join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

/// Runs a command and writes what it prints to a file.
fn output(command: &mut Command, to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| format!("write {}", to.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(file).stderr(Stdio::null()).status().with_context(|| format!("start {program}"))?;
    ensure!(status.success(), "{program} failed to write {}", to.display());
    Ok(())
}

/// Compiles every `verifier_*.c`; those that do not compile are told.
fn compile(source: &Path, headers: &Path, objects: &Path) -> Result<PathBuf> {
    fs::create_dir_all(objects).with_context(|| format!("create {}", objects.display()))?;
    let tests = source.join(TESTS);
    let entries = fs::read_dir(tests.join("progs")).context("the kernel's tests")?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("verifier_") && name.ends_with(".c")
    });
    files.sort();
    let mut compiled = 0;
    for file in &files {
        let object = objects.join(file.with_extension("o").file_name().context("a file has a name")?);
        let mut clang = Command::new("clang-22");
        clang.args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-w", "-D__TARGET_ARCH_x86", "-c"]);
        for include in [headers, &tests, &tests.join("progs"), &source.join("tools/include/uapi")] {
            clang.arg("-I").arg(include);
        }
        // Where Debian keeps the half of the C library's headers that depends on the machine.
        clang.args(["-I", "/usr/include/x86_64-linux-gnu", "-o"]).arg(&object).arg(file);
        let done = clang.output().context("start clang-22")?;
        match done.status.success() {
            true => compiled += 1,
            false => {
                let said = String::from_utf8_lossy(&done.stderr);
                let first = said.lines().find(|line| line.contains("error")).unwrap_or_default();
                eprintln!("{} does not compile: {first}", file.display());
            }
        }
    }
    eprintln!("{compiled} of {} files compiled", files.len());
    if files.is_empty() || compiled * 20 < files.len() * 19 {
        bail!("only {compiled} of {} files compiled: too few to judge by", files.len());
    }
    Ok(objects.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_unpacked() {
        for (path, want) in [
            ("tools/testing/selftests/bpf/progs/verifier_and.c", true),
            ("tools/testing/selftests/bpf/bpf_misc.h", true),
            ("tools/testing/selftests/bpf/Makefile", false),
            ("tools/lib/bpf/bpf_helpers.h", true),
            ("tools/lib/bpf/libbpf.c", false),
            ("scripts/bpf_doc.py", true),
            ("include/uapi/linux/bpf.h", true),
            ("kernel/bpf/verifier.c", false),
        ] {
            assert_eq!(is_needed(path), want, "{path}");
        }
    }
}

//! The programs the checks need, and the packages they come in.
//!
//! In: what is missing. Out: installed by apt when we are root, else an error that says what to type.
//! Next to read: `steps.rs`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::arch::Arch;
use crate::repo::show_and_run;

/// A program of the machine, or a file by its whole path, and the Debian package it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What it is called, or where it lies.
    pub program: &'static str,
    package: &'static str,
}

/// Emulates the guests.
pub const QEMU: Tool = Tool { program: "qemu-system-x86_64", package: "qemu-system-x86" };

/// Emulates ARM machines.
pub const QEMU_ARM: Tool = Tool { program: "qemu-system-aarch64", package: "qemu-system-arm" };

/// Links the binaries.
pub const LINKER: Tool = Tool { program: "cc", package: "gcc" };

/// Compiles drivers that no kernel has.
pub const MAKE: Tool = Tool { program: "make", package: "make" };

/// Second opinion of the loader's tests.
pub const BPFTOOL: Tool = Tool { program: "bpftool", package: "bpftool" };

/// Second opinion of netlink's tests.
pub const IPROUTE: Tool = Tool { program: "ip", package: "iproute2" };

/// Second opinion of the assembler's tests.
pub const LLVM: Tool = Tool { program: "llvm-mc-22", package: "llvm-22" };

/// Second opinion of the disassembler's tests; compiles the kernel's own.
pub const CLANG: Tool = Tool { program: "clang-22", package: "clang-22" };

/// Headers of C programs that the loader's tests compile for comparison.
pub const LIBBPF: Tool = Tool { program: "/usr/include/bpf/bpf_helpers.h", package: "libbpf-dev" };

/// Writes the helpers' prototypes from the kernel's documentation.
pub const PYTHON: Tool = Tool { program: "python3", package: "python3" };

/// What guests of an architecture need of this machine.
pub fn of_guests(arch: Arch) -> Vec<Tool> {
    [LINKER].into_iter().chain(arch.tool()).collect()
}

/// Where programs of the system lie, beside `$PATH`.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The path of a program, as a shell would find it; the system's directories are looked at too.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|candidate| is_program(candidate))
}

/// Is it there?
fn is_there(tool: &Tool) -> bool {
    let path = Path::new(tool.program);
    if path.is_absolute() { path.exists() } else { find(tool.program).is_some() }
}

/// True for a file that may be run.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Sees to it that every tool is there: installs the missing ones as root, else says how.
///
/// # Errors
/// Something is missing and could not be installed.
pub fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| !is_there(tool)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let words: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let by_hand = by_hand(&missing);
    if !geteuid().is_root() || find("apt-get").is_none() {
        bail!("missing: {}; install it as root with `{by_hand}`", words.join(", "));
    }
    // The package lists of a fresh machine are empty or old; a second attempt with fresh ones decides.
    if !install(&packages)? {
        let _ = show_and_run(&mut apt_get(&["update"]))?;
        install(&packages)?;
    }
    match missing.iter().find(|tool| !is_there(tool)) {
        None => Ok(()),
        Some(tool) => bail!("{} is still missing after `{by_hand}`", tool.program),
    }
}

/// What a user types to have these tools.
pub fn by_hand(tools: &[Tool]) -> String {
    let packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs packages; true when apt is content.
fn install(packages: &[&str]) -> Result<bool> {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    Ok(show_and_run(command.args(packages))?.success())
}

/// `apt-get`, asking no questions, its output on standard error.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(arguments).stdout(std::io::stderr());
    command
}

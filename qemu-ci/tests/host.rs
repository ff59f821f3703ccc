//! What can be wrong with the machine that boots guests: each is an error that says what and what to do, never a success.
//!
//! In: the program `cargo ci` in a place where something is missing. Out: its words and its exit status. Next to read: `endings.rs`,
//! for what can be wrong with a guest.

use std::path::Path;
use std::process::{Command, Output};

/// `cargo ci` with a cache of its own.
fn ci(cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qemu-ci"));
    command.env("QEMU_CI_CACHE", cache);
    command
}

/// The same, run by a shell's commands in a user, mount and network namespace of its own, where it is root and has no network.
fn apart(cache: &Path, script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--net", "sh", "-euc", script, env!("CARGO_BIN_EXE_qemu-ci")]);
    command.env("QEMU_CI_CACHE", cache).output().expect("unshare is part of every Linux machine")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn without_qemu_the_command_that_installs_it_is_printed() {
    let cache = tempfile::tempdir().unwrap();
    // Nor is there an apt-get that could be asked to.
    let output = ci(cache.path()).args(["run", "--", "true"]).env("PATH", "/nowhere").output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("qemu-system-x86_64"), "{said}");
    assert!(said.contains("apt-get install --no-install-recommends") && said.contains("qemu-system-x86"), "{said}");
}

#[test]
fn without_network_and_kernels_the_row_is_red() {
    let cache = tempfile::tempdir().unwrap();
    let output = apart(cache.path(), "exec timeout 100 \"$0\" fetch --kernel 6.1");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("6.1    UNAVAILABLE: kernel 6.1 is not to be had"), "{said}");
    assert!(said.contains("locked ") && said.contains("newest in bookworm"), "each attempt is told: {said}");
}

#[test]
fn what_the_lock_does_not_know_is_an_error_when_asked_to_be() {
    let cache = tempfile::tempdir().unwrap();
    let output = apart(cache.path(), "exec timeout 100 \"$0\" fetch --locked --kernel 6.1");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--locked, and the lock says 6.1."), "{said}");
    assert!(!said.contains("newest in"), "nothing else may be tried: {said}");
}

#[test]
fn a_full_disk_is_told_by_the_path_that_did_not_fit() {
    let cache = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$QEMU_CI_CACHE\"; head -c 60000 /dev/zero > \
                  \"$QEMU_CI_CACHE\"/full; exec timeout 100 \"$0\" fetch --kernel 6.1";
    let output = apart(cache.path(), script);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device") && said.contains(&*cache.path().to_string_lossy()), "{said}");
}

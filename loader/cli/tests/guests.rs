//! `loader check --kernel` on real kernels, as an ordinary user; and with an emulator that fails in every way there is.
//!
//! These tests boot guests themselves and need QEMU and the kernels of the cache, so they are `test = false` and run when
//! asked for: by `cargo ci kernels`, or `cargo test -p loader-cli --test guests`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

const LOADER: &str = env!("CARGO_BIN_EXE_loader");

/// The user `nobody`.
const NOBODY: u32 = 65534;

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/check.in/bad.s")
}

/// This machine's cache of kernels.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let root = set("QEMU_CI_CACHE").or_else(|| Some(set("XDG_CACHE_HOME")?.join("qemu-ci")));
    root.or_else(|| Some(set("HOME")?.join(".cache/qemu-ci"))).expect("a place for kernels")
}

fn run(command: &mut Command) -> (Output, Value) {
    let output = command.output().expect("the loader starts");
    let value = serde_json::from_slice(&output.stdout);
    let value = value.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, value)
}

/// Both kernels answer, each for each object, and the refused one is explained at its line; the user is not root.
#[test]
fn an_ordinary_user_asks_two_kernels() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = as_ordinary_user(dir.path());
    // Where root has this repository for itself, nobody else can read it there.
    let text = dir.path().join("bad.s");
    fs::copy(bad(), &text).expect("copied");
    command.args(["check", "--kernel", "5.10,6.18", "--json", "lb"]).arg(text);
    let (output, value) = run(&mut command);
    assert_eq!(output.status.code(), Some(1), "{value:#}");
    let kernels = value["kernels"].as_array().expect("kernels");
    let names: Vec<&str> = kernels.iter().filter_map(|kernel| kernel["name"].as_str()).collect();
    assert_eq!(names, ["5.10", "6.18"]);
    for kernel in kernels {
        assert_eq!(kernel["fault"], Value::Null, "{kernel:#}");
        assert!(kernel["release"].as_str().expect("a release").starts_with(kernel["name"].as_str().expect("a name")));
        let lb = &kernel["files"][0]["programs"][0];
        assert_eq!((&lb["program"], &lb["verdict"]), (&"balance".into(), &"accepted".into()), "{kernel:#}");
        assert!(lb["insns"].as_u64() > Some(100), "{lb:#}");
        let bad = &kernel["files"][1]["programs"][0];
        assert_eq!(bad["verdict"], "refused", "{kernel:#}");
        assert_eq!(bad["at"]["line"], 10, "{bad:#}");
        assert_eq!(bad["source"], "r4 = *(u16 *)(r1 + 12)", "{bad:#}");
        assert!(bad["advice"].as_str().expect("advice").contains("data_end"), "{bad:#}");
    }
}

/// The loader as `nobody` with a home of its own; as ourselves if we are not root.
fn as_ordinary_user(home: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(LOADER);
    }
    // Root's own files are not for others: program and kernels are copied.
    let (loader, own) = (home.join("loader"), home.join("cache"));
    fs::copy(LOADER, &loader).expect("copied");
    fs::create_dir(&own).expect("made");
    let copied = Command::new("cp").arg("-r").arg(cache().join("img")).arg(&own).status().expect("cp starts");
    assert!(copied.success(), "the kernels are copied");
    for path in [home, &own, &own.join("img")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permitted");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(loader);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("QEMU_CI_CACHE", own).current_dir("/");
    command
}

/// An emulator that does something else: each way of ending is a fault with its own words, and never a pass.
#[test]
fn a_guest_that_ends_badly_is_a_row_that_says_so() {
    for (script, want) in [
        ("echo no such machine >&2; exit 3", "QEMU: exit status: 3: no such machine"),
        ("kill -9 $$", "QEMU: signal: 9"),
        ("echo '{\"nonce\":\"other\",\"seq\":0,\"event\":\"bye\",\"ended\":1}'", "line of another run"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let qemu = dir.path().join("qemu-system-x86_64");
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("permitted");
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let mut command = Command::new(LOADER);
        let (output, value) = run(command.env("PATH", path).args(["check", "--kernel", "5.10", "--json", "lb"]));
        assert_eq!(output.status.code(), Some(1), "{value:#}");
        let kernel = &value["kernels"][0];
        assert!(kernel["fault"].as_str().is_some_and(|fault| fault.contains(want)), "{want}: {kernel:#}");
        assert_eq!(kernel["files"][0]["error"][0], "not judged: the guest ended before", "{kernel:#}");
        assert!(kernel["files"][0]["programs"].as_array().is_some_and(Vec::is_empty), "{kernel:#}");
    }
}

/// A real guest whose emulator is killed in the middle.
#[test]
fn a_guest_that_is_killed_is_a_row_that_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let qemu = dir.path().join("qemu-system-x86_64");
    let limit = Duration::from_millis(900).as_secs_f64();
    let script = format!("#!/bin/sh\nexec timeout -s KILL {limit} /usr/bin/qemu-system-x86_64 \"$@\"\n");
    fs::write(&qemu, script).expect("written");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("permitted");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let output = Command::new(LOADER).env("PATH", path).args(["check", "--kernel", "5.10", "lb"]).output();
    let output = output.expect("the loader starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("guest gone before its end") && text.contains("FAILED"), "{text}");
}

/// Without QEMU the command that installs it is told, and nothing is fetched.
#[test]
fn without_qemu_the_way_to_install_it_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(LOADER);
    command.env("PATH", dir.path()).env("QEMU_CI_CACHE", dir.path().join("cache"));
    let output = command.args(["check", "--kernel", "5.10", "lb"]).output().expect("the loader starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("apt-get install") && text.contains("qemu-system-x86"), "{text}");
}

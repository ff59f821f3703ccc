//! What can be wrong with the machine that boots guests: each is an error that says what and what to do, never a success.
//!
//! In: the program `cargo ci` in a place where something is missing. Out: its words and its exit status. Next to read: `endings.rs`,
//! for what can be wrong with a guest.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use qemu_ci::cache::{Cache, checksum};

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

/// Files of a module each in the package of [`kernel`].
const MODULES: usize = 400;

/// A package with a kernel and many modules, and its row in `kernels.lock`.
fn kernel(name: &str, fill: u8) -> (Vec<u8>, String) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, contents: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        tar.append_data(&mut header, path, contents).expect("written to memory");
    };
    (0..MODULES).for_each(|number| add(&format!("lib/modules/6.1/kernel/m{number}.ko"), &[fill; 20_000]));
    add("boot/vmlinuz-6.1", b"a kernel");
    let data = tar.into_inner().expect("written to memory");
    let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "data.tar", 0, 0, 0, 100_644, data.len());
    let deb = [b"!<arch>\n".as_slice(), header.as_bytes(), &data].concat();
    let row = format!(
        "[[kernel]]\nname = \"{name}\"\nrelease = \"6.1-{name}\"\nversion = \"6.1\"\nsuite = \"s\"\n\
         [[kernel.package]]\nname = \"p\"\nversion = \"6.1\"\npath = \"p\"\nsize = {}\nsha256 = \"{}\"\n",
        deb.len(),
        checksum(&deb)
    );
    (deb, row)
}

/// Names of the unpacked kernels; each must be whole.
fn images(cache: &Path) -> Vec<String> {
    let entries = |path: &Path| fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.path());
    let mut names = Vec::new();
    for image in entries(&cache.join("img")) {
        let lengths = entries(&image.join("modules")).map(|module| module.metadata().expect("a file").len());
        assert_eq!(lengths.filter(|length| *length == 20_000).count(), MODULES, "{}", image.display());
        assert!(image.join("bzImage").is_file(), "{}", image.display());
        names.push(image.file_name().expect("a name").to_string_lossy().into_owned());
    }
    names
}

#[test]
fn a_killed_fetch_leaves_nothing_half() {
    let (place, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cache = Cache::at(place.path()).unwrap();
    let (mut intent, mut lock) = (String::new(), String::new());
    for (name, fill) in [("a", 1), ("b", 2), ("c", 3)] {
        let (deb, row) = kernel(name, fill);
        cache.writer().unwrap().put_deb(&deb).unwrap();
        lock += &row;
        intent += &format!(
            "[[kernel]]\nname = \"{name}\"\nseries = \"6.1\"\nflavour = \"f\"\nsuites = [\"s\"]\nrequired = true\n"
        );
    }
    fs::create_dir(workspace.path().join("qemu-ci")).unwrap();
    fs::write(workspace.path().join("qemu-ci/kernels.toml"), intent).unwrap();
    fs::write(workspace.path().join("qemu-ci/kernels.lock"), lock).unwrap();
    let fetch = || {
        let mut command = ci(place.path());
        command.args(["fetch", "--locked"]).current_dir(workspace.path()).env_remove("CARGO_MANIFEST_DIR");
        command
    };
    let part = place.path().join("part");
    let being_written = || fs::read_dir(&part).is_ok_and(|mut entries| entries.next().is_some());
    let mut left = 0;
    for _ in 0..4 {
        let mut child = fetch().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while !being_written() && child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing is written");
        }
        std::thread::sleep(Duration::from_millis(5));
        child.kill().unwrap();
        child.wait().unwrap();
        images(place.path());
        left += usize::from(being_written());
    }
    assert!(left > 0, "no run was killed while it wrote");
    let output = fetch().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let rows: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(|line| line[..1].to_owned()).collect();
    assert_eq!(rows, ["a", "b", "c"], "in the order of kernels.toml, whichever was unpacked first");
    assert_eq!(images(place.path()).len(), 3);
    assert!(!being_written(), "what the killed runs left is gone");
}

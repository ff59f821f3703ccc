//! Other people's objects: whatever `bpftool` loads on this kernel, we load too, and the programs are the same.
//!
//! `FOREIGN_OBJECTS_DIR` lists files and directories with objects (for example those of the Debian packages `libxdp1`,
//! `xdp-tests`, `xdp-tools`, `libbpf-tools`); `YARDSTICKS_DIR` names a directory of C texts for clang-22. Where they are not
//! set, as in a guest, there is nothing to test here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use loader::load::{LoadOptions, load};
use loader::spec::Spec;

use crate::common;
use crate::objects::chain;
use crate::support::{fresh_bpffs, in_namespaces, need_root};

/// Tags by program; `Err` is what was said.
type Tags = Result<BTreeMap<String, String>, String>;

fn ours(bytes: &[u8]) -> Tags {
    let spec = Spec::parse(bytes).map_err(|error| chain(&error))?;
    let loaded = load(&spec, &LoadOptions::default()).map_err(|error| chain(&error))?;
    Ok(loaded.progs().map(|(name, prog)| (name.to_owned(), prog.info().expect("a loaded program").tag)).collect())
}

/// What bpftool makes of it; it needs a file, and pins, which are taken away again.
fn bpftool(object: &Path, bpffs: &Path) -> Tags {
    let dir = bpffs.join("theirs");
    let run = |arguments: &[&Path]| {
        let done = Command::new("bpftool").arg("-j").args(arguments).stdin(Stdio::null()).output();
        done.unwrap_or_else(|error| panic!("bpftool cannot be run ({error}): install the package `bpftool`"))
    };
    let path = |text: &'static str| Path::new(text);
    let done = run(&[path("prog"), path("loadall"), object, &dir]);
    let mut tags = BTreeMap::new();
    for pin in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let shown = run(&[path("prog"), path("show"), path("pinned"), &pin.path()]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let tag = text.split_once("\"tag\":\"").map_or("", |(_, rest)| &rest[..16]);
        tags.insert(pin.file_name().to_string_lossy().into_owned(), tag.to_owned());
        std::fs::remove_file(pin.path()).expect("a pin of ours");
    }
    drop(std::fs::remove_dir(&dir));
    // Maps that the objects pin by name.
    for pin in std::fs::read_dir(bpffs).into_iter().flatten().flatten().filter(|pin| pin.path().is_file()) {
        drop(std::fs::remove_file(pin.path()));
    }
    if done.status.success() { Ok(tags) } else { Err(String::from_utf8_lossy(&done.stdout).into_owned()) }
}

/// Compares on every object; the message lists all that differ.
fn compare(objects: Vec<(String, Vec<u8>)>) {
    in_namespaces(move || {
        let bpffs = fresh_bpffs();
        let (mut wrong, mut same) = (Vec::new(), 0);
        for (name, bytes) in &objects {
            let file = tempfile::NamedTempFile::with_suffix(".o").expect("a temporary file");
            std::fs::write(file.path(), bytes).expect("a temporary file");
            match (bpftool(file.path(), bpffs), ours(bytes)) {
                (Ok(theirs), Ok(ours)) if sorted(&theirs) != sorted(&ours) => {
                    wrong.push(format!("{name}: tags {ours:?}, bpftool's are {theirs:?}"));
                }
                (Ok(_), Ok(_)) => same += 1,
                (Ok(_), Err(error)) => wrong.push(format!("{name}: bpftool loads it, we say: {error}")),
                (Err(_), _) => {}
            }
        }
        assert!(wrong.is_empty(), "{} of {} objects:\n{}", wrong.len(), objects.len(), wrong.join("\n"));
        assert!(same > 0, "bpftool loads none of {} objects", objects.len());
        println!("{same} of {} objects load, in bpftool and here, to the same programs", objects.len());
    });
}

/// Pins bear cut names, so tags are compared without.
fn sorted(tags: &BTreeMap<String, String>) -> Vec<&String> {
    let mut tags: Vec<_> = tags.values().collect();
    tags.sort_unstable();
    tags
}

#[test]
fn objects_of_other_compilers_load_as_in_bpftool() {
    let Some(paths) = std::env::var_os("FOREIGN_OBJECTS_DIR") else { return };
    need_root();
    let objects = common::foreign(&paths);
    assert!(
        !objects.is_empty(),
        "FOREIGN_OBJECTS_DIR={paths:?} holds no BPF object: install libxdp1, xdp-tests, libbpf-tools"
    );
    compare(objects);
}

#[test]
fn the_yardsticks_load() {
    let Some(dir) = std::env::var_os("YARDSTICKS_DIR") else { return };
    need_root();
    let mut objects = Vec::new();
    let out = tempfile::tempdir().unwrap();
    for text in std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
        if text.extension().is_none_or(|extension| extension != "c") {
            continue;
        }
        let object = out.path().join(text.file_stem().unwrap()).with_extension("o");
        let arguments = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu", "-c"];
        let done = Command::new("clang-22").args(arguments).arg(&text).arg("-o").arg(&object).output();
        let done = done
            .unwrap_or_else(|error| panic!("clang-22 cannot be run ({error}): install it, or unset YARDSTICKS_DIR"));
        assert!(done.status.success(), "{}: {}", text.display(), String::from_utf8_lossy(&done.stderr));
        objects.push((text.display().to_string(), std::fs::read(&object).unwrap()));
    }
    compare(objects);
}

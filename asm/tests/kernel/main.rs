//! Our objects in the hands of others: bpftool (libbpf) loads them as they are. Needs root and bpftool.

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

/// Runs a shell script in a mount namespace of its own, with a bpffs of its own; its output, or a failure with its text.
fn in_private_bpffs(script: &str, dir: &Path) -> String {
    let script = format!("set -e; mount -t bpf bpf /sys/fs/bpf; cd {}; {script}", dir.display());
    let out = Command::new("unshare").args(["--mount", "bash", "-c", &script]).output();
    let out = out.expect("unshare and bash are needed");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "needs root, bpffs and bpftool; got {}\n{text}\n{log}", out.status);
    assert!(!log.contains("Error loading .BTF"), "the kernel refused our types:\n{log}");
    text
}

/// libbpf creates every map, relocates and loads every program; the kernel has our names, types and lines.
#[test]
fn bpftool_loads_everything_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("all.o"), common::everything().write().unwrap()).unwrap();
    let script = "bpftool prog loadall all.o /sys/fs/bpf/progs; ls /sys/fs/bpf/progs;
        bpftool prog dump xlated pinned /sys/fs/bpf/progs/balance; bpftool map show pinned /sys/fs/bpf/flows;
        bpftool map dump name all.rodata";
    let text = in_private_bpffs(script, dir.path());
    for want in [
        "balance\nclassify\ndecap\n",
        "i32 balance(struct xdp_md * ctx):",
        "i32 count(u32 slot):",
        "i32 zero():",
        "common/mod.rs:",
        "lru_hash  name flows",
        "\"mode\": 7",
    ] {
        assert!(text.contains(want), "{want:?} is missing in:\n{text}");
    }
}

//! The file systems of a guest, and those each item gets anew in its own mount namespace.
//!
//! In: nothing but the initramfs. Out: the usual tree. Next to read: `item.rs`.

use std::fs;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// Mounts what a test expects of any Linux machine.
///
/// # Errors
/// The mount that failed, with the kernel's reason.
pub(crate) fn guest() -> Result<()> {
    for (kind, target) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        put(kind, target)?;
    }
    in_sysfs()
}

/// Mounts sysfs once more, with what lies in it, for the namespaces of the calling process: its network devices and
/// bpffs pins are then its own.
///
/// # Errors
/// The mount that failed, with the kernel's reason.
pub(crate) fn own_sysfs() -> Result<()> {
    put("sysfs", "/sys")?;
    put("cgroup2", "/sys/fs/cgroup")?;
    in_sysfs()
}

/// Mounts what lies in sysfs besides cgroups.
fn in_sysfs() -> Result<()> {
    put("bpf", "/sys/fs/bpf")?;
    // A kernel without tracing has no such directory; a test that needs it says so.
    for (kind, target) in [("tracefs", "/sys/kernel/tracing"), ("debugfs", "/sys/kernel/debug")] {
        if fs::exists(target).unwrap_or(false) {
            put(kind, target)?;
        }
    }
    Ok(())
}

/// Mounts one file system, on a directory made when missing. A tmpfs is not mounted over files: tests may lie there,
/// and the root file system is in memory anyway.
fn put(kind: &str, target: &str) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("create {target}"))?;
    if kind == "tmpfs" && fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    let data = (kind == "tmpfs").then_some("mode=1777");
    mount(Some(kind), target, Some(kind), MsFlags::empty(), data).with_context(|| format!("mount {kind} on {target}"))
}

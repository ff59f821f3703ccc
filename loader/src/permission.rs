//! Stage: errors. Input: a command that got `EPERM`. Output: the likely reason, from facts of this machine.
//!
//! The old advice "raise `ulimit -l`" is given only where locked memory is really counted: kernels before 5.11. There
//! [`raise_memlock`] raises the limit by itself. Read next: `prog.rs`, `map/mod.rs`, the callers.

use std::fmt;
use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::sys::uapi::Cmd;

/// Capability numbers of `<linux/capability.h>`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What can be known about why the kernel said `EPERM`, taken when it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The command.
    pub cmd: Cmd,
    /// The effective capabilities of this thread; `None` without `/proc`.
    pub caps: Option<u64>,
    /// `kernel.unprivileged_bpf_disabled`: 0 allowed, 1 disabled for good, 2 disabled.
    pub unprivileged_disabled: Option<u32>,
    /// The kernel's lock-down: `none`, `integrity` or `confidentiality`.
    pub lockdown: Option<String>,
    /// Whether this thread is in another user namespace than the machine's own.
    pub user_namespace: bool,
    /// The limit of locked memory in bytes, only where the kernel counts it for BPF (before 5.11).
    pub memlock: Option<u64>,
}

impl Denied {
    /// Reads the facts.
    #[must_use]
    pub fn look(cmd: Cmd) -> Self {
        Self {
            cmd,
            caps: effective_caps(),
            unprivileged_disabled: sysctl("/proc/sys/kernel/unprivileged_bpf_disabled"),
            lockdown: lockdown(),
            user_namespace: in_user_namespace(),
            memlock: memlock_counts().then(memlock_limit).flatten().filter(|limit| *limit != RLIM_INFINITY),
        }
    }

    fn has(&self, cap: u32) -> bool {
        self.caps.is_none_or(|caps| caps & (1 << CAP_SYS_ADMIN) != 0 || caps & (1 << cap) != 0)
    }

    /// The capabilities that the command wants and this thread lacks.
    fn missing(&self) -> Vec<&'static str> {
        let wanted: &[(u32, &str)] = match self.cmd {
            Cmd::PROG_LOAD => {
                &[(CAP_BPF, "CAP_BPF"), (CAP_NET_ADMIN, "CAP_NET_ADMIN"), (CAP_PERFMON, "CAP_PERFMON (for tracing)")]
            }
            Cmd::LINK_CREATE | Cmd::PROG_ATTACH => &[(CAP_BPF, "CAP_BPF"), (CAP_NET_ADMIN, "CAP_NET_ADMIN")],
            Cmd::ENABLE_STATS | Cmd::PROG_GET_FD_BY_ID | Cmd::MAP_GET_FD_BY_ID | Cmd::LINK_GET_FD_BY_ID => {
                &[(CAP_SYS_ADMIN, "CAP_SYS_ADMIN")]
            }
            _ => &[(CAP_BPF, "CAP_BPF")],
        };
        wanted.iter().filter(|(cap, _)| !self.has(*cap)).map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing();
        if !missing.is_empty() {
            write!(f, "this process lacks {}", missing.join(", "))?;
            match self.unprivileged_disabled {
                Some(0) => {}
                Some(value) => write!(f, " (and kernel.unprivileged_bpf_disabled is {value})")?,
                None => {}
            }
            return write!(f, "; run it as root or give it these capabilities");
        }
        if self.user_namespace {
            return f.write_str("this process is in a user namespace, where its capabilities do not count for bpf(2)");
        }
        if let Some(limit) = self.memlock {
            return write!(
                f,
                "this kernel counts BPF memory as locked memory (before 5.11) and the limit is {} KiB: raise `ulimit -l`",
                limit / 1024
            );
        }
        match self.lockdown.as_deref() {
            Some(mode @ ("integrity" | "confidentiality")) => {
                write!(f, "the kernel is locked down ({mode}), which forbids some programs even to root")
            }
            _ => f.write_str(
                "the capabilities are there, so a security module, a seccomp filter or the program's own kind of hook \
                 forbids it",
            ),
        }
    }
}

/// The `CapEff` line of this thread.
fn effective_caps() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn sysctl(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The bracketed word of `none [integrity] confidentiality`.
fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

/// The first user namespace maps all ids to themselves.
fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        let fields: Vec<&str> = map.split_whitespace().collect();
        fields != ["0", "0", "4294967295"]
    })
}

/// Whether this kernel counts maps and programs as locked memory. Linux 5.11 moved them to the memory cgroup; nothing
/// but the release tells.
fn memlock_counts() -> bool {
    kernel_release().is_some_and(|release| release < (5, 11))
}

/// The running kernel's major and minor release number; for messages, and for what cannot be probed.
#[must_use]
pub fn kernel_release() -> Option<(u32, u32)> {
    let uts = nix::sys::utsname::uname().ok()?;
    parse_release(uts.release().to_str()?)
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft)
}

/// Raises the limit of locked memory as far as allowed, where it counts for BPF; says whether that changed anything.
#[must_use]
pub fn raise_memlock() -> bool {
    if !memlock_counts() {
        return false;
    }
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return false };
    if soft == RLIM_INFINITY {
        return false;
    }
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok()
        || (soft < hard && setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Denied {
        Denied {
            cmd: Cmd::PROG_LOAD,
            caps: Some(u64::MAX),
            unprivileged_disabled: Some(2),
            lockdown: None,
            user_namespace: false,
            memlock: None,
        }
    }

    #[test]
    fn each_reason_has_its_words_and_memlock_only_its_own() {
        for (name, facts, want) in [
            ("no caps", Denied { caps: Some(0), ..denied() }, "lacks CAP_BPF, CAP_NET_ADMIN"),
            ("user namespace", Denied { user_namespace: true, ..denied() }, "user namespace"),
            ("old kernel", Denied { memlock: Some(65536), ..denied() }, "limit is 64 KiB: raise `ulimit -l`"),
            ("lockdown", Denied { lockdown: Some("integrity".into()), ..denied() }, "locked down (integrity)"),
            ("nothing", denied(), "a security module"),
        ] {
            let text = facts.to_string();
            assert!(text.contains(want), "{name}: {text}");
            assert_eq!(text.contains("ulimit"), name == "old kernel", "{name}: {text}");
        }
    }

    #[test]
    fn releases() {
        for (release, want) in [
            ("5.10.262-cloud-amd64", Some((5, 10))),
            ("6.18.0-rc1+", Some((6, 18))),
            ("7.3.4+deb13-cloud-amd64", Some((7, 3))),
            ("next", None),
        ] {
            assert_eq!(parse_release(release), want, "{release}");
        }
    }
}

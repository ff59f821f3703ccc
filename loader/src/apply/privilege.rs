//! Stage: apply. What a process must be allowed to do before it begins, so that nothing is half done for want of a right.
//!
//! Input: what is to be done. Output: nothing, or the capabilities that are missing. Read next: `up.rs`.

use super::error::Error;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Refuses to begin without the capabilities that `what` takes; a lab takes more.
///
/// `CAP_BPF` came with Linux 5.8; objects are looked up by id with `CAP_SYS_ADMIN` only.
pub(super) fn check(what: &'static str, lab: bool) -> Result<(), Error> {
    let Some(caps) = effective() else { return Ok(()) }; // without /proc, the kernel's own answer must do
    let missing = missing(caps, lab);
    if missing.is_empty() { Ok(()) } else { Err(Error::Unprivileged { what, missing }) }
}

fn missing(caps: u64, lab: bool) -> Vec<&'static str> {
    let has = |cap: u32| caps & (1 << cap) != 0;
    let mut missing = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if !has(CAP_SYS_ADMIN) {
        missing.push(if lab { "CAP_SYS_ADMIN (for the lab's namespaces)" } else { "CAP_SYS_ADMIN (to look up ids)" });
    }
    missing
}

fn effective() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lacks_nothing_and_nobody_everything() {
        assert_eq!(missing(u64::MAX, true), Vec::<&str>::new());
        assert_eq!(missing(0, false).len(), 3);
        assert_eq!(missing(1 << CAP_SYS_ADMIN, true), ["CAP_NET_ADMIN"]);
    }
}

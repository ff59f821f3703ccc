//! Where the probe works: a network namespace with nothing but loopback, and a cgroup below the one in which the process is.
//!
//! Stage: control plane. Input: rights. Output: a namespace, and [`Inside`] a cgroup, which takes the process back when it is dropped. What
//! a killed probe has left, the next one clears up. Next file to read: `trials.rs`.

use std::fs;
use std::path::Path;

use loader::lab::cgroup::{self, Inside};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// What is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroundError {
    /// No network namespace.
    #[error("no network namespace can be made; that needs CAP_SYS_ADMIN")]
    Namespace(#[source] Errno),
    /// Its loopback stays down.
    #[error("loopback of the new network namespace stays down")]
    Loopback(#[from] netlink::Error),
    /// No cgroup of its own.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
}

/// Begins the names of the cgroups.
const PREFIX: &str = "bypass-probe-";

/// The cgroup, with this process in it.
pub(super) fn enter() -> Result<Inside, GroundError> {
    clear(&cgroup::own()?);
    Ok(Inside::enter(&format!("{PREFIX}{}", std::process::id()))?)
}

/// Removes what probes have left whose processes are gone. What somebody is in cannot be removed.
fn clear(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _removed = fs::remove_dir(entry.path());
        }
    }
}

/// Has this thread work in a new network namespace with loopback up. The namespace goes with its last socket.
pub(super) fn in_netns<T>(work: impl FnOnce() -> T) -> Result<T, GroundError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(GroundError::Namespace)?;
    let mut route = netlink::route::Socket::open()?;
    let loopback = route.link_by_name("lo")?.ifindex;
    route.link_set_up(loopback)?;
    Ok(work())
}

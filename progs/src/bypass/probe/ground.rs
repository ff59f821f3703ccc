//! Where the probe works: a network namespace with nothing but loopback, and a cgroup below the one in which the process is.
//!
//! Stage: control plane. Input: rights. Output: a namespace, and [`Inside`] a cgroup, which takes the process back when it is dropped. What
//! a killed probe has left, the next one clears up. Next file to read: `trials.rs`.

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

/// The cgroup, with this process in it.
pub(super) fn enter() -> Result<Inside, GroundError> {
    Ok(Inside::of_process("bypass-probe-")?)
}

/// Has this thread work in a new network namespace with loopback up. The namespace goes with its last socket.
pub(super) fn in_netns<T>(work: impl FnOnce() -> T) -> Result<T, GroundError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(GroundError::Namespace)?;
    let mut route = netlink::route::Socket::open()?;
    let loopback = route.link_by_name("lo")?.ifindex;
    route.link_set_up(loopback)?;
    Ok(work())
}

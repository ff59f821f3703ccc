//! Where the probe works: a network namespace with nothing but loopback, and a cgroup below the one in which the process is.
//!
//! Stage: control plane. Input: rights. Output: [`Ground`], which takes the process back and the cgroup away when it is dropped. What a
//! killed probe has left, the next one clears up. Next file to read: `trials.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loader::link::cgroup::Cgroup;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::Error;

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
    /// No cgroup v2 hierarchy.
    #[error(
        "no cgroup v2 hierarchy is mounted, or this process is not in it; `mount -t cgroup2 none DIRECTORY` mounts it"
    )]
    NoHierarchy,
    /// A step in the hierarchy failed.
    #[error("cannot {what} {path}")]
    Cgroup {
        /// What was tried.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Begins the names of the cgroups.
const PREFIX: &str = "bypass-probe-";

/// The cgroup, with this process in it.
#[derive(Debug)]
pub(super) struct Ground {
    own: PathBuf,
    before: PathBuf,
}

impl Ground {
    /// Makes the cgroup, and enters it with the whole process.
    pub(super) fn enter() -> Result<Self, GroundError> {
        let before = present().ok_or(GroundError::NoHierarchy)?;
        clear(&before);
        let own = before.join(format!("{PREFIX}{}", std::process::id()));
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| GroundError::Cgroup { what, path, source }
        };
        fs::create_dir(&own).map_err(failed("make the cgroup", &own))?;
        let ground = Self { own, before };
        let procs = ground.own.join("cgroup.procs");
        fs::write(&procs, "0").map_err(failed("enter a cgroup by", &procs))?;
        Ok(ground)
    }

    /// Opens it.
    pub(super) fn cgroup(&self) -> Result<Cgroup, Error> {
        Ok(Cgroup::open(&self.own)?)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What fails here leaves an empty cgroup, which the next probe removes.
        let _moved = fs::write(self.before.join("cgroup.procs"), "0");
        let _removed = fs::remove_dir(&self.own);
    }
}

/// The directory of the cgroup in which this process is.
fn present() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = rows.find_map(|row| (row.get(2) == Some(&"cgroup2")).then(|| row.get(1).map(PathBuf::from)))??;
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(path))
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

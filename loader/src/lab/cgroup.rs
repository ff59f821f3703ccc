//! Stage: lab. Cgroups of a lab's own, below the hierarchy's root and never the root: one for the lab, in it one for each host that
//! wants one; and [`Inside`], one for this process while it tries or measures something.
//!
//! Input: a deployment's name, hosts. Output: directories of the cgroup v2 hierarchy, wherever that is mounted, and sockets that
//! belong to them. Read next: `build.rs`, which makes them with the hosts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cgroup may be busy after its last process ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a cgroup cannot be made, entered or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no hierarchy to make one in.
    #[error(
        "no cgroup v2 hierarchy is mounted here, and a cgroup is needed: `mount -t cgroup2 none /sys/fs/cgroup` mounts it"
    )]
    NotMounted,
    /// The process is in no cgroup that can be seen from here, so it could not come back.
    #[error("this process's own cgroup, {}, is not below {}: it could not come back from another", own.display(), mount.display())]
    NotSeen {
        /// As the kernel calls it.
        own: PathBuf,
        /// Where the hierarchy is mounted.
        mount: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {step} cgroup {}", path.display())]
    Step {
        /// What was tried.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A name for a deployment's cgroup that nobody has yet.
///
/// # Errors
/// [`Error::NotMounted`].
pub fn free_path(deployment: &str) -> Result<PathBuf, Error> {
    let mount = Mount::find()?;
    // Cgroups are the whole machine's, while namespaces and pins of the same names may be hidden from each other.
    let named = |number: u32| mount.at.join(format!("loader-{deployment}-{number}"));
    Ok((std::process::id()..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0)))
}

/// Makes a cgroup.
///
/// # Errors
/// What the kernel refuses.
pub fn create(path: &Path) -> Result<(), Error> {
    fs::create_dir(path).map_err(step("make", path))
}

/// Removes a lab's cgroup and those in it. Processes that somebody has put there go where this one is; returns which, in words.
///
/// # Errors
/// What the kernel refuses.
pub fn remove(path: &Path) -> Result<Vec<String>, Error> {
    let mut moved = Vec::new();
    let below = match fs::read_dir(path) {
        Ok(below) => below,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(moved),
        Err(source) => return Err(step("look into", path)(source)),
    };
    for directory in below.flatten().map(|entry| entry.path()).filter(|entry| entry.is_dir()) {
        moved.extend(remove(&directory)?);
    }
    let members = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines() {
        let home = own()?.join("cgroup.procs");
        if fs::write(home, pid).is_ok() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            moved.push(format!("moved process {pid} ({}) out of cgroup {}", name.trim_end(), path.display()));
        } // else it has ended, or the next step says that the cgroup is in use
    }
    let begin = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(moved),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(moved),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(source) => return Err(step("remove", path)(source)),
        }
    }
}

/// Does something in a cgroup: sockets made by it are the cgroup's for as long as they live. A process is in one cgroup with all of its
/// threads, so this is done by one of them at a time, and is best short.
///
/// # Errors
/// When the kernel lets the process in or back out of it not.
pub fn within<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut home = Home(Some(own()?));
    enter(path)?;
    let done = work();
    home.go()?;
    Ok(done)
}

/// A cgroup below the one that this process is in, with the whole process in it, for as long as this value lives.
#[derive(Debug)]
pub struct Inside {
    path: PathBuf,
    before: PathBuf,
}

impl Inside {
    /// The same, named after this process. What processes have left that were killed, the next one with that prefix clears up.
    ///
    /// # Errors
    /// As [`Inside::enter`].
    pub fn of_process(prefix: &str) -> Result<Self, Error> {
        clear(&own()?, prefix);
        Self::enter(&format!("{prefix}{}", std::process::id()))
    }

    /// Makes it, and enters it.
    ///
    /// # Errors
    /// As [`own`], and what the kernel refuses: `name` is taken, or there are no rights.
    pub fn enter(name: &str) -> Result<Self, Error> {
        let before = own()?;
        let path = before.join(name);
        create(&path)?;
        let inside = Self { path, before };
        inside.come_in()?;
        Ok(inside)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sockets that are made from now on are the cgroup's.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn come_in(&self) -> Result<(), Error> {
        enter(&self.path)
    }

    /// Sockets that are made from now on are not.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn go_out(&self) -> Result<(), Error> {
        enter(&self.before)
    }
}

/// Removes cgroups that are named after processes which are gone. What somebody is in cannot be removed.
fn clear(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _removed = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // What fails here leaves an empty cgroup.
        drop(self.go_out());
        drop(remove(&self.path));
    }
}

/// The way back, which is taken also when the work panics.
struct Home(Option<PathBuf>);

impl Home {
    fn go(&mut self) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), |home| enter(&home))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.go());
    }
}

fn enter(path: &Path) -> Result<(), Error> {
    fs::write(path.join("cgroup.procs"), "0").map_err(step("enter", path))
}

fn step(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Step { step, path, source }
}

/// The directory of the cgroup that this process is in.
///
/// # Errors
/// [`Error::NotMounted`], [`Error::NotSeen`].
pub fn own() -> Result<PathBuf, Error> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    Mount::find()?.directory(own)
}

/// Where the cgroup v2 hierarchy is mounted, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    root: PathBuf,
}

impl Mount {
    fn find() -> Result<Self, Error> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        text.lines().find_map(Self::of_line).ok_or(Error::NotMounted)
    }

    /// `38 31 0:30 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw`: proc(5).
    fn of_line(line: &str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut words = mount.split(' ').skip(3).map(unescape);
        Some(Self { root: words.next()?.into(), at: words.next()?.into() })
    }

    /// The directory of a cgroup that `/proc/self/cgroup` names.
    fn directory(&self, own: &str) -> Result<PathBuf, Error> {
        let below = Path::new(own).strip_prefix(&self.root);
        let below = below.ok().filter(|below| !below.components().any(|part| part.as_os_str() == ".."));
        below.map(|below| self.at.join(below)).ok_or_else(|| Error::NotSeen { own: own.into(), mount: self.at.clone() })
    }
}

/// Spaces and their like stand as `\040`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.map_or('\\', char::from));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_wherever_it_is() {
        let mount = |at: &str, root: &str| Some(Mount { at: at.into(), root: root.into() });
        let table = [
            ("32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu", None),
            (
                "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
                mount("/sys/fs/cgroup/unified", "/"),
            ),
            ("9 1 0:3 /a\\040b /m\\134n rw shared:9 master:1 - cgroup2 none rw", mount("/m\\n", "/a b")),
            ("9 1 0:3 / /m\\9 rw - cgroup2 none rw", mount("/m\\9", "/")),
            ("9 1 0:3 / /m rw - tmpfs cgroup2 rw", None),
            ("9 1 - cgroup2", None),
            ("", None),
        ];
        for (line, want) in table {
            assert_eq!(Mount::of_line(line), want, "{line}");
        }
    }

    #[test]
    fn a_cgroup_outside_of_what_is_mounted_is_not_seen() {
        let mount = Mount { at: "/m".into(), root: "/docker/1".into() };
        for (own, want) in
            [("/docker/1", Some("/m/")), ("/docker/1/web", Some("/m/web")), ("/docker/12", None), ("/", None)]
        {
            assert_eq!(mount.directory(own).ok(), want.map(PathBuf::from), "{own}");
        }
        let whole = Mount { at: "/m".into(), root: "/".into() };
        assert_eq!(whole.directory("/web").ok(), Some("/m/web".into()));
        assert!(whole.directory("/../web").is_err() && whole.directory("").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC{0,60}", words in "[0-9a-z/\\\\ -]{0,60}cgroup2[ a-z]{0,9}") {
            drop(Mount::of_line(&line));
            drop(Mount::of_line(&words));
        }
    }
}

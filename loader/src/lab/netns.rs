//! Stage: lab. Named network namespaces, as `ip netns` keeps them: a file under `/run/netns` that a namespace is mounted on.
//!
//! Input: a name. Output: a namespace that threads can run in. Read next: `host.rs`, which fills one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` and everybody else look for named namespaces.
pub const DIR: &str = "/run/netns";

/// Why a namespace cannot be made, entered or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step with the file system, a mount or the namespace itself failed.
    #[error("network namespace {name}: cannot {step}")]
    Step {
        /// The namespace.
        name: String,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is one of that name already.
    #[error(
        "network namespace {name} exists already and is not of this deployment; see `ip netns`, or remove it: `ip netns del {name}`"
    )]
    Exists {
        /// The namespace.
        name: String,
    },
    /// The thread that ran inside it panicked.
    #[error("network namespace {name}: the thread in it died")]
    Thread {
        /// The namespace.
        name: String,
    },
}

/// A network namespace with a name, held open.
///
/// Only the *network* namespace is ever entered, and only by threads made for it: the process keeps its own view of
/// `/sys`, so bpffs pins stay visible, and no other thread notices.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`Error::Exists`] when the name is taken, [`Error::Step`] for what the kernel refuses.
    pub fn create(name: &str) -> Result<Self, Error> {
        let step = |step| move |source: io::Error| Error::Step { name: name.to_owned(), step, source };
        shared_dir().map_err(step("prepare /run/netns"))?;
        let path = path(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { name: name.to_owned() });
            }
            Err(error) => return Err(step("create its file in /run/netns")(error)),
        }
        let made = in_thread(name, || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| step("unshare")(e.into()))?;
            let flags = MsFlags::MS_BIND;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, flags, None::<&str>)
                .map_err(|e| step("mount it under its name")(e.into()))
        });
        if let Err(error) = made.and_then(|made| made) {
            let _ = std::fs::remove_file(&path); // the error that matters is already at hand
            return Err(error);
        }
        Self::open(name)?.ok_or_else(|| step("open it")(io::ErrorKind::NotFound.into()))
    }

    /// Opens an existing one; `None` when there is none of that name.
    ///
    /// # Errors
    /// What the kernel refuses, a missing file aside.
    pub fn open(name: &str) -> Result<Option<Self>, Error> {
        match File::open(path(name)) {
            Ok(file) if is_netns(&file) => Ok(Some(Self { name: name.to_owned(), file })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Step { name: name.to_owned(), step: "open it", source }),
        }
    }

    /// Takes the name away; the namespace dies with its last user. `false` when there was none.
    ///
    /// Also removes the bare file that an interrupted [`Netns::create`] leaves.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn delete(name: &str) -> Result<bool, Error> {
        let step = |step| move |source: io::Error| Error::Step { name: name.to_owned(), step, source };
        let path = path(name);
        loop {
            match umount2(&path, MntFlags::MNT_DETACH) {
                Ok(()) => {} // several mounts may lie on top of each other
                Err(Errno::EINVAL) => break,
                Err(Errno::ENOENT) => return Ok(false),
                Err(error) => return Err(step("unmount it")(error.into())),
            }
        }
        std::fs::remove_file(&path).map(|()| true).map_err(step("remove its file"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` in a thread that has entered the namespace, and waits for it.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the thread dies.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        in_thread(&self.name, || {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Moves the calling thread, and no other, into the namespace. For threads made for that purpose.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Step {
            name: self.name.clone(),
            step: "enter it",
            source: errno.into(),
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// A file on which no namespace is mounted lies on another device than the calling thread's own namespace (nsfs).
fn is_netns(file: &File) -> bool {
    let own = std::fs::metadata("/proc/thread-self/ns/net").map(|own| own.dev());
    matches!((file.metadata(), own), (Ok(file), Ok(own)) if file.dev() == own)
}

fn in_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| Error::Thread { name: name.to_owned() })
}

/// Makes `/run/netns` a shared mount of its own, as `ip netns` does.
///
/// Without it, a later `ip netns add` mounts the directory over itself, and the names made before stay mounted below,
/// out of reach, where they keep their namespaces alive.
fn shared_dir() -> io::Result<()> {
    std::fs::create_dir_all(DIR)?;
    let share = || mount(None::<&str>, DIR, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        Err(Errno::EINVAL) => {
            mount(Some(DIR), DIR, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
            Ok(share()?)
        }
        other => Ok(other?),
    }
}

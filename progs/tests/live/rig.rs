//! What the tests share: a namespace and a cgroup of their own, the programs in one of the modes, connections over loopback.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::reuse::{self, First};
use loader::Loaded;
use loader::lab::cgroup::Inside;
use loader::link::cgroup::Cgroup;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt};
use progs::bypass::control::{Bypass, Counting, Naive};
use progs::bypass::types::Inbox;
pub(crate) use traffic::LONG;
pub(crate) use traffic::pair::{accept, connect, connection, exchange, greet, read_exactly, talking};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// TCP, and nothing else.
    Plain,
    /// The usual pair.
    Naive,
    /// Ours.
    Ours,
    /// Ours on a kernel that cannot say what was read.
    Uncounted,
}

/// What a scenario gave in each mode.
#[derive(Debug)]
pub(crate) struct Saw<T> {
    pub(crate) plain: T,
    pub(crate) naive: T,
    pub(crate) ours: T,
}

/// Plays a scenario in every mode, each time in a new namespace and a new cgroup.
pub(crate) fn each_way<T: Send + 'static>(scenario: fn(&mut Rig) -> T) -> Saw<T> {
    let play = |mode| one_way(mode, scenario);
    Saw { plain: play(Mode::Plain), naive: play(Mode::Naive), ours: play(Mode::Ours) }
}

/// Plays it where only ours has to be as plain TCP: without programs, and with ours.
pub(crate) fn plain_and_ours<T: Send + 'static>(scenario: fn(&mut Rig) -> T) -> [T; 2] {
    [Mode::Plain, Mode::Ours].map(|mode| one_way(mode, scenario))
}

/// Plays it in one mode.
pub(crate) fn one_way<T: Send + 'static>(mode: Mode, scenario: fn(&mut Rig) -> T) -> T {
    in_netns(move || {
        loopback_up();
        scenario(&mut Rig::new(mode))
    })
}

/// Runs `work` on a thread in a network namespace of its own, which goes with its last user.
pub(crate) fn in_netns<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
        work()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Brings loopback up in the thread's namespace; gives its index.
pub(crate) fn loopback_up() -> u32 {
    let mut route = netlink::route::Socket::open().expect("netlink");
    let lo = route.link_by_name("lo").expect("every namespace has one").ifindex;
    route.link_set_up(lo).expect("loopback goes up");
    lo
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, with a thread in it.
pub(crate) struct Elsewhere {
    jobs: Sender<Job>,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            loopback_up();
            work.into_iter().for_each(|job| job());
        });
        Self { jobs }
    }

    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).expect("the thread lives");
        result.recv().expect("the job does not panic")
    }
}

/// A process is in one cgroup at a time, and tests share the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// No two cgroups have one name, also where one could not be removed.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A cgroup of the test's own, with this process in it; it goes back where it was at the end, and only then is it the next test's turn.
pub(crate) struct OwnCgroup {
    inside: Inside,
    _one: MutexGuard<'static, ()>,
}

impl OwnCgroup {
    fn enter() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: run them with `cargo ci test` as root");
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("bp-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { inside: Inside::enter(&name).expect("a cgroup below ours"), _one: one }
    }

    pub(crate) fn path(&self) -> &Path {
        self.inside.path()
    }

    /// Sockets made from now on are the cgroup's.
    pub(crate) fn come_in(&self) {
        self.inside.come_in().expect("we may enter it");
    }

    /// Sockets made from now on are not.
    pub(crate) fn go_out(&self) {
        self.inside.go_out().expect("we may leave it");
    }
}

/// Room for more ends of connections than a test has. To make all the room that ours has by default takes longer than most tests.
const ROOM: u32 = 4096;

/// How what is read is counted on this kernel: that is found out once, and what it was found out with is used.
fn counting() -> Counting {
    static COUNTING: OnceLock<Counting> = OnceLock::new();
    *COUNTING.get_or_init(|| {
        let ours = Bypass::load(Some(ROOM)).unwrap_or_else(|error| panic!("{error:?}"));
        let counting = ours.counting();
        reuse::put(ours);
        counting
    })
}

/// Ours, with room for so many ends of connections.
fn load(counting: Counting, entries: u32) -> Bypass {
    let ours = Bypass::load_sized(counting, Some(entries)).unwrap_or_else(|error| panic!("{error:?}"));
    ours.open(counting != Counting::None).expect("it is an array");
    ours
}

/// The programs at their places. They leave it before the cgroup goes.
pub(crate) struct Rig {
    /// Ours, in that mode.
    pub(crate) ours: Option<Bypass>,
    /// How it was, if another test may use it.
    first: Option<First>,
    /// The usual pair, in that mode.
    naive: Option<Naive>,
    /// What is left of it when it was detached.
    detached: Option<Loaded>,
    pub(crate) cgroup: OwnCgroup,
}

impl Rig {
    pub(crate) fn new(mode: Mode) -> Self {
        let mut rig = Self { ours: None, first: None, naive: None, detached: None, cgroup: OwnCgroup::enter() };
        match mode {
            Mode::Plain => {}
            Mode::Naive => rig.load_naive(),
            Mode::Ours => rig.load_ours(counting()),
            Mode::Uncounted => rig.load_ours(Counting::None),
        }
        rig
    }

    fn load_ours(&mut self, counting: Counting) {
        let (ours, first) = reuse::take(counting, || load(counting, ROOM));
        self.attach(ours);
        self.first = Some(first);
    }

    fn attach(&mut self, mut ours: Bypass) {
        let attached = ours.attach(&Cgroup::open(self.cgroup.path()).expect("it was made"));
        attached.unwrap_or_else(|error| panic!("{error:?}"));
        self.ours = Some(ours);
    }

    /// Ours anew, with room for so many ends of connections.
    pub(crate) fn shrink(&mut self, entries: u32) {
        if let Some(counting) = self.ours.as_ref().map(Bypass::counting) {
            self.let_go();
            self.attach(load(counting, entries));
        }
    }

    /// What has seen no failure is the next test's.
    fn let_go(&mut self) {
        if let (Some(ours), Some(first)) = (self.ours.take(), self.first.take())
            && !thread::panicking()
        {
            reuse::give_back(ours, first);
        }
    }

    fn load_naive(&mut self) {
        let cgroup = Cgroup::open(self.cgroup.path()).expect("it was made");
        self.naive = Some(Naive::attach(&cgroup).unwrap_or_else(|error| panic!("{error:?}")));
    }

    /// Messages that were redirected so far.
    pub(crate) fn redirected(&self) -> u64 {
        if let Some(ours) = &self.ours {
            let redirected = |(_, inbox): (u64, Inbox)| if inbox.redirected > 0 { inbox.messages } else { 0 };
            return ours.inboxes().expect("it can be walked").into_iter().map(redirected).sum();
        }
        let Some(loaded) = self.naive_objects() else { return 0 };
        let value = loaded.map(".bss").expect("it counts").lookup(&[0; 4]).expect("arrays can be read");
        let value = value.expect("an array has all its elements");
        u64::from_ne_bytes(value[..8].try_into().expect("eight bytes"))
    }

    /// Is it the usual pair?
    pub(crate) fn is_naive(&self) -> bool {
        self.naive.is_some()
    }

    /// Is it ours, and is what is read counted? Where it is not, all of ours goes by TCP.
    pub(crate) fn counted(&self) -> bool {
        self.ours.as_ref().is_some_and(|ours| ours.counting() != Counting::None)
    }

    fn naive_objects(&self) -> Option<&Loaded> {
        self.naive.as_ref().map(Naive::loaded).or(self.detached.as_ref())
    }

    /// Takes the usual pair off, and keeps its map, as a pin would.
    pub(crate) fn detach_naive(&mut self) {
        let naive = self.naive.take().expect("it is the usual pair");
        self.detached = Some(naive.detach().expect("it goes"));
    }

    /// Switches acceleration off: the usual pair by taking every socket out of the map, which is what happens when its map goes.
    pub(crate) fn switch_off(&mut self) {
        if let Some(ours) = self.ours.take() {
            // It waits for the reader, who reads after this.
            thread::spawn(move || drop(ours.down(LONG)));
            return;
        }
        let Some(loaded) = self.naive_objects() else { return };
        let sockets = loaded.map("sockets").expect("its name");
        let keys: Vec<_> = sockets.keys().map(|key| key.expect("the map can be walked")).collect();
        for key in keys {
            sockets.delete(&key).expect("it can be deleted from");
        }
    }

    /// Takes ours down, while it is in use, and brings it up again.
    pub(crate) fn down_and_up(&mut self, patience: Duration) {
        let ours = self.ours.take().expect("it is ours");
        let counting = ours.counting();
        ours.down(patience).unwrap_or_else(|failed| panic!("{:?}", failed.1));
        self.load_ours(counting);
    }

    /// The same as [`connection`].
    pub(crate) fn connection(&self) -> (TcpStream, TcpStream) {
        connection()
    }

    /// The same as [`talking`].
    pub(crate) fn talking(&self) -> (TcpStream, TcpStream) {
        talking()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What a test of rounds repeats: by its variable, which guests set, or so often.
pub(crate) fn rounds(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// A number of this namespace's TCP: the file's name below `/proc/net`, and the name of the row.
pub(crate) fn counter(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("procfs");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let found = rows.chunks(2).find_map(|pair| {
        let at = pair[0].iter().position(|column| *column == name)?;
        pair[1][at].parse().ok()
    });
    found.unwrap_or(0)
}

/// An address by its text.
pub(crate) fn address(text: &str) -> SockaddrStorage {
    SockaddrStorage::from(text.parse::<SocketAddr>().expect("an address"))
}

/// A socket with an address, not connected yet.
pub(crate) fn bound(at: &str) -> OwnedFd {
    let end = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&end, sockopt::ReuseAddr, &true).expect("it is TCP");
    bind(end.as_raw_fd(), &address(at)).expect("the port is free here");
    end
}

//! Nobody gets bytes that were sent to somebody else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::rig::{Rig, each_way, loopback_up};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, with a thread in it.
struct Elsewhere {
    jobs: Sender<Job>,
}

impl Elsewhere {
    fn new() -> Self {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            loopback_up();
            work.into_iter().for_each(|job| job());
        });
        Self { jobs }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).expect("the thread lives");
        result.recv().expect("the job does not panic")
    }
}

/// The same two addresses in every namespace.
const SERVER: &str = "127.0.0.1:7001";
const CLIENT: &str = "127.0.0.1:7002";

fn listener() -> TcpListener {
    TcpListener::bind(SERVER).expect("the port is free here")
}

/// A connection from [`CLIENT`] to [`SERVER`].
fn client() -> TcpStream {
    let end = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&end, sockopt::ReuseAddr, &true).expect("it is TCP");
    let address = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("an address"));
    use std::os::fd::AsRawFd;
    bind(end.as_raw_fd(), &address(CLIENT)).expect("the port is free here");
    connect(end.as_raw_fd(), &address(SERVER)).expect("somebody listens");
    end.into()
}

/// What a stranger's socket gets of a message in another namespace. Only one end of the stranger's connection is in the cgroup; whether
/// the stranger comes first or second decides which of two naive variants fails.
fn overheard(rig: &mut Rig) -> (usize, usize) {
    let (here, there) = (Elsewhere::new(), Elsewhere::new());
    // The stranger: its server's end is in the cgroup, its client is not.
    let listening = there.run(listener);
    rig.cgroup.go_out();
    let _strangers_client = there.run(client);
    rig.cgroup.come_in();
    let mut stranger = listening.accept().expect("the connection").0;
    // And we: both ends.
    let (listening, mut ours) = here.run(|| (listener(), client()));
    let mut other = listening.accept().expect("the connection").0;
    ours.write_all(b"secret").expect("it is taken");
    let wait = Some(Duration::from_millis(60));
    let mut got = [&mut stranger, &mut other].map(|end| {
        end.set_read_timeout(wait).expect("a while");
        end.read(&mut [0; 16]).unwrap_or(0)
    });
    got.reverse();
    (got[0], got[1])
}

#[test]
fn a_stranger_in_another_namespace_hears_nothing() {
    let saw = each_way(overheard);
    assert_eq!((saw.plain, saw.ours), ((6, 0), (6, 0)));
    assert_eq!(saw.naive, (0, 6), "whose tuple is the same gets it");
}

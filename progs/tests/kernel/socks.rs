//! The examples that see sockets, on real connections: `sockops` enrolls both ends, `sk-msg` gives a message straight to the
//! other one, `logger` tells of each.
//!
//! Each test has a cgroup and a network namespace of its own; the process is in one cgroup at a time.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
};

use asm::object::AttachType;
use loader::{
    LoadOptions,
    lab::cgroup::Inside,
    link::{cgroup::Cgroup, sockmap},
    map::RingBuf,
};
use netlink::route::Socket;

use crate::{
    examples::{load, spec},
    support::in_netns,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A cgroup of the test's own with this process in it, which goes back where it was at the end; only then is it the next test's turn.
struct OwnCgroup {
    inside: Inside,
    _one: MutexGuard<'static, ()>,
}

impl OwnCgroup {
    fn enter() -> Self {
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = Inside::enter(&format!("examples-{}", std::process::id())).expect("a cgroup below ours");
        Self { inside, _one: one }
    }

    fn open(&self) -> Cgroup {
        Cgroup::open(self.inside.path()).expect("it is there")
    }
}

/// A TCP connection over the namespace's own loopback: who opened it, who accepted it.
fn connection() -> (TcpStream, TcpStream) {
    let mut route = Socket::open().expect("netlink");
    route.link_set_up(1).expect("loopback goes up");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("its other end").0)
}

/// Bytes that loopback has carried.
fn carried() -> u64 {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").expect("procfs");
    let lo = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).expect("loopback");
    lo.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// How the examples know a socket: addresses and ports as its own end sees them.
fn tuple(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(own), SocketAddr::V4(other)) = (own, other) else { panic!("IPv4") };
    let port = |port: u16| u32::from(port).to_be_bytes();
    [own.ip().octets(), other.ip().octets(), port(own.port()), port(other.port())].concat()
}

#[test]
fn messages_between_enrolled_sockets_take_the_short_way() {
    in_netns(|| {
        let cgroup = OwnCgroup::enter();
        let sockops = load("sockops", &spec("sockops"), &LoadOptions::default());
        let socks = sockops.map("socks").expect("it has the map");
        let shared = socks.try_clone().expect("one more descriptor");
        let options = LoadOptions { reuse: [("socks".to_owned(), shared)].into(), ..LoadOptions::default() };
        let redirect = load("sk-msg", &spec("sk-msg"), &options);
        let prog = redirect.prog("redirect").expect("it has the program");
        let _short = sockmap::attach(prog, socks, AttachType::SK_MSG_VERDICT).expect("it is attached");
        let enroll = sockops.prog("enroll").expect("it has the program");
        let _cgroup = cgroup.open().attach(enroll, AttachType::CGROUP_SOCK_OPS).expect("it is attached");

        let (mut client, mut server) = connection();
        let ends = (client.local_addr().expect("it has one"), server.local_addr().expect("it has one"));
        let mut want = [tuple(ends.0, ends.1), tuple(ends.1, ends.0)];
        want.sort();
        let mut keys: Vec<_> = socks.keys().collect::<Result<_, _>>().expect("they can be listed");
        keys.sort();
        assert_eq!(keys, want, "both ends, each as it sees itself");

        let before = carried();
        let message: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        for _ in 0..2 {
            for chunk in message.chunks(20_000) {
                client.write_all(chunk).expect("it is sent");
                let mut got = vec![0; chunk.len()];
                server.read_exact(&mut got).expect("it is received");
                assert!(got == chunk, "the same bytes in the same order");
            }
            std::mem::swap(&mut client, &mut server);
        }
        assert!(carried() - before < 10_000, "400,000 bytes went another way: {}", carried() - before);
    });
}

#[test]
fn the_logger_tells_of_both_ends() {
    in_netns(|| {
        let cgroup = OwnCgroup::enter();
        let logger = load("logger", &spec("logger"), &LoadOptions::default());
        let log = logger.prog("log").expect("it has the program");
        let _cgroup = cgroup.open().attach(log, AttachType::CGROUP_SOCK_OPS).expect("it is attached");
        let (client, server) = connection();
        let ends = (client.local_addr().expect("it has one"), server.local_addr().expect("it has one"));
        let mut ring = RingBuf::new(logger.map("connections").expect("it has the map")).expect("it is one");
        let mut told = Vec::new();
        ring.read(|record| told.push(record[8..].to_vec())).expect("it is read");
        told.sort_by_key(|record| record[16]);
        // Addresses, this end's port as a number, the other's in network order, who began.
        let record = |own: SocketAddr, other: SocketAddr, side: u32| {
            let [mut record, local] = [tuple(own, other), u32::from(own.port()).to_ne_bytes().to_vec()];
            record.splice(8..12, local);
            [record, side.to_ne_bytes().to_vec(), vec![0; 4]].concat()
        };
        assert_eq!(told, [record(ends.0, ends.1, 0), record(ends.1, ends.0, 1)]);
    });
}

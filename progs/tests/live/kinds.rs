//! Connections that are made in another way than most, or become something else: whatever they are, what is sent arrives.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink::route;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::{setsockopt_impl, sockopt_impl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, send, sendto};

use crate::rig::{
    Elsewhere, LONG, Rig, accept, address, bound, counter, each_way, exchange, greet, plain_and_ours, read_exactly,
};
use crate::roads::wired;

/// `MSG_FASTOPEN`.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// What a server reads of a message that came with the SYN and of one after it, and whether anything was redirected.
fn fast_open(rig: &mut Rig) -> (Vec<u8>, u64, bool) {
    // Client and server, without a cookie, every listener.
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1543").expect("it is this namespace's");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = listener.local_addr().expect("its address");
    let client = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sendto(&client, b"with the SYN, ", FAST_OPEN, &to).expect("it is taken");
    let mut client = TcpStream::from(client);
    let mut server = accept(&listener);
    std::io::Write::write_all(&mut client, b"after it").expect("it is taken");
    let got = read_exactly(&mut server, 22);
    greet(&mut client, &mut server);
    (got, counter("netstat", "TCPFastOpenPassive"), rig.redirected() > 0)
}

#[test]
fn data_that_comes_with_the_syn() {
    let [plain, ours] = plain_and_ours(fast_open);
    assert_eq!(plain, (b"with the SYN, after it".to_vec(), 1, false));
    assert_eq!(ours, plain, "such a connection stays with TCP");
}

/// Has TCP wait for an answer that does not come when it asks for an address, until it is told.
fn deaf(to_requests: &str) {
    std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", to_requests).expect("it is this namespace's");
}

/// An end that has begun to connect.
fn begun(at: &str, to: &str) -> TcpStream {
    let end = TcpStream::from(bound(at));
    end.set_nonblocking(true).expect("it can be");
    let errno = nix::sys::socket::connect(end.as_raw_fd(), &address(to)).expect_err("nobody answers yet");
    assert_eq!(errno, Errno::EINPROGRESS);
    end
}

/// Has a namespace know the other end's Ethernet address.
fn introduce(to: &Elsewhere, name: &'static str, last: u8, mac: netlink::Mac) {
    to.run(move || {
        let mut route = route::Socket::open().expect("netlink");
        let link = route.link_by_name(name).expect("it is there").ifindex;
        route.neigh_add(link, [10, 9, 0, last].into(), mac).expect("it is told");
    });
}

/// Both ends connect to each other at the same time, and nobody listens.
fn simultaneous(rig: &mut Rig) -> bool {
    let [here, there] = wired();
    let mac = |at: &Elsewhere, name: &'static str| {
        at.run(move || {
            deaf("8");
            let link = route::Socket::open().expect("netlink").link_by_name(name).expect("it is there");
            link.mac.expect("it is Ethernet")
        })
    };
    let macs = [mac(&here, "bp0"), mac(&there, "bp1")];
    let mut client = here.run(|| begun("10.9.0.1:7001", "10.9.0.2:7002"));
    let mut server = there.run(|| begun("10.9.0.2:7002", "10.9.0.1:7001"));
    introduce(&here, "bp0", 2, macs[1]);
    introduce(&there, "bp1", 1, macs[0]);
    for end in [&client, &server] {
        end.set_nonblocking(false).expect("it can be");
        end.set_read_timeout(Some(LONG)).expect("a while");
    }
    greet(&mut client, &mut server);
    rig.redirected() > 0
}

#[test]
fn both_ends_connect_at_the_same_time() {
    let saw = each_way(simultaneous);
    assert!(saw.naive, "the usual pair asks nobody");
    assert_eq!((saw.plain, saw.ours), (false, false), "nobody can say which end was first: it stays with TCP");
}

/// What is said when an end that talks is to speak TLS by the kernel, and whether both ends go on to hear each other. Without keys the
/// bytes stay as they are.
fn tls(rig: &mut Rig) -> (Result<(), Errno>, bool) {
    let (mut client, mut server) = rig.talking();
    let answer = setsockopt(&server, sockopt::TcpUlp::default(), b"tls");
    for end in [&client, &server] {
        end.set_read_timeout(Some(LONG)).expect("a while");
    }
    exchange(&mut client, &mut server, b"question");
    exchange(&mut server, &mut client, b"answer");
    (answer, rig.counted())
}

#[test]
fn an_end_that_wants_tls_of_the_kernel() {
    let saw = each_way(tls);
    println!("TLS of the kernel: {saw:?}");
    assert!(matches!(saw.plain.0, Ok(()) | Err(Errno::ENOENT)), "{saw:?}");
    // Newer kernels give it to no socket that is enrolled, and say so. What has been sent and is sent after it arrives either way.
    if saw.ours.0 != saw.plain.0 {
        assert_eq!((saw.ours.0, saw.ours.1), (saw.naive.0, true));
    }
}

/// An end that speaks multipath TCP, if the kernel does.
fn multipath() -> Result<std::os::fd::OwnedFd, ErrorKind> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::MPTCP));
    socket.map_err(|errno| errno.kind())
}

/// What is said to a listener and a client that want multipath TCP. They talk, if it can be.
fn by_many_paths(rig: &mut Rig) -> (Result<u64, ErrorKind>, bool) {
    let listening = match multipath() {
        Ok(listening) => listening,
        Err(error) => return (Err(error), false),
    };
    rustix::net::bind(&listening, &SocketAddr::from(([127, 0, 0, 1], 7001))).expect("the port is free here");
    rustix::net::listen(&listening, 1).expect("it can");
    let listener = TcpListener::from(listening);
    let client = multipath().expect("as before");
    rustix::net::connect(&client, &listener.local_addr().expect("its address")).expect("somebody listens");
    let (mut client, mut server) = (TcpStream::from(client), listener.accept().expect("it comes").0);
    for end in [&client, &server] {
        end.set_read_timeout(Some(LONG)).expect("a while");
    }
    greet(&mut client, &mut server);
    std::thread::sleep(Duration::from_millis(1));
    greet(&mut client, &mut server);
    (Ok(counter("netstat", "MPCapableSYNRX")), rig.redirected() > 0)
}

#[test]
fn multipath_tcp_stays_multipath() {
    let [plain, ours] = plain_and_ours(by_many_paths);
    println!("multipath TCP: {plain:?}");
    assert_eq!(ours.0, plain.0);
    assert!(!ours.1, "its subflows are not enrolled: {ours:?}");
}

/// `MSG_ZEROCOPY`.
const BY_PAGES: SendFlags = SendFlags::from_bits_retain(0x400_0000);

sockopt_impl!(
    /// `SO_ZEROCOPY`: who sends with [`BY_PAGES`] is told when its pages are free.
    Zerocopy, SetOnly, libc::SOL_SOCKET, libc::SO_ZEROCOPY, bool
);

/// What is read of pages that are sent without a copy, on a connection whose client wanted that from the beginning; and whether it was told
/// that they are free.
fn by_pages(rig: &mut Rig) -> (Vec<u8>, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = bound("127.0.0.1:0");
    setsockopt(&client, Zerocopy, &true).expect("TCP has it");
    rustix::net::connect(&client, &listener.local_addr().expect("its address")).expect("somebody listens");
    let (mut client, mut server) = (TcpStream::from(client), accept(&listener));
    greet(&mut client, &mut server);
    let got = sent_by_pages(&client, &mut server);
    let patience = if rig.is_naive() { Duration::from_millis(20) } else { LONG };
    let wait = Timespec::try_from(patience).expect("it is not so long");
    // Nothing is asked for: the queue of errors shows in any case.
    let told = poll(&mut [PollFd::new(&client, PollFlags::empty())], Some(&wait)).expect("it waits");
    (got, told > 0)
}

/// What is read where it wants that later.
fn by_pages_later(rig: &mut Rig) -> Vec<u8> {
    let (client, mut server) = rig.talking();
    setsockopt(&client, Zerocopy, &true).expect("TCP has it");
    sent_by_pages(&client, &mut server)
}

fn sent_by_pages(client: &TcpStream, server: &mut TcpStream) -> Vec<u8> {
    assert_eq!(send(client, &PAGES, BY_PAGES).expect("it is taken"), PAGES.len());
    read_exactly(server, PAGES.len())
}

static PAGES: [u8; 16 << 10] = [7; 16 << 10];

/// Of what passes a sockmap nobody is told when it is free. Who wants to be is left with TCP, and so are his new connections; on one that is
/// enrolled already it depends on the kernel.
#[test]
fn pages_that_are_sent_without_a_copy_are_given_back() {
    let (saw, later) = (each_way(by_pages), each_way(by_pages_later));
    assert_eq!((saw.plain.1, saw.naive.1, saw.ours.1), (true, false, true));
    for got in [saw.plain.0, saw.naive.0, saw.ours.0, later.plain, later.naive, later.ours] {
        assert!(got == PAGES, "other bytes than were sent");
    }
}

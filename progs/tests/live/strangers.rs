//! Nobody gets bytes that were sent to somebody else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::connect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::rig::{Elsewhere, LONG, Rig, address, bound, each_way};

/// The same two addresses in every namespace.
const SERVER: &str = "127.0.0.1:7001";
const CLIENT: &str = "127.0.0.1:7002";

fn listener() -> TcpListener {
    TcpListener::bind(SERVER).expect("the port is free here")
}

/// A connection from [`CLIENT`] to [`SERVER`].
fn client() -> TcpStream {
    let end = bound(CLIENT);
    connect(end.as_raw_fd(), &address(SERVER)).expect("somebody listens");
    end.into()
}

/// The stranger's connection: its server's end is in the cgroup, its client is not.
fn strangers(rig: &Rig, there: &Elsewhere) -> (TcpStream, TcpStream) {
    let listening = there.run(listener);
    rig.cgroup.go_out();
    let client = there.run(client);
    rig.cgroup.come_in();
    (client, listening.accept().expect("the connection").0)
}

/// Our connection: both ends are in the cgroup.
fn ours(here: &Elsewhere) -> (TcpStream, TcpStream) {
    let (listening, client) = here.run(|| (listener(), client()));
    (client, listening.accept().expect("the connection").0)
}

/// What the other end and a stranger's socket get of a message in one namespace, where the other namespace has the same addresses.
fn overheard(rig: &Rig, stranger_first: bool) -> (usize, usize) {
    let (here, there) = (Elsewhere::new(), Elsewhere::new());
    let mut earlier = stranger_first.then(|| strangers(rig, &there));
    let (mut client, other) = ours(&here);
    let (_strangers_client, stranger) = earlier.take().unwrap_or_else(|| strangers(rig, &there));
    client.write_all(b"secret").expect("it is taken");
    let wait = Timespec::try_from(LONG).expect("it is not so long");
    poll(&mut [&other, &stranger].map(|end| PollFd::new(end, PollFlags::IN)), Some(&wait)).expect("it waits");
    // Who has heard nothing gets a while more.
    std::thread::sleep(Duration::from_millis(5));
    let got = [other, stranger].map(|mut end| {
        end.set_nonblocking(true).expect("it can be");
        end.read(&mut [0; 16]).unwrap_or(0)
    });
    (got[0], got[1])
}

#[test]
fn a_stranger_in_another_namespace_hears_nothing() {
    let saw = each_way(|rig| overheard(rig, true));
    assert_eq!((saw.plain, saw.ours), ((6, 0), (6, 0)));
    assert_eq!(saw.naive, (0, 6), "whose tuple is the same gets it");
}

#[test]
fn a_stranger_that_comes_later_hears_nothing() {
    let saw = each_way(|rig| overheard(rig, false));
    assert_eq!((saw.plain, saw.ours), ((6, 0), (6, 0)));
    // The usual pair keeps the older entry here; those that replace it (`BPF_ANY`) send the message to the stranger.
    assert_eq!(saw.naive, (6, 0));
}

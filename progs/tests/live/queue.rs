//! What waits at a reader that does not read is bounded.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt};

use crate::rig::{LONG, Mode, Rig, accept, connect, each_way, exchange, greet, one_way, plain_and_ours, read_exactly};

/// Far more than TCP's buffers hold.
const FAR_TOO_MUCH: usize = 16 << 20;

/// What may have been on its way when the window closed.
const ONE_SEND: usize = 64 << 10;

/// Bytes that a sender gets rid of while nobody reads.
fn unread(rig: &mut Rig) -> usize {
    let (client, _server) = rig.talking();
    filled(client)
}

/// The same where the sender wants a small buffer.
fn unread_of_a_small_buffer(rig: &mut Rig) -> usize {
    let (client, _server) = rig.talking();
    setsockopt(&client, sockopt::SndBuf, &(8 << 10)).expect("it is a socket");
    filled(client)
}

/// The same where the reader does.
fn unread_in_a_small_buffer(_rig: &mut Rig) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    setsockopt(&listener, sockopt::RcvBuf, &(8 << 10)).expect("it is a socket");
    let mut client = connect(listener.local_addr().expect("its address"));
    let mut server = accept(&listener);
    greet(&mut client, &mut server);
    filled(client)
}

/// Sends until it would have to wait.
fn filled(mut client: TcpStream) -> usize {
    client.set_nonblocking(true).expect("it can be");
    let chunk = vec![7; 64 << 10];
    let mut sent = 0;
    while sent < FAR_TOO_MUCH {
        match client.write(&chunk) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            // The machine has no more.
            Err(error) if error.kind() == ErrorKind::OutOfMemory => return FAR_TOO_MUCH,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    sent
}

#[test]
fn a_reader_that_does_not_read_stops_the_sender() {
    let saw = each_way(unread);
    println!("bytes taken while nobody reads: {saw:?}");
    assert!(saw.plain < FAR_TOO_MUCH, "TCP has a window: {saw:?}");
    assert!(saw.ours <= saw.plain * 6 / 5 + ONE_SEND, "the queue has a limit: {saw:?}");
    assert!(saw.naive >= FAR_TOO_MUCH, "the usual pair has no limit: {saw:?}");
}

#[test]
fn what_an_application_wants_of_its_buffers_holds() {
    for scenario in [unread_of_a_small_buffer, unread_in_a_small_buffer] {
        let [plain, ours] = plain_and_ours(scenario);
        println!("bytes taken while nobody reads, with a small buffer: plain {plain}, ours {ours}");
        assert!(ours <= plain * 6 / 5 + ONE_SEND, "plain {plain}, ours {ours}");
    }
}

/// Small messages to an end that only sends, and so is no stream's: how many of them lie in its queue.
fn small_ones_unread(rig: &mut Rig) -> u64 {
    let (mut client, mut server) = rig.talking();
    let before = rig.redirected();
    for number in 0..SMALL_ONES {
        exchange(&mut server, &mut client, b"x");
        client.write_all(&number.to_ne_bytes()).expect("it is taken");
    }
    let queued = rig.redirected() - before;
    for number in 0..SMALL_ONES {
        assert_eq!(read_exactly(&mut server, 4), number.to_ne_bytes());
    }
    queued
}

/// More than may lie there, and fewer than those after which who only sends small ones leaves.
const SMALL_ONES: u32 = 900;

/// The kernel spends a kilobyte on each, whatever its size, and charges nobody for that. Of the other direction sixteen are not yet a stream.
#[test]
fn small_messages_are_counted_too() {
    let saw = each_way(small_ones_unread);
    assert_eq!((saw.plain, saw.naive), (0, u64::from(2 * SMALL_ONES)));
    assert!(saw.ours <= 512 + 16, "{saw:?}");
}

/// Messages that go past the stack of one of 60,000 bytes whose sender has a buffer of 40 KiB, and whether it is known what is read.
fn larger_than_its_buffer(rig: &mut Rig) -> (u64, bool) {
    let (mut client, mut server) = rig.talking();
    setsockopt(&client, sockopt::SndBuf, &(20 << 10)).expect("it is a socket");
    let before = rig.redirected();
    exchange(&mut client, &mut server, &[7; 60_000]);
    (rig.redirected() - before, rig.counted())
}

/// As a packet does, where nothing else is on its way. Through wires of small packets buffers are that small by themselves.
#[test]
fn a_message_larger_than_the_buffer_fits() {
    let (messages, counted) = one_way(Mode::Ours, larger_than_its_buffer);
    assert_eq!(messages, u64::from(counted));
}

/// What a crowd of connections sees when there is no room for all of them: how many ends are enrolled while they talk, how many when they
/// are gone, and how many of a connection that comes then.
fn crowded(rig: &mut Rig) -> [usize; 3] {
    rig.shrink(5);
    let enrolled = |rig: &Rig| rig.ours.as_ref().map_or(0, |ours| ours.inboxes().expect("it can be walked").len());
    let mut crowd: Vec<_> = (0..8).map(|_| rig.talking()).collect();
    for (client, server) in &mut crowd {
        greet(client, server);
    }
    let during = enrolled(rig);
    drop(crowd);
    let begun = Instant::now();
    while enrolled(rig) > 0 && begun.elapsed() < LONG {
        thread::yield_now();
    }
    let gone = enrolled(rig);
    let _one = rig.talking();
    [during, gone, enrolled(rig)]
}

#[test]
fn a_full_map_harms_nobody() {
    let [plain, ours @ [during, gone, one]] = plain_and_ours(crowded);
    assert_eq!(plain, [0; 3]);
    assert!(during <= 5 && gone == 0 && (one == 2 || during == 0), "{ours:?}");
}

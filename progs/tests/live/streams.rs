//! Streams: large messages come back from TCP to the queue, small ones leave it to TCP, and every byte is right.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use progs::bypass::types::Inbox;

use crate::calls::letter;
use crate::rig::{LONG, Mode, Rig, exchange, one_way, read_exactly};

/// Where nobody counts what is read, all goes by TCP.
const UNCOUNTED: &str = "skip: counting what is read needs Linux 5.11";

/// Directions of both ends of the one connection there is.
fn directions(rig: &Rig) -> Vec<Inbox> {
    let ours = rig.ours.as_ref().expect("it is ours");
    ours.inboxes().expect("it can be walked").into_iter().map(|(_, inbox)| inbox).collect()
}

/// Sockets in the map.
fn enrolled(rig: &Rig) -> usize {
    let ours = rig.ours.as_ref().expect("it is ours");
    ours.loaded().map("peers").expect("its name").keys().count()
}

/// Both ends' threads share a processor.
fn pinned() {
    let mut first = CpuSet::new();
    first.set(0).expect("there is a first one");
    sched_setaffinity(Pid::from_raw(0), &first).expect("we may use it");
}

/// After so many bytes a stream begins anew.
const PERIOD: usize = 100_003;
/// The largest message, and the most that is read at once.
const LARGEST: usize = 256 << 10;

/// A stream's bytes, so many that a piece can be taken at each place of a period.
fn content() -> Vec<u8> {
    let period: Vec<u8> = (0..PERIOD).map(letter).collect();
    period.iter().copied().cycle().take(PERIOD + LARGEST).collect()
}

/// Sends `messages` of `size` bytes, each byte known by its place, and reads them all; once so many are read, more are sent.
fn stream(
    mut client: TcpStream,
    mut server: TcpStream,
    size: usize,
    messages: usize,
    at_once: usize,
) -> (TcpStream, TcpStream) {
    let all_read = Arc::new(Barrier::new(2));
    let go_on = Arc::clone(&all_read);
    let sending = thread::spawn(move || {
        pinned();
        let content = content();
        for number in 0..messages {
            if number > 0 && number % at_once == 0 {
                go_on.wait();
            }
            client.write_all(&content[number * size % PERIOD..][..size]).expect("it is taken");
        }
        client
    });
    let reading = thread::spawn(move || {
        pinned();
        let (mut at, mut bytes, content) = (0, vec![0; LARGEST], content());
        while at < size * messages {
            let got = server.read(&mut bytes).expect("it comes");
            assert!(got > 0, "the end at {at}");
            assert!(bytes[..got] == content[at % PERIOD..][..got], "other bytes than were sent, after {at}");
            at += got;
            if at % (size * at_once) == 0 && at < size * messages {
                all_read.wait();
            }
        }
        server
    });
    (sending.join().expect("it ends"), reading.join().expect("it ends"))
}

/// Times that the reader of a stream of large messages catches up with its sender.
const CAUGHT_UP: usize = 32;

/// Messages of that stream that are redirected.
fn large(rig: &mut Rig) -> (bool, u64) {
    let (client, server) = rig.talking();
    // Sixteen are more than any credit: the last ones go by TCP.
    let _ends = stream(client, server, 64 << 10, 16 * CAUGHT_UP, 16);
    let redirected = directions(rig).iter().map(|one| one.messages).sum();
    (rig.counted(), redirected)
}

/// What share of a stream is redirected if nobody waits is up to the scheduler. Whenever the reader has caught up it is some of it.
#[test]
fn a_stream_of_large_messages_comes_back_whenever_its_reader_has_caught_up() {
    let (counted, redirected) = one_way(Mode::Ours, large);
    println!("redirected of a stream of large messages: {redirected} of {}", 16 * CAUGHT_UP);
    if !counted {
        return println!("{UNCOUNTED}");
    }
    assert!(redirected >= CAUGHT_UP as u64, "{redirected}: once by TCP, it stays with TCP");
}

/// What is sent at once into a buffer of twice that.
const BUFFER: usize = 208 << 10;
/// A message of these.
const MESSAGE: usize = 64 << 10;

/// Sends so many without waiting for room, and then reads what was taken; how many are redirected.
fn burst(rig: &Rig, from: &mut TcpStream, to: &mut TcpStream, messages: usize) -> u64 {
    let (before, content) = (rig.redirected(), content());
    let mut taken = 0;
    while taken < messages * MESSAGE {
        match send(&*from, &content[taken % MESSAGE..MESSAGE], SendFlags::DONTWAIT) {
            Ok(bytes) => taken += bytes,
            Err(Errno::AGAIN) => break,
            Err(error) => panic!("after {taken} bytes: {error}"),
        }
    }
    let redirected = rig.redirected() - before;
    let got = read_exactly(to, taken);
    assert!(got.chunks(MESSAGE).all(|piece| piece == &content[..piece.len()]), "other bytes than were sent");
    redirected
}

/// Messages of an answer to a request that are redirected, before its stream can have been held back and after that.
fn answered(rig: &Rig, polls: bool) -> [u64; 2] {
    let (mut client, mut server) = rig.talking();
    setsockopt(&server, sockopt::SndBuf, &BUFFER).expect("the system's limit is no error");
    exchange(&mut client, &mut server, b"request");
    server.set_nonblocking(polls).expect("it can be");
    // Some is read, and most of what follows goes by TCP.
    burst(rig, &mut server, &mut client, 2);
    let before = burst(rig, &mut server, &mut client, 5);
    [before, burst(rig, &mut server, &mut client, 5)]
}

fn answers(rig: &mut Rig) -> (bool, [[u64; 2]; 2]) {
    (rig.counted(), [true, false].map(|polls| answered(rig, polls)))
}

/// A stream that is held back may fill the sender's buffer with redirected messages, any other one an eighth of it.
#[test]
fn a_stream_that_answers_is_held_back_if_who_sends_it_polls() {
    let (counted, redirected) = one_way(Mode::Ours, answers);
    if !counted {
        return println!("{UNCOUNTED}");
    }
    assert_eq!(redirected, [[1, 5], [1, 1]]);
}

/// Enrolled sockets before and after a stream of small messages, and messages that passed the program, of 20,000.
fn small(rig: &mut Rig) -> (bool, usize, usize, u64) {
    let (client, server) = rig.talking();
    let before = enrolled(rig);
    let (mut client, mut server) = stream(client, server, 100, 20_000, 20_000);
    let passed = directions(rig).iter().map(|one| one.passed + one.messages).sum();
    let after = enrolled(rig);
    exchange(&mut client, &mut server, b"still");
    exchange(&mut server, &mut client, b"there");
    (rig.counted(), before, after, passed)
}

#[test]
fn a_stream_of_small_messages_leaves() {
    let (counted, before, after, passed) = one_way(Mode::Ours, small);
    println!("enrolled before {before}, after {after}, messages that passed the program {passed} of 20,000");
    if !counted {
        return println!("{UNCOUNTED}");
    }
    assert_eq!((before, after), (2, 0), "the sender leaves, and the reader with it");
    assert!(passed < 15_000, "a plain socket's messages pass no program: {passed}");
}

/// Messages that are redirected after a send that was cut short, of three, and the bytes that were taken before.
fn cut_short(rig: &mut Rig) -> (bool, u64, usize) {
    let (mut client, mut server) = rig.talking();
    client.set_nonblocking(true).expect("it can be");
    let (mut taken, begun) = (0, Instant::now());
    let content = content();
    loop {
        match client.write(&content[taken % PERIOD..][..PERIOD]) {
            Ok(n) => taken += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("after {taken} bytes: {error}"),
        }
        assert!(begun.elapsed() < LONG, "TCP has a window");
    }
    let got = read_exactly(&mut server, taken);
    assert!(got.chunks(PERIOD).all(|piece| piece == &content[..piece.len()]), "other bytes than were sent");
    client.set_nonblocking(false).expect("it can be");
    let before = rig.redirected();
    for message in [b"1", b"2", b"3"] {
        exchange(&mut client, &mut server, message);
    }
    (rig.counted(), rig.redirected() - before, taken)
}

#[test]
fn a_send_that_was_cut_short_is_counted_as_far_as_it_went() {
    let (counted, redirected, taken) = one_way(Mode::Ours, cut_short);
    println!("after {taken} bytes, the last send cut short: {redirected} of 3 redirected");
    if !counted {
        return println!("{UNCOUNTED}");
    }
    // The kernel sends the message after a failed one the same way, and asks the program again for the one after that.
    assert!(redirected >= 2, "{redirected}: what was offered and not taken is not sent");
}

//! What waits at a reader that does not read is bounded.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Instant;

use crate::rig::{LONG, Rig, each_way, greet};

/// Far more than TCP's buffers hold.
const FAR_TOO_MUCH: usize = 16 << 20;

/// Bytes that ours lets lie in a queue: `types::CREDIT_BYTES`.
const CREDIT: usize = 512 << 10;
/// What may have been on its way when the window closed.
const ONE_SEND: usize = 64 << 10;

/// Bytes that a sender gets rid of while nobody reads.
fn unread(rig: &mut Rig) -> usize {
    let (mut client, _server) = rig.talking();
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
    // The queue comes on top of TCP's window. Where that is 3.9 MB, as on a machine with some memory, it is a seventh more.
    assert!(saw.ours <= saw.plain + CREDIT + ONE_SEND, "the queue has a limit: {saw:?}");
    assert!(saw.naive >= FAR_TOO_MUCH, "the usual pair has no limit: {saw:?}");
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
    let saw = each_way(crowded);
    assert_eq!(saw.plain, [0; 3]);
    let [during, gone, one] = saw.ours;
    assert!(during <= 5 && gone == 0 && (one == 2 || during == 0), "{saw:?}");
}

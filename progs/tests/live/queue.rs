//! What waits at a reader that does not read is bounded.

use std::io::{ErrorKind, Write};

use crate::rig::{Rig, each_way};

/// Far more than TCP's buffers hold.
const FAR_TOO_MUCH: usize = 16 << 20;

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
    assert!(saw.ours * 10 <= saw.plain * 12, "the queue is a fifth of it at most: {saw:?}");
    assert!(saw.naive >= FAR_TOO_MUCH, "the usual pair has no limit: {saw:?}");
}

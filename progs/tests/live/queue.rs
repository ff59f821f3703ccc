//! What waits at a reader that does not read is bounded.

use std::io::{ErrorKind, Write};

use crate::rig::{Rig, each_way};

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

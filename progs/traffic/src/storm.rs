//! Senders whose readers close in the middle of it.
//!
//! Stage: test support. Input: how many. Output: what senders are told that TCP does not tell. The kernel's own mistakes here show on its
//! console. Next file to read: `stat.rs`.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;

use crate::LONG;
use crate::pair::talking;

/// So many, one after the other; lanes differ in when their readers close. What senders are told is told soon.
#[must_use]
pub fn gusts(lane: u32, rounds: u32) -> Vec<ErrorKind> {
    let told = (0..rounds).filter_map(|round| gust(lane, round));
    told.filter(|kind| ![ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(kind)).collect()
}

fn gust(lane: u32, round: u32) -> Option<ErrorKind> {
    let (mut client, mut server) = talking();
    client.set_write_timeout(Some(LONG)).expect("a while");
    let sending = thread::spawn(move || {
        let sizes = [1, 100, 5_000, 30_000, 100_000];
        let ends = (0..10_000).find_map(|i| client.write_all(&vec![7; sizes[i % 5]]).err());
        ends.map(|error| error.kind())
    });
    for _ in 0..(round + lane) % 7 {
        let _some = server.read(&mut [0; 20_000]);
    }
    if round.is_multiple_of(3) {
        let _other_order = server.shutdown(Shutdown::Write);
    }
    drop(server);
    sending.join().expect("it ends")
}

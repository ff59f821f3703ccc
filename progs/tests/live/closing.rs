//! Streams end as they do in TCP, and nothing is lost when acceleration is switched off.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use traffic::storm::gusts;

use crate::duplex::reader;
use crate::rig::{LONG, Mode, Rig, each_way, exchange, in_netns, loopback_up, plain_and_ours, read_exactly, rounds};

/// How often a reader that blocks, and whose own side is closed, is told to try again.
fn half_closed(rig: &mut Rig) -> u32 {
    let mut told = 0;
    for _ in 0..rounds("BYPASS_HALF_CLOSES", 1000) {
        let (mut client, mut server) = rig.connection();
        let answering = thread::spawn(move || {
            let mut request = Vec::new();
            server.read_to_end(&mut request).expect("a request, and its end");
            server.write_all(&request).expect("somebody reads");
        });
        client.write_all(b"request").expect("it is taken");
        client.shutdown(Shutdown::Write).expect("our side is closed");
        let mut answer = Vec::new();
        while let Err(error) = client.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            told += 1;
        }
        assert_eq!(answer, b"request");
        answering.join().expect("it answers");
    }
    if let Some(ours) = &rig.ours {
        let held = ours.quarantine().expect("it can be read");
        assert!(held.is_empty(), "who closes its side, and waits then, has one thread: {held:?}");
    }
    told
}

/// The usual pair fails more than a hundred of 3,000 such requests if the machine is busy; on an idle one it may fail none.
#[test]
fn a_blocking_read_blocks_after_half_a_close() {
    assert_eq!(plain_and_ours(half_closed), [0; 2]);
}

/// What arrives of a message that was sent before the socket left the map.
fn switched_off(rig: &mut Rig) -> usize {
    let (mut client, mut server) = rig.talking();
    client.write_all(&[7; 4096]).expect("it is taken");
    rig.switch_off();
    client.write_all(b"!").expect("it is taken");
    drop(client);
    server.set_read_timeout(Some(LONG)).expect("a while");
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).expect("the end comes");
    bytes.len()
}

#[test]
fn nothing_is_lost_when_it_is_switched_off() {
    let saw = each_way(switched_off);
    assert_eq!((saw.plain, saw.ours), (4097, 4097));
    assert_eq!(saw.naive, 1, "the usual pair's queue goes with the map's entry");
}

/// Messages redirected after the programs were detached.
#[test]
fn the_usual_pair_goes_on_when_it_is_detached() {
    let redirected = in_netns(|| {
        loopback_up();
        let mut rig = Rig::new(Mode::Naive);
        let (mut client, mut server) = rig.talking();
        rig.detach_naive();
        let before = rig.redirected();
        exchange(&mut client, &mut server, b"still?");
        rig.redirected() - before
    });
    assert_eq!(redirected, 1);
}

/// What a reader gets of a message whose sender closes at once.
fn closed_at_once(rig: &mut Rig) -> Vec<u8> {
    let (mut client, mut server) = rig.talking();
    client.write_all(b"last words").expect("they are taken");
    drop(client);
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).expect("the end comes");
    bytes
}

#[test]
fn the_last_words_of_a_sender_are_heard() {
    assert_eq!(plain_and_ours(closed_at_once), [b"last words"; 2]);
}

/// What each end reads when one side is closed, and the other one is not.
fn one_side(rig: &mut Rig) -> (usize, Vec<u8>) {
    let (mut client, mut server) = rig.talking();
    client.shutdown(Shutdown::Write).expect("our side is closed");
    let end = server.read(&mut [0; 8]).expect("the end is no error");
    server.write_all(b"answer").expect("the other side is open");
    thread::sleep(Duration::from_millis(5));
    (end, read_exactly(&mut client, 6))
}

#[test]
fn the_other_side_stays_open() {
    let [plain, ours] = plain_and_ours(one_side);
    assert_eq!(plain, (0, b"answer".to_vec()));
    assert_eq!(ours, plain);
}

/// What arrives at a slow reader of a lot that is sent, and then closed at once; what is wrong with it.
fn much_closed_at_once(rig: &mut Rig) -> (usize, bool) {
    let (mut client, mut server) = rig.talking();
    let sending = thread::spawn(move || {
        for chunk in lot().chunks(40_000) {
            client.write_all(chunk).expect("it is taken");
        }
    });
    let (mut all, mut bytes) = (Vec::new(), [0; 5000]);
    loop {
        thread::sleep(Duration::from_micros(100));
        match server.read(&mut bytes).expect("the end is no error") {
            0 => break,
            got => all.extend_from_slice(&bytes[..got]),
        }
    }
    sending.join().expect("it sends");
    (all.len(), all == lot())
}

/// More than a queue may hold.
fn lot() -> Vec<u8> {
    (0..800_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect()
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    assert_eq!(plain_and_ours(much_closed_at_once), [(800_000, true); 2]);
}

/// What a sender is told when the other end closes without reading what it was sent.
pub(crate) fn unread_at_close(rig: &mut Rig) -> (Option<ErrorKind>, bool) {
    let (mut client, server) = rig.talking();
    client.write_all(b"unheard").expect("it is taken");
    drop(server);
    client.set_read_timeout(Some(LONG)).expect("a while");
    (client.read(&mut [0; 8]).err().map(|error| error.kind()), rig.counted())
}

/// Not as in TCP: the kernel does not know that redirected bytes were not read.
#[test]
fn closing_on_unread_bytes_is_a_reset_unless_they_were_redirected() {
    let saw = each_way(unread_at_close);
    assert_eq!((saw.plain.0, saw.naive.0), (Some(ErrorKind::ConnectionReset), None));
    assert_eq!(saw.ours.0, if saw.ours.1 { saw.naive.0 } else { saw.plain.0 });
}

/// What a read that waits is told when the other end resets the connection.
pub(crate) fn reset_while_it_waits(rig: &mut Rig) -> (Option<ErrorKind>, bool) {
    let (client, server) = rig.talking();
    let waiting = reader(&client);
    let at_once = rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO));
    at_once.expect("it is TCP");
    drop(server);
    (waiting.join().expect("it ends").err(), rig.counted())
}

/// Not as in TCP: the queue's reader is woken, and looks no further; the next read is told.
#[test]
fn a_reset_is_told_a_read_later() {
    let saw = each_way(reset_while_it_waits);
    let (reset, again) = (Some(ErrorKind::ConnectionReset), Some(ErrorKind::WouldBlock));
    assert_eq!((saw.plain.0, saw.naive.0), (reset, again));
    assert_eq!(saw.ours.0, if saw.ours.1 { again } else { reset });
}

/// Senders whose readers close in the middle of it, several at a time; what they are told that TCP does not tell.
fn storm(_: &mut Rig) -> Vec<ErrorKind> {
    thread::scope(|scope| {
        let rounds = rounds("BYPASS_GUSTS", 100) / 4;
        let storms: Vec<_> = (0..4).map(|lane| scope.spawn(move || gusts(lane, rounds))).collect();
        storms.into_iter().flat_map(|lane| lane.join().expect("it ends")).collect()
    })
}

#[test]
fn readers_that_close_in_the_middle_end_their_senders() {
    assert_eq!(plain_and_ours(storm), [vec![], vec![]]);
}

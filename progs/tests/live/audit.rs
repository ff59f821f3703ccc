//! Whoever watches the host is told of each pair: who, with whom, how much, by which way, and how it ended; and what each end sent
//! first, if that is wanted.

use std::io::{Read, Seek, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use loader::link::cgroup::Cgroup;
use loader::map::RingBuf;
use progs::bypass::control::{Bypass, Counting};
use progs::bypass::first::MOST;
use progs::bypass::flows::{Event, Flow, Said, Told, told};

use crate::order::deferred;
use crate::policy::{Apart, CLIENT, IP4, SERVER, redirected, with_rules};
use crate::rig::{LONG, Mode, Rig, exchange, in_netns, loopback_up, read_exactly};

/// What the ring buffer tells, so many things at least, as they come.
fn all_told(ours: &Bypass, count: usize) -> Vec<Told> {
    let mut ring = RingBuf::new(ours.loaded().map("flows").expect("its name")).expect("it is one");
    let (mut all, begun) = (Vec::new(), Instant::now());
    while all.len() < count {
        assert!(begun.elapsed() < LONG, "{all:?}");
        ring.wait(Some(Duration::from_millis(20))).expect("it waits");
        ring.read(|record| all.push(told(record).expect("a record"))).expect("records");
    }
    all
}

/// So many pairs that begin or end, and nothing else.
fn events(ours: &Bypass, count: usize) -> Vec<Event> {
    let pair = |told| match told {
        Told::Pair(event) => *event,
        Told::Said(said) => panic!("nobody wants it copied: {said:?}"),
    };
    all_told(ours, count).into_iter().map(pair).collect()
}

/// So many messages of pairs that have begun.
fn said(ours: &Bypass, count: usize) -> Vec<Said> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(all_told(ours, 1).into_iter().filter_map(|told| match told {
            Told::Pair(_) => None,
            Told::Said(said) => Some(said),
        }));
    }
    all
}

/// Reads to the end, then closes.
fn finish(mut end: TcpStream) {
    end.read_to_end(&mut Vec::new()).expect("the end comes");
}

#[test]
fn a_pair_is_told_of_at_its_beginning_and_at_its_end() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let mut pair = IP4.open(rig, apart);
        let begun = events(ours, 1).remove(0);
        assert_eq!((begun.event, begun.flow.state), ("begun", "open"));
        whose(&begun.flow, rig, apart, &pair);
        assert_eq!(redirected(rig, &mut pair), 4);
        let living = ours.flows().expect("they can be read");
        assert_eq!(living.len(), 1);
        whose(&living[0], rig, apart, &pair);

        // Two of four questions of eight bytes are redirected at least, and two of four answers of six.
        let Flow { client, server, .. } = &living[0];
        let (asked, answered) = (server.received, client.received);
        assert_eq!(asked.redirected_bytes + asked.passed_bytes, 32, "{asked:?}");
        assert_eq!(answered.redirected_bytes + answered.passed_bytes, 24, "{answered:?}");
        assert_eq!(asked.redirected_messages * 8, asked.redirected_bytes);
        assert_eq!(asked.redirected_messages + asked.passed_messages, 4);
        assert!(asked.redirected_messages >= 2 && answered.redirected_messages >= 2, "{living:?}");
        assert_eq!(asked.reason, "unheard", "the first one had to go by TCP");

        let (client, server) = pair;
        client.shutdown(Shutdown::Write).expect("our side is closed");
        finish(server);
        finish(client);
        let ended = events(ours, 1).remove(0);
        assert_eq!((ended.event, ended.flow.state), ("ended", "closed"));
        assert_eq!((ended.flow.client.how, ended.flow.server.how), ("first", "second"));
        assert_eq!(ended.flow.server.received, asked);
        assert_eq!(ended.flow.client.received, answered);
        assert!(begun.at_ns <= ended.flow.server.closed_ns && ended.flow.client.closed_ns <= ended.at_ns);
        assert_eq!(ours.flows().expect("they can be read"), [], "it is forgotten");
        assert_eq!((ours.inboxes().expect("they can be read").len(), ours.lost().expect("a number")), (0, 0));
    });
}

/// Both ends of it are who they are.
fn whose(flow: &Flow, rig: &Rig, apart: &Apart, (client, server): &(TcpStream, TcpStream)) {
    let id = |path| crate::policy::id(path);
    assert!(rig.ours.as_ref().is_some_and(|ours| ours.loaded().prog("made").is_ok()), "the kernel tells whose it is");
    for (side, command, cgroup, end) in
        [(&flow.client, CLIENT, id(&apart.client), client), (&flow.server, SERVER, id(&apart.server), server)]
    {
        assert_eq!((side.pid, &*side.command, side.cgroup), (std::process::id(), command, cgroup));
        assert_eq!(side.local, end.local_addr().expect("its address"));
        assert_eq!(side.remote, end.peer_addr().expect("its address"));
        assert!(side.since_ns > 0);
    }
}

#[test]
fn an_end_that_is_reset_is_told_of() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let (mut client, server) = IP4.open(rig, apart);
        client.write_all(b"unread").expect("it is taken");
        server.peek(&mut [0; 8]).expect("it comes");
        drop(server);
        client.set_read_timeout(Some(LONG)).expect("a while");
        client.read(&mut [0; 8]).expect_err("it is reset");
        drop(client);
        let ended = events(ours, 2).remove(1);
        assert_eq!((ended.event, ended.flow.client.how, ended.flow.server.how), ("ended", "reset", "reset"));
    });
}

/// The bytes that one side has sent, by where they lie in its stream.
fn stream(all: &[Said], by: &str) -> Vec<u8> {
    let mut stream = Vec::new();
    for said in all.iter().filter(|said| said.by == by) {
        assert_eq!(said.offset as usize, stream.len(), "no gap: {all:?}");
        stream.extend(&said.bytes);
    }
    stream
}

#[test]
fn the_first_bytes_of_each_direction_are_copied() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let (mut client, mut server) = IP4.open(rig, apart);
        exchange(&mut client, &mut server, b"quiet");
        assert_eq!(events(ours, 1).len(), 1, "nobody has asked for copies");

        // Several messages, the first of which go by TCP and the last ones past the stack; of binary bytes; and more than is wanted.
        ours.copy_first(24).expect("a setting");
        let (binary, long) = (b"\0\xff\"\n", [b'x'; 300]);
        let (mut client, mut server) = IP4.open(rig, apart);
        for message in [binary.as_slice(), b"seven..", b"1", &long, b"not this"] {
            exchange(&mut client, &mut server, message);
            exchange(&mut server, &mut client, b"ok");
        }
        let living = ours.flows().expect("they can be read").pop().expect("it lives");
        let received = living.server.received;
        assert!(received.passed_bytes > 0 && received.redirected_bytes >= 300, "{received:?}");
        let all = said(ours, 4 + 5);
        assert_eq!(
            stream(&all, "client"),
            [binary.as_slice(), b"seven..", b"1", &long[..12]].concat(),
            "no more than 24"
        );
        assert_eq!(stream(&all, "server"), b"okokokokok", "less than 24 was sent");
        let sizes: Vec<_> = all.iter().filter(|said| said.by == "client").map(|said| said.size).collect();
        assert_eq!(sizes, [4, 7, 1, 300]);
        for said in &all {
            let (side, end) = if said.by == "client" { (&living.client, &client) } else { (&living.server, &server) };
            assert_eq!((said.pid, &said.command, said.cgroup), (side.pid, &side.command, side.cgroup));
            assert_eq!((said.local, said.remote, said.since_ns), (side.local, side.remote, side.since_ns));
            assert_eq!(said.local, end.local_addr().expect("its address"));
        }
        assert_eq!((&*living.client.sent_first, &*living.server.sent_first), (binary.as_slice(), b"ok".as_slice()));
        assert_eq!(ours.lost().expect("a number"), 0);
    });
}

/// A file with this in it, at its beginning.
fn file(bytes: &[u8]) -> std::fs::File {
    let memory = rustix::fs::memfd_create("sent", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes).expect("it is taken");
    file.rewind().expect("a file");
    file
}

/// However the bytes lie: in one piece, in pages that belong to a file. And whatever the setting says.
#[test]
fn copies_are_bounded_and_whole_wherever_the_bytes_lie() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(20_000).collect();
        for (first, want) in [(MOST, 256), (u32::MAX, 256), (255, 255), (8, 8), (1, 1)] {
            ours.copy_first(first).expect("a setting");
            for from_file in [false, true] {
                let (mut client, mut server) = IP4.open(rig, apart);
                let sender = std::thread::spawn({
                    let bytes = bytes.clone();
                    move || {
                        if from_file {
                            std::io::copy(&mut file(&bytes), &mut client).expect("it is taken");
                        } else {
                            client.write_all(&bytes).expect("it is taken");
                        }
                    }
                });
                assert!(read_exactly(&mut server, bytes.len()) == bytes, "what arrives is what was sent");
                sender.join().expect("it does not panic");
                let all = said(ours, 1);
                assert_eq!(stream(&all, "client"), &bytes[..want], "{first}, from a file: {from_file}");
            }
        }
    });
}

/// What is sent before the other end is enrolled is not copied, and how much that was is told.
#[test]
fn what_was_sent_too_early_is_missing_in_front() {
    with_rules(|rig, _| {
        rig.ours.as_ref().expect("they are up").copy_first(10).expect("a setting");
        assert_eq!(deferred(rig), "AAAABBBBCCCC");
        let all = said(rig.ours.as_ref().expect("they are up"), 2);
        let parts: Vec<_> = all.iter().map(|said| (said.offset, &*said.bytes)).collect();
        assert_eq!(parts, [(4, b"BBBB".as_slice()), (8, b"CC")]);
    });
}

#[test]
fn what_finds_no_room_is_counted_and_nobody_waits() {
    in_netns(|| {
        loopback_up();
        let rig = Rig::new(Mode::Plain);
        for counting in [Counting::Tracepoint, Counting::Function] {
            let Ok(mut ours) = Bypass::load_sized(counting, Some(64)) else { continue };
            ours.attach(&Cgroup::open(rig.cgroup.path()).expect("it was made")).expect("it is attached");
            for _ in 0..20 {
                let (mut client, mut server) = rig.connection();
                exchange(&mut client, &mut server, b"all the same");
            }
            // A page has room for less than thirty-two records, and twenty pairs have forty.
            assert!(ours.lost().expect("a number") >= 8, "{:?}", ours.lost());
            return;
        }
        println!("skip: counting what is read needs Linux 5.11");
    });
}

//! Whoever watches the host is told of each pair: who, with whom, how much, by which way, and how it ended.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use loader::link::cgroup::Cgroup;
use loader::map::RingBuf;
use progs::bypass::control::{Bypass, Counting};
use progs::bypass::flows::{Event, Flow, event};

use crate::policy::{Apart, CLIENT, IP4, SERVER, redirected, with_rules};
use crate::rig::{LONG, Mode, Rig, exchange, in_netns, loopback_up};

/// So many events of the ring buffer, as they come.
fn told(ours: &Bypass, count: usize) -> Vec<Event> {
    let mut ring = RingBuf::new(ours.loaded().map("flows").expect("its name")).expect("it is one");
    let (mut events, begun) = (Vec::new(), Instant::now());
    while events.len() < count {
        assert!(begun.elapsed() < LONG, "{events:?}");
        ring.wait(Some(Duration::from_millis(20))).expect("it waits");
        ring.read(|record| events.push(event(record).expect("a record"))).expect("records");
    }
    events
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
        let begun = told(ours, 1).remove(0);
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
        let ended = told(ours, 1).remove(0);
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
        let ended = told(ours, 2).remove(1);
        assert_eq!((ended.event, ended.flow.client.how, ended.flow.server.how), ("ended", "reset", "reset"));
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
        println!("skip: counting what is read needs Linux 5.19");
    });
}

//! A relay that splices, as proxies do which do not look at what they carry: nothing is redirected to it, so it misses nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use crate::rig::{LONG, Rig, accept, connect, each_way};

/// Carries one direction until its end, or until nothing has come for so long; how many bytes.
fn carry(from: &TcpStream, to: &TcpStream, patience: Duration) -> usize {
    let (reading, writing) = pipe_with(PipeFlags::empty()).expect("a pipe");
    let (mut carried, mut heard) = (0, Instant::now());
    while heard.elapsed() < patience {
        let tenth = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&tenth)).expect("it waits");
        match splice(from, None, &writing, None, 1 << 16, SpliceFlags::NONBLOCK) {
            Ok(0) => break,
            Ok(got) => {
                let mut left = got;
                while left > 0 {
                    left -= splice(&reading, None, to, None, left, SpliceFlags::empty()).expect("it is taken");
                }
                (carried, heard) = (carried + got, Instant::now());
            }
            Err(Errno::AGAIN) => {}
            Err(other) => panic!("splice: {other}"),
        }
    }
    let _shut = to.shutdown(Shutdown::Write);
    carried
}

/// Bytes of the question and of the answer.
const CARRIED: usize = 300_000;

fn served(listener: TcpListener) -> JoinHandle<usize> {
    thread::spawn(move || {
        let mut server = accept(&listener);
        let mut question = Vec::new();
        server.read_to_end(&mut question).expect("the end comes");
        let answer: Vec<u8> = question.iter().map(|byte| !byte).collect();
        server.write_all(&answer).expect("it is taken");
        question.len()
    })
}

/// Bytes that came to the server, that came back to the client, of which all were right; and what was redirected to the relay.
fn relayed(rig: &mut Rig) -> (usize, usize, bool) {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (behind, front) = (listen(), listen());
    let to = behind.local_addr().expect("its address");
    let at = front.local_addr().expect("its address");
    let patience = if rig.is_naive() { Duration::from_millis(100) } else { LONG };
    let serving = served(behind);
    let relay = thread::spawn(move || {
        let ends = [accept(&front), connect(to)];
        let [client, server] = &ends;
        thread::scope(|scope| {
            let there = scope.spawn(|| carry(client, server, patience));
            let back = carry(server, client, patience);
            (there.join().expect("it carries"), back)
        })
    });
    let mut client = connect(at);
    let question: Vec<u8> = (0..CARRIED).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let mut answer = Vec::new();
    // The first bytes alone, so that both ends are enrolled, if they will be.
    client.write_all(&question[..100]).expect("it is taken");
    thread::sleep(Duration::from_millis(2));
    client.write_all(&question[100..]).expect("it is taken");
    client.shutdown(Shutdown::Write).expect("our side is closed");
    let _came = client.read_to_end(&mut answer);
    let _carried = relay.join().expect("it ends");
    let right = answer.iter().zip(&question).all(|(back, byte)| *back == !byte);
    (serving.join().expect("it serves"), answer.len(), right)
}

#[test]
fn a_relay_that_splices_carries_everything() {
    let saw = each_way(relayed);
    assert_eq!(saw.plain, (CARRIED, CARRIED, true));
    assert_eq!(saw.ours, saw.plain);
    assert_ne!(saw.naive, saw.plain, "the usual pair's relay sees nothing of what is redirected to it");
}

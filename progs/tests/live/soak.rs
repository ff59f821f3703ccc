//! Many connections that open, talk, half-close and close as chance has it, beside senders whose readers close in the middle of it, while
//! acceleration is taken down and brought up again: every byte is checked, every read blocks until there is something to read, and at the
//! end the kernel has its memory back.
//!
//! `BYPASS_SOAK_CONNECTIONS` says how many (10,000 take a few minutes), `BYPASS_SOAK_SEED` another course of things.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::closing::gusts;
use crate::rig::{LONG, Mode, Rig, in_netns, loopback_up, sockstat};

/// Connections at a time.
const WORKERS: u64 = 4;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Chance, the same for the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next(256).to_le_bytes()[0]).collect()
    }
}

/// One message: does the client send it, and what it is.
type Step = (bool, Vec<u8>);

/// Both ends play the same script.
struct Script {
    steps: Vec<Step>,
    /// Which end closes its side first, and what the other one still says.
    last: Step,
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let size = |chance: &mut Chance| match chance.next(6) {
            0 => 1,
            1..=3 => 1 + chance.next(300),
            4 => 1 + chance.next(5_000),
            _ => 1 + chance.next(60_000),
        };
        let mut step = |_| {
            let len = usize::try_from(size(&mut chance)).expect("it is small");
            (chance.next(2) == 0, chance.bytes(len))
        };
        let steps = (0..12).map(&mut step).collect();
        Self { steps, last: step(12) }
    }

    /// Plays one end.
    fn play(&self, mut end: TcpStream, client: bool) -> std::io::Result<()> {
        for (sends, bytes) in &self.steps {
            if *sends == client {
                end.write_all(bytes)?;
            } else {
                let mut got = vec![0; bytes.len()];
                end.read_exact(&mut got)?;
                assert!(got == *bytes, "other bytes than were sent");
            }
        }
        let (closes, bytes) = &self.last;
        let mut got = Vec::new();
        if *closes == client {
            end.shutdown(Shutdown::Write)?;
            end.read_to_end(&mut got)?;
            assert!(got == *bytes, "{} bytes at the end, and {} were sent", got.len(), bytes.len());
        } else {
            end.read_to_end(&mut got)?;
            assert!(got.is_empty(), "{} bytes more than were sent", got.len());
            end.write_all(bytes)?;
        }
        Ok(())
    }
}

/// One connection after the other, until `left` is used up.
fn work(left: &AtomicU64, seed: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
        connection(&listener, address, seed ^ number);
    }
}

fn connection(listener: &TcpListener, address: SocketAddr, seed: u64) {
    let client = thread::spawn(move || Script::new(seed).play(TcpStream::connect(address)?, true));
    let (server, _) = listener.accept().expect("it comes");
    Script::new(seed).play(server, false).unwrap_or_else(|error| panic!("seed {seed}, server: {error}"));
    client.join().expect("it ends").unwrap_or_else(|error| panic!("seed {seed}, client: {error}"));
}

/// Pages of TCP's that others on this machine may take meanwhile: the kernel counts them for all namespaces together.
const OTHERS: u64 = 512;

/// Waits until this namespace has no more sockets, and TCP no more memory, than before.
fn given_back(sockets: u64, memory: u64) {
    let begun = Instant::now();
    while sockstat("inuse") > sockets || sockstat("mem") > memory + OTHERS {
        let (now, mem) = (sockstat("inuse"), sockstat("mem"));
        assert!(begun.elapsed() < LONG, "{now} sockets, before {sockets}; {mem} pages, before {memory}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_come_and_go_and_every_byte_is_right() {
    let (connections, seed) = (setting("BYPASS_SOAK_CONNECTIONS", 60), setting("BYPASS_SOAK_SEED", 1));
    in_netns(move || {
        loopback_up();
        let mut rig = Rig::new(Mode::Ours);
        let (sockets, memory) = (sockstat("inuse"), sockstat("mem"));
        let mut redirected = 0;
        let left = AtomicU64::new(connections);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(&left, seed << 32))).collect();
            let number = u32::try_from(connections / 20).expect("not so many");
            let storm = scope.spawn(move || gusts(0, number));
            for quarter in [3, 2, 1] {
                while left.load(Ordering::Relaxed) > connections * quarter / 4 {
                    thread::sleep(Duration::from_millis(1));
                    redirected = redirected.max(rig.redirected());
                }
                rig.down_and_up(LONG);
            }
            for worker in workers {
                worker.join().expect("it checks every byte");
            }
            assert_eq!(storm.join().expect("it ends"), []);
        });
        given_back(sockets, memory);
        println!("{connections} connections, up to {redirected} messages redirected at a time");
    });
}

//! Many connections that open, talk, half-close and close as chance has it, beside a storm of closes, while a test does something to all of
//! them: every byte is checked, every read blocks until there is something to read, and at the end the kernel has its memory back.
//!
//! Stage: test support. Input: how many, how long at least, and a seed: `BYPASS_SOAK_CONNECTIONS`, `BYPASS_SOAK_SECONDS`,
//! `BYPASS_SOAK_SEED`; `BYPASS_SOAK_AT_ONCE` at a time. Output: a judgement. Next file to read: `chance.rs`, then `script.rs`.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::script::{RETRIES, Script};
use crate::stat::Spent;
use crate::storm::gusts;

/// Connections at a time, where nobody says otherwise.
const AT_ONCE: u64 = 4;

/// Where servers listen, and how clients call that: IPv4, IPv6, and IPv4 at a socket of IPv6.
const PLACES: [(&str, &str); 4] =
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")];

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// So many connections, and more as long as a test is not done with them.
#[derive(Debug)]
pub struct Soak {
    connections: u64,
    until: Instant,
    begun: AtomicU64,
    played: Mutex<Played>,
    /// Does the test need no more than that?
    done: AtomicBool,
    seed: u64,
    wrong: Mutex<Vec<String>>,
}

/// What was played.
#[derive(Clone, Debug, Default)]
pub(crate) struct Played {
    /// Connections that there had to be.
    pub(crate) asked_for: u64,
    /// Connections.
    pub(crate) connections: u64,
    /// Bytes that they carried both ways.
    pub(crate) bytes: u64,
    /// Where they were accepted.
    pub(crate) places: BTreeSet<SocketAddr>,
}

impl Soak {
    /// So many, where the environment does not say otherwise.
    #[must_use]
    pub fn new(connections: u64) -> Self {
        let connections = setting("BYPASS_SOAK_CONNECTIONS", connections);
        Self {
            connections,
            until: Instant::now() + Duration::from_secs(setting("BYPASS_SOAK_SECONDS", 0)),
            begun: AtomicU64::new(0),
            played: Mutex::default(),
            done: AtomicBool::new(false),
            seed: setting("BYPASS_SOAK_SEED", 1),
            wrong: Mutex::default(),
        }
    }

    /// Plays all of them, does `meanwhile`, whose sockets are its own business, and plays more until that is done.
    ///
    /// # Panics
    ///
    /// If anything is not as it is in TCP.
    pub fn run(&self, meanwhile: impl FnOnce()) {
        let (begun, before) = (Instant::now(), Spent::now());
        thread::scope(|scope| {
            let done = Done(self);
            for lane in 0..setting("BYPASS_SOAK_AT_ONCE", AT_ONCE) {
                scope.spawn(move || self.work(lane));
            }
            let storm = scope.spawn(|| gusts(0, u32::try_from(self.connections / 20).unwrap_or(u32::MAX)));
            meanwhile();
            drop(done);
            assert_eq!(storm.join().expect("it ends"), [], "what senders were told that TCP does not tell");
        });
        assert_eq!(*self.wrong.lock().unwrap_or_else(PoisonError::into_inner), Vec::<String>::new());
        before.given_back();
        println!("{} connections in {:.1?}, seed {}", self.begun(), begun.elapsed(), self.seed);
    }

    /// Every read has waited until there was something, also after its own side was closed. Where the kernel leaves out programs at a
    /// tracepoint because another one is preempted there (Linux 7), so many times, reads go uncounted, and such a socket may not leave the map.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn every_read_has_waited(&self, left_out: u64) {
        let retries = RETRIES.load(Ordering::Relaxed);
        println!("{retries} reads after half a close were told to try again; programs were left out {left_out} times");
        assert!(retries == 0 || left_out > 0, "{retries} reads were told to try again in {self:?}");
    }

    /// Waits until one more part of all of them has begun.
    pub fn wait_for_one_of(&self, parts: u64) {
        let until = self.begun() + self.connections.div_ceil(parts);
        while self.begun() < until && !self.is_wrong() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether all that have to be have begun, for as long as it has to be, or something has gone wrong.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.begun() >= self.connections && Instant::now() >= self.until || self.is_wrong()
    }

    pub(crate) fn played(&self) -> Played {
        let played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        Played { asked_for: self.connections, ..played.clone() }
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_wrong(&self) -> bool {
        !self.wrong.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Numbers by chance, below `end`, for what a test does meanwhile.
    pub fn chance(&self) -> impl FnMut(u64) -> u64 + use<> {
        let mut chance = Chance(self.seed);
        move |end| chance.below(end)
    }

    /// One connection after the other, until it is enough.
    fn work(&self, lane: u64) {
        let (at, by) = PLACES[usize::try_from(lane).expect("it is small") % PLACES.len()];
        let listener = TcpListener::bind((at, 0)).expect("a listener");
        let place = listener.local_addr().expect("its address");
        let to = SocketAddr::new(by.parse().expect("an address"), place.port());
        let (mut connections, mut bytes) = (0, 0);
        while !(self.is_wrong() || self.is_enough() && self.done.load(Ordering::Relaxed)) {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let seed = self.seed << 32 ^ number;
            let wrong = connection(&listener, to, seed);
            (connections, bytes) = (connections + 1, bytes + Script::new(seed).bytes());
            let wrong = wrong.into_iter().map(|wrong| format!("connection {number} to {to}: {wrong}"));
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(wrong);
        }
        let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        played.connections += connections;
        played.bytes += bytes;
        played.places.insert(place);
    }
}

/// The test is done with it, and if it has failed, then at once.
struct Done<'s>(&'s Soak);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
        if thread::panicking() {
            self.0.begun.fetch_max(self.0.connections, Ordering::Relaxed);
        }
    }
}

/// One connection, which comes to the listener by whatever way; what is wrong with it, by its ends.
#[must_use]
pub fn connection(listener: &TcpListener, to: SocketAddr, seed: u64) -> Vec<String> {
    let client = match TcpStream::connect(to) {
        Ok(client) => thread::spawn(move || Script::new(seed).play(client, true)),
        Err(error) => return vec![format!("connect: {error}")],
    };
    let accepted = listener.accept().map_err(|error| format!("accept: {error}"));
    let server = accepted.and_then(|(server, _)| Script::new(seed).play(server, false));
    let ends = [("client", client.join().expect("it does not panic")), ("server", server)];
    ends.into_iter().filter_map(|(end, done)| done.err().map(|error| format!("{end} {error}"))).collect()
}

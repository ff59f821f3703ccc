//! Stage: lab trial. Real connections through what was brought up: real sockets, in the lab's own namespaces.
//!
//! Input: a [`Trial`] of the manifest and the lab's namespaces. Output: a [`Report`]: how many exchanges each server
//! answered, and the round trips. Read next: `exchange.rs` (the bytes), `server.rs`, `client.rs`.

mod client;
mod exchange;
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::netns::{self, Netns};
use crate::manifest::lab::Trial;
use client::Exchange;
use server::Server;

/// After so many failures in a row the rest is not tried: each may cost seconds.
const GIVE_UP: u32 = 3;

/// Why a trial cannot even begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A namespace of it cannot be entered.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The server's socket cannot be bound.
    #[error("trial: {host} cannot listen on {to}; is the address on its `lo` or `eth0`?")]
    Bind {
        /// The real server.
        host: String,
        /// The address and port.
        to: std::net::SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A host of the trial has no namespace.
    #[error("trial: the lab has no host {host}")]
    NoHost {
        /// The host.
        host: String,
    },
    /// A server's thread died before it was ready.
    #[error("trial: the server on {host} died")]
    Server {
        /// The real server.
        host: String,
    },
}

/// What a trial showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was tried.
    pub trial: Trial,
    /// Exchanges begun.
    pub tried: u32,
    /// Exchanges of which every byte came back right.
    pub succeeded: u32,
    /// Per server, in the order of the manifest.
    pub servers: Vec<Served>,
    /// The first few failures, in words.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether all exchanges asked for were done and right.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.succeeded == self.trial.exchanges
    }
}

/// One server's part of a trial.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// The host.
    pub host: String,
    /// Exchanges that the client got answered by it.
    pub served: usize,
    /// Exchanges that it says it answered.
    pub answered: u64,
    /// Shortest round trip, in microseconds.
    pub min_us: f64,
    /// The median, in microseconds.
    pub median_us: f64,
    /// The 99th percentile, in microseconds.
    pub p99_us: f64,
}

/// Runs a trial; `cancel` ends it early.
///
/// # Errors
/// When it cannot begin. Failed exchanges are no error here: they are in the report.
pub fn run(trial: &Trial, hosts: &BTreeMap<String, Netns>, cancel: &AtomicBool) -> Result<Report, Error> {
    let host = |name: &String| hosts.get(name).ok_or_else(|| Error::NoHost { host: name.clone() });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever happens below, the servers end: the scope waits for them.
        let _end = StopOnDrop(&stop);
        let mut servers = Vec::new();
        for (number, name) in (0_u32..).zip(&trial.servers) {
            let netns = host(name)?;
            let (ready, is_ready) = mpsc::channel();
            let stop = &stop;
            let thread = scope.spawn(move || serve(netns, trial, number, stop, &ready));
            is_ready.recv().map_err(|_| Error::Server { host: name.clone() })??;
            servers.push(thread);
        }
        let (exchanges, tried, failures) = host(&trial.from)?.run(|| ask(trial, cancel))?;
        stop.store(true, Ordering::Relaxed);
        let answered: Vec<u64> = servers.into_iter().map(|thread| thread.join().unwrap_or(0)).collect();
        Ok(report(trial, tried, &exchanges, failures, &answered))
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The life of one server's thread: enter, bind, say so, serve, count.
fn serve(netns: &Netns, trial: &Trial, number: u32, stop: &AtomicBool, ready: &mpsc::Sender<Result<(), Error>>) -> u64 {
    let host = || netns.name().to_owned();
    let bound = netns.enter().map_err(Error::from).and_then(|()| {
        Server::bind(trial.protocol, trial.to).map_err(|source| Error::Bind { host: host(), to: trial.to, source })
    });
    match bound {
        Ok(server) => {
            let _ = ready.send(Ok(())); // the receiver is the caller, who waits for exactly this
            server.serve(number, stop).unwrap_or(0)
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            0
        }
    }
}

/// The client's side: what worked, how many were tried, and the first failures.
fn ask(trial: &Trial, cancel: &AtomicBool) -> (Vec<Exchange>, u32, Vec<String>) {
    let (mut done, mut failures, mut tried, mut in_a_row) = (Vec::new(), Vec::new(), 0, 0);
    let servers = u32::try_from(trial.servers.len()).unwrap_or(u32::MAX);
    for number in 0..trial.exchanges {
        if cancel.load(Ordering::Relaxed) || in_a_row == GIVE_UP {
            break;
        }
        tried += 1;
        match client::exchange(trial.protocol, trial.to, number, servers) {
            Ok(exchange) => {
                done.push(exchange);
                in_a_row = 0;
            }
            Err(why) => {
                in_a_row += 1;
                if failures.len() < 5 {
                    failures.push(format!("exchange {number}: {why}"));
                }
            }
        }
    }
    (done, tried, failures)
}

fn report(trial: &Trial, tried: u32, exchanges: &[Exchange], failures: Vec<String>, answered: &[u64]) -> Report {
    let servers = (0_u32..).zip(&trial.servers).zip(answered).map(|((number, host), &answered)| {
        let mut times: Vec<Duration> =
            exchanges.iter().filter(|one| one.server == number).map(|one| one.round_trip).collect();
        times.sort_unstable();
        let at = |percent: usize| quantile(&times, percent).as_secs_f64() * 1e6;
        let (min_us, median_us, p99_us) = (at(0), at(50), at(99));
        Served { host: host.clone(), served: times.len(), answered, min_us, median_us, p99_us }
    });
    let servers = servers.collect();
    let succeeded = u32::try_from(exchanges.len()).unwrap_or(u32::MAX);
    Report { trial: trial.clone(), tried, succeeded, servers, failures }
}

/// The smallest time that `percent` of all times do not exceed; zero when there are none.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::lab::Protocol;

    #[test]
    fn quantiles_of_small_sets() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        for (percent, want) in [(0, 1), (50, 50), (99, 99), (100, 100)] {
            assert_eq!(quantile(&times, percent), Duration::from_micros(want), "{percent}");
        }
        assert_eq!(quantile(&[], 50), Duration::ZERO);
        assert_eq!(quantile(&times[..1], 99), Duration::from_micros(1));
    }

    #[test]
    fn both_ends_understand_each_other_over_loopback() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let stop = AtomicBool::new(false);
            let server = Server::bind(protocol, ([127, 0, 0, 1], 0).into()).unwrap();
            let to = match &server {
                Server::Tcp(listener) => listener.local_addr().unwrap(),
                Server::Udp(socket) => socket.local_addr().unwrap(),
            };
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| server.serve(3, &stop));
                let _end = StopOnDrop(&stop);
                for number in 0..20 {
                    let exchange = client::exchange(protocol, to, number, 4).unwrap();
                    assert_eq!(exchange.server, 3, "{protocol} {number}");
                }
                stop.store(true, Ordering::Relaxed);
                assert_eq!(thread.join().unwrap().unwrap(), 20, "{protocol}");
            });
        }
    }
}

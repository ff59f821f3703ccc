//! Stage: lab trial. Real connections through what was brought up: real sockets, in the lab's own namespaces and cgroups.
//!
//! Input: a [`Trial`] of the manifest and the lab's hosts. Output: a [`Report`]: how many exchanges each server answered, the round
//! trips, and what the deployment's systems have taken over. Read next: `exchange.rs` (the bytes), `server.rs`, `client.rs`,
//! `ask.rs`, which is the client's whole side.

mod ask;
mod client;
mod exchange;
mod server;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::build::{self, Hosts};
use super::cgroup;
use super::netns::{self, Netns};
use crate::manifest::lab::{Lab, Trial};
use crate::system::{Share, SystemError};
use ask::Asked;
use server::Server;

/// Asks the deployment's systems what they have taken over of the connections that stand.
pub type Shares<'a> = dyn Fn() -> Result<Vec<Share>, SystemError> + Sync + 'a;

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
    #[error(transparent)]
    Build(#[from] build::Error),
    /// A cgroup of it cannot be entered.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The client's sockets cannot be made.
    #[error("trial: {host} has no sockets for its connections")]
    Socket {
        /// The client's host.
        host: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A system does not say what it has taken over.
    #[error("trial: what was taken over cannot be read")]
    Share(#[source] SystemError),
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
    /// What systems had taken over of the connections, when all of them stood.
    pub shares: Vec<Share>,
    /// Round trips of the same exchanges on sockets outside of the lab's cgroups.
    pub plain: Option<Times>,
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
    /// Exchanges that it says it answered, those outside of the lab's cgroups included.
    pub answered: u64,
    /// Its round trips.
    #[serde(flatten)]
    pub times: Times,
}

/// Round trips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// Shortest round trip, in microseconds.
    pub min_us: f64,
    /// The median, in microseconds.
    pub median_us: f64,
    /// The 99th percentile, in microseconds.
    pub p99_us: f64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| quantile(&times, percent).as_secs_f64() * 1e6;
        Self { min_us: at(0), median_us: at(50), p99_us: at(99) }
    }
}

/// Where one end of a trial is.
struct Place<'a> {
    netns: &'a Netns,
    /// The host's cgroup, if it has one.
    cgroup: Option<PathBuf>,
}

impl<'a> Place<'a> {
    fn of(host: &str, lab: &Lab, hosts: &'a Hosts) -> Result<Self, Error> {
        let has = lab.hosts.get(host).is_some_and(|host| host.cgroup);
        Ok(Self { netns: hosts.get(host)?, cgroup: hosts.cgroup(Some(host)).filter(|_| has) })
    }
}

/// Runs a trial; `cancel` ends it early.
///
/// # Errors
/// When it cannot begin. Failed exchanges are no error here: they are in the report.
pub fn run(trial: &Trial, lab: &Lab, hosts: &Hosts, shares: &Shares<'_>, cancel: &AtomicBool) -> Result<Report, Error> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever happens below, the servers end: the scope waits for them.
        let _end = StopOnDrop(&stop);
        let mut servers = Vec::new();
        for (number, name) in (0_u32..).zip(&trial.servers) {
            let place = Place::of(name, lab, hosts)?;
            let (ready, is_ready) = mpsc::channel();
            let stop = &stop;
            let thread = scope.spawn(move || serve(&place, trial, number, stop, &ready));
            is_ready.recv().map_err(|_| Error::Server { host: name.clone() })??;
            servers.push(thread);
        }
        let client = Place::of(&trial.from, lab, hosts)?;
        let asked = client.netns.run(|| ask::ask(trial, client.cgroup.as_deref(), shares, cancel))??;
        stop.store(true, Ordering::Relaxed);
        let answered: Vec<_> = servers.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
        Ok(report(trial, asked, &answered))
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The life of one server's thread: enter, bind, say so, serve, count.
fn serve(
    place: &Place<'_>,
    trial: &Trial,
    number: u32,
    stop: &AtomicBool,
    ready: &mpsc::Sender<Result<(), Error>>,
) -> (u64, Option<std::io::Error>) {
    let (host, to) = (place.netns.name().to_owned(), trial.bound());
    let bind = || Server::bind(trial.protocol, to).map_err(|source| Error::Bind { host, to, source });
    ask::settle(trial);
    match place.netns.enter().map_err(Error::from).and_then(|()| ask::sockets(place.cgroup.as_deref(), bind)?) {
        Ok(server) => {
            let _ = ready.send(Ok(())); // the receiver is the caller, who waits for exactly this
            server.serve(number, trial.rounds, stop).unwrap_or_else(|error| (0, Some(error)))
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            (0, None)
        }
    }
}

fn report(trial: &Trial, asked: Asked, answered: &[(u64, Option<std::io::Error>)]) -> Report {
    let Asked { done, plain, tried, mut failures, shares } = asked;
    let all = trial.servers.iter().zip(answered);
    failures.extend(all.filter_map(|(host, (_, failed))| Some(format!("server {host}: {}", failed.as_ref()?))));
    let servers = (0_u32..).zip(&trial.servers).zip(answered).map(|((number, host), &(answered, _))| {
        let own: Vec<_> = done.iter().filter(|one| one.server == number).collect();
        let times = Times::of(own.iter().flat_map(|one| one.round_trips.iter().copied()).collect());
        Served { host: host.clone(), served: own.len(), answered, times }
    });
    let servers = servers.collect();
    let succeeded = u32::try_from(done.len()).unwrap_or(u32::MAX);
    let plain = trial.compare.then(|| Times::of(plain.into_iter().flat_map(|one| one.round_trips).collect()));
    Report { trial: trial.clone(), tried, succeeded, servers, shares, plain, failures }
}

/// The smallest time that `percent` of all times do not exceed; zero when there are none.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (protocol, rounds) in [("tcp", 1), ("udp", 1), ("tcp", 3)] {
            let text = format!(
                "from = 'a'\nto = '127.0.0.1:0'\nprotocol = '{protocol}'\nservers = ['a', 'b', 'c', 'd']\nrounds = {rounds}\nexchanges = 20"
            );
            let mut trial: Trial = toml::from_str(&text).unwrap();
            let stop = AtomicBool::new(false);
            let server = Server::bind(trial.protocol, trial.to).unwrap();
            trial.to = match &server {
                Server::Tcp(listener) => listener.local_addr().unwrap(),
                Server::Udp(socket) => socket.local_addr().unwrap(),
            };
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| server.serve(3, rounds, &stop));
                let _end = StopOnDrop(&stop);
                let asked = ask::ask(&trial, None, &|| Ok(Vec::new()), &AtomicBool::new(false)).unwrap();
                assert_eq!((asked.done.len(), asked.failures.len()), (20, 0), "{:?}", asked.failures);
                assert!(asked.done.iter().all(|one| one.server == 3 && one.round_trips.len() == rounds as usize));
                stop.store(true, Ordering::Relaxed);
                assert_eq!(thread.join().unwrap().unwrap().0, 20, "{protocol}");
            });
        }
    }
}

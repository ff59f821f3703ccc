//! Programs of others as clients and servers: sockperf, and Redis with its own benchmark.
//!
//! Input: sizes, where they run. Output: the figures that they print. Servers listen on loopback of this network namespace, and end with
//! the measurement. Read next: `mod.rs`.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::traffic::Placement;

/// Whose programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outside {
    Sockperf,
    Redis,
}

impl Outside {
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Sockperf => &["sockperf"],
            Self::Redis => &["redis-server", "redis-benchmark"],
        }
    }

    /// What to do to have it; `None` if it is there.
    pub(super) fn missing(self) -> Option<&'static str> {
        let there = self.programs().iter().all(|program| on_path(program));
        (!there).then_some(match self {
            Self::Sockperf => "sockperf is not installed (apt-get install sockperf): its figures are left out",
            Self::Redis => {
                "redis-server and redis-benchmark are not installed (apt-get install redis-server redis-tools): their figures are left out"
            }
        })
    }
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// What `sockperf ping-pong` says: half a round trip, microseconds.
#[derive(Debug, PartialEq)]
pub(super) struct HalfTrip {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Measures with `sockperf ping-pong`, for a second.
pub(super) fn sockperf(size: usize, placement: Placement) -> Result<HalfTrip> {
    const PORT: u16 = 11111;
    let (port, size) = (PORT.to_string(), size.to_string());
    placed(placement, || {
        let mut server = Command::new("sockperf");
        let _server = Server::start(server.args(["server", "--tcp", "-i", "127.0.0.1", "-p", &port]), PORT)?;
        let mut client = Command::new("sockperf");
        client.args(["ping-pong", "--tcp", "-i", "127.0.0.1", "-p", &port, "-m", &size, "-t", "1"]);
        percentiles(&output(&mut client)?)
    })
}

fn percentiles(text: &str) -> Result<HalfTrip> {
    let at = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(name)?.1.split_once('='));
        let value = lines.find_map(|(_, value)| value.trim().parse().ok());
        value.with_context(|| format!("sockperf has not said `{name}`: {text}"))
    };
    Ok(HalfTrip { p50: at("percentile 50.000")?, p99: at("percentile 99.000")? })
}

/// What `redis-benchmark` says.
#[derive(Debug, PartialEq)]
pub(super) struct Requests {
    /// Requests a second.
    pub(super) rate: f64,
    /// Milliseconds.
    pub(super) p99: f64,
}

/// Measures GETs with `redis-benchmark`.
pub(super) fn redis(clients: usize, requests: usize, placement: Placement) -> Result<Requests> {
    const PORT: u16 = 16379;
    let (port, clients, requests) = (PORT.to_string(), clients.to_string(), requests.to_string());
    placed(placement, || {
        let mut server = Command::new("redis-server");
        server.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let _server = Server::start(&mut server, PORT)?;
        let mut client = Command::new("redis-benchmark");
        client.args(["-h", "127.0.0.1", "-p", &port, "-t", "get", "-c", &clients, "-n", &requests, "--csv"]);
        columns(&output(&mut client)?)
    })
}

fn columns(text: &str) -> Result<Requests> {
    let mut rows = text
        .lines()
        .filter(|line| line.starts_with('"'))
        .map(|line| line.split(',').map(|cell| cell.trim_matches('"')));
    let (head, row) = (rows.next(), rows.next());
    let cells: Vec<(&str, &str)> = head.into_iter().flatten().zip(row.into_iter().flatten()).collect();
    let cell = |name| {
        let value = cells.iter().find(|(head, _)| *head == name).and_then(|(_, value)| value.parse().ok());
        value.with_context(|| format!("redis-benchmark has not said `{name}`: {text}"))
    };
    Ok(Requests { rate: cell("rps")?, p99: cell("p99_latency_ms")? })
}

/// Runs work in a thread at its place; processes that it starts are there too.
fn placed<T: Send>(placement: Placement, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            placement.enter().context("run on one CPU")?;
            work()
        });
        work.join().unwrap_or_else(|_| Err(anyhow!("a measurement ended in a panic")))
    })
}

/// A server that ends with this value.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens.
    fn start(command: &mut Command, port: u16) -> Result<Self> {
        let name = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self(child.with_context(|| format!("start {}", name.display()))?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.0.try_wait().context("wait for the server")? {
                bail!("{} ended at once: {status}", name.display());
            }
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("{} does not listen on port {port} after 10 s", name.display());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What a client prints; it has to end within half a minute.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = Server(child.with_context(|| format!("start {}", name.display()))?);
    let mut stdout = child.0.stdout.take().context("its output")?;
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let begun = Instant::now();
    let status = loop {
        match child.0.try_wait().context("wait for the client")? {
            Some(status) => break status,
            None if begun.elapsed() > Duration::from_secs(30) => bail!("{} has not ended in 30 s", name.display()),
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = reading.join().map_err(|_| anyhow!("the reader ended in a panic"))??;
    if !status.success() {
        bail!("{} failed ({status}): {text}", name.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_sockperf_are_found() {
        let text = "sockperf: ---> percentile 99.900 = 2634.051\nsockperf: ---> percentile 99.000 =   30.219\nsockperf: ---> percentile 50.000 =    6.579\n";
        assert_eq!(percentiles(text).unwrap(), HalfTrip { p50: 6.579, p99: 30.219 });
        assert!(percentiles("sockperf: ERROR: refused").unwrap_err().to_string().contains("refused"));
    }

    #[test]
    fn columns_of_redis_are_found_by_name() {
        let text = "WARNING: could not fetch\n\"test\",\"rps\",\"avg_latency_ms\",\"p99_latency_ms\"\n\"GET\",\"11173.18\",\"0.305\",\"6.799\"\n";
        assert_eq!(columns(text).unwrap(), Requests { rate: 11173.18, p99: 6.799 });
        assert!(columns("").unwrap_err().to_string().contains("`rps`"));
    }
}

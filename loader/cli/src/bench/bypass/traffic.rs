//! The traffic that is measured: requests and answers, and streams, between two threads.
//!
//! Input: sizes, where the threads run. Output: microseconds, megabytes a second, time in the kernel. Read next: `progs::bypass`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

/// Where both ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// On the first CPU: what the stack costs.
    OneCpu,
    /// Where the scheduler puts them: mostly what waking costs.
    Free,
}

/// Round trips.
pub(super) struct Trips {
    /// Median latency, microseconds.
    pub(super) p50: f64,
    /// Microseconds.
    pub(super) p90: f64,
    /// Microseconds.
    pub(super) p99: f64,
    /// Round trips a second.
    pub(super) rate: f64,
    /// Time in the kernel by both ends, microseconds a round trip.
    pub(super) kernel: f64,
}

/// A stream.
pub(super) struct Stream {
    /// Megabytes (10⁶) a second, as they were read.
    pub(super) throughput: f64,
    /// Time in the kernel by both ends, nanoseconds a KiB.
    pub(super) kernel: f64,
}

/// Sends requests and waits for each answer, so many times. The first hundredth is not counted.
pub(super) fn trips(request: usize, answer: usize, trips: usize, placement: Placement) -> Result<Trips> {
    let (mut client, mut server) = connection(true)?;
    let answering = placed(placement, move || {
        let (mut asked, answer) = (vec![0; request], vec![7; answer]);
        while server.read_exact(&mut asked).is_ok() {
            server.write_all(&answer)?;
        }
        Ok(())
    });
    let asking = placed(placement, move || {
        let (request, mut answered) = (vec![7; request], vec![0; answer]);
        let mut times = Vec::with_capacity(trips + trips / 100);
        for _ in 0..trips + trips / 100 {
            let begun = Instant::now();
            client.write_all(&request)?;
            client.read_exact(&mut answered)?;
            times.push(begun.elapsed().as_secs_f64());
        }
        Ok(times)
    });
    let (mut times, asked) = ended(asking)?;
    let ((), answered) = ended(answering)?;
    let kernel = (asked + answered).as_secs_f64() * 1e6 / count(times.len())?;
    times.drain(..trips / 100);
    let rate = count(times.len())? / times.iter().sum::<f64>();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).map(|time| time * 1e6).context("no round trip was made");
    Ok(Trips { p50: at(50)?, p90: at(90)?, p99: at(99)?, rate, kernel })
}

/// Sends messages of `size` bytes for a while.
pub(super) fn stream(size: usize, nodelay: bool, time: Duration, placement: Placement) -> Result<Stream> {
    let (mut client, mut server) = connection(nodelay)?;
    let sending = placed(placement, move || {
        let (bytes, begun) = (vec![7; size], Instant::now());
        while begun.elapsed() < time {
            client.write_all(&bytes)?;
        }
        client.shutdown(Shutdown::Write)
    });
    let reading = placed(placement, move || {
        let (mut bytes, mut all, begun) = (vec![0; 256 << 10], 0_usize, Instant::now());
        loop {
            match server.read(&mut bytes)? {
                0 => return Ok((all, begun.elapsed())),
                got => all += got,
            }
        }
    });
    let ((), sent) = ended(sending)?;
    let ((all, took), read) = ended(reading)?;
    let kib = count(all >> 10)?;
    let throughput = kib * 1024.0 / 1e6 / took.as_secs_f64();
    Ok(Stream { throughput, kernel: (sent + read).as_secs_f64() * 1e9 / kib })
}

fn connection(nodelay: bool) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let client = TcpStream::connect(listener.local_addr().context("its address")?).context("connect")?;
    let (server, _) = listener.accept().context("accept")?;
    for end in [&client, &server] {
        end.set_nodelay(nodelay).context("set TCP_NODELAY")?;
    }
    Ok((client, server))
}

/// What a thread came to, and the time that it was in the kernel for.
type Work<T> = thread::JoinHandle<io::Result<(T, Duration)>>;

/// Runs work in a thread, at its place.
fn placed<T: Send + 'static>(placement: Placement, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Work<T> {
    thread::spawn(move || {
        placement.enter()?;
        let done = work()?;
        let kernel = getrusage(UsageWho::RUSAGE_THREAD)?.system_time().num_microseconds();
        Ok((done, Duration::from_micros(u64::try_from(kernel).unwrap_or(0))))
    })
}

impl Placement {
    /// The calling thread, and the processes it starts, run there from now on.
    pub(super) fn enter(self) -> nix::Result<()> {
        if self == Self::OneCpu {
            let mut first = CpuSet::new();
            first.set(0)?;
            sched_setaffinity(Pid::from_raw(0), &first)?;
        }
        Ok(())
    }
}

fn ended<T>(work: Work<T>) -> Result<(T, Duration)> {
    Ok(work.join().map_err(|_| anyhow!("a thread ended in a panic"))??)
}

/// A number as a float: exact, or an error.
fn count(number: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(number).context("more than 2^32")?))
}

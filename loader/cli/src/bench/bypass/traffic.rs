//! The traffic that is measured: requests and answers, and streams, between two threads of one CPU.
//!
//! Input: sizes. Output: microseconds and megabytes a second. Read next: `progs::bypass`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Latency of a round trip in microseconds.
pub(super) struct Trips {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Sends `size` bytes and waits for as many, so many times. The first hundredth is not counted.
pub(super) fn trips(size: usize, trips: usize) -> Result<Trips> {
    let (mut client, mut server) = connection()?;
    let answering = pinned(move || {
        let mut bytes = vec![0; size];
        while server.read_exact(&mut bytes).is_ok() {
            server.write_all(&bytes)?;
        }
        Ok(())
    });
    let asking = pinned(move || {
        let (mut bytes, mut times) = (vec![7; size], Vec::with_capacity(trips));
        for _ in 0..trips + trips / 100 {
            let begun = Instant::now();
            client.write_all(&bytes)?;
            client.read_exact(&mut bytes)?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times.split_off(trips / 100))
    });
    let mut times = ended(asking)?;
    ended(answering)?;
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied().context("no round trip was made");
    Ok(Trips { p50: at(50)?, p99: at(99)? })
}

/// Sends messages of `size` bytes for a while; megabytes a second, as they were read.
pub(super) fn stream(size: usize, time: Duration) -> Result<f64> {
    let (mut client, mut server) = connection()?;
    let sending = pinned(move || {
        let (bytes, begun) = (vec![7; size], Instant::now());
        while begun.elapsed() < time {
            client.write_all(&bytes)?;
        }
        client.shutdown(Shutdown::Write)
    });
    let reading = pinned(move || {
        let (mut bytes, mut all, begun) = (vec![0; 256 << 10], 0_u64, Instant::now());
        loop {
            match server.read(&mut bytes)? {
                0 => return Ok((all, begun.elapsed())),
                got => all += u64::try_from(got).unwrap_or(0),
            }
        }
    });
    ended(sending)?;
    let (all, took) = ended(reading)?;
    let megabytes = u32::try_from(all >> 10).map(f64::from).context("more than a terabyte")? / 1024.0 * 1.048_576;
    Ok(megabytes / took.as_secs_f64())
}

fn connection() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let client = TcpStream::connect(listener.local_addr().context("its address")?).context("connect")?;
    let (server, _) = listener.accept().context("accept")?;
    for end in [&client, &server] {
        end.set_nodelay(true).context("switch off Nagle's algorithm")?;
    }
    Ok((client, server))
}

type Work<T> = thread::JoinHandle<std::io::Result<T>>;

/// Runs work on the first CPU.
fn pinned<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Work<T> {
    thread::spawn(|| {
        let mut first = CpuSet::new();
        first.set(0)?;
        sched_setaffinity(Pid::from_raw(0), &first)?;
        work()
    })
}

fn ended<T>(work: Work<T>) -> Result<T> {
    Ok(work.join().map_err(|_| anyhow!("a thread ended in a panic"))??)
}

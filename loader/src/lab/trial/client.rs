//! Stage: lab trial. The client: one exchange after the other, each on a fresh socket, each checked byte by byte.
//!
//! Input: a trial, sockets. Output: who answered each exchange and how long it took, or why it failed. Read next: `mod.rs`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

use super::exchange;
use crate::manifest::lab::Trial;

/// How long one exchange may take: a lost packet is retransmitted after one second, and is allowed to be, once.
const PATIENCE: Duration = Duration::from_secs(3);

/// One exchange that worked.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// The server's number.
    pub(super) server: u32,
    /// Of each request: from its first byte to the last of its reply; for TCP, without the handshake.
    pub(super) round_trips: Vec<Duration>,
}

/// A TCP socket that is not connected yet: it belongs to the namespace and the cgroup that it is made in.
pub(super) fn tcp_socket(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let stream = TcpStream::from(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?; // which is also the time that connecting may take
    Ok(stream)
}

/// Connects, and does exchange `number` with one of the servers: as many requests as the trial wants. The connection stays open.
///
/// # Errors
/// What went wrong, in words, with the step it went wrong in.
pub(super) fn talk(mut stream: &TcpStream, trial: &Trial, number: u32) -> Result<Exchange, String> {
    connect(stream.as_raw_fd(), &SockaddrStorage::from(trial.to)).map_err(|errno| format!("connect: {errno}"))?;
    let mut all: Option<Exchange> = None;
    for round in 0..trial.rounds {
        let number = number.wrapping_mul(trial.rounds).wrapping_add(round);
        let request = exchange::request(number, exchange::size(trial, number));
        let begin = Instant::now();
        stream.write_all(&request).map_err(|e| format!("send: {e}"))?;
        let mut reply = vec![0; request.len()];
        stream.read_exact(&mut reply).map_err(|e| format!("receive: {e}"))?;
        let round_trip = begin.elapsed();
        let server = check(trial, &request, &reply)?;
        all.get_or_insert_with(|| Exchange { server, round_trips: Vec::new() }).round_trips.push(round_trip);
    }
    all.ok_or_else(|| "no request".to_owned())
}

/// Closes a connection, and sees that nothing more comes than its end.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn close(mut stream: &TcpStream) -> Result<(), String> {
    stream.shutdown(Shutdown::Write).map_err(|e| format!("close: {e}"))?;
    match stream.read(&mut [0; 1]).map_err(|e| format!("receive the end: {e}"))? {
        0 => Ok(()),
        _ => Err("bytes after the end of the reply".to_owned()),
    }
}

/// One datagram there and one back.
///
/// # Errors
/// What went wrong, in words, with the step it went wrong in.
pub(super) fn udp(trial: &Trial, number: u32) -> Result<Exchange, String> {
    let any: SocketAddr =
        if trial.to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).map_err(|e| format!("bind: {e}"))?;
    socket.connect(trial.to).map_err(|e| format!("connect: {e}"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|e| format!("set a timeout: {e}"))?;
    let request = exchange::request(number, exchange::size(trial, number));
    let begin = Instant::now();
    socket.send(&request).map_err(|e| format!("send: {e}"))?;
    let mut reply = [0; exchange::DATAGRAM];
    let length = socket.recv(&mut reply).map_err(|e| format!("receive: {e}"))?;
    let round_trips = vec![begin.elapsed()];
    Ok(Exchange { server: check(trial, &request, &reply[..length])?, round_trips })
}

fn check(trial: &Trial, request: &[u8], reply: &[u8]) -> Result<u32, String> {
    exchange::check(request, reply, u32::try_from(trial.servers.len()).unwrap_or(u32::MAX))
}

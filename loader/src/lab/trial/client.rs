//! Stage: lab trial. The client: one exchange after the other, each from a fresh socket, each checked byte by byte.
//!
//! Input: where to, how many. Output: who answered each exchange and how long it took, or why it failed. Read next: `mod.rs`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::exchange::{self, HEADER, MOST, TCP_SIZES, UDP_SIZES};
use crate::manifest::lab::Protocol;

/// How long one exchange may take: a lost packet is retransmitted after one second, and is allowed to be, once.
const PATIENCE: Duration = Duration::from_secs(3);

/// One exchange that worked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    /// The server's number.
    pub(super) server: u32,
    /// From the first byte of the request to the last of the reply; for TCP, without the handshake.
    pub(super) round_trip: Duration,
}

/// Does exchange `number` with one of `servers`.
///
/// # Errors
/// What went wrong, in words, with the step it went wrong in.
pub(super) fn exchange(protocol: Protocol, to: SocketAddr, number: u32, servers: u32) -> Result<Exchange, String> {
    match protocol {
        Protocol::Tcp => tcp(to, number, servers),
        Protocol::Udp => udp(to, number, servers),
    }
}

fn size(sizes: &[usize], number: u32) -> usize {
    let at = usize::try_from(number).unwrap_or(0) % sizes.len();
    sizes[at]
}

fn tcp(to: SocketAddr, number: u32, servers: u32) -> Result<Exchange, String> {
    let request = exchange::request(number, size(&TCP_SIZES, number));
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true).map_err(|e| format!("set nodelay: {e}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| format!("set a timeout: {e}"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|e| format!("set a timeout: {e}"))?;
    let begin = Instant::now();
    stream.write_all(&request).map_err(|e| format!("send: {e}"))?;
    let mut reply = vec![0; request.len()];
    stream.read_exact(&mut reply).map_err(|e| format!("receive: {e}"))?;
    let round_trip = begin.elapsed();
    stream.shutdown(Shutdown::Write).map_err(|e| format!("close: {e}"))?;
    let rest = stream.take(1).read_to_end(&mut reply).map_err(|e| format!("receive the end: {e}"))?;
    if rest > 0 {
        return Err("bytes after the end of the reply".to_owned());
    }
    Ok(Exchange { server: exchange::check(&request, &reply, servers)?, round_trip })
}

fn udp(to: SocketAddr, number: u32, servers: u32) -> Result<Exchange, String> {
    let any: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).map_err(|e| format!("bind: {e}"))?;
    socket.connect(to).map_err(|e| format!("connect: {e}"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|e| format!("set a timeout: {e}"))?;
    let request = exchange::request(number, size(&UDP_SIZES, number));
    let begin = Instant::now();
    socket.send(&request).map_err(|e| format!("send: {e}"))?;
    let mut reply = vec![0; HEADER + MOST];
    let length = socket.recv(&mut reply).map_err(|e| format!("receive: {e}"))?;
    let round_trip = begin.elapsed();
    reply.truncate(length);
    Ok(Exchange { server: exchange::check(&request, &reply, servers)?, round_trip })
}

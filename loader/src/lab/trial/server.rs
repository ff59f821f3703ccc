//! Stage: lab trial. The small server that runs in each real server's namespace: one thread, one bound socket.
//!
//! Input: requests. Output: replies that say who answered, and a count. Read next: `client.rs`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::exchange::{self, HEADER};
use crate::manifest::lab::Protocol;
use crate::manifest::trial::MOST_TCP;

/// How long a server waits for the next client before it looks whether it should end.
const LOOK: u8 = 20; // milliseconds

/// How long a connected client may keep the server waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bound socket, ready to serve.
pub(super) enum Server {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Server {
    /// Binds in the namespace of the calling thread, so that clients can come as soon as this returns.
    pub(super) fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    /// Serves until `stop`; returns how many exchanges were answered, of `rounds` requests each, and the first that was not.
    pub(super) fn serve(self, number: u32, rounds: u32, stop: &AtomicBool) -> io::Result<(u64, Option<io::Error>)> {
        let (mut served, mut failed) = (0, None);
        let mut count = |done: io::Result<()>| match done {
            Ok(()) => served += 1,
            Err(error) => drop(failed.get_or_insert(error)),
        };
        // Connections that were answered, until their clients close them.
        let mut standing: Vec<TcpStream> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let (is_called, ended) = self.wait(&standing)?;
            // One broken client is no reason to stop; the server goes on.
            for at in ended.into_iter().rev() {
                count(end(&standing.swap_remove(at)));
            }
            match &self {
                _ if !is_called => {}
                Self::Tcp(listener) => match accept(listener).and_then(|stream| answer_tcp(stream, number, rounds)) {
                    Ok(stream) => standing.push(stream),
                    Err(error) => count(Err(error)),
                },
                Self::Udp(socket) => count(answer_udp(socket, number)),
            }
        }
        Ok((served, failed))
    }

    /// Waits for a moment; whether a client calls, and which of the standing connections have something to read.
    fn wait(&self, standing: &[TcpStream]) -> io::Result<(bool, Vec<usize>)> {
        let bound = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        };
        let all = standing.iter().map(AsFd::as_fd).chain([bound]);
        let mut all: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut all, PollTimeout::from(LOOK))?;
        let mut ready: Vec<usize> = (0..all.len()).filter(|at| all[*at].any().unwrap_or(false)).collect();
        let is_called = ready.pop_if(|last| *last == standing.len()).is_some();
        Ok((is_called, ready))
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// So many requests, a reply to each.
fn answer_tcp(mut stream: TcpStream, number: u32, rounds: u32) -> io::Result<TcpStream> {
    for _ in 0..rounds {
        let mut start = [0; HEADER];
        stream.read_exact(&mut start)?;
        let (_, length) =
            exchange::header(&start).filter(|(_, length)| *length <= MOST_TCP).ok_or(io::ErrorKind::InvalidData)?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        stream.write_all(&exchange::reply(number, &payload))?;
    }
    Ok(stream)
}

/// Nothing may come but the end. The client closes first, so that the time-wait state is its to keep.
fn end(mut stream: &TcpStream) -> io::Result<()> {
    let rest = stream.read(&mut [0; 1])?;
    if rest == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn answer_udp(socket: &UdpSocket, number: u32) -> io::Result<()> {
    let mut buffer = [0; exchange::DATAGRAM];
    let (length, from) = socket.recv_from(&mut buffer)?;
    let payload = buffer.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
    socket.send_to(&exchange::reply(number, payload), from)?;
    Ok(())
}

//! Stage: lab trial. The small server that runs in each real server's namespace: one thread, one socket, no state.
//!
//! Input: requests. Output: replies that say who answered, and a count. Read next: `client.rs`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::exchange::{self, HEADER, MOST};
use crate::manifest::lab::Protocol;

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

    /// Serves until `stop`; returns how many exchanges were answered.
    pub(super) fn serve(self, number: u32, stop: &AtomicBool) -> io::Result<u64> {
        let mut served = 0;
        while !stop.load(Ordering::Relaxed) {
            let fd = match &self {
                Self::Tcp(listener) => listener.as_fd(),
                Self::Udp(socket) => socket.as_fd(),
            };
            let ready = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(LOOK))?;
            if ready == 0 {
                continue;
            }
            let done = match &self {
                Self::Tcp(listener) => accept(listener).and_then(|stream| answer_tcp(stream, number)),
                Self::Udp(socket) => answer_udp(socket, number),
            };
            // One broken client is that client's failure, which it reports; the server goes on.
            served += u64::from(done.is_ok());
        }
        Ok(served)
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

/// One request, one reply, and the end. The client closes first, so that the time-wait state is its to keep.
fn answer_tcp(mut stream: TcpStream, number: u32) -> io::Result<()> {
    let mut start = [0; HEADER];
    stream.read_exact(&mut start)?;
    let (_, length) =
        exchange::header(&start).filter(|(_, length)| *length <= MOST).ok_or(io::ErrorKind::InvalidData)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    stream.write_all(&exchange::reply(number, &payload))?;
    let rest = stream.read(&mut [0; 1])?;
    if rest == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn answer_udp(socket: &UdpSocket, number: u32) -> io::Result<()> {
    let mut buffer = vec![0; MOST];
    let (length, from) = socket.recv_from(&mut buffer)?;
    let payload = buffer.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
    socket.send_to(&exchange::reply(number, payload), from)?;
    Ok(())
}

//! Stage: the socket: a request out, its answers and the verdict back. Input: a [`Request`]; output: decoded [`Body`]s, or an
//! [`Error`] with the kernel's own words.
//!
//! What is checked here: the sender is the kernel; no datagram is cut short; buffers are bounded; a dump that changed under our
//! eyes is asked for again. What is checked of the bytes: see `exchange.rs`, which is next.

use std::fmt;
use std::io;

use netlink_sys::SocketAddr;
use nix::sys::socket::MsgFlags;

use crate::error::Error;
use crate::exchange::{Answers, Exchange};
use crate::wire::{Attribute, Body, FixedHeader, Flags, Request};

/// Room for one datagram at first; the kernel fills up to this much per datagram of a dump.
const BUFFER: usize = 32 * 1024;
/// The largest datagram taken.
const MAX_DATAGRAM: usize = 4 * 1024 * 1024;
/// How often a dump is asked for that changes meanwhile.
const DUMP_TRIES: u32 = 16;

/// Which way a recorded datagram went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the kernel.
    Sent,
    /// From the kernel.
    Received,
}

/// Called with each datagram; see [`Connection::set_tap`].
pub type Tap = Box<dyn FnMut(Direction, &[u8]) + Send>;

/// A netlink socket of one protocol, in the network namespace the thread was in when it was opened.
pub struct Connection {
    socket: netlink_sys::Socket,
    /// Our address, given by the kernel.
    port: u32,
    /// Number of the last request.
    seq: u32,
    buffer: Vec<u8>,
    tap: Option<Tap>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("port", &self.port).field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens a socket of `protocol` (`NETLINK_ROUTE` is 0, `NETLINK_GENERIC` 16) in the calling thread's network namespace,
    /// with `NETLINK_EXT_ACK`, `NETLINK_CAP_ACK` and `NETLINK_GET_STRICT_CHK` (all older than Linux 5.10).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(protocol: isize) -> Result<Connection, Error> {
        let failed = |source| Error::Io { what: "open a netlink socket".to_owned(), source };
        let mut socket = netlink_sys::Socket::new(protocol).map_err(failed)?;
        let port = socket.bind_auto().map_err(failed)?.port_number();
        socket.set_ext_ack(true).map_err(failed)?;
        socket.set_cap_ack(true).map_err(failed)?;
        socket.set_netlink_get_strict_chk(true).map_err(failed)?;
        Ok(Connection { socket, port, seq: 0, buffer: vec![0; BUFFER], tap: None })
    }

    /// The socket's address, given by the kernel.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Has `tap` called with each datagram sent and received, for traces and recordings.
    pub fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
    }

    /// Sends a request that has no answer but the acknowledgement. Gives the kernel's warning, if it has one.
    pub(crate) fn ack<H: FixedHeader, A: Attribute>(
        &mut self,
        request: &Request<H, A>,
    ) -> Result<Option<String>, Error> {
        self.exchange(request).map(|answers| answers.warning)
    }

    /// Sends a request that has one answer.
    pub(crate) fn get<H: FixedHeader, A: Attribute>(&mut self, request: &Request<H, A>) -> Result<Body<H, A>, Error> {
        let first = self.exchange(request)?.bodies.into_iter().next();
        first.ok_or_else(|| Error::NoAnswer { what: request.what.clone() })
    }

    /// Sends a request for all there is; asks again when it changed meanwhile.
    pub(crate) fn dump<H: FixedHeader, A: Attribute>(
        &mut self,
        request: &Request<H, A>,
    ) -> Result<Vec<Body<H, A>>, Error> {
        for _ in 0..DUMP_TRIES {
            let exchange = self.converse(request)?;
            if !exchange.is_interrupted() {
                return Ok(exchange.into_bodies());
            }
        }
        Err(Error::Unsettled { what: request.what.clone(), tries: DUMP_TRIES })
    }

    /// Sends a request that may have answers.
    pub(crate) fn exchange<H: FixedHeader, A: Attribute>(
        &mut self,
        request: &Request<H, A>,
    ) -> Result<Answers<H, A>, Error> {
        self.converse(request).map(Exchange::into_answers)
    }

    /// Sends requests that are done all together or not at all, and takes the verdict on each. `begin` and `end` say so to the kernel.
    pub(crate) fn batch<H: FixedHeader, A: Attribute>(
        &mut self,
        begin: &Request<H, A>,
        parts: &[&dyn Part],
        end: &Request<H, A>,
    ) -> Result<(), Error> {
        let bound = |request: &Request<H, A>, seq| {
            let bytes = request.encode(Flags::REQUEST, seq, 0);
            bytes.map_err(|source| Error::Wire { what: request.what.clone(), source })
        };
        let first = self.seq.wrapping_add(1);
        let numbered = || (0..).zip(parts).map(|(at, part)| (first.wrapping_add(at), part));
        self.seq = numbered().last().map_or(first, |(seq, _)| seq);
        // What the kernel refuses as a whole, it refuses under the number of the beginning: that is the first one's.
        let mut bytes = bound(begin, first)?;
        for (seq, part) in numbered() {
            bytes.extend(part.bytes(seq)?);
        }
        bytes.extend(bound(end, self.seq)?);
        self.send(&bytes).map_err(|source| Error::Io { what: begin.what.clone(), source })?;
        for (seq, part) in numbered() {
            loop {
                let len = self.receive(&begin.what)?;
                if part.datagram(seq, self.port, &self.buffer[..len])? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends a request and takes datagrams until the verdict.
    fn converse<'a, H: FixedHeader, A: Attribute>(
        &mut self,
        request: &'a Request<H, A>,
    ) -> Result<Exchange<'a, H, A>, Error> {
        self.seq = self.seq.wrapping_add(1);
        let sent = request.encode(Flags::REQUEST | Flags::ACK, self.seq, 0);
        let sent = sent.map_err(|source| Error::Wire { what: request.what.clone(), source })?;
        self.send(&sent).map_err(|source| Error::Io { what: request.what.clone(), source })?;
        let mut exchange = Exchange::new(request, self.seq, self.port);
        loop {
            let len = self.receive(&request.what)?;
            if exchange.datagram(&self.buffer[..len])? {
                return exchange.end();
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tap) = &mut self.tap {
            tap(Direction::Sent, bytes);
        }
        let kernel = SocketAddr::new(0, 0);
        let sent = retry(|| self.socket.send_to(bytes, &kernel, 0))?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Takes the next whole datagram that the kernel sent into the buffer, and gives its length.
    fn receive(&mut self, what: &str) -> Result<usize, Error> {
        let failed = |source| Error::Io { what: what.to_owned(), source };
        loop {
            let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
            let (len, _) = retry(|| self.socket.recv_from(&mut &mut self.buffer[..], peek.bits())).map_err(failed)?;
            if len > self.buffer.len() && len <= MAX_DATAGRAM {
                self.buffer.resize(len, 0);
            }
            let trunc = MsgFlags::MSG_TRUNC.bits();
            let (len, from) = retry(|| self.socket.recv_from(&mut &mut self.buffer[..], trunc)).map_err(failed)?;
            if from.port_number() != 0 {
                continue; // Another process may write to our address; only the kernel's word counts.
            }
            if len > self.buffer.len() {
                return Err(Error::TooLarge { what: what.to_owned(), len, limit: MAX_DATAGRAM });
            }
            if let Some(tap) = &mut self.tap {
                tap(Direction::Received, &self.buffer[..len]);
            }
            return Ok(len);
        }
    }
}

/// One request of a batch, whatever its attributes.
pub(crate) trait Part {
    /// The message under that number.
    fn bytes(&self, seq: u32) -> Result<Vec<u8>, Error>;

    /// Takes one datagram; true when the verdict on this request was in it.
    fn datagram(&self, seq: u32, port: u32, bytes: &[u8]) -> Result<bool, Error>;
}

impl<H: FixedHeader, A: Attribute> Part for Request<H, A> {
    fn bytes(&self, seq: u32) -> Result<Vec<u8>, Error> {
        let bytes = self.encode(Flags::REQUEST | Flags::ACK, seq, 0);
        bytes.map_err(|source| Error::Wire { what: self.what.clone(), source })
    }

    fn datagram(&self, seq: u32, port: u32, bytes: &[u8]) -> Result<bool, Error> {
        Exchange::new(self, seq, port).datagram(bytes)
    }
}

/// Repeats a system call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

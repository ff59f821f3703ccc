//! Stage: one exchange with the kernel: a request out, its answers and the verdict back. Input: a [`Request`]; output: decoded
//! [`Body`]s, or an [`Error`] with the kernel's own words.
//!
//! What is checked: the sender is the kernel; sequence and port are those of the request; no datagram is cut short; lengths add
//! up; a dump that changed under our eyes is asked for again. Buffers are bounded. Next: `error.rs`, then `route/mod.rs`.

use std::fmt;
use std::io;

use netlink_sys::SocketAddr;
use nix::sys::socket::MsgFlags;

use crate::error::{Error, Refusal};
use crate::wire::{Ack, AckAttr, Attribute, Body, FixedHeader, Flags, Message, Request, WireError, control, messages};

/// Room for one datagram at first; the kernel fills up to this much per datagram of a dump.
const BUFFER: usize = 32 * 1024;
/// The largest datagram taken.
const MAX_DATAGRAM: usize = 4 * 1024 * 1024;
/// The most bytes one dump may have.
const MAX_DUMP: usize = 256 * 1024 * 1024;
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

/// What came back for one request.
#[derive(Debug)]
pub(crate) struct Answers<H, A> {
    /// Kind of each message, and what is in it.
    pub(crate) messages: Vec<(u16, Body<H, A>)>,
    /// A warning the kernel gave with its acknowledgement.
    pub(crate) warning: Option<String>,
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
        let first = self.exchange(request)?.messages.into_iter().next();
        first.map(|(_, body)| body).ok_or_else(|| Error::NoAnswer { what: request.what.clone() })
    }

    /// Sends a request for all there is; asks again when it changed meanwhile.
    pub(crate) fn dump<H: FixedHeader, A: Attribute>(
        &mut self,
        request: &Request<H, A>,
    ) -> Result<Vec<Body<H, A>>, Error> {
        for _ in 0..DUMP_TRIES {
            let mut exchange = Exchange::start(self, request)?;
            exchange.finish(self)?;
            if !exchange.interrupted {
                return Ok(exchange.answers.into_iter().map(|(_, body)| body).collect());
            }
        }
        Err(Error::Unsettled { what: request.what.clone(), tries: DUMP_TRIES })
    }

    /// Sends a request and takes answers until the verdict.
    pub(crate) fn exchange<H: FixedHeader, A: Attribute>(
        &mut self,
        request: &Request<H, A>,
    ) -> Result<Answers<H, A>, Error> {
        let mut exchange = Exchange::start(self, request)?;
        exchange.finish(self)?;
        Ok(Answers { messages: exchange.answers, warning: exchange.warning })
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

/// Repeats a system call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// One request under way.
struct Exchange<'a, H, A> {
    request: &'a Request<H, A>,
    seq: u32,
    port: u32,
    answers: Vec<(u16, Body<H, A>)>,
    /// Bytes of answers so far.
    size: usize,
    interrupted: bool,
    warning: Option<String>,
}

impl<'a, H: FixedHeader, A: Attribute> Exchange<'a, H, A> {
    fn start(connection: &mut Connection, request: &'a Request<H, A>) -> Result<Exchange<'a, H, A>, Error> {
        let what = || request.what.clone();
        connection.seq = connection.seq.wrapping_add(1);
        let (seq, port) = (connection.seq, connection.port);
        let extra = Flags::REQUEST | Flags::ACK;
        let sent = request.encode(extra, seq, 0).map_err(|source| Error::Wire { what: what(), source })?;
        connection.send(&sent).map_err(|source| Error::Io { what: what(), source })?;
        Ok(Exchange { request, seq, port, answers: Vec::new(), size: 0, interrupted: false, warning: None })
    }

    /// Takes datagrams until the verdict.
    fn finish(&mut self, connection: &mut Connection) -> Result<(), Error> {
        loop {
            let len = connection.receive(&self.request.what)?;
            if self.datagram(&connection.buffer[..len])? {
                break;
            }
        }
        match self.size > MAX_DUMP {
            true => Err(Error::TooLarge { what: self.request.what.clone(), len: self.size, limit: MAX_DUMP }),
            false => Ok(()),
        }
    }

    /// Takes one datagram; true when the verdict was in it.
    fn datagram(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let mut over = false;
        for message in messages(bytes) {
            over |= self.message(&message.map_err(|source| self.wire(source))?)?;
        }
        Ok(over)
    }

    /// Takes one message; true when it is the verdict.
    fn message(&mut self, message: &Message<'_>) -> Result<bool, Error> {
        let header = &message.header;
        if self.is_stale(header.seq) && header.port == self.port {
            return Ok(false);
        }
        if header.seq != self.seq || header.port != self.port {
            let (what, want_seq, want_port) = (self.request.what.clone(), self.seq, self.port);
            return Err(Error::NotOurs { what, seq: header.seq, port: header.port, want_seq, want_port });
        }
        self.interrupted |= header.flags().contains(Flags::DUMP_INTR);
        match header.kind {
            control::NOOP => Ok(false),
            control::ERROR => self.verdict(message).map(|()| true),
            control::DONE if message.payload.is_empty() => Ok(true),
            control::DONE => self.verdict(message).map(|()| true),
            kind => self.answer(kind, message.payload).map(|()| false),
        }
    }

    /// Whether the number is that of an earlier request, whose answers nobody waited for.
    fn is_stale(&self, seq: u32) -> bool {
        let age = self.seq.wrapping_sub(seq);
        age != 0 && age < u32::MAX / 2
    }

    fn answer(&mut self, kind: u16, payload: &[u8]) -> Result<(), Error> {
        self.size = self.size.saturating_add(payload.len());
        if self.size <= MAX_DUMP {
            // Beyond that the rest is read and dropped, so that the socket stays usable.
            self.answers.push((kind, Body::decode(payload).map_err(|source| self.wire(source))?));
        }
        Ok(())
    }

    fn verdict(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let ack = Ack::decode(&message.header, message.payload).map_err(|source| self.wire(source))?;
        if ack.errno == 0 {
            self.warning = ack.message();
            return Ok(());
        }
        Err(Error::Refused(Box::new(self.refusal(&ack))))
    }

    fn refusal(&self, ack: &Ack) -> Refusal {
        let mut refusal = Refusal {
            what: self.request.what.clone(),
            errno: ack.errno,
            message: ack.message(),
            attribute: None,
            missing: None,
            policy: None,
        };
        let mut nest = None;
        for attr in &ack.attrs {
            match attr {
                AckAttr::Offs(offset) => refusal.attribute = self.attribute_at(*offset),
                AckAttr::MissNest(offset) => nest = self.attribute_at(*offset),
                AckAttr::Policy(policy) => refusal.policy = Some(crate::wire::printed(policy)),
                _ => {}
            }
        }
        for attr in &ack.attrs {
            if let AckAttr::MissType(kind) = attr {
                refusal.missing = Some(missing::<A>(nest.as_deref(), *kind));
            }
        }
        refusal
    }

    fn attribute_at(&self, offset: u32) -> Option<String> {
        self.request.attribute_at(usize::try_from(offset).ok()?)
    }

    fn wire(&self, source: WireError) -> Error {
        Error::Wire { what: self.request.what.clone(), source }
    }
}

fn missing<A: Attribute>(nest: Option<&str>, kind: u32) -> String {
    match (nest, u16::try_from(kind).ok().and_then(A::name_of)) {
        (None, Some(name)) => name.to_owned(),
        (None, None) => format!("attribute {kind}"),
        (Some(nest), _) => format!("attribute {kind} of {nest}"),
    }
}

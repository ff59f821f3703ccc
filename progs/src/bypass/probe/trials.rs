//! The trials: what an application would do, and what it sees.
//!
//! Stage: control plane. Input: programs at their places, and sockets of this thread's namespace. Output: a [`Trial`] each. Nothing here
//! waits longer than [`SOON`] for anything. Next file to read: `verdict.rs`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use super::{Found, Trial};
use crate::bypass::control::Bypass;
use crate::bypass::quarantine::Misfit;

/// Far longer than a message takes on one host.
const SOON: Duration = Duration::from_secs(1);
/// Bytes of the messages whose fate is asked for.
pub(super) const TEN: usize = 10;
/// Wake-ups that are waited for.
pub(super) const WAKE_UPS: u32 = 100;
/// Connections whose client closes its side and waits for the answer.
pub(super) const HALF_CLOSES: u32 = 40;
/// Bytes on their way when everything is taken down, and one after it.
pub(super) const LEFT: usize = 4097;
/// More than TCP's buffers hold on most machines.
pub(super) const FAR_TOO_MUCH: usize = 16 << 20;
/// Bytes sent each way where the order is judged.
const POURED: usize = 256 << 10;

fn words<T>(result: io::Result<T>) -> Trial<T> {
    result.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => format!("nothing within {} ms", SOON.as_millis()),
        _ => error.to_string(),
    })
}

/// A connection over loopback: client, server.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(SOON))?;
        end.set_write_timeout(Some(SOON))?;
    }
    Ok((client, server))
}

/// One whose ends have both read something: what follows is redirected.
fn talking() -> io::Result<(TcpStream, TcpStream)> {
    let (mut client, mut server) = connection()?;
    let mut bytes = [0; 5];
    for _ in 0..2 {
        client.write_all(b"hello")?;
        server.read_exact(&mut bytes)?;
        server.write_all(b"world")?;
        client.read_exact(&mut bytes)?;
    }
    Ok((client, server))
}

/// Bytes that were redirected so far.
fn redirected(bypass: &Bypass) -> Trial<u64> {
    let inboxes = bypass.inboxes().map_err(|error| error.to_string())?;
    Ok(inboxes.iter().map(|(_, inbox)| inbox.redirected).sum())
}

/// Ten bytes on their way to the server: redirected, or by TCP to a socket that is enrolled.
fn on_their_way(bypass: &Bypass, by_tcp: bool) -> Trial<(TcpStream, TcpStream)> {
    let (mut client, server) = words(if by_tcp { connection() } else { talking() })?;
    let before = redirected(bypass)?;
    words(client.write_all(&[7; TEN]))?;
    let went = redirected(bypass)? - before;
    if (went == 0) == by_tcp { Ok((client, server)) } else { Err("the bytes went the other way".to_owned()) }
}

/// Does the hook count, and are messages redirected because of it?
pub(super) fn counts(bypass: &Bypass) -> Trial<bool> {
    let before = redirected(bypass)?;
    words(talking().map(drop))?;
    let (client, mut server) = on_their_way(bypass, false)?;
    words(server.read_exact(&mut [0; TEN]))?;
    let inboxes = bypass.inboxes().map_err(|error| error.to_string())?;
    drop(client);
    Ok(redirected(bypass)? > before && inboxes.iter().any(|(_, inbox)| inbox.read == 20 && inbox.sent == 20))
}

/// What stands at a place of the stream.
fn letter(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]
}

/// Both ends send at the same time, in pieces of all sizes, so that both ways are taken in turn.
pub(super) fn order() -> Trial<usize> {
    let (client, server) = words(talking())?;
    let mut threads = Vec::new();
    for end in [client, server] {
        let reading = words(end.try_clone())?;
        threads.push(thread::spawn(move || pour(end)));
        threads.push(thread::spawn(move || drink(reading)));
    }
    let ends = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread ended".to_owned())));
    ends.sum()
}

fn pour(mut end: TcpStream) -> Trial<usize> {
    let mut at = 0;
    for len in [1, 7, 100, 1000, 5000, 17_000, 64_000].into_iter().cycle() {
        let bytes: Vec<u8> = (at..POURED.min(at + len)).map(letter).collect();
        words(end.write_all(&bytes))?;
        at += bytes.len();
        if at == POURED {
            break;
        }
    }
    Ok(0)
}

fn drink(mut end: TcpStream) -> Trial<usize> {
    let (mut at, mut bytes) = (0, vec![0; 30_000]);
    while at < POURED {
        let got = words(end.read(&mut bytes))?;
        if got == 0 {
            return Err(format!("the end comes at byte {at}"));
        }
        if let Some(wrong) = (0..got).find(|i| bytes[*i] != letter(at + i)) {
            return Err(format!("another byte comes at {}", at + wrong));
        }
        at += got;
    }
    Ok(at)
}

/// Bytes that a sender gets rid of while nobody reads.
pub(super) fn held() -> Trial<usize> {
    let (mut client, _server) = words(talking())?;
    words(client.set_nonblocking(true))?;
    let chunk = vec![7; 64 << 10];
    let mut sent = 0;
    while sent < FAR_TOO_MUCH {
        match client.write(&chunk) {
            Ok(n) => sent += n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(sent)
}

/// Wake-ups that come to a reader with edge-triggered epoll.
pub(super) fn woken() -> Trial<u32> {
    let (mut client, mut server) = words(talking())?;
    words(server.set_nonblocking(true))?;
    let errno = |errno: rustix::io::Errno| errno.to_string();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?;
    let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&poll, &server, epoll::EventData::new_u64(1), edges).map_err(errno)?;
    let soon = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let mut woken = 0;
    for round in 0..WAKE_UPS {
        words(client.write_all(&round.to_ne_bytes()))?;
        let mut events = Vec::with_capacity(4);
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&soon)).map_err(errno)?;
        woken += u32::from(!events.is_empty());
        if woken + 3 < round {
            break; // enough was missed, and each costs its time
        }
        let mut bytes = [0; 64];
        while server.read(&mut bytes).is_ok() {}
    }
    Ok(woken)
}

/// How often a reader that waits, and whose own side is closed, is told to try again before its time is over.
pub(super) fn retries() -> Trial<u32> {
    let listener = words(TcpListener::bind("127.0.0.1:0"))?;
    let to = words(listener.local_addr())?;
    let answering = thread::spawn(move || {
        for _ in 0..HALF_CLOSES {
            let (mut server, _) = listener.accept()?;
            server.set_read_timeout(Some(SOON))?;
            let mut request = Vec::new();
            server.read_to_end(&mut request)?;
            server.write_all(&request)?;
        }
        Ok(())
    });
    let asked: Trial<u32> = (0..HALF_CLOSES).map(|_| words(ask(to))).sum();
    // Where a client gave up, nobody connects any more: the thread is told by one that does and says nothing.
    if asked.is_err() {
        while !answering.is_finished() {
            drop(TcpStream::connect(to));
        }
    }
    words(answering.join().unwrap_or(Ok(())))?;
    asked
}

fn ask(to: std::net::SocketAddr) -> io::Result<u32> {
    let mut client = TcpStream::connect(to)?;
    client.write_all(b"request")?;
    client.shutdown(Shutdown::Write)?;
    let (mut answer, mut told) = (Vec::new(), 0);
    while let Err(error) = client.read_to_end(&mut answer) {
        told += 1;
        if error.kind() != ErrorKind::WouldBlock || told > 1000 {
            return Err(error);
        }
    }
    if answer == b"request" { Ok(told) } else { Err(io::Error::other("another answer comes")) }
}

/// What `splice` takes of redirected bytes.
pub(super) fn spliced(bypass: &Bypass) -> Trial<u64> {
    let (_client, server) = on_their_way(bypass, false)?;
    splice_from(&server)
}

fn splice_from(server: &TcpStream) -> Trial<u64> {
    words(server.set_nonblocking(true))?;
    let errno = |errno: rustix::io::Errno| errno.to_string();
    let (_reading, writing) = pipe_with(PipeFlags::NONBLOCK).map_err(errno)?;
    match splice(server, None, &writing, None, 64, SpliceFlags::NONBLOCK) {
        Ok(taken) => Ok(taken as u64),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(other) => Err(other.to_string()),
    }
}

fn readable(ends: Trial<(TcpStream, TcpStream)>) -> Trial<u64> {
    rustix::io::ioctl_fionread(ends?.1).map_err(|errno| errno.to_string())
}

/// What `FIONREAD` says of redirected bytes.
pub(super) fn readable_redirected(bypass: &Bypass) -> Trial<u64> {
    readable(on_their_way(bypass, false))
}

/// What it says of bytes that came by TCP to a socket that is enrolled.
pub(super) fn readable_by_tcp(bypass: &Bypass) -> Trial<u64> {
    readable(on_their_way(bypass, true))
}

/// Whether who splices, and who asks for `FIONREAD`, is found out. Nobody is held for it afterwards.
pub(super) fn found(bypass: &Bypass) -> Trial<Found> {
    let control = |error: crate::bypass::control::Error| error.to_string();
    let held = |misfit: Misfit| {
        let held = bypass.quarantine().map_err(control)?;
        let found = held.iter().any(|(_, held)| held.misfit == misfit.number());
        held.iter().try_for_each(|(who, _)| bypass.set_quarantine(who, None)).map_err(control)?;
        Trial::Ok(found)
    };
    let ends = on_their_way(bypass, true)?;
    let held_for = |seconds| bypass.quarantine_for(Duration::from_secs(seconds)).map_err(control);
    held_for(60)?;
    let _taken = splice_from(&ends.1);
    let splice = held(Misfit::Splice)?;
    let _readable = rustix::io::ioctl_fionread(&ends.1);
    let fionread = held(Misfit::Fionread)?;
    held_for(0)?;
    Ok(Found { splice, fionread })
}

/// What comes of a message that was redirected when everything is taken down, and of a byte after it.
pub(super) fn left(bypass: Bypass, patience: Duration) -> Trial<usize> {
    let (mut client, mut server) = words(talking())?;
    words(client.write_all(&[7; LEFT - 1]))?;
    let reading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(2)); // the queue is full when it is to be empty
        let mut bytes = Vec::new();
        words(server.read_to_end(&mut bytes)).map(|_| bytes.len())
    });
    let down = bypass.down(patience).map_err(|failed| failed.1.to_string());
    words(client.write_all(b"!"))?;
    drop(client);
    down?;
    reading.join().unwrap_or_else(|_| Err("a thread ended".to_owned()))
}

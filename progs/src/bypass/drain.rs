//! Letting go of connections without losing a byte: nothing new is redirected, queues are left to their readers, and only then are the
//! sockets plain TCP's again.
//!
//! Stage: control plane. Input: the programs' maps, wherever they come from. Output: no socket in `peers`; or who does not read, with
//! everything working as before. There is one such road, for [`Bypass::down`](super::control::Bypass::down) and for deployments, those of
//! other versions among them: what a map's fields are is asked of the map. Next file to read: `control.rs`.

use std::fmt;
use std::mem::offset_of;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use asm::dsl::Ip6;
use asm::object::MapType;
use loader::map::{Found, Map, Options};
use loader::sys::uapi::UpdateFlags;
use zerocopy::IntoBytes;

use super::control::Error;
use super::policy::End;
use super::types::Inbox;

/// The only key of a map of variables.
const ONLY: [u8; 4] = [0; 4];

/// So many sockets that do not read are named.
const NAMED: usize = 5;

/// What it takes.
#[derive(Clone, Copy, Debug)]
pub struct Maps<'a> {
    /// `.data`: the switch.
    pub open: &'a Map,
    /// The directions there are.
    pub inboxes: &'a Map,
    /// The enrolled sockets.
    pub peers: &'a Map,
    /// Their addresses.
    pub ends: Option<&'a Map>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Whether it was switched on.
    pub was_open: bool,
    /// Sockets that were left to TCP.
    pub sockets: usize,
    /// How long their readers took.
    pub took: Duration,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left {} sockets to TCP, with nothing unread after {} ms", self.sockets, self.took.as_millis())
    }
}

/// A socket with bytes in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its key.
    pub key: u64,
    /// Bytes.
    pub bytes: u64,
    /// Its addresses, if they are known.
    pub end: Option<End>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at ", self.bytes)?;
        let Some(end) = &self.end else { return write!(f, "socket {:#x}", self.key) };
        let address = |ip: Ip6, port: u16| SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port);
        write!(f, "{} from {}", address(end.local, end.local_port), address(end.remote, end.remote_port))?;
        if end.pid == 0 { Ok(()) } else { write!(f, ", process {} ({})", end.pid, end.comm) }
    }
}

/// The first few of them.
pub(super) fn named(all: &[Unread]) -> String {
    let mut text: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if all.len() > NAMED {
        text.push(format!("{} more", all.len() - NAMED));
    }
    text.join("; ")
}

/// Switches redirection off or on; whether it was on.
///
/// # Errors
///
/// [`Error::Map`].
pub fn open(data: &Map, open: bool) -> Result<bool, Error> {
    let before = data.lookup(&ONLY)?.is_some_and(|value| value.iter().any(|byte| *byte != 0));
    data.update(&ONLY, u32::from(open).as_bytes(), UpdateFlags::empty())?;
    Ok(before)
}

/// Lets go of all connections.
///
/// # Errors
///
/// [`Error::Unread`] if somebody does not read in time; then it is switched on again, if it was.
pub fn drain(maps: &Maps<'_>, patience: Duration) -> Result<Drained, Error> {
    let begun = Instant::now();
    let was_open = open(maps.open, false)?;
    match settle().and_then(|()| wait(maps, begun, patience)).and_then(|()| leave(maps.peers)) {
        Ok(sockets) => Ok(Drained { was_open, sockets, took: begun.elapsed() }),
        Err(error) => {
            open(maps.open, was_open)?;
            Err(error)
        }
    }
}

/// Programs that looked at the switch before have said by now what they redirect, and whom they enrol: none of them runs any longer.
///
/// Who changes a map of maps is kept by the kernel until that is so (`maybe_wait_bpf_programs`), with one processor too, where a program may
/// be preempted and `membarrier` waits for nobody.
fn settle() -> Result<(), Error> {
    let plain = Options { map_type: MapType::ARRAY, key_size: 4, value_size: 4, max_entries: 1, ..Options::default() };
    let inner = Map::create("settle", &plain)?;
    let outer = Options { map_type: MapType::ARRAY_OF_MAPS, inner: Some(inner.as_fd()), ..plain };
    let inside = inner.as_fd().as_raw_fd().to_ne_bytes();
    Ok(Map::create("settle", &outer)?.update(&ONLY, &inside, UpdateFlags::empty())?)
}

/// Waits until nothing that was redirected is unread.
fn wait(maps: &Maps<'_>, begun: Instant, patience: Duration) -> Result<(), Error> {
    let counters = Counters::of(maps.inboxes)?;
    loop {
        let unread = counters.unread(maps.inboxes)?;
        if unread.is_empty() {
            return Ok(());
        }
        let waited = begun.elapsed();
        if waited >= patience {
            // Ends that are written in another way name nobody.
            let ends = maps.ends.and_then(|ends| ends.typed::<u64, End>().ok());
            let end = |key: &u64| ends.as_ref().and_then(|ends| ends.get(key).ok().flatten());
            let unread = unread.into_iter().map(|one| Unread { end: end(&one.key), ..one }).collect();
            return Err(Error::Unread { waited, unread });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where in a direction's bytes its counters are.
struct Counters {
    tail: usize,
    read: usize,
}

impl Counters {
    /// By the map's own types, which may be those of another version; without any, as they are in this one.
    fn of(inboxes: &Map) -> Result<Self, Error> {
        let Some(types) = Found::of(inboxes)?.value else {
            return Ok(Self { tail: offset_of!(Inbox, tail), read: offset_of!(Inbox, read) });
        };
        let counter = |name| types.place(name).filter(|bytes| bytes.len() == size_of::<u64>()).map(|bytes| bytes.start);
        match (counter("tail"), counter("read")) {
            (Some(tail), Some(read)) => Ok(Self { tail, read }),
            _ => Err(Error::Foreign),
        }
    }

    fn unread(&self, inboxes: &Map) -> Result<Vec<Unread>, Error> {
        let number = |bytes: &[u8], at| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
        let unread = |(key, inbox): (Vec<u8>, Vec<u8>)| {
            let (tail, read) = (number(&inbox, self.tail)?, number(&inbox, self.read)?);
            let bytes = tail.checked_sub(read).filter(|bytes| *bytes > 0)?;
            Some(Unread { key: number(&key, 0)?, bytes, end: None })
        };
        Ok(inboxes.entries()?.into_iter().filter_map(unread).collect())
    }
}

/// Takes every socket out; how many there were.
fn leave(peers: &Map) -> Result<usize, Error> {
    let keys: Vec<_> = peers.keys().filter_map(Result::ok).collect();
    for key in &keys {
        peers.delete(key)?;
    }
    Ok(keys.len())
}

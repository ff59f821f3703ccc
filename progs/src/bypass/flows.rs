//! Stage: control plane. The pairs that live, and those that begin and end, as people and collectors read them.
//!
//! Input: the maps `ends`, `inboxes` and `flows`. Output: [`Flow`]s and [`Event`]s; `loader bypass flows` prints them. Next file to read:
//! `control.rs`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use asm::dsl::Ip6;
use loader::map::{self, Map};
use serde::Serialize;
use zerocopy::FromBytes;

use super::audit::Record;
use super::policy::End;
use super::types::{Inbox, Reason};

/// A pair of enrolled ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// `open`, `half-closed` when one end is closed, `closed`.
    pub state: &'static str,
    /// The end that opened the connection.
    pub client: Side,
    /// The end that accepted it.
    pub server: Side,
}

/// One end, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The process that made the socket, or its listener; 0 if that is not known.
    pub pid: u32,
    /// Its command; empty if that is not known.
    pub command: String,
    /// Id of its cgroup; 0 if that is not known.
    pub cgroup: u64,
    /// The own address and port.
    pub local: SocketAddr,
    /// The other end's, which is not what that end says of itself where addresses are translated.
    pub remote: SocketAddr,
    /// When it was established: nanoseconds since boot.
    pub since_ns: u64,
    /// When it was closed; 0 while it is not.
    pub closed_ns: u64,
    /// How it was closed: `-`, `first`, `second`, `reset`.
    pub how: &'static str,
    /// What came to it.
    pub received: Received,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Bytes that went past the stack.
    pub redirected_bytes: u64,
    /// Messages that did.
    pub redirected_messages: u64,
    /// Bytes that went by TCP since both ends were enrolled.
    pub passed_bytes: u64,
    /// Messages that did.
    pub passed_messages: u64,
    /// Why the last of these did: a [`Reason`]'s word.
    pub reason: &'static str,
}

/// A pair begins, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// `begun` or `ended`.
    pub event: &'static str,
    /// When: nanoseconds since boot.
    pub at_ns: u64,
    /// The pair.
    #[serde(flatten)]
    pub flow: Flow,
}

/// The pairs that live, by when they were established.
///
/// # Errors
///
/// What the kernel refuses.
pub fn living(ends: &Map, inboxes: &Map) -> Result<Vec<Flow>, map::Error> {
    let inboxes: HashMap<u64, Inbox> = inboxes.typed()?.entries()?.into_iter().collect();
    let ends: HashMap<u64, End> = ends.typed()?.entries()?.into_iter().collect();
    let mut flows: Vec<Flow> = ends
        .iter()
        .filter(|(_, end)| end.opened != 0)
        .filter_map(|(key, client)| {
            let peer = key.rotate_left(32);
            Some(Flow::of(side(client, inboxes.get(key)), side(ends.get(&peer)?, inboxes.get(&peer))))
        })
        .collect();
    flows.sort_by_key(|flow| flow.client.since_ns);
    Ok(flows)
}

/// What a record of the ring buffer says; `None` for bytes that are none.
#[must_use]
pub fn event(bytes: &[u8]) -> Option<Event> {
    let record = Record::read_from_bytes(bytes).ok()?;
    let (client, server) = if record.one.opened != 0 { (record.one, record.other) } else { (record.other, record.one) };
    let event = if record.what == Record::BEGUN { "begun" } else { "ended" };
    Some(Event { event, at_ns: record.at, flow: Flow::of(side(&client, None), side(&server, None)) })
}

impl Flow {
    fn of(client: Side, server: Side) -> Self {
        let state = match (client.closed_ns, server.closed_ns) {
            (0, 0) => "open",
            (0, _) | (_, 0) => "half-closed",
            _ => "closed",
        };
        Self { state, client, server }
    }

    /// The names of [`Flow::row`]'s columns.
    pub const HEAD: [&'static str; 7] = ["client", "who", "server", "who", "to server", "to client", "state"];

    /// The flow in a row of a table: bytes past the stack, bytes by TCP, and why the last of these went there.
    #[must_use]
    pub fn row(&self) -> [String; 7] {
        [
            self.client.local.to_string(),
            self.client.who(),
            self.server.local.to_string(),
            self.server.who(),
            self.server.received.words(),
            self.client.received.words(),
            self.state.to_owned(),
        ]
    }
}

impl Side {
    fn who(&self) -> String {
        if self.pid == 0 { "-".to_owned() } else { format!("{}/{}", self.pid, self.command) }
    }
}

impl Received {
    fn words(&self) -> String {
        format!("{} past, {} by TCP ({})", self.redirected_bytes, self.passed_bytes, self.reason)
    }
}

fn side(end: &End, inbox: Option<&Inbox>) -> Side {
    Side {
        pid: end.pid,
        command: end.comm.to_string(),
        cgroup: end.cgroup,
        local: address(end.local, end.local_port),
        remote: address(end.remote, end.remote_port),
        since_ns: end.since,
        closed_ns: end.closed,
        how: how(end),
        received: inbox.filter(|_| end.closed == 0).map_or_else(
            || received(end.sent, end.redirected, end.messages, end.passed, end.reason),
            |inbox| received(inbox.sent, inbox.redirected, inbox.messages, inbox.passed, inbox.reason),
        ),
    }
}

fn received(sent: u64, redirected: u64, messages: u64, passed: u64, reason: u32) -> Received {
    Received {
        redirected_bytes: redirected,
        redirected_messages: messages,
        passed_bytes: sent.saturating_sub(redirected),
        passed_messages: passed,
        reason: Reason::word(reason),
    }
}

/// By the state of TCP that the end was closed in.
fn how(end: &End) -> &'static str {
    match (end.closed, end.from) {
        (0, _) => "-",
        (_, 4..=6 | 11) => "first",
        (_, 8 | 9) => "second",
        _ => "reset",
    }
}

fn address(ip: Ip6, port: u16) -> SocketAddr {
    let ip = Ipv6Addr::from(ip);
    SocketAddr::new(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4), port)
}

//! Stage: control plane. The pairs that live, and those that begin and end, as people and collectors read them.
//!
//! Input: the maps `ends`, `inboxes` and `flows`. Output: [`Flow`]s, [`Event`]s and [`Said`]s; `loader bypass flows` prints them. Next
//! file to read: `control.rs`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use asm::dsl::Ip6;
use loader::map::{self, Map};
use serde::{Serialize, Serializer};
use zerocopy::{FromBytes, IntoBytes};

use super::audit::Record;
use super::first::Sent;
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
    /// What it sent first, a few bytes, if the audit copies that.
    #[serde(serialize_with = "digits", skip_serializing_if = "Vec::is_empty")]
    pub sent_first: Vec<u8>,
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

/// A message that carried some of the first bytes that an end sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `sent`.
    pub event: &'static str,
    /// When: nanoseconds since boot.
    pub at_ns: u64,
    /// Which end sent it: `client`, `server`.
    pub by: &'static str,
    /// The process that made its socket, or its listener; 0 if that is not known.
    pub pid: u32,
    /// Its command; empty if that is not known.
    pub command: String,
    /// Id of its cgroup; 0 if that is not known.
    pub cgroup: u64,
    /// The own address and port. With `remote` and `since_ns` they are those of the pair's side of that name.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// When this end was established: nanoseconds since boot.
    pub since_ns: u64,
    /// Bytes that it had sent before since it was enrolled.
    pub offset: u32,
    /// Bytes of the message.
    pub size: u32,
    /// The first of these. In JSON they are hexadecimal digits.
    #[serde(rename = "hex", serialize_with = "digits")]
    pub bytes: Vec<u8>,
}

/// What a record of the ring buffer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// A pair begins, or has ended.
    Pair(Box<Event>),
    /// Somebody has sent something.
    Said(Said),
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
pub fn told(bytes: &[u8]) -> Option<Told> {
    match Record::read_from_bytes(bytes) {
        Ok(record) => event(&record).map(Box::new).map(Told::Pair),
        Err(_) => said(&Sent::read_from_bytes(bytes).ok()?).map(Told::Said),
    }
}

fn event(record: &Record) -> Option<Event> {
    let event = match record.what {
        Record::BEGUN => "begun",
        Record::ENDED => "ended",
        _ => return None,
    };
    let (client, server) = if record.one.opened != 0 { (record.one, record.other) } else { (record.other, record.one) };
    Some(Event { event, at_ns: record.at, flow: Flow::of(side(&client, None), side(&server, None)) })
}

fn said(sent: &Sent) -> Option<Said> {
    let bytes = sent.bytes.as_bytes().get(..sent.len as usize).filter(|_| sent.what == Sent::SENT)?.to_vec();
    let Side { pid, command, cgroup, local, remote, since_ns, .. } = side(&sent.end, None);
    let by = if sent.end.opened != 0 { "client" } else { "server" };
    let (at_ns, offset, size) = (sent.at, sent.offset, sent.size);
    Some(Said { event: "sent", at_ns, by, pid, command, cgroup, local, remote, since_ns, offset, size, bytes })
}

/// Two hexadecimal digits a byte.
fn digits<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
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
    pub const HEAD: [&'static str; 9] =
        ["client", "who", "server", "who", "to server", "to client", "state", "client began", "server began"];

    /// The flow in a row of a table: bytes past the stack, bytes by TCP, and why the last of these went there; in the end what each side
    /// has sent first, empty where that is not known.
    #[must_use]
    pub fn row(&self) -> [String; 9] {
        [
            self.client.local.to_string(),
            self.client.who(),
            self.server.local.to_string(),
            self.server.who(),
            self.server.received.words(),
            self.client.received.words(),
            self.state.to_owned(),
            self.client.began(),
            self.server.began(),
        ]
    }
}

impl Side {
    fn who(&self) -> String {
        who(self.pid, &self.command)
    }

    fn began(&self) -> String {
        if self.sent_first.is_empty() { String::new() } else { quoted(&self.sent_first) }
    }
}

fn who(pid: u32, command: &str) -> String {
    if pid == 0 { "-".to_owned() } else { format!("{pid}/{command}") }
}

/// Bytes as text in quotes, with `\n`, `\"` and `\x00` for what is none.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

impl Said {
    /// In a line: who, to whom, from which byte on, how large the message was, and its first bytes.
    #[must_use]
    pub fn line(&self) -> String {
        let (who, text) = (who(self.pid, &self.command), quoted(&self.bytes));
        let more = if (self.bytes.len() as u64) < u64::from(self.size) { "..." } else { "" };
        let (local, remote, offset, size) = (self.local, self.remote, self.offset, self.size);
        format!("sent  {local}  {who}  to {remote}  {size} bytes at {offset}: {text}{more}")
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
        sent_first: end.head.as_bytes().iter().take(end.head_len as usize).copied().collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bypass::first::MOST;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// A message as the program writes it: behind its bytes lies what was there before.
    fn sent(opened: u32, offset: u32, size: u32, copied: &[u8]) -> Sent {
        let mut sent = Sent::new_zeroed();
        sent.bytes.fill(u64::MAX);
        sent.bytes.as_mut_bytes()[..copied.len()].copy_from_slice(copied);
        let end = End { opened, pid: 7, since: 5, local_port: 80, remote_port: 40_000, ..End::default() };
        Sent { at: 9, what: Sent::SENT, size, offset, len: u32::try_from(copied.len()).unwrap(), end, ..sent }
    }

    proptest! {
        #[test]
        fn what_was_copied_comes_back(
            opened in 0..2_u32,
            offset in 0..MOST,
            size: u32,
            copied in prop::collection::vec(any::<u8>(), 0..=MOST as usize),
        ) {
            let Some(Told::Said(said)) = told(sent(opened, offset, size, &copied).as_bytes()) else { panic!("a record") };
            prop_assert_eq!((&said.bytes, said.offset, said.size, said.pid, said.since_ns), (&copied, offset, size, 7, 5));
            prop_assert_eq!(said.by, if opened == 1 { "client" } else { "server" });
        }

        #[test]
        fn bytes_that_are_no_record_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(Told::Said(said)) = told(&bytes) {
                prop_assert!(said.bytes.len() <= MOST as usize);
            }
        }
    }

    #[test]
    fn records_with_other_numbers_are_refused() {
        let mut wrong = sent(1, 0, 300, b"x");
        wrong.len = MOST + 1;
        assert_eq!(told(wrong.as_bytes()), None, "longer than it can be");
        let wrong = Sent { what: Record::ENDED, ..sent(1, 0, 1, b"x") };
        assert_eq!(told(wrong.as_bytes()), None, "another record's number");
        assert_eq!(told(Record { what: Sent::SENT, ..Record::default() }.as_bytes()), None, "and the other way round");
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn a_message_as_a_line() {
        let Some(Told::Said(said)) = told(sent(0, 12, 300, b"GET /\0\xff\"\r\n").as_bytes()) else {
            panic!("a record")
        };
        let want = r#"sent  [::]:80  7/  to [::]:40000  300 bytes at 12: "GET /\x00\xff\"\r\n"..."#;
        assert_eq!(said.line(), want);
        let json = serde_json::to_value(&said).unwrap();
        assert_eq!((&json["hex"], &json["event"]), (&"474554202f00ff220d0a".into(), &"sent".into()));
        let Some(Told::Said(all)) = told(sent(0, 0, 2, b"ok").as_bytes()) else { panic!("a record") };
        assert!(all.line().ends_with("2 bytes at 0: \"ok\""), "{}", all.line());
    }
}

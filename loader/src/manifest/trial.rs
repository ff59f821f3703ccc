//! Stage: manifest. `[[lab.trial]]`: what is sent through a lab once it stands.
//!
//! Input: the tables of a lab, and its hosts. Output: [`Trial`]s that name only hosts there are. Read next: `../lab/trial/mod.rs`,
//! which runs them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::document::Section;
use super::lab::Host;

/// The most bytes that a request may have over TCP.
pub(crate) const MOST_TCP: usize = 1 << 20;

/// The same for a datagram: what an MTU of 1,500 has room for (20 IP, 8 UDP, 8 of the exchange's own).
pub(crate) const MOST_UDP: usize = 1_500 - 28 - 8;

/// The most connections that a trial keeps open at a time: each has two sockets.
const MOST_OPEN: u32 = 100;

/// The transport of a trial, or of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A connection each, opened, used and closed.
    Tcp,
    /// A datagram there and one back, from a fresh socket each.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Real exchanges through what was brought up: a client on one host, a small server on each of the others.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What to call it; the address it asks, if it has no name.
    pub name: Option<String>,
    /// The host that asks.
    pub from: String,
    /// The address and port it asks.
    pub to: SocketAddr,
    /// The address and port that every server binds, if on the way there the destination becomes another.
    pub listen: Option<SocketAddr>,
    /// The transport.
    pub protocol: Protocol,
    /// The hosts that answer.
    pub servers: Vec<String>,
    /// How many exchanges: connections, or datagrams there and back.
    #[serde(default = "default_exchanges")]
    pub exchanges: u32,
    /// Requests on each connection, each after the reply to the last one. With more than one, connections stay open until the last
    /// one has talked, and all of it happens on one CPU.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// Bytes of the requests, taken in turn; the replies are as large.
    #[serde(default)]
    pub sizes: Vec<usize>,
    /// Whether the same is done with sockets outside of the lab's cgroups too, in turn, for comparison.
    #[serde(default)]
    pub compare: bool,
}

impl Trial {
    /// What to call it.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}, {}", self.to, self.protocol))
    }

    /// What the servers bind.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.listen.unwrap_or(self.to)
    }

    /// Requests in all.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.exchanges.saturating_mul(self.rounds)
    }
}

fn default_exchanges() -> u32 {
    1_000
}

fn default_rounds() -> u32 {
    1
}

/// Checks the trial at this place of the list.
pub(super) fn check(
    section: &Section,
    at: usize,
    trial: &Trial,
    hosts: &BTreeMap<String, Host>,
) -> Result<(), Diagnostic> {
    let known = |key: String, name: &String| known(section, &format!("trial.{at}.{key}"), name, hosts);
    known("from".to_owned(), &trial.from)?;
    for (server, name) in trial.servers.iter().enumerate() {
        known(format!("servers.{server}"), name)?;
    }
    let wrong = |key: &str, words: String| Err(section.locate(&format!("trial.{at}.{key}")).error(words));
    if trial.servers.is_empty() {
        return wrong("servers", "a trial without servers".to_owned());
    }
    let most = if trial.protocol == Protocol::Tcp { MOST_TCP } else { MOST_UDP };
    if let Some(bad) = trial.sizes.iter().position(|size| *size > most) {
        return wrong(&format!("sizes.{bad}"), format!("at most {most} bytes over {}", trial.protocol));
    }
    if trial.rounds == 0 || trial.rounds > 1 && trial.protocol == Protocol::Udp {
        return wrong("rounds", "a connection has one request or more, and a datagram is no connection".to_owned());
    }
    let is_open = trial.rounds > 1 || trial.compare || hosts.get(&trial.from).is_some_and(|host| host.cgroup);
    if is_open && trial.exchanges > MOST_OPEN {
        let words = format!("at most {MOST_OPEN}, for all of these sockets are open at the same time");
        return wrong("exchanges", words);
    }
    if trial.compare && (trial.protocol == Protocol::Udp || !hosts.get(&trial.from).is_some_and(|host| host.cgroup)) {
        return wrong("compare", format!("over tcp, and where `{}` has a cgroup", trial.from));
    }
    if trial.listen.is_some_and(|listen| listen.is_ipv4() != trial.to.is_ipv4()) {
        return wrong("listen", format!("not of the family of {}", trial.to));
    }
    Ok(())
}

/// A host of the lab; the error names those there are.
pub(super) fn known(
    section: &Section,
    path: &str,
    name: &str,
    hosts: &BTreeMap<String, Host>,
) -> Result<(), Diagnostic> {
    if hosts.contains_key(name) {
        return Ok(());
    }
    let all: Vec<_> = hosts.keys().map(String::as_str).collect();
    let error = section.locate(path).error(format!("no host `{name}` in this lab"));
    Err(error.help(format!("it has {}", all.join(", "))))
}

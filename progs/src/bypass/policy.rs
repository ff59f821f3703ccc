//! Who may be enrolled, by rules that can change at any time.
//!
//! Stage: kernel programs. Input: an end of a connection. Output: 0, or why it is left with TCP: a [`Refusal`]'s number. Each end is
//! judged by what it sees itself, when it is established and again when rules have changed. Next file to read: `redirect.rs`.

use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::origin::{ABOVE, LEVELS};
use super::quarantine::is_held;
use super::types::Me;

/// One end of a connection, as it sees itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct End {
    /// When it was established: nanoseconds since boot, without time asleep.
    pub since: u64,
    /// Id of the cgroup of who made the socket; 0 if that is not known.
    pub cgroup: u64,
    /// Its command; empty if that is not known.
    pub comm: Chars<16>,
    /// The own address.
    pub local: Ip6,
    /// The other end's.
    pub remote: Ip6,
    /// The process; 0 if that is not known.
    pub pid: u32,
    /// The own port.
    pub local_port: u16,
    /// The other end's.
    pub remote_port: u16,
    /// When it was closed; 0 while it is not.
    pub closed: u64,
    /// 1 if it opened the connection, 0 if it accepted it.
    pub opened: u32,
    /// The state of TCP that it was closed in: 1, established, is a reset.
    pub from: u32,
    /// What came to it until then, as [`Inbox`](super::types::Inbox) counts: bytes, by both ways.
    pub sent: u64,
    /// Bytes of these that were redirected.
    pub redirected: u64,
    /// Messages that were redirected.
    pub messages: u64,
    /// Messages that went by TCP.
    pub passed: u64,
    /// Why the last of these did.
    pub reason: u32,
    /// Bytes that were copied of what it has sent first, of which `head` has room for some. 0, unless the audit copies.
    pub head_len: u32,
    /// These.
    pub head: [u64; HEAD as usize],
}

/// Words of what an end has sent first that are kept as long as it lives.
pub const HEAD: u32 = 2;

/// What a rule says. Rules that hold at the same time are bits of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout)]
#[repr(u32)]
pub enum Rule {
    /// Nothing: it is no rule.
    None,
    /// Whom it names is enrolled, unless another rule denies it.
    Allow,
    /// Whom it names is left with TCP.
    Deny,
}

/// Which of an end's two ports a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout)]
#[repr(u32)]
pub enum Port {
    /// Its own or the other end's.
    Either,
    /// Its own.
    Local,
    /// The other end's.
    Remote,
}

/// A rule about ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout)]
#[repr(C)]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Of which end.
    pub of: Port,
    /// What it says.
    pub rule: Rule,
}

/// A command, as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Command {
    /// The name of the thread that made the socket; empty for sockets of which that is not known.
    pub command: Chars<16>,
}

/// Addresses of IPv4 that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Net4 {
    /// So many bits are alike.
    pub bits: u32,
    /// As in this one.
    pub address: Be32,
}

/// Addresses of IPv6 that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Net6 {
    /// So many bits are alike.
    pub bits: u32,
    /// As in this one.
    pub address: Ip6,
}

/// Rules about ports there may be.
pub const PORT_RULES: u32 = 32;

/// Rules about commands. Written by user space.
#[map]
pub static POLICY_COMMAND: HashMap<Command, Rule, 1024> = map();

/// Rules about cgroups, by id; each is about those below it too. Written by user space.
#[map]
pub static POLICY_CGROUP: HashMap<u64, Rule, 1024> = map();

/// Rules about the other end's address, where it is one of IPv4; of several that fit, the longest counts. Written by user space.
#[map]
pub static POLICY_NET4: LpmTrie<Net4, Rule, 4096> = map();

/// The same of IPv6.
#[map]
pub static POLICY_NET6: LpmTrie<Net6, Rule, 4096> = map();

/// Rules about ports. Written by user space.
#[map]
pub static POLICY_PORT: Array<Ports, PORT_RULES> = map();

/// How the rules are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Settings {
    /// 1: only whom a rule allows is enrolled. 0: everybody whom no rule denies.
    pub only_allowed: u32,
    /// Another number than before: living connections are judged again at their next message. Without that they are within some hundred
    /// milliseconds.
    pub generation: u32,
    /// How long somebody stays in quarantine.
    pub quarantine_seconds: u32,
    /// 1: who asks for `FIONREAD` comes into quarantine, because the kernel does not count all.
    pub hold_fionread: u32,
}

/// Written by user space at any time.
#[data(".data.policy")]
pub static POLICY: Settings = Settings { only_allowed: 0, generation: 0, quarantine_seconds: 3600, hold_fionread: 1 };

/// Ends of connections that are enrolled here, by the socket's key.
#[map]
pub static ENDS: HashMap<u64, End, 65536> = map();

/// An end of which nothing is known: what a new one begins as. Nobody writes it.
#[map]
pub(super) static BLANK: Array<End, 1> = map();

/// Ends that were left with TCP when they were established, by [`Refusal`].
#[map]
pub static REFUSED: PerCpuArray<u64, 16> = map();

/// Why an end is left with TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// Rules about commands.
    Command = 1,
    /// About cgroups.
    Cgroup = 2,
    /// About addresses.
    Net = 3,
    /// About ports.
    Port = 4,
    /// No rule allows it, and only whom one allows is enrolled.
    Unlisted = 5,
    /// Who made its socket is in quarantine.
    Quarantine = 6,
}

impl Refusal {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// What [`Me::judged`] is when nothing has to be judged again. It changes with the rules' generation, and every 64 ticks of the kernel's clock.
#[bpf_fn]
pub(super) fn now() -> u32 {
    POLICY.place().generation + (jiffies() >> 6) as u32
}

/// Judges both ends again, if rules may have changed.
#[bpf_fn]
pub(super) fn follow_rules(me: ValRef<Me>) {
    let now = now();
    if me.judged != now {
        me.judged = now;
        let own = judge(me.key);
        me.refused = if own != 0 { own } else { judge(me.peer) };
    }
}

/// Why this end is left with TCP, or 0.
#[subprog]
pub(super) fn judge(key: u64) -> u32 {
    let Some(end) = ENDS.get(&key) else { return 0 };
    let command = by_command(end);
    if command & DENY != 0 {
        return Refusal::Command.number();
    }
    let cgroup = by_cgroup(end);
    if cgroup & DENY != 0 {
        return Refusal::Cgroup.number();
    }
    let net = by_net(end);
    if net & DENY != 0 {
        return Refusal::Net.number();
    }
    let port = by_port(end);
    if port & DENY != 0 {
        return Refusal::Port.number();
    }
    if is_held(end) {
        return Refusal::Quarantine.number();
    }
    if POLICY.place().only_allowed != 0 && (command | cgroup | net | port) == 0 {
        return Refusal::Unlisted.number();
    }
    0
}

/// [`Rule::Deny`] among several rules that hold, as bits.
const DENY: u32 = Rule::Deny as u32;

/// What the rules about commands say of it.
#[bpf_fn]
fn by_command(end: ValRef<End>) -> u32 {
    let command = end.comm;
    match POLICY_COMMAND.get(&Command { command }) {
        Some(rule) => *rule as u32,
        None => 0,
    }
}

/// The rules about cgroups, all of them: its own and those above.
#[bpf_fn]
fn by_cgroup(end: ValRef<End>) -> u32 {
    let mut found: u32 = 0;
    let mut cgroup = end.cgroup;
    for _ in 0..LEVELS {
        if let Some(rule) = POLICY_CGROUP.get(&cgroup) {
            found |= *rule as u32;
        }
        let Some(above) = ABOVE.get(&cgroup) else { break };
        cgroup = *above;
    }
    found
}

/// The rules about addresses. An IPv6 socket that talks to an IPv4 host is judged by the rules of IPv4.
#[bpf_fn]
fn by_net(end: ValRef<End>) -> u32 {
    let address = end.remote;
    let mapped = (end.remote[0].raw() | end.remote[1].raw()) == 0 && end.remote[2] == Be32::new(0xffff);
    if mapped {
        match POLICY_NET4.get(&Net4 { bits: 32, address: end.remote[3] }) {
            Some(rule) => *rule as u32,
            None => 0,
        }
    } else {
        match POLICY_NET6.get(&Net6 { bits: 128, address }) {
            Some(rule) => *rule as u32,
            None => 0,
        }
    }
}

/// The rules about ports, all of them. Without a branch, so that the verifier goes through it once.
#[bpf_fn]
fn by_port(end: ValRef<End>) -> u32 {
    let (local, remote) = (end.local_port as u64, end.remote_port as u64);
    let mut found: u32 = 0;
    for number in 0..PORT_RULES {
        let Some(ports) = POLICY_PORT.get(&number) else { break };
        let (first, last, of) = (ports.first as u64, ports.last as u64, ports.of as u32);
        // 1 if it is outside, or not meant.
        let not_local = (outside(local, first, last)) | (of >> 1);
        let not_remote = (outside(remote, first, last)) | (of & 1);
        found |= ports.rule as u32 & ((not_local & not_remote & 1) - 1);
    }
    found
}

/// 1 if a number is below the first or above the last one: then one of the differences is negative.
#[bpf_fn]
fn outside(number: u64, first: u64, last: u64) -> u32 {
    (((number - first) | (last - number)) >> 63) as u32
}

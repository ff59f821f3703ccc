//! What somebody who watches the host is told: a record when a pair begins, and one when it has ended.
//!
//! Stage: kernel programs. Input: both ends of a connection. Output: [`Record`]s in the ring buffer `flows`. A buffer that is full makes
//! nobody wait: what found no room is counted. Next file to read: `first.rs`, then `flows.rs`, which reads them.
//!
//! Packet captures do not see what goes past the stack; this tells who talked to whom, as each end sees it (which is both sides of a
//! translation of addresses), how much, by which way, and why not by the other.

use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::policy::{ENDS, End};
use super::types::{INBOXES, Me};

/// A pair begins, or has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Record {
    /// When this was written: nanoseconds since boot, without time asleep.
    pub at: u64,
    /// [`Record::BEGUN`] or [`Record::ENDED`].
    pub what: u32,
    /// Nothing.
    pub pad: u32,
    /// The end that was enrolled, or closed, last.
    pub one: End,
    /// The other one.
    pub other: End,
}

impl Record {
    /// Both ends are enrolled.
    pub const BEGUN: u32 = 1;
    /// Both are closed.
    pub const ENDED: u32 = 2;
}

/// Records for whoever reads them; one reader at a time.
#[map]
pub static FLOWS: RingBuf<262144> = map();

/// Records that found no room, or could not be made. Written by the programs.
#[data(".data.lost")]
pub static LOST: u64 = 0;

/// Tells of a pair, of which `key` is one end's and `peer` the other's.
#[bpf_fn]
pub(super) fn tell(key: u64, peer: u64, what: u32) {
    let Some(one) = ENDS.get(&key) else { return };
    let Some(other) = ENDS.get(&peer) else { return };
    let Some(record) = FLOWS.reserve::<Record>() else {
        LOST.place().atomic_add(1);
        return;
    };
    record.at = ktime_ns();
    record.what = what;
    record.pad = 0;
    record.one = *one;
    record.other = *other;
    record.submit();
}

/// An end is closed. Whoever is the second one tells of the pair, and both are forgotten.
#[bpf_fn]
pub(super) fn part(me: ValRef<Me>, from: u32) {
    let Some(end) = ENDS.get(&me.key) else { return };
    if let Some(inbox) = INBOXES.get(&me.key) {
        end.sent = inbox.sent;
        end.redirected = inbox.redirected;
        end.messages = inbox.messages;
        end.passed = inbox.passed;
        end.reason = inbox.reason;
    }
    end.from = from;
    end.closed = ktime_ns();
    // A locked instruction between writing the own and reading the other's: one of the two sees both closed.
    end.since.atomic_add(0);
    let (key, peer) = (me.key + 0, me.peer + 0);
    let Some(other) = ENDS.get(&peer) else {
        ENDS.remove(&key);
        return;
    };
    if other.closed != 0 {
        tell(key, peer, Record::ENDED);
        ENDS.remove(&key);
        ENDS.remove(&peer);
    }
}

//! The first bytes that each end of a pair sends, for somebody who watches the host and wants to know what is talked there.
//!
//! Stage: kernel programs, `sk_msg`. Input: a message, whichever way it will go. Output: a [`Sent`] in the ring buffer `flows`, and the
//! beginning of the first one in the end. Off, unless user space says how many. Next file to read: `flows.rs`.
//!
//! The record is reserved as large as it may be and filled where it lies: a buffer of the CPU's own, from which a shorter one could be
//! made, may be another sender's in the middle of it, because senders are preempted.

use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::audit::{FLOWS, LOST};
use super::policy::{ENDS, End, HEAD};
use super::types::Me;

/// So many bytes of a stream may be copied.
pub const MOST: u32 = 256;

/// In words.
const WORDS: u32 = MOST / 8;
const LAST: u32 = WORDS - 1;

/// What is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Audit {
    /// Of each direction of a pair so many bytes, at most [`MOST`]; 0: none.
    pub first_bytes: u32,
}

/// Written by user space at any time.
#[data(".data.audit")]
pub static AUDIT: Audit = Audit { first_bytes: 0 };

/// A message that carries some of the first bytes of its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Sent {
    /// When this was written: nanoseconds since boot, without time asleep.
    pub at: u64,
    /// [`Sent::SENT`].
    pub what: u32,
    /// Bytes of the message.
    pub size: u32,
    /// Where its first byte lies in what this end has sent since it was enrolled.
    pub offset: u32,
    /// Bytes of it that follow.
    pub len: u32,
    /// Who sends.
    pub end: End,
    /// The bytes, and behind them nothing that means anything.
    pub bytes: [u64; WORDS as usize],
}

impl Sent {
    /// Where a [`Record`](super::audit::Record) says that a pair begins or has ended.
    pub const SENT: u32 = 3;
}

/// Copies the beginning of a message whose first byte lies at `offset`. Nobody waits for that, and nothing fails because of it.
#[bpf_fn]
pub(super) fn copy(msg: &mut SkMsg, me: ValRef<Me>, offset: u32) {
    let most = (AUDIT.place().first_bytes + 0).min(MOST);
    if offset >= most {
        return;
    }
    let size = msg.size();
    let want = size.min(most - offset);
    let Some(end) = ENDS.get(&me.key) else { return };
    if msg.pull(0, want).code() != 0 {
        LOST.place().atomic_add(1);
        return;
    }
    let now = ktime_ns();
    let Some(record) = FLOWS.reserve::<Sent>() else {
        LOST.place().atomic_add(1);
        return;
    };
    record.at = now;
    record.what = Sent::SENT;
    record.size = size;
    record.offset = offset;
    record.end = *end;
    record.len = want;
    for word in 0..HEAD {
        record.bytes[word] = 0;
    }
    // What was pulled is there: the tests are for the verifier. It forgets what it knows of a number that is read from memory, so it looks
    // once at each turn, whichever way the number was made, and once at what comes behind the loop.
    let mut bytes = msg.packet();
    for word in 0..WORDS {
        if record.len < word * 8 + 8 {
            break;
        }
        let Some(eight) = bytes.read::<u64>() else { break };
        record.bytes[word] = *eight;
    }
    if record.len & 7 != 0 {
        if let Some(word) = rest(msg, record.len & 0xf8, record.len & 7) {
            record.bytes[(record.len >> 3) & LAST] = word;
        }
    }
    if offset == 0 {
        end.head_len = want;
        for word in 0..HEAD {
            end.head[word] = record.bytes[word];
        }
    }
    record.submit();
}

/// The last few bytes of a message, which do not fill a word.
#[bpf_fn]
fn rest(msg: &SkMsg, from: u32, len: u32) -> Option<u64> {
    let mut bytes = msg.packet();
    bytes.skip(from)?;
    let mut word: u64 = 0;
    for at in 0..7 {
        if at >= len {
            break;
        }
        let Some(byte) = bytes.read::<u8>() else { break };
        word |= (*byte as u64) << (at * 8) as u64;
    }
    Some(word)
}

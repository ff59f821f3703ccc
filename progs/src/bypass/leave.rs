//! How a socket leaves without losing what lies in its queue.
//!
//! Stage: kernel programs. Input: a socket that has nothing to gain from the map any more. Output: it is plain TCP's again, if its queue is known
//! to be empty. Next file to read: `read.rs`.
//!
//! A socket whose own side is closed is told of things that are no data, and its reader gets `EAGAIN` from the queue though it asked to
//! wait. So it leaves. Taking a socket out of the map throws its queue away, so the queue must be empty, and stay so: the receiver says
//! that it is not ready *and then* looks up to where the stream was redirected; the sender says that first, *and then* looks whether
//! the receiver is ready. One of them sees what the other one did.

use asm::dsl::prelude::*;

use super::audit::part;
use super::types::{INBOXES, Me, PEERS};

/// This end has nothing to gain from the map any more, because it sends no more, or because it sends what TCP is faster with. Once this was
/// asked for, nothing new is put into its queue. Says whether it has left, or has to be asked again.
#[bpf_fn]
pub(super) fn left(me: ValRef<Me>) -> bool {
    let Some(inbox) = INBOXES.get(&me.key) else { return false };
    inbox.ready = 0;
    // A locked instruction between the two, as on the other side.
    inbox.read.atomic_add(0);
    if inbox.read < inbox.tail {
        return false;
    }
    PEERS.remove(&me.key);
    true
}

/// The socket ends: nobody reads from it any more.
#[bpf_fn]
pub(super) fn gone(me: ValRef<Me>, from: u32) {
    part(me, from);
    INBOXES.remove(&me.key);
}

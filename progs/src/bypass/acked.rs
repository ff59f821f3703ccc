//! What acknowledgements tell: nothing that is redirected is acknowledged, so whoever hears one has sent by TCP.
//!
//! Stage: kernel programs, `sock_ops`. Input: an acknowledgement at an enrolled socket. Output: a socket that gains nothing in the map
//! leaves it; one that streams large messages is held back, so that its reader can catch up. Next file to read: `leave.rs`.
//!
//! A stream comes back from TCP to the queue when its reader has read everything. But a sender fills its buffer, megabytes, before it
//! waits, and goes on as soon as there is room: that moment may never come. So a stream is held back in two ways, which both count for
//! what goes by TCP only. `SO_MAX_PACING_RATE` lets TCP send slower than any reader reads, and `TCP_NOTSENT_LOWAT` makes the sender wait
//! for it, while the reader empties queue and TCP; then the sender finds nothing on its way. What the application has set itself stays.

use asm::dsl::prelude::*;

use super::leave::left;
use super::policy::ENDS;
use super::types::{BULK, HELD, HELD_PACE, INBOXES, LEAVE, LITTLE, ME, OPEN, PEERS, STREAM, Tcp};

/// `IPPROTO_TCP` and its `TCP_NOTSENT_LOWAT`, which the kernel lets programs set since Linux 5.11.
const LOWAT: (u32, u32) = (6, 25);
/// `SOL_SOCKET` and its `SO_MAX_PACING_RATE`.
const PACE: (u32, u32) = (1, 47);
/// No limit, as the option says it, and as the socket keeps it.
const UNPACED: (u32, u64) = (u32::MAX, u64::MAX);

/// Something that this end has sent by TCP was acknowledged.
#[bpf_fn]
pub(super) fn acked(ops: &SockOps) {
    let Some(sk) = ops.sk() else { return };
    let Some(me) = ME.get(&sk) else { return };
    let Some(to) = INBOXES.get(&me.peer) else {
        ignore(ops);
        if ENDS.get(&me.peer).is_some() {
            // It is closed. What it has left in the queue is still read, and the pair is told of when this end closes.
            return;
        }
        // The other end is established, and never will be here.
        PEERS.remove(&me.key);
        INBOXES.remove(&me.key);
        ENDS.remove(&me.key);
        ME.remove(&sk);
        return;
    };
    // A plain socket sends small messages faster, and one whose other end has left has nobody to redirect to. The other end goes along,
    // because who only reads has no event in which it could: nobody but this end fills its queue, and that is empty.
    let leaves = me.burst > LEAVE || to.ready == 0;
    if leaves && to.read >= to.tail {
        if left(me) {
            ignore(ops);
            PEERS.remove(&me.peer);
        }
    }
    let free = leaves || me.burst > STREAM || OPEN.place() == 0;
    // Who waits for something to read on a socket in the map is woken by room to write as well, and is given `EAGAIN`: only who has never
    // read is made to wait for room, and only as long as there is hardly anything to read.
    let Some(own) = INBOXES.get(&me.key) else { return };
    let bulk = own.heard == 0 && own.sent < LITTLE && to.read >= BULK && to.sent - to.read >= BULK;
    if free || bulk {
        // A sender that waits in the middle of a message has to send its rest by TCP, too: the larger it is, the longer that takes. And
        // the smaller, the more a reader that has caught up switches the processor back and forth.
        hold(ops, !free, !free && me.size >= HELD / 2 && me.size <= HELD);
    }
}

/// Acknowledgements are of no interest any more.
#[bpf_fn]
fn ignore(ops: &SockOps) {
    ops.set_cb_flags(ops.cb_flags() & !SockOps::WANT_RTT);
}

/// Sets or takes back how much may wait unsent, and how much may be sent in a second, where it is not the application that has set it.
#[bpf_fn]
fn hold(ops: &SockOps, wait: bool, pace: bool) {
    let Some(sk) = ops.sk() else { return };
    let Some(tcp) = sk.kernel_tcp::<Tcp>() else { return };
    if tcp.notsent_lowat == if wait { 0 } else { HELD } {
        ops.set_option(LOWAT.0, LOWAT.1, if wait { HELD } else { 0 });
    }
    if tcp.inet_conn.icsk_inet.sk.sk_max_pacing_rate == if pace { UNPACED.1 } else { HELD_PACE as u64 } {
        ops.set_option(PACE.0, PACE.1, if pace { HELD_PACE } else { UNPACED.0 });
    }
}

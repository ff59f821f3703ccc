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
use super::types::{BULK, HELD, HELD_PACE, INBOXES, LEAVE, ME, OPEN, PEERS, STREAM, Tcp};

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
        // The other end is established, and has been here or never will be.
        ignore(ops);
        let key = me.key;
        PEERS.remove(&key);
        INBOXES.remove(&key);
        ENDS.remove(&key);
        ME.remove(&sk);
        return;
    };
    if me.burst > LEAVE || to.ready == 0 {
        // A plain socket sends small messages faster, and one whose other end has left has nobody to redirect to.
        if left(me) {
            ignore(ops);
            free(ops);
        }
    } else if me.burst > STREAM || OPEN.place() == 0 {
        free(ops);
    } else if to.read >= BULK && to.sent - to.read >= BULK {
        wait(ops, 0, HELD);
        // A sender that waits in the middle of a message has to send its rest by TCP, too: the larger it is, the longer that takes. And
        // the smaller, the more a reader that has caught up switches the processor back and forth.
        if me.size >= HELD / 2 && me.size <= HELD {
            pace(ops, UNPACED.1, HELD_PACE);
        } else {
            pace(ops, HELD_PACE as u64, UNPACED.0);
        }
    }
}

/// Acknowledgements are of no interest any more.
#[bpf_fn]
fn ignore(ops: &SockOps) {
    ops.set_cb_flags(ops.cb_flags() & !SockOps::WANT_RTT);
}

/// Lets so many bytes wait unsent, if it is not the application that has set this.
#[bpf_fn]
fn wait(ops: &SockOps, from: u32, to: u32) {
    let Some(sk) = ops.sk() else { return };
    let Some(tcp) = sk.kernel_tcp::<Tcp>() else { return };
    if tcp.notsent_lowat == from {
        ops.set_option(LOWAT.0, LOWAT.1, to);
    }
}

/// Lets so many bytes be sent in a second, if it is not the application that has set this.
#[bpf_fn]
fn pace(ops: &SockOps, from: u64, to: u32) {
    let Some(sk) = ops.sk() else { return };
    let Some(tcp) = sk.kernel_tcp::<Tcp>() else { return };
    if tcp.inet_conn.icsk_inet.sk.sk_max_pacing_rate == from {
        ops.set_option(PACE.0, PACE.1, to);
    }
}

/// Takes both back.
#[bpf_fn]
fn free(ops: &SockOps) {
    wait(ops, HELD, 0);
    pace(ops, HELD_PACE as u64, UNPACED.0);
}

//! What acknowledgements tell: nothing that is redirected is acknowledged, so whoever hears one has sent by TCP.
//!
//! Stage: kernel programs, `sock_ops`. Input: an acknowledgement at an enrolled socket. Output: a socket that gains nothing in the map
//! leaves it; one that streams large messages is held back, so that its reader can catch up. Next file to read: `leave.rs`.
//!
//! A stream comes back from TCP to the queue when its reader has read everything. But a sender fills its buffer, megabytes, before it
//! waits, and goes on as soon as there is room: that moment may never come. So a stream is held back in two ways, which both count for
//! what goes by TCP only. `SO_MAX_PACING_RATE` lets TCP send slower than any reader reads, and `TCP_NOTSENT_LOWAT` makes the sender wait
//! for it, while the reader empties queue and TCP; then the sender finds nothing on its way. What the application has set itself stays.
//!
//! A read that waits on a socket in the map is given `EAGAIN` by whatever wakes it. Room to write does, if the sender has found none and has
//! not been told of it; so whoever that may happen to, and waits in calls and does not poll, leaves the map before it reads.

use asm::dsl::prelude::*;

use super::leave::left;
use super::policy::ENDS;
use super::types::{BULK, HELD, HELD_PACE, INBOXES, LEAVE, LITTLE, ME, OPEN, PEERS, Reason, STREAM, Tcp};

/// `IPPROTO_TCP` and its `TCP_NOTSENT_LOWAT`, which the kernel lets programs set since Linux 5.11.
const LOWAT: (u32, u32) = (6, 25);
/// `SOL_SOCKET` and its `SO_MAX_PACING_RATE`.
const PACE: (u32, u32) = (1, 47);
/// No limit, as the option says it, and as the socket keeps it.
const UNPACED: (u32, u64) = (u32::MAX, u64::MAX);

/// `SOCK_NOSPACE`: somebody has found no room to write, and is told when there is some: a third of the buffer.
const NO_SPACE: u64 = 1 << 2;
/// `O_NONBLOCK`.
const NONBLOCK: u32 = 0o4000;

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
    let Some(tcp) = sk.kernel_tcp::<Tcp>() else { return };
    let waits = tcp.inet_conn.icsk_inet.sk.sk_socket.follow().file.follow().f_flags & NONBLOCK == 0;
    let full = waits && finds_room(tcp);
    // A plain socket sends small messages faster, and one whose other end has left has nobody to redirect to. The other end goes along,
    // because who only reads has no event in which it could: nobody but this end fills its queue, and that is empty.
    let alone = full || me.waited != 0;
    let leaves = alone || me.burst > LEAVE || to.ready == 0;
    let read = to.read >= to.tail;
    if leaves && (alone || read) {
        if left(me) {
            ignore(ops);
            if read {
                PEERS.remove(&me.peer);
            }
        }
    }
    let Some(own) = INBOXES.get(&me.key) else { return };
    if full {
        to.reason = Reason::Room.number();
        own.reason = Reason::Room.number();
    }
    // Both options wake whoever waits at the socket: who is in a call that sends does not read, unless he has several threads, and then he
    // has read before.
    if waits && !sends(tcp) {
        return;
    }
    let free = leaves || me.burst > STREAM || OPEN.place() == 0;
    let only = !waits || own.heard == 0 && own.sent < LITTLE;
    if free || only && to.read >= BULK && to.sent - to.read >= BULK {
        // A sender that waits in the middle of a message has to send its rest by TCP, too: the larger it is, the longer that takes. And
        // the smaller, the more a reader that has caught up switches the processor back and forth.
        hold(ops, !free, !free && me.size >= HELD / 2 && me.size <= HELD);
    }
}

/// Is somebody in a call that sends, or in another one that does not sleep?
#[bpf_fn]
fn sends(tcp: Kptr<Tcp>) -> bool {
    tcp.inet_conn.icsk_inet.sk.sk_write_pending.load() != 0 || tcp.inet_conn.icsk_inet.sk.sk_lock.owned.load() != 0
}

/// Does a sender who has found no room, and looks again as soon as this acknowledgement is dealt with, find some, but less than the kernel
/// tells of? Then it goes on, and is told later, when it may be reading.
#[bpf_fn]
fn finds_room(tcp: Kptr<Tcp>) -> bool {
    let asked = tcp.inet_conn.icsk_inet.sk.sk_socket.follow().flags & NO_SPACE != 0;
    let used = tcp.inet_conn.icsk_inet.sk.sk_wmem_queued.load();
    let room = tcp.inet_conn.icsk_inet.sk.sk_sndbuf.load() - used;
    asked && tcp.inet_conn.icsk_inet.sk.sk_lock.owned.load() != 0 && room > 0 && room < used >> 1
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

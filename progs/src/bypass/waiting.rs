//! Who waits for something to read on a socket on which another thread sends.
//!
//! Stage: kernel programs. Input: a socket that sends, or that is closed. Output: who made it is in quarantine, and it leaves the map as soon as
//! order allows. Next file to read: `leave.rs`.
//!
//! A read that waits in the queue is woken by whatever happens to its socket, and does not wait again: room to write, or its own
//! side being closed, gives it `EAGAIN` though it asked to wait. Once it is inside, nobody can prevent that. But who reads by one thread and sends
//! by another does so again, and his next read, and his next connection, are plain TCP's.
//!
//! A thread that waits for a socket stands in the socket's wait queue with an entry that names the thread, and that lies on the thread's own stack.
//! Entries of `poll`, `epoll` and `io_uring` name something else, or lie elsewhere.

use asm::dsl::kernel::{Address, at, kernel_struct};
use asm::dsl::prelude::*;

use super::policy::POLICY;
use super::quarantine::{Misfit, hold_end};
use super::types::{Me, Tcp, WATCHED};

/// So many messages are looked at first.
const FIRST: u32 = 4;
/// Then one of so many, which is a power of two.
const ROUND: u32 = 16;
/// And those of so many bytes.
const LARGE: u64 = 32 << 10;

/// Between these distances from its beginning lies what a system call has on its stack.
const STACK: (u64, u64) = (1 << 10, 64 << 10);

/// Who waits for a socket.
#[kernel_struct("socket_wq")]
struct Waiters {
    /// Their queue.
    wait: Queue,
}

/// A queue of who waits.
#[kernel_struct("wait_queue_head")]
struct Queue {
    /// Its two ends.
    head: Node,
}

/// A place in a list, or its two ends.
#[kernel_struct("list_head")]
struct Node {
    /// The next one's.
    next: Address,
}

/// One of those who wait.
#[kernel_struct("wait_queue_entry")]
struct Waiter {
    /// The thread, if it is one.
    private: Address,
    /// Its place in the queue.
    entry: Node,
}

/// A thread.
#[kernel_struct("task_struct")]
struct Thread {
    /// The beginning of its stack.
    stack: Address,
}

/// A message of that size is sent: does another thread wait for something to read?
///
/// Looking costs as much as a large message does not notice. Of the others it is the first ones, and some later.
#[bpf_fn]
pub(super) fn look(msg: &SkMsg, me: ValRef<Me>, size: u64) {
    let turn = me.turns + 0;
    me.turns = turn + 1;
    let often = turn < FIRST || turn & (ROUND - 1) == 0 || size >= LARGE;
    if often && me.waited == 0 {
        let Some(tcp) = msg.sk().kernel_tcp::<Tcp>() else { return };
        if waits(tcp) {
            found(me);
        }
    }
}

/// Does a thread wait for something to read on this socket, in a call that blocks? Where one waits for room to write, that is not known.
#[bpf_fn]
pub(super) fn waits(tcp: Kptr<Tcp>) -> bool {
    if WATCHED == 0 || tcp.inet_conn.icsk_inet.sk.sk_write_pending != 0 {
        return false;
    }
    asleep(tcp.inet_conn.icsk_inet.sk.sk_wq.load()) != 0
}

/// Does a thread stand in this queue? Who came last stands first. 1 or 0.
#[subprog]
fn asleep(queue: u64) -> u32 {
    let waiters = at::<Waiters>(queue);
    let first = waiters.wait.head.next.load();
    if first == 0 || first == queue + waiters.wait.head.next.offset() {
        return 0;
    }
    let waiter = at::<Waiter>(0);
    let thread = at::<Waiter>(first - waiter.entry.next.offset()).private.load();
    let depth = first - at::<Thread>(thread).stack.load();
    if depth >= STACK.0 && depth < STACK.1 { 1 } else { 0 }
}

/// Somebody waits there: who made the socket is left with TCP from now on.
#[bpf_fn]
pub(super) fn found(me: ValRef<Me>) {
    if POLICY.place().quarantine_seconds != 0 {
        me.waited = 1;
        hold_end(me.key + 0, Misfit::Duplex.number());
    }
}

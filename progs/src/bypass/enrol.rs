//! Events of connections: who is enrolled, and who leaves.
//!
//! Stage: kernel programs, `sock_ops`. Input: both ends of a connection being established, each on its own. Output: their entries in
//! `peers` and `inboxes`. Next file to read: `acked.rs`, then `redirect.rs`; `leave.rs` for the end.

use asm::dsl::prelude::*;

use super::acked::acked;
use super::audit::{Record, tell};
use super::leave::{gone, left};
use super::origin::ORIGINS;
use super::policy::{BLANK, ENDS, REFUSED, judge, now};
use super::types::{EMPTY, INBOXES, ME, NOTHING, OPEN, PEERS};
use super::waiting::{found, waits};

/// Address family of IPv4.
const INET: u32 = 2;

/// All events of a connection.
#[sock_ops(default = Reply::None)]
pub(super) fn enrol(ops: &mut SockOps) -> Result<Reply> {
    let new = match ops.op() {
        // This end comes first. Whether the other one is on this host, its first acknowledgement will tell.
        SockOps::ACTIVE_ESTABLISHED => true,
        SockOps::PASSIVE_ESTABLISHED => {
            let key = (ops.snd_nxt() as u64) << 32 | ops.rcv_nxt() as u64;
            // The other end was established before this one, so it has been here if it is on this host. And what came with the SYN
            // (TCP Fast Open) was sent before it could be counted: such a connection stays with TCP.
            INBOXES.get(&key.rotate_left(32)).is_some() && ops.bytes_received() == 0
        }
        SockOps::RTT => {
            acked(ops);
            false
        }
        SockOps::STATE => {
            let sk = ops.sk()?;
            let me = ME.get(&sk)?;
            match ops.new_state() {
                TcpState::FinWait1 => {
                    left(me);
                    // The thread that closes its side does not wait yet.
                    if waits(sk.kernel_tcp()?) {
                        found(me);
                    }
                }
                TcpState::FinWait2 => {
                    left(me);
                }
                TcpState::Close => gone(me, ops.old_state() as u32),
                _ => {}
            }
            false
        }
        _ => false,
    };
    if new {
        join(ops);
    }
    Ok(Reply::None)
}

/// Enrols a socket. Whatever fails, the connection goes by TCP.
#[bpf_fn]
fn join(ops: &SockOps) {
    if OPEN.place() == 0 {
        return;
    }
    let Some(sk) = ops.sk() else { return };
    let key = (ops.snd_nxt() as u64) << 32 | ops.rcv_nxt() as u64;
    let peer = key.rotate_left(32);
    if key == peer {
        return;
    }
    // Large structs are not put together on the stack: the rules need that.
    let Some(empty) = EMPTY.get(&0) else { return };
    let Some(nothing) = NOTHING.get(&0) else { return };
    let opened = (ops.op() == SockOps::ACTIVE_ESTABLISHED) as u32;
    if !welcome(ops, key, opened) {
        return;
    }
    let Some(me) = ME.get_or_init(&sk, &nothing) else {
        ENDS.remove(&key);
        return;
    };
    me.key = key;
    me.peer = peer;
    me.seq = ops.snd_nxt();
    me.judged = now();
    if PEERS.add(ops, &key, Update::NoExist).code() != 0 {
        ENDS.remove(&key);
        ME.remove(&sk);
        return;
    }
    if INBOXES.set(&key, &empty, Update::NoExist).code() != 0 {
        PEERS.remove(&key);
        ENDS.remove(&key);
        ME.remove(&sk);
        return;
    }
    if let Some(inbox) = INBOXES.get(&key) {
        inbox.by_tcp = 1;
        inbox.ready = 1;
    }
    ops.set_cb_flags(ops.cb_flags() | SockOps::WANT_STATE | SockOps::WANT_RTT);
    if opened == 0 {
        tell(key, peer, Record::BEGUN);
    }
}

/// Writes down what this end is, and asks the rules whether it may be enrolled.
#[bpf_fn]
fn welcome(ops: &SockOps, key: u64, opened: u32) -> bool {
    let Some(sk) = ops.sk() else { return false };
    let Some(blank) = BLANK.get(&0) else { return false };
    if ENDS.set(&key, &blank, Update::NoExist).code() != 0 {
        return false;
    }
    let Some(end) = ENDS.get(&key) else { return false };
    end.since = ktime_ns();
    end.opened = opened;
    if ops.family() == INET {
        end.local = mapped(ops.local_ip4());
        end.remote = mapped(ops.remote_ip4());
    } else {
        end.local = ops.local_ip6();
        end.remote = ops.remote_ip6();
    }
    end.local_port = ops.local_port() as u16;
    end.remote_port = (ops.remote_port().get() & 0xffff) as u16;
    if let Some(origin) = ORIGINS.get(&sk) {
        end.cgroup = origin.cgroup;
        end.comm = origin.comm;
        end.pid = origin.pid;
    }
    let refusal = judge(key);
    if refusal == 0 {
        return true;
    }
    ENDS.remove(&key);
    if let Some(ends) = REFUSED.get(&refusal) {
        *ends += 1;
    }
    false
}

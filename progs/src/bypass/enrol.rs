//! Events of connections: who is enrolled, and who leaves.
//!
//! Stage: kernel programs, `sock_ops`. Input: both ends of a connection being established, each on its own. Output: their entries in
//! `peers` and `inboxes`. Next file to read: `redirect.rs`; `leave.rs` for the end.

use asm::dsl::prelude::*;

use super::leave::{closing, gone};
use super::types::{INBOXES, Inbox, ME, Me, OPEN, PEERS};

/// All events of a connection.
#[sock_ops(default = Reply::None)]
pub(super) fn enrol(ops: &mut SockOps) -> Result<Reply> {
    match ops.op() {
        SockOps::ACTIVE_ESTABLISHED => {
            // This end comes first. Whether the other one is on this host, its first acknowledgement will tell.
            join(ops, SockOps::WANT_STATE | SockOps::WANT_RTT);
        }
        SockOps::PASSIVE_ESTABLISHED => {
            let key = (ops.snd_nxt() as u64) << 32 | ops.rcv_nxt() as u64;
            // The other end was established before this one, so it has been here if it is on this host. And what came with the SYN
            // (TCP Fast Open) was sent before it could be counted: such a connection stays with TCP.
            if INBOXES.get(&key.rotate_left(32)).is_some() && ops.bytes_received() == 0 {
                join(ops, SockOps::WANT_STATE);
            }
        }
        SockOps::RTT => {
            // Data was acknowledged, so the other end is established, and has been here or never will be.
            let sk = ops.sk()?;
            let me = ME.get(&sk)?;
            ops.set_cb_flags(ops.cb_flags() & !SockOps::WANT_RTT);
            if !INBOXES.get(&me.peer).is_some() {
                let key = me.key;
                PEERS.remove(&key);
                INBOXES.remove(&key);
                ME.remove(&sk);
            }
        }
        SockOps::STATE => {
            let sk = ops.sk()?;
            let me = ME.get(&sk)?;
            match ops.new_state() {
                TcpState::FinWait1 | TcpState::FinWait2 => closing(me),
                TcpState::Close => gone(me),
                _ => {}
            }
        }
        _ => {}
    }
    Ok(Reply::None)
}

/// Enrols a socket. Whatever fails, the connection goes by TCP.
#[bpf_fn]
fn join(ops: &SockOps, events: u32) {
    if OPEN.place() == 0 {
        return;
    }
    let Some(sk) = ops.sk() else { return };
    let key = (ops.snd_nxt() as u64) << 32 | ops.rcv_nxt() as u64;
    let peer = key.rotate_left(32);
    if key == peer {
        return;
    }
    let Some(_me) = ME.get_or_init(&sk, &Me { key, peer, sent: 0, burst: 0, pad: 0 }) else { return };
    if PEERS.add(ops, &key, Update::NoExist).code() != 0 {
        ME.remove(&sk);
        return;
    }
    let inbox = Inbox {
        sent: 0,
        read: 0,
        redirected: 0,
        messages: 0,
        passed: 0,
        tail: 0,
        mark: 0,
        old: 0,
        young: 0,
        ready: 1,
        heard: 0,
        by_tcp: 0,
        reason: 0,
    };
    if INBOXES.set(&key, &inbox, Update::NoExist).code() != 0 {
        PEERS.remove(&key);
        ME.remove(&sk);
        return;
    }
    ops.set_cb_flags(ops.cb_flags() | events);
}

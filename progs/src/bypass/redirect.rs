//! What a socket sends: into the other end's queue, or by TCP.
//!
//! Stage: kernel programs, `sk_msg`. Input: a message of an enrolled socket, which the program sees under that socket's lock.
//! Output: a verdict. Whatever is not sure goes by TCP. Next file to read: `leave.rs`.

use asm::dsl::prelude::*;

use super::policy::follow_rules;
use super::types::{
    COUNTED, CREDIT_BYTES, CREDIT_MESSAGES, INBOXES, Inbox, ME, Me, OPEN, PEERS, Reason, SMALL, STREAM,
};

/// Puts a message where it belongs.
#[sk_msg(default = SkAction::Pass)]
pub(super) fn redirect(msg: &mut SkMsg) -> Result<SkAction> {
    let me = ME.get(&msg.sk())?;
    follow_rules(me);
    let size = msg.size() as u64;
    let before = me.sent;
    me.sent = before + size;
    let stream = streams(me, size);
    let to = INBOXES.get(&me.peer)?;
    let read = to.read;
    if read == before {
        // Nothing is on its way: the order is sure, whichever way the next one goes.
        to.by_tcp = 0;
    }
    to.sent = before + size;
    let reason = doubt(me, to, stream, before - read + size);
    if reason != 0 {
        to.by_tcp = 1;
        to.reason = reason;
        to.passed += 1;
        return Ok(SkAction::Pass);
    }
    // This is to be seen before readiness is looked at: `leave.rs` says why.
    to.tail = before + size;
    to.messages.atomic_add(1);
    if to.ready == 0 {
        to.by_tcp = 1;
        to.reason = Reason::Leaving.number();
        return Ok(SkAction::Pass);
    }
    to.redirected += size;
    to.young += 1;
    if PEERS.redirect_msg(msg, &me.peer, Toward::Ingress) == SkAction::Drop {
        // The socket was closed a moment ago.
        to.by_tcp = 1;
    }
    Ok(SkAction::Pass)
}

/// Why a message is not redirected, or 0. `waiting`: bytes that would be on their way with it.
#[bpf_fn]
fn doubt(me: ValRef<Me>, to: ValRef<Inbox>, stream: u32, waiting: u64) -> u32 {
    if OPEN.place() == 0 {
        return Reason::Closed.number();
    }
    if me.refused != 0 {
        return Reason::Policy.number();
    }
    if to.by_tcp != 0 {
        return Reason::Order.number();
    }
    if COUNTED != 0 && to.heard == 0 {
        return Reason::Unheard.number();
    }
    if stream != 0 {
        return Reason::Stream.number();
    }
    // How many messages were read nobody says. But once all bytes up to the mark were, all messages before it were.
    if to.read >= to.mark {
        to.old = to.young;
        to.young = 0;
        to.mark = to.sent;
    }
    if waiting > CREDIT_BYTES || to.old + to.young >= CREDIT_MESSAGES {
        return Reason::Credit.number();
    }
    0
}

/// 1 in a stream of small messages that nobody answers.
#[bpf_fn]
fn streams(me: ValRef<Me>, size: u64) -> u32 {
    if size >= SMALL {
        me.burst = 0;
        return 0;
    }
    me.burst += 1;
    if COUNTED != 0 && me.burst > STREAM { 1 } else { 0 }
}

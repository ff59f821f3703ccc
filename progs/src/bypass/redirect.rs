//! What a socket sends: into the other end's queue, or by TCP.
//!
//! Stage: kernel programs, `sk_msg`. Input: a message of an enrolled socket, which the program sees under that socket's lock.
//! Output: a verdict. Whatever is not sure goes by TCP. Next file to read: `waiting.rs`.

use asm::dsl::prelude::*;

use super::first::{AUDIT, copy};
use super::policy::follow_rules;
use super::types::{
    BULK, COUNTED, CREDIT_MESSAGES, HELD, INBOXES, Inbox, LITTLE, ME, Me, OPEN, PEERS, Reason, SMALL, STREAM, Tcp,
};
use super::waiting::look;

/// Puts a message where it belongs.
#[sk_msg(default = SkAction::Pass)]
pub(super) fn redirect(msg: &mut SkMsg) -> Result<SkAction> {
    let me = ME.get(&msg.sk())?;
    follow_rules(me);
    let to = INBOXES.get(&me.peer)?;
    let size = msg.size() as u64;
    let stream = streams(me, size);
    look(msg, me, size);
    if to.by_tcp != 0 {
        taken(msg, me);
    }
    let (before, read) = (me.sent, to.read);
    if before < AUDIT.place().first_bytes as u64 {
        copy(msg, me, before as u32);
    }
    if read == before {
        // Nothing is on its way: the order is sure, whichever way the next one goes.
        to.by_tcp = 0;
    }
    to.sent = before + size;
    let mut reason = doubt(me, to, stream);
    if reason == 0 && full(msg, to, before - read, size) {
        reason = Reason::Credit.number();
    }
    if reason != 0 {
        to.by_tcp = 1;
        if to.reason != Reason::Room.number() {
            to.reason = reason;
        }
        to.passed += 1;
        me.size = size as u32;
        return Ok(SkAction::Pass);
    }
    // This is to be seen before readiness is looked at: `leave.rs` says why.
    to.tail = before + size;
    to.messages.atomic_add(1);
    // Or the socket was closed a moment ago.
    if to.ready == 0 || PEERS.redirect_msg(msg, &me.peer, Toward::Ingress) == SkAction::Drop {
        to.by_tcp = 1;
        to.reason = Reason::Leaving.number();
        to.messages -= 1;
        to.passed += 1;
        return Ok(SkAction::Pass);
    }
    me.sent = before + size;
    to.redirected += size;
    to.young += 1;
    Ok(SkAction::Pass)
}

/// Counts what TCP has taken. It has a counter of its own, which is right also where it took a part of a message only.
#[bpf_fn]
fn taken(msg: &SkMsg, me: ValRef<Me>) {
    let Some(tcp) = msg.sk().kernel_tcp::<Tcp>() else { return };
    let seq = tcp.write_seq.load();
    me.sent += (seq - me.seq) as u64;
    me.seq = seq;
}

/// Why a message is not redirected, or 0.
#[bpf_fn]
fn doubt(me: ValRef<Me>, to: ValRef<Inbox>, stream: u32) -> u32 {
    if OPEN.place() == 0 {
        return Reason::Closed.number();
    }
    if me.waited != 0 {
        return Reason::Duplex.number();
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
    0
}

/// Would more lie in the other end's queue than may? `waiting`: bytes that are on their way.
///
/// That is as much as TCP's own buffer takes, so that a sender whose reader does not read gets as far as it would without us, and what
/// the application wants of the buffer holds here, too. Where TCP is not held back, it takes a buffer of its own on top: then most is
/// left to it.
#[bpf_fn]
fn full(msg: &SkMsg, to: ValRef<Inbox>, waiting: u64, size: u64) -> bool {
    // How many messages were read nobody says. But once all bytes up to the mark were, all messages before it were.
    if to.read >= to.mark {
        to.old = to.young;
        to.young = 0;
        to.mark = to.sent;
    }
    if to.old + to.young >= CREDIT_MESSAGES {
        return true;
    }
    if waiting + size <= LITTLE {
        return false;
    }
    let Some(tcp) = msg.sk().kernel_tcp::<Tcp>() else { return true };
    let buffer = tcp.inet_conn.icsk_inet.sk.sk_sndbuf.load() as u64;
    let lowat = tcp.notsent_lowat.load();
    let credit = if lowat != 0 && lowat <= HELD { buffer } else { buffer.min((buffer >> 3).max(BULK)) };
    // TCP looks for room before a packet, of up to 64 KiB, and takes all of it then. A smaller buffer than these somebody has asked for.
    let packet = waiting == 0 && size <= BULK && buffer >= BULK >> 1;
    waiting + size > credit && !packet
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

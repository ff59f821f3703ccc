//! Stage: kernel program `decap`, at the real server. Takes the outer header off and gives the client's packet to the stack.
//!
//! Input: a frame. Output: the frame without its outer IP header, if the inner packet is for a VIP, the outer one for this
//! machine and from a balancer; everything else as it was. Next file to read: `control/mod.rs`.
//!
//! Strict, because an unwrapped packet has passed by every filter that looked at the outer header. Somebody else's tunnels
//! are none of our business, so the inner destination decides first: what is for no VIP goes to the stack.

use asm::dsl::prelude::*;

use super::encap::{Moved, fold};
use super::maps::{DECAP_REASONS, SERVED, TUNNELS};
use super::types::{CountPlace, DecapReason, Ending, Tunnel, TunnelPlace, TunnelState, VERDICT_BITS};

/// The fields that only fragments have: "more fragments follow", and an offset.
const FRAGMENT: Be16 = Be16::new(0x3fff);
/// Both ECN bits: congestion experienced (RFC 3168).
const CE: u8 = 3;

/// Unwraps what the balancers have wrapped, and counts what became of it.
#[xdp]
pub(super) fn decap(ctx: &mut Xdp) -> Action {
    let ending = match unwrap(ctx) {
        Ok(()) => DecapReason::Decapsulated.ends(),
        Err(ending) => ending,
    };
    if let Some(packets) = DECAP_REASONS.get(&(ending >> VERDICT_BITS)) {
        *packets += 1;
    }
    Action::of(ending & 7)
}

/// The way of a packet.
#[bpf_fn]
fn unwrap(ctx: &mut Xdp) -> Result<(), Ending> {
    let frame = ctx.packet();
    let mut pkt = frame;
    let eth = pkt.read::<Eth>().ok_or(DecapReason::Short.ends())?;
    let moved = pkt.peek::<Moved>().ok_or(DecapReason::Short.ends())?;
    let outer = pkt.read::<Ipv4>().ok_or(DecapReason::Short.ends())?;
    let inner = pkt.read::<Ipv4>().ok_or(DecapReason::Short.ends())?;
    if eth.proto != ETH_IPV4 {
        return Err(DecapReason::NotIpv4.ends());
    }
    if outer.protocol != IPIP || outer.version_ihl != 0x45 {
        return Err(DecapReason::NotIpip.ends());
    }
    if outer.fragment & FRAGMENT != Be16::new(0) {
        return Err(DecapReason::OuterFragment.ends());
    }
    let len = frame.remaining();
    let vip = SERVED.get(&inner.dst).ok_or(DecapReason::NotVip.ends())?;
    let ends = from_word::<Tunnel>(outer.src.raw() as u64 | (outer.dst.raw() as u64) << 32);
    let tunnel = tunnel(&ends)?;
    if tunnel.allowed == 0 {
        return Err(DecapReason::BadSource.ends());
    }
    let total = inner_length(outer, inner, len)?;
    congestion(outer, inner)?;

    // Source and target do not overlap: the Ethernet header has 14 bytes and moves by 20.
    moved.eth = *eth;
    ctx.adjust_head(20).ok_or(DecapReason::NoRoom.ends())?;
    count(&vip, total);
    count(&tunnel.count, total);
    Ok(())
}

/// The tunnel that the packet came through, or the row that says "this destination is ours".
#[bpf_fn]
fn tunnel(ends: &TunnelPlace) -> Result<ValRef<TunnelState>, Ending> {
    if let Some(known) = TUNNELS.get(ends) {
        return Ok(known);
    }
    ends.src = Be32::new(0);
    Ok(TUNNELS.get(ends).ok_or(DecapReason::NotOurs.ends())?)
}

/// The inner packet's length, if the lengths agree: inner packet within outer packet within frame.
#[bpf_fn]
fn inner_length(outer: PktRef<'_, Ipv4>, inner: PktRef<'_, Ipv4>, frame: u64) -> Result<u64, Ending> {
    let (total, around) = (inner.total_len.get() as u64, outer.total_len.get() as u64);
    if inner.version_ihl >> 4 != 4 || inner.ihl() < 5 || total < inner.ihl() as u64 * 4 {
        return Err(DecapReason::BadLength.ends());
    }
    if total + 20 > around || around + 14 > frame {
        return Err(DecapReason::BadLength.ends());
    }
    Ok(total)
}

/// Congestion that was marked on the outer header is told to the inner one (RFC 6040, section 4.2): dropped if the client
/// does not take part in ECN, else marked, and the checksum updated for the one word that changed (RFC 1624).
#[bpf_fn]
fn congestion(outer: PktRef<'_, Ipv4>, inner: PktRef<'_, Ipv4>) -> Result<(), Ending> {
    if outer.tos & CE != CE || inner.tos & CE == CE {
        return Ok(());
    }
    if inner.tos & CE == 0 {
        return Err(DecapReason::BadEcn.ends());
    }
    let (before, after) = (inner.tos as u64, (inner.tos | CE) as u64);
    inner.tos |= CE;
    let sum = (inner.checksum.raw() as u64 ^ 0xffff) + (before << 8 ^ 0xffff) + (after << 8);
    inner.checksum = (fold(sum) as u16).as_be();
    Ok(())
}

/// Adds one packet to counters of this CPU.
#[bpf_fn]
fn count(counts: &CountPlace, bytes: u64) {
    counts.packets += 1;
    counts.bytes += bytes;
}

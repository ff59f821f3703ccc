//! Stage: kernel program `decap`, at the real server. Takes the outer header off and gives the client's packet to the stack.
//!
//! Input: a frame. Output: the frame without its outer IP header, if the inner packet is for a VIP, the outer one for this
//! machine and from a balancer; everything else as it was. Next file to read: `control/mod.rs`.
//!
//! Strict, because an unwrapped packet has passed by every filter that looked at the outer header. Somebody else's tunnels
//! are none of our business, so the inner destination decides first: what is for no VIP goes to the stack.

use asm::insn::{BuildError, Builder, Code, Cond, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Reg, Size, helper};

use super::{
    emit::{Exits, be16, copy_eth, count, field, ip_field, lookup, packet},
    maps::names,
    types::{Count, DecapReason, TunnelState},
};
use crate::net::{
    disp,
    eth::{self, Eth},
    ip::{self, Ipv4},
};

/// Where the client's IP header begins.
const INNER: usize = eth::LEN + ip::LEN;

/// The stack.
mod frame {
    /// Key of `tunnels`: outer source and destination.
    pub(super) const TUNNEL: i16 = -8;
    /// Key of `served`: inner destination.
    pub(super) const SERVED: i16 = -12;
    /// Key of the reasons.
    pub(super) const REASON: i16 = -16;
    /// Length of the frame, 8 bytes.
    pub(super) const FRAME_LEN: i16 = -24;
    /// Total length of the inner packet, 8 bytes.
    pub(super) const INNER_LEN: i16 = -32;
}

/// An inner header's field as a displacement.
fn inner(offset: usize) -> i16 {
    disp(INNER + offset)
}

/// The program.
///
/// # Errors
/// Only if this crate is wrong: a label without a place.
pub fn program() -> Result<Code, BuildError> {
    let mut b = Builder::new();
    let b = &mut b;
    // No reason here belongs to a VIP's row; the first word is never read.
    let mut exits = Exits::new(names::DECAP_REASONS, frame::REASON, frame::REASON);
    b.mov(R6, R1);
    headers(b, &mut exits);
    permitted(b, &mut exits);
    lengths(b, &mut exits);
    ecn(b, &mut exits);
    strip(b, &mut exits);
    exits.place(b);
    std::mem::take(b).finish()
}

/// Leaves unless this is IP-in-IP, unfragmented, both headers in the frame. Data in `r7`, end in `r8`.
fn headers(b: &mut Builder, exits: &mut Exits<DecapReason>) {
    let short = exits.to(b, DecapReason::Short);
    let (not_ipv4, not_ipip) = (exits.to(b, DecapReason::NotIpv4), exits.to(b, DecapReason::NotIpip));
    let fragment = exits.to(b, DecapReason::OuterFragment);
    packet(b, R7, R8, R2, INNER + ip::LEN, short);
    b.load(Size::H, R2, R7, field!(Eth, ethertype));
    b.jmp_if(Cond::Ne, R2, be16(eth::IPV4), not_ipv4);
    b.load(Size::B, R2, R7, ip_field!(protocol));
    b.jmp_if(Cond::Ne, R2, i32::from(ip::IPIP), not_ipip);
    b.load(Size::B, R2, R7, ip_field!(version_ihl));
    b.jmp_if(Cond::Ne, R2, i32::from(ip::VERSION_IHL), not_ipip);
    b.load(Size::H, R2, R7, ip_field!(frag));
    b.jmp_if(Cond::Set, R2, be16(ip::MF | ip::OFFSET), fragment);
}

/// Leaves unless the inner packet is for a VIP and the outer one from a balancer to us. The counters of the VIP are then in
/// `r8`, those of the tunnel in `r9`.
fn permitted(b: &mut Builder, exits: &mut Exits<DecapReason>) {
    let (not_vip, not_ours) = (exits.to(b, DecapReason::NotVip), exits.to(b, DecapReason::NotOurs));
    let bad_source = exits.to(b, DecapReason::BadSource);
    let known = b.label("tunnel_known");
    // The frame's length is needed later; the pointer to its end is not.
    b.sub(R8, R7);
    b.store(Size::Dw, R10, frame::FRAME_LEN, R8);
    b.load(Size::W, R1, R7, inner(std::mem::offset_of!(Ipv4, dst)));
    b.store(Size::W, R10, frame::SERVED, R1);
    lookup(b, names::SERVED, frame::SERVED);
    b.jmp_if(Cond::Eq, R0, 0, not_vip);
    b.mov(R8, R0);
    b.load(Size::W, R1, R7, ip_field!(src));
    b.load(Size::W, R2, R7, ip_field!(dst));
    b.lsh(R2, 32);
    b.or(R1, R2);
    b.store(Size::Dw, R10, frame::TUNNEL, R1);
    lookup(b, names::TUNNELS, frame::TUNNEL);
    b.jmp_if(Cond::Ne, R0, 0, known);
    b.store(Size::W, R10, frame::TUNNEL, 0);
    lookup(b, names::TUNNELS, frame::TUNNEL);
    b.jmp_if(Cond::Eq, R0, 0, not_ours);
    b.bind(known);
    b.load(Size::Dw, R1, R0, field!(TunnelState, allowed));
    b.jmp_if(Cond::Eq, R1, 0, bad_source);
    b.mov(R9, R0);
}

/// Leaves unless the lengths agree: inner packet within outer packet within frame. The inner length is then on the stack.
fn lengths(b: &mut Builder, exits: &mut Exits<DecapReason>) {
    let bad = exits.to(b, DecapReason::BadLength);
    b.load(Size::B, R1, R7, inner(std::mem::offset_of!(Ipv4, version_ihl)));
    b.mov(R2, R1);
    b.rsh(R2, 4);
    b.jmp_if(Cond::Ne, R2, i32::from(ip::VERSION_IHL >> 4), bad);
    b.and(R1, 0xf);
    b.jmp_if(Cond::Lt, R1, i32::from(ip::VERSION_IHL & 0xf), bad);
    b.lsh(R1, 2);
    b.load(Size::H, R2, R7, inner(std::mem::offset_of!(Ipv4, total_len)));
    b.to_be(R2, 16);
    b.jmp_if(Cond::Lt, R2, R1, bad);
    b.store(Size::Dw, R10, frame::INNER_LEN, R2);
    b.add(R2, i32::from(disp(ip::LEN)));
    b.load(Size::H, R3, R7, ip_field!(total_len));
    b.to_be(R3, 16);
    b.jmp_if(Cond::Gt, R2, R3, bad);
    b.add(R3, i32::from(disp(eth::LEN)));
    b.load(Size::Dw, R4, R10, frame::FRAME_LEN);
    b.jmp_if(Cond::Gt, R3, R4, bad);
}

/// Congestion that was marked on the outer header is told to the inner one (RFC 6040, section 4.2): dropped if the client
/// does not take part in ECN, else marked, and the checksum updated for the one word that changed (RFC 1624).
fn ecn(b: &mut Builder, exits: &mut Exits<DecapReason>) {
    let bad = exits.to(b, DecapReason::BadEcn);
    let same = b.label("ecn_same");
    let ce = i32::from(ip::ECN_CE);
    let (first, check) = (inner(0), inner(std::mem::offset_of!(Ipv4, check)));
    b.load(Size::B, R1, R7, ip_field!(tos));
    b.and(R1, ce);
    b.jmp_if(Cond::Ne, R1, ce, same);
    b.load(Size::H, R2, R7, first);
    b.mov(R3, R2);
    b.rsh(R3, 8);
    b.and(R3, ce);
    b.jmp_if(Cond::Eq, R3, ce, same);
    b.jmp_if(Cond::Eq, R3, 0, bad);
    b.mov(R4, R2);
    b.or(R4, ce << 8);
    b.store(Size::H, R7, first, R4);
    b.load(Size::H, R5, R7, check);
    b.xor(R5, 0xffff);
    b.xor(R2, 0xffff);
    b.add(R5, R2);
    b.add(R5, R4);
    super::emit::fold(b, R5, R1);
    b.store(Size::H, R7, check, R5);
    b.bind(same);
}

/// Moves the Ethernet header up to the inner packet and cuts off what is in front of it.
fn strip(b: &mut Builder, exits: &mut Exits<DecapReason>) {
    let (no_room, done) = (exits.to(b, DecapReason::NoRoom), exits.to(b, DecapReason::Decapsulated));
    // Source and target do not overlap: the Ethernet header has 14 bytes and moves by 20.
    copy_eth(b, (R7, disp(ip::LEN)), (R7, 0), R1);
    b.load(Size::Dw, R7, R10, frame::INNER_LEN);
    b.mov(R1, R6);
    b.mov(R2, i32::from(disp(ip::LEN)));
    b.call(helper::XDP_ADJUST_HEAD);
    b.jmp_if(Cond::Ne, R0, 0, no_room);
    count_at(b, R8, 0);
    count_at(b, R9, field!(TunnelState, count));
    b.jmp(done);
}

fn count_at(b: &mut Builder, base: Reg, at: i16) {
    count(b, base, (at + field!(Count, packets), at + field!(Count, bytes)), R7, R1);
}

//! Stage: kernel program `balance`, an ending. The packet does not fit the way to the real server: tell the client what does.
//!
//! Input: the VIP's packet, untouched; the real server's row in `r7`, the length of the frame's IP part in `r8`. Output: an ICMP
//! "fragmentation needed" (RFC 1191) in its place, sent back the way it came. Next file to read: `decap.rs`.
//!
//! The answer comes from the VIP, the only address of ours that the client is sure to reach, and it is never larger than
//! what it answers. Only packets with DF set are answered: others ask for a fragmentation that this program cannot do.

use asm::insn::{Builder, Cond, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, Reg, Size, helper};

use super::{
    emit::{Exits, be16, field, fold, ip_field, packet},
    encap::{OVERHEAD, TTL},
    types::{Backend, Reason},
};
use crate::net::{
    disp,
    eth::{self, Eth},
    icmp,
    ip::{self, Ipv4},
};

/// Bytes of the client's packet that are quoted. With the ICMP header this is the most that `bpf_csum_diff` sums at once
/// (512), and the whole stays below the 576 bytes that every host takes (RFC 1812, section 4.3.2.3).
pub const QUOTED: usize = 504;
/// Bytes put in front of the client's packet.
const ADDED: usize = ip::LEN + icmp::LEN;
/// TOS of what routers say: precedence "internetwork control".
const TOS: u8 = 0xc0;

/// Writes the ending.
pub(super) fn place(b: &mut Builder, exits: &mut Exits<Reason>, too_big: Label) {
    let (silent, no_headroom) = (exits.of_vip(b, Reason::TooBig), exits.of_vip(b, Reason::NoHeadroom));
    let answered = exits.of_vip(b, Reason::TooBigAnswered);
    b.bind(too_big);
    packet(b, R2, R3, R1, eth::LEN + ip::LEN, silent);
    b.load(Size::H, R1, R2, ip_field!(frag));
    b.and(R1, be16(ip::DF));
    b.jmp_if(Cond::Eq, R1, 0, silent);
    b.jmp_if(Cond::Lt, R8, i32::from(disp(QUOTED)), silent);
    b.mov(R1, R6);
    b.mov(R2, -i32::from(disp(ADDED)));
    b.call(helper::XDP_ADJUST_HEAD);
    b.jmp_if(Cond::Ne, R0, 0, no_headroom);
    b.mov(R1, R6);
    b.mov(R2, i32::from(disp(QUOTED)));
    b.sub(R2, R8);
    b.call(helper::XDP_ADJUST_TAIL);
    b.jmp_if(Cond::Ne, R0, 0, no_headroom);
    packet(b, R8, R3, R1, eth::LEN + ADDED + QUOTED, no_headroom);
    swap_eth(b);
    ip_header(b, R8);
    icmp_header(b);
    b.jmp(answered);
}

/// A field of the client's IP header, which lies behind what was put in front of it.
fn quoted(offset: usize) -> i16 {
    disp(eth::LEN + ADDED + offset)
}

/// Back to where it came from. The client's Ethernet header begins where ours does, plus what was added.
fn swap_eth(b: &mut Builder) {
    let added = disp(ADDED);
    b.load(Size::W, R1, R8, added + field!(Eth, src));
    b.load(Size::H, R2, R8, added + field!(Eth, src) + 4);
    b.load(Size::W, R3, R8, added + field!(Eth, dst));
    b.load(Size::H, R4, R8, added + field!(Eth, dst) + 4);
    b.store(Size::W, R8, field!(Eth, dst), R1);
    b.store(Size::H, R8, field!(Eth, dst) + 4, R2);
    b.store(Size::W, R8, field!(Eth, src), R3);
    b.store(Size::H, R8, field!(Eth, src) + 4, R4);
    b.store(Size::H, R8, field!(Eth, ethertype), be16(eth::IPV4));
}

fn ip_header(b: &mut Builder, data: Reg) {
    let total = be16(u16::try_from(ADDED + QUOTED).unwrap_or(u16::MAX));
    let first = total << 16 | i32::from(TOS) << 8 | i32::from(ip::VERSION_IHL);
    let third = i32::from(ip::ICMP) << 8 | i32::from(TTL);
    b.store(Size::W, data, ip_field!(version_ihl), first);
    b.store(Size::W, data, ip_field!(id), be16(ip::DF) << 16);
    b.load(Size::W, R1, data, quoted(std::mem::offset_of!(Ipv4, dst)));
    b.load(Size::W, R2, data, quoted(std::mem::offset_of!(Ipv4, src)));
    b.store(Size::W, data, ip_field!(src), R1);
    b.store(Size::W, data, ip_field!(dst), R2);
    // 32-bit words are added to a 64-bit sum, whose upper half is then added to the lower: the same modulo 0xffff.
    b.mov32(R3, first);
    b.mov32(R4, be16(ip::DF) << 16);
    b.add(R3, R4);
    b.add(R3, third);
    b.add(R3, R1);
    b.add(R3, R2);
    b.mov(R4, R3);
    b.rsh(R4, 32);
    b.lsh(R3, 32);
    b.rsh(R3, 32);
    b.add(R3, R4);
    fold(b, R3, R4);
    b.lsh(R3, 16);
    b.or(R3, third);
    b.store(Size::W, data, ip_field!(ttl), R3);
}

/// Type, code and MTU; then the sum over them and the quoted bytes.
fn icmp_header(b: &mut Builder) {
    let at = |offset: usize| disp(eth::LEN + ip::LEN + offset);
    b.store(Size::W, R8, at(0), i32::from(icmp::FRAG_NEEDED) << 8 | i32::from(icmp::UNREACHABLE));
    b.load(Size::W, R1, R7, field!(Backend, mtu));
    b.sub(R1, i32::from(disp(OVERHEAD)));
    b.to_be(R1, 16);
    b.lsh(R1, 16);
    b.store(Size::W, R8, at(4), R1);
    b.mov(R1, 0);
    b.mov(R2, 0);
    b.mov(R3, R8);
    b.add(R3, i32::from(at(0)));
    b.mov(R4, i32::from(disp(icmp::LEN + QUOTED)));
    b.mov(R5, 0);
    b.call(helper::CSUM_DIFF);
    fold(b, R0, R1);
    b.store(Size::H, R8, at(std::mem::offset_of!(icmp::Icmp, check)), R0);
}

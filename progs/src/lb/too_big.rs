//! Stage: kernel program `balance`, an ending. The packet does not fit the way to the real server: tell the client what does.
//!
//! Input: the VIP's packet, untouched; the real server's row, the length of the frame's IP part. Output: an ICMP "fragmentation
//! needed" (RFC 1191) in its place, sent back the way it came. Next file to read: `decap.rs`.
//!
//! The answer comes from the VIP, the only address of ours that the client is sure to reach, and it is never larger than
//! what it answers. Only packets with DF set are answered: others ask for a fragmentation that this program cannot do.

use asm::dsl::prelude::*;

use super::encap::{ADDED, DONT_FRAGMENT, Words, first, fold, ttl_and};
use super::types::{Backend, Ending, Reason};

/// Bytes of the client's packet that are quoted. With the ICMP header this is the most that `bpf_csum_diff` sums at once
/// (512), and the whole stays below the 576 bytes that every host takes (RFC 1812, section 4.3.2.3).
pub const QUOTED: u16 = 504;

/// Bytes put in front of the client's packet: IP and ICMP headers.
const IN_FRONT: u16 = 20 + 8;
/// TOS of what routers say: precedence "internetwork control".
const TOS: u8 = 0xc0;
/// "Don't fragment", among the flags of an IP header.
const DF: Be16 = Be16::new(0x4000);
/// ICMP type 3, code 4: fragmentation needed. As they lie in the packet.
const FRAGMENTATION_NEEDED: u32 = 4 << 8 | 3;

/// The answer's first word.
const FIRST: u32 = first(TOS, IN_FRONT + QUOTED);

/// The message: ICMP header, and the client's packet from its IP header on.
#[derive(Layout)]
#[repr(C)]
struct Message {
    /// Type, code, checksum.
    kind: u16,
    checksum: u16,
    /// Zero, then the MTU in network order.
    mtu: u32,
    quoted: Ipv4,
    rest: [u8; QUOTED as usize - 20],
}

/// Where the client's Ethernet header lies behind ours.
#[derive(Layout)]
#[repr(C)]
struct Moved {
    ours: [u8; 14],
    eth: Eth,
}

/// Turns the packet into the answer.
#[bpf_fn]
pub(super) fn answer(ctx: &mut Xdp, real: ValRef<Backend>, room: u64) -> Ending {
    let mut pkt = ctx.packet();
    let Some(_) = pkt.read::<Eth>() else { return Reason::TooBig.ends() };
    let Some(ip) = pkt.read::<Ipv4>() else { return Reason::TooBig.ends() };
    if ip.fragment & DF == Be16::new(0) || room < QUOTED as u64 {
        return Reason::TooBig.ends();
    }
    let Some(()) = ctx.adjust_head(-28) else { return Reason::NoHeadroom.ends() };
    let Some(()) = ctx.adjust_tail((QUOTED as u64 - room) as i32) else { return Reason::NoHeadroom.ends() };
    let mut pkt = ctx.packet();
    let Some(eth) = pkt.read::<Eth>() else { return Reason::NoHeadroom.ends() };
    let Some(moved) = pkt.peek::<Moved>() else { return Reason::NoHeadroom.ends() };
    let Some(ip) = pkt.read::<Words>() else { return Reason::NoHeadroom.ends() };
    let Some(message) = pkt.read::<Message>() else { return Reason::NoHeadroom.ends() };

    *eth = Eth { dst: moved.eth.src, src: moved.eth.dst, proto: ETH_IPV4 };
    let (from, to) = (message.quoted.dst, message.quoted.src);
    // 32-bit words are added to a 64-bit sum, whose upper half is then added to the lower: the same modulo 0xffff.
    let sum = (FIRST as u64 + DONT_FRAGMENT as u64 + ttl_and(ICMP)) + from.raw() as u64 + to.raw() as u64;
    let checksum = fold((sum & 0xffff_ffff) + (sum >> 32));
    *ip = Words {
        first: FIRST,
        second: DONT_FRAGMENT,
        third: (checksum << 16 | ttl_and(ICMP)) as u32,
        src: from,
        dst: to,
    };
    message.kind = FRAGMENTATION_NEEDED as u16;
    message.checksum = 0;
    message.mtu = (((real.mtu as u64 - ADDED) as u16).to_be().raw() as u32) << 16;
    message.checksum = fold(ones_sum(&message)) as u16;
    Reason::TooBigAnswered.ends()
}

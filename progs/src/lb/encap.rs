//! Stage: kernel program `balance`, last part. The next hop, the outer header, and out.
//!
//! Input: the real server's row in `r7`, the length of the frame's IP part in `r8`, the packet's total length in `r9`, the
//! first word of the outer header on the stack. Output: a verdict. Next file to read: `too_big.rs`.
//!
//! The outer header (RFC 2003): TOS from the inner one, so queues and ECN work on the way; TTL 64, and the inner TTL stays,
//! for the VIP is where the client thinks it is; identification 0 *because* DF is set (RFC 6864: an atomic packet needs
//! none). DF is always set: reassembly happens before no XDP program, so a fragment could not be unwrapped at the real
//! server; and fragments of different packets, all with identification 0, would be mixed up. Packets that would need
//! fragments are answered here instead (`too_big.rs`).

use std::net::Ipv4Addr;

use asm::insn::{Builder, Cond, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Size, helper};
use zerocopy::{IntoBytes, big_endian::U16};

use super::{
    emit::{Exits, XdpMd, be16, copy_eth, count, field, fold, packet},
    frame,
    types::{Backend, Reason, Verdict},
};
use crate::net::{
    csum, disp,
    eth::{self, Eth},
    ip::{self, Ipv4},
};

/// TTL of the outer header.
pub const TTL: u8 = 64;
/// Bytes the encapsulation adds.
pub const OVERHEAD: usize = ip::LEN;
/// MTU assumed when neither kernel nor control plane know one, in bytes.
pub(super) const USUAL_MTU: i32 = 1500;
/// The least MTU an IPv4 network has (RFC 791), in bytes.
const LEAST_MTU: i32 = 68;
/// How long an answer of the kernel's routing table is used, in jiffies: a quarter of a second where HZ is 250. A lookup for
/// each packet would cost more than everything else here together.
const FRESH: i32 = 64;

/// `struct bpf_fib_lookup`, as IPv4 uses it; 64 bytes since Linux 4.18.
#[repr(C)]
struct FibLookup {
    family: u8,
    l4_protocol: u8,
    sport: u16,
    dport: u16,
    /// In: packet length to compare with the route's MTU, 0 for no comparison. Out, since Linux 5.12: the MTU.
    tot_len: u16,
    /// In: the interface the packet came in by. Out: the one it leaves by.
    ifindex: u32,
    tos: u32,
    ipv4_src: u32,
    unused_src: [u32; 3],
    ipv4_dst: u32,
    unused_dst: [u32; 3],
    vlan: u32,
    smac: [u8; 6],
    dmac: [u8; 6],
}
const _: () = assert!(size_of::<FibLookup>() == 64);
const _: () = assert!(std::mem::offset_of!(FibLookup, smac) == 52);

const AF_INET: i32 = 2;
/// The route needs an encapsulation of its own (`BPF_FIB_LKUP_RET_UNSUPP_LWT`).
const FIB_UNSUPPORTED: i32 = 6;
/// No neighbour entry for the next hop (`BPF_FIB_LKUP_RET_NO_NEIGH`).
const FIB_NO_NEIGHBOUR: i32 = 7;
/// Forwarding is off on the interface (`BPF_FIB_LKUP_RET_FWD_DISABLED`).
const FIB_FORWARDING_OFF: i32 = 5;

/// The outer header of a packet of `inner_len` bytes: what the kernel program writes, as a value.
#[must_use]
pub fn outer(source: Ipv4Addr, real: Ipv4Addr, tos: u8, inner_len: u16) -> Option<Ipv4> {
    let mut header = Ipv4 { tos, total_len: U16::new(inner_len.checked_add(20)?), ..template(source, real) };
    header.check = csum::checksum(header.as_bytes());
    Some(header)
}

fn template(source: Ipv4Addr, real: Ipv4Addr) -> Ipv4 {
    Ipv4 {
        version_ihl: ip::VERSION_IHL,
        tos: 0,
        total_len: U16::ZERO,
        id: U16::ZERO,
        frag: U16::new(ip::DF),
        ttl: TTL,
        protocol: ip::IPIP,
        check: [0; 2],
        src: source.octets(),
        dst: real.octets(),
    }
}

/// The part of the outer header's sum that is the same for every packet: all but the first word (version, TOS, length).
///
/// Computed once by the control plane; the kernel program adds the first word as one 32-bit number, which is the same modulo
/// 0xffff, and folds. Folded already here, so that two folds are enough there: 0xffff_ffff + 0xffff folds to 0x1_fffe, then
/// to 0xffff.
#[must_use]
pub fn constant_sum(source: Ipv4Addr, real: Ipv4Addr) -> u32 {
    csum::fold(csum::sum(&template(source, real).as_bytes()[4..])).into()
}

/// Labels of this stage.
pub(super) struct Hop {
    refresh: Label,
    ready: Label,
    too_big: Label,
}

/// Writes the fast way: a hop that is fresh, a packet that fits. Returns what [`refresh`] needs.
pub(super) fn hot(b: &mut Builder, exits: &mut Exits<Reason>, too_big: Label) -> Hop {
    let hop = Hop { refresh: b.label("refresh"), ready: b.label("hop_ready"), too_big };
    let no_headroom = exits.of_vip(b, Reason::NoHeadroom);
    b.call(helper::JIFFIES64);
    b.load(Size::Dw, R1, R7, field!(Backend, fresh_until));
    b.jmp_if(Cond::Ge, R0, R1, hop.refresh);
    b.bind(hop.ready);
    leave_if_too_big(b, too_big);
    make_room(b, no_headroom);
    packet(b, R2, R3, R1, eth::LEN + ip::LEN, no_headroom);
    copy_eth(b, (R2, 0), (R7, field!(Backend, eth)), R1);
    outer_header(b);
    count(b, R7, (field!(Backend, packets), field!(Backend, bytes)), R9, R1);
    let redirect = b.label("redirect");
    b.load(Size::W, R1, R7, field!(Backend, egress));
    b.load(Size::W, R2, R6, field!(XdpMd, ingress_ifindex));
    b.jmp_if(Cond::Ne, R1, R2, redirect);
    b.mov(R0, Verdict::Tx as i32);
    b.exit();
    b.bind(redirect);
    b.mov(R2, 0);
    b.call(helper::REDIRECT);
    b.exit();
    hop
}

/// Leaves when the frame, not only the packet in it, would be larger than the route's MTU: a driver counts frames. This also
/// keeps the outer length below 65,536, as no MTU is larger.
fn leave_if_too_big(b: &mut Builder, too_big: Label) {
    b.mov(R1, R8);
    b.add(R1, i32::from(disp(OVERHEAD)));
    b.load(Size::W, R2, R7, field!(Backend, mtu));
    b.jmp_if(Cond::Gt, R1, R2, too_big);
}

fn make_room(b: &mut Builder, no_headroom: Label) {
    b.mov(R1, R6);
    b.mov(R2, -i32::from(disp(OVERHEAD)));
    b.call(helper::XDP_ADJUST_HEAD);
    b.jmp_if(Cond::Ne, R0, 0, no_headroom);
}

/// Writes the outer header behind the Ethernet header at `r2`. Loses `r1`, `r3`, `r4`.
fn outer_header(b: &mut Builder) {
    let at = |offset: usize| disp(eth::LEN + offset);
    b.load(Size::W, R1, R10, frame::OUTER);
    b.store(Size::W, R2, at(0), R1);
    b.store(Size::W, R2, at(4), be16(ip::DF) << 16);
    b.load(Size::W, R3, R7, field!(Backend, sum));
    b.add(R3, R1);
    fold(b, R3, R4);
    b.lsh(R3, 16);
    b.or(R3, i32::from(TTL) | i32::from(ip::IPIP) << 8);
    b.store(Size::W, R2, at(8), R3);
    b.load(Size::Dw, R1, R7, field!(Backend, source));
    b.store(Size::Dw, R2, at(12), R1);
}

/// The first word of the outer header, from the total length in `r9` and the packet at `r7`, put on the stack. It is
/// computed early, while the packet is at hand; whether the length fits is checked before it is used.
pub(super) fn first_word(b: &mut Builder) {
    b.mov(R1, R9);
    b.add(R1, i32::from(disp(OVERHEAD)));
    b.to_be(R1, 16);
    b.lsh(R1, 16);
    b.load(Size::B, R2, R7, super::emit::ip_field!(tos));
    b.lsh(R2, 8);
    b.or(R1, R2);
    b.or(R1, i32::from(ip::VERSION_IHL));
    b.store(Size::W, R10, frame::OUTER, R1);
}

/// Writes the slow way: the kernel is asked for the next hop, and the answer kept in the real server's row of this CPU.
pub(super) fn refresh(b: &mut Builder, exits: &mut Exits<Reason>, hop: &Hop) {
    b.bind(hop.refresh);
    ask_fib(b);
    let to_stack = b.label("to_stack");
    fib_failures(b, exits, to_stack);
    // An entry that is still being resolved has no address yet; old kernels return it all the same.
    let fib = |offset: usize| frame::FIB + disp(offset);
    let dmac = std::mem::offset_of!(FibLookup, dmac);
    b.load(Size::H, R1, R10, fib(dmac));
    b.load(Size::H, R2, R10, fib(dmac + 2));
    b.load(Size::H, R3, R10, fib(dmac + 4));
    b.mov(R4, R1);
    b.or(R4, R2);
    b.or(R4, R3);
    b.jmp_if(Cond::Eq, R4, 0, to_stack);
    keep_hop(b);
    b.jmp(hop.ready);
    b.bind(to_stack);
    give_to_stack(b, exits, hop.too_big);
}

/// Looks up the route of the outer packet: from our address to the real server, coming in where the client's packet did.
fn ask_fib(b: &mut Builder) {
    let fib = |offset: i16| frame::FIB + offset;
    for word in 0..8 {
        b.store(Size::Dw, R10, fib(8 * word), 0);
    }
    b.store(Size::B, R10, fib(field!(FibLookup, family)), AF_INET);
    b.store(Size::B, R10, fib(field!(FibLookup, l4_protocol)), i32::from(ip::IPIP));
    // One byte fits every route; a kernel that tells the MTU replaces it.
    b.store(Size::H, R10, fib(field!(FibLookup, tot_len)), 1);
    b.load(Size::W, R1, R6, field!(XdpMd, ingress_ifindex));
    b.store(Size::W, R10, fib(field!(FibLookup, ifindex)), R1);
    b.load(Size::W, R1, R7, field!(Backend, source));
    b.store(Size::W, R10, fib(field!(FibLookup, ipv4_src)), R1);
    b.load(Size::W, R1, R7, field!(Backend, addr));
    b.store(Size::W, R10, fib(field!(FibLookup, ipv4_dst)), R1);
    b.mov(R1, R6);
    b.mov(R2, R10);
    b.add(R2, i32::from(frame::FIB));
    b.mov(R3, i32::from(disp(size_of::<FibLookup>())));
    b.mov(R4, 0);
    b.call(helper::FIB_LOOKUP);
}

/// Keeps the MTU, and leaves unless there is a next hop.
fn fib_failures(b: &mut Builder, exits: &mut Exits<Reason>, to_stack: Label) {
    let (no_route, forwarding_off) = (exits.of_vip(b, Reason::NoRoute), exits.of_vip(b, Reason::ForwardingOff));
    let (told, known) = (b.label("mtu_told"), b.label("mtu_known"));
    b.load(Size::H, R1, R10, frame::FIB + field!(FibLookup, tot_len));
    b.jmp_if(Cond::Ge, R1, LEAST_MTU, told);
    b.load(Size::H, R1, R7, field!(Backend, route_mtu));
    b.jmp_if(Cond::Ne, R1, 0, known);
    b.mov(R1, USUAL_MTU);
    b.bind(known);
    b.bind(told);
    b.store(Size::W, R7, field!(Backend, mtu), R1);
    b.jmp_if(Cond::Eq, R0, FIB_NO_NEIGHBOUR, to_stack);
    b.jmp_if(Cond::Eq, R0, FIB_UNSUPPORTED, to_stack);
    b.jmp_if(Cond::Eq, R0, FIB_FORWARDING_OFF, forwarding_off);
    b.jmp_if(Cond::Ne, R0, 0, no_route);
}

/// Writes the hop to the row at `r7`; the next hop's MAC address is in `r1`, `r2`, `r3`.
fn keep_hop(b: &mut Builder) {
    let eth = |offset: i16| field!(Backend, eth) + offset;
    for (reg, at) in [(R1, 0), (R2, 2), (R3, 4)] {
        b.store(Size::H, R7, eth(field!(Eth, dst) + at), reg);
    }
    for at in [0, 2, 4] {
        b.load(Size::H, R1, R10, frame::FIB + field!(FibLookup, smac) + at);
        b.store(Size::H, R7, eth(field!(Eth, src) + at), R1);
    }
    b.store(Size::H, R7, eth(field!(Eth, ethertype)), be16(eth::IPV4));
    b.load(Size::W, R1, R10, frame::FIB + field!(FibLookup, ifindex));
    b.store(Size::W, R7, field!(Backend, egress), R1);
    b.call(helper::JIFFIES64);
    b.add(R0, FRESH);
    b.store(Size::Dw, R7, field!(Backend, fresh_until), R0);
}

/// No MAC address yet: the stack knows how to get it. The packet is encapsulated and passed on with its own Ethernet header;
/// the kernel routes it, asks for the neighbour, and holds the packet until the answer is there. So the first packet to a
/// real server is late, not lost, provided that the interface accepts a packet from one of our own addresses
/// (`net.ipv4.conf.<interface>.accept_local=1`).
fn give_to_stack(b: &mut Builder, exits: &mut Exits<Reason>, too_big: Label) {
    let (no_headroom, passed) = (exits.of_vip(b, Reason::NoHeadroom), exits.of_vip(b, Reason::NoNeighbour));
    leave_if_too_big(b, too_big);
    make_room(b, no_headroom);
    packet(b, R2, R3, R1, eth::LEN + OVERHEAD + eth::LEN, no_headroom);
    copy_eth(b, (R2, 0), (R2, disp(OVERHEAD)), R5);
    outer_header(b);
    count(b, R7, (field!(Backend, packets), field!(Backend, bytes)), R9, R1);
    b.jmp(passed);
}

/// From the VIP in `r0` to the packet's lengths: total in `r9`, frame without Ethernet header in `r8`. A packet whose total
/// length is not all there is dropped, for the outer length is computed from it.
pub(super) fn lengths(b: &mut Builder, exits: &mut Exits<Reason>) {
    let bad = exits.of_vip(b, Reason::BadLength);
    b.load(Size::H, R1, R7, super::emit::ip_field!(total_len));
    b.to_be(R1, 16);
    b.jmp_if(Cond::Lt, R1, R9, bad);
    b.mov(R9, R1);
    b.sub(R8, R7);
    b.sub(R8, i32::from(disp(eth::LEN)));
    b.jmp_if(Cond::Gt, R9, R8, bad);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The kernel program's arithmetic, done here: constant sum, one 32-bit word added, two folds.
        #[test]
        fn one_word_and_the_constant_sum_make_the_checksum(src: u32, dst: u32, tos: u8, len in 28u16..65_515) {
            let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::from(dst));
            let header = outer(src, dst, tos, len).unwrap();
            let first = u32::from_ne_bytes(header.as_bytes()[..4].try_into().unwrap());
            let mut sum = u64::from(constant_sum(src, dst)) + u64::from(first);
            for _ in 0..2 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            prop_assert_eq!((!u16::try_from(sum).unwrap()).to_ne_bytes(), header.check);
            prop_assert_eq!(csum::checksum(header.as_bytes()), [0, 0]);
        }
    }

    #[test]
    fn a_length_that_would_wrap_has_no_header() {
        let a = Ipv4Addr::new(10, 0, 0, 1);
        assert!(outer(a, a, 0, 65_515).is_some());
        assert!(outer(a, a, 0, 65_516).is_none());
    }
}

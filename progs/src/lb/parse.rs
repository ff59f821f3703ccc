//! Stage: kernel program `balance`, first part. From a frame to the VIP it is for.
//!
//! Input: the frame. Output, at label `found`: the VIP in `r0`; on the stack its key and the client's side of the flow; in
//! `r7` and `r8` the frame's bounds, in `r9` the least length the packet must claim. Everything that is not for a VIP
//! has left, untouched. Next file to read: `select.rs`.
//!
//! The way of a plain TCP or UDP packet is written first and straight; options, fragments and ICMP errors are behind it.

use asm::insn::{Builder, Cond, Label, R0, R1, R2, R3, R4, R5, R7, R8, R9, R10, Reg, Size};

use super::{
    emit::{Exits, be16, field, ip_field, lookup, packet},
    frame,
    maps::names,
    types::{Config, FILTER_HASH, Reason, VipKey},
};
use crate::net::{
    disp,
    eth::{self, Eth},
    icmp, ip, udp,
};

/// Where the ports are when the IP header has no options.
const L4: usize = eth::LEN + ip::LEN;
/// What one check covers: all headers up to the ports.
const PORTS_END: usize = L4 + 4;
/// Where an ICMP error quotes a packet.
const QUOTE: usize = L4 + icmp::LEN;

/// Labels that the parts of this stage jump to.
struct Parts {
    found: Label,
    lookup: Label,
    miss: Label,
    not_ipv4: Label,
    options: Label,
    fragment: Label,
    icmp: Label,
}

/// Writes the fast way; returns what [`cold`] needs to write the rest.
pub(super) fn hot(b: &mut Builder, exits: &mut Exits<Reason>) -> Cold {
    let parts = Parts {
        found: b.label("found"),
        lookup: b.label("lookup"),
        miss: b.label("miss"),
        not_ipv4: b.label("not_ipv4"),
        options: b.label("options"),
        fragment: b.label("fragment"),
        icmp: b.label("icmp"),
    };
    let short = exits.to(b, Reason::Short);
    packet(b, R7, R8, R2, PORTS_END, short);
    b.load(Size::H, R2, R7, field!(Eth, ethertype));
    b.jmp_if(Cond::Ne, R2, be16(eth::IPV4), parts.not_ipv4);
    b.load(Size::B, R2, R7, ip_field!(version_ihl));
    b.jmp_if(Cond::Ne, R2, i32::from(ip::VERSION_IHL), parts.options);
    b.load(Size::H, R2, R7, ip_field!(frag));
    b.jmp_if(Cond::Set, R2, be16(ip::MF | ip::OFFSET), parts.fragment);
    b.load(Size::B, R3, R7, ip_field!(protocol));
    let ports = b.label("ports");
    b.jmp_if(Cond::Eq, R3, i32::from(ip::TCP), ports);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::UDP), parts.icmp);
    b.bind(ports);
    filter(b, exits);
    store_flow(b, Flow { client: (R7, ip_field!(src)), vip: (R7, ip_field!(dst)), ports: (R7, disp(L4)) });
    b.mov(R9, i32::from(disp(ip::LEN + udp::LEN)));
    b.bind(parts.lookup);
    lookup(b, names::VIPS, frame::KEY);
    b.jmp_if(Cond::Eq, R0, 0, parts.miss);
    b.bind(parts.found);
    Cold(parts)
}

/// Leaves if no VIP's address shares a bit of the filter with the packet's. Loses `r1`, `r2`, `r4`.
fn filter(b: &mut Builder, exits: &mut Exits<Reason>) {
    let not_vip = exits.to(b, Reason::NotVip);
    let (factor, shift) = FILTER_HASH;
    b.load(Size::W, R4, R7, ip_field!(dst));
    b.mul32(R4, factor.cast_signed());
    b.rsh32(R4, shift.cast_signed());
    b.mov(R2, R4);
    b.rsh(R2, 6);
    b.lsh(R2, 3);
    b.map_value(R1, names::CONFIG_VARIABLE, i32::from(field!(Config, filter)));
    b.add(R1, R2);
    b.load(Size::Dw, R1, R1, 0);
    // A shift by a register counts modulo 64: the number of the bit in its word.
    b.rsh(R1, R4);
    b.and(R1, 1);
    b.jmp_if(Cond::Eq, R1, 0, not_vip);
}

/// The labels that are still to be placed.
pub(super) struct Cold(Parts);

/// Writes everything that is not the fast way.
pub(super) fn cold(b: &mut Builder, exits: &mut Exits<Reason>, Cold(parts): Cold) {
    any_port(b, exits, &parts);
    fragment(b, exits, &parts);
    options(b, exits, &parts);
    icmp_error(b, exits, &parts);
    b.bind(parts.not_ipv4);
    let vlan = exits.to(b, Reason::Vlan);
    b.jmp_if(Cond::Eq, R2, be16(eth::VLAN), vlan);
    b.jmp_if(Cond::Eq, R2, be16(eth::QINQ), vlan);
    let not_ipv4 = exits.to(b, Reason::NotIpv4);
    b.jmp(not_ipv4);
}

/// Where the parts of a flow lie in the packet, as base register and displacement.
struct Flow {
    client: (Reg, i16),
    vip: (Reg, i16),
    /// Client's port, then the VIP's.
    ports: (Reg, i16),
}

/// Puts the VIP's key and the client's side of the flow on the stack; the protocol is in `r3`. Loses `r3` to `r5`.
///
/// Each is put together in a register and stored at once: the loads of the lookup and the hash, which are wider than
/// the parts, would otherwise wait until all parts have left the store buffer.
#[track_caller]
fn store_flow(b: &mut Builder, flow: Flow) {
    b.load(Size::W, R4, flow.vip.0, flow.vip.1);
    b.load(Size::H, R5, flow.ports.0, flow.ports.1 + 2);
    b.lsh(R5, 32);
    b.or(R4, R5);
    b.lsh(R3, 48);
    b.or(R4, R3);
    b.store(Size::Dw, R10, frame::KEY, R4);
    b.load(Size::W, R4, flow.client.0, flow.client.1);
    b.load(Size::W, R5, flow.ports.0, flow.ports.1);
    b.lsh(R5, 32);
    b.or(R4, R5);
    b.store(Size::Dw, R10, frame::TUPLE, R4);
}

/// No VIP for this port: perhaps there is one for every port of the address.
fn any_port(b: &mut Builder, exits: &mut Exits<Reason>, parts: &Parts) {
    let not_vip = exits.to(b, Reason::NotVip);
    b.bind(parts.miss);
    b.map_value(R1, names::CONFIG_VARIABLE, i32::from(field!(Config, any_port)));
    b.load(Size::W, R1, R1, 0);
    b.jmp_if(Cond::Eq, R1, 0, not_vip);
    b.store(Size::H, R10, frame::KEY + field!(VipKey, port), 0);
    lookup(b, names::VIPS, frame::KEY);
    b.jmp_if(Cond::Ne, R0, 0, parts.found);
    b.jmp(not_vip);
}

/// A fragment. Those of VIP traffic are dropped, all of them: only the first has ports, the others cannot be sent to the
/// same server, and a part of a packet helps nobody. Everybody else's are passed.
fn fragment(b: &mut Builder, exits: &mut Exits<Reason>, parts: &Parts) {
    let other = exits.to(b, Reason::OtherProtocol);
    let (not_vip, drop) = (exits.to(b, Reason::NotVip), exits.to(b, Reason::Fragment));
    let look = b.label("fragment_lookup");
    b.bind(parts.fragment);
    b.load(Size::B, R3, R7, ip_field!(protocol));
    b.jmp_if(Cond::Eq, R3, i32::from(ip::TCP), look);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::UDP), other);
    b.bind(look);
    b.load(Size::W, R4, R7, ip_field!(dst));
    b.or(R3, i32::from(VipKey::MARK) << 8);
    b.lsh(R3, 48);
    b.or(R4, R3);
    b.store(Size::Dw, R10, frame::KEY, R4);
    lookup(b, names::VIPS, frame::KEY);
    b.jmp_if(Cond::Eq, R0, 0, not_vip);
    b.jmp(drop);
}

/// The first byte of the IP header, in `r2`, is not 0x45: options, or nonsense.
fn options(b: &mut Builder, exits: &mut Exits<Reason>, parts: &Parts) {
    let (malformed, other, short) =
        (exits.to(b, Reason::Malformed), exits.to(b, Reason::OtherProtocol), exits.to(b, Reason::Short));
    let ports = b.label("options_ports");
    b.bind(parts.options);
    b.mov(R3, R2);
    b.rsh(R3, 4);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::VERSION_IHL >> 4), malformed);
    b.and(R2, 0xf);
    b.jmp_if(Cond::Lt, R2, i32::from(ip::VERSION_IHL & 0xf), malformed);
    b.load(Size::H, R3, R7, ip_field!(frag));
    b.jmp_if(Cond::Set, R3, be16(ip::MF | ip::OFFSET), parts.fragment);
    b.load(Size::B, R3, R7, ip_field!(protocol));
    b.jmp_if(Cond::Eq, R3, i32::from(ip::TCP), ports);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::UDP), other);
    b.bind(ports);
    b.lsh(R2, 2);
    b.mov(R9, R2);
    b.add(R9, i32::from(disp(udp::LEN)));
    // One variable is added to one pointer, which is then checked and used: the verifier follows no copy of the sum.
    b.mov(R1, R7);
    b.add(R1, R2);
    b.mov(R2, R1);
    b.add(R2, i32::from(disp(eth::LEN + 4)));
    b.jmp_if(Cond::Gt, R2, R8, short);
    store_flow(b, Flow { client: (R7, ip_field!(src)), vip: (R7, ip_field!(dst)), ports: (R1, disp(eth::LEN)) });
    b.jmp(parts.lookup);
}

/// Not TCP or UDP; the protocol is in `r3`. An ICMP error about what a VIP sent belongs to the server that sent it: without
/// it, the server never learns the path's MTU. The quoted packet is the flow seen from the other side.
fn icmp_error(b: &mut Builder, exits: &mut Exits<Reason>, parts: &Parts) {
    let (other, not_vip) = (exits.to(b, Reason::OtherProtocol), exits.to(b, Reason::NotVip));
    let (error, ports) = (b.label("icmp_error"), b.label("icmp_ports"));
    let quoted = |offset: usize| disp(QUOTE + offset);
    b.bind(parts.icmp);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::ICMP), other);
    b.mov(R2, R7);
    b.add(R2, i32::from(quoted(ip::LEN + udp::LEN)));
    b.jmp_if(Cond::Gt, R2, R8, other);
    b.load(Size::B, R2, R7, disp(L4 + std::mem::offset_of!(icmp::Icmp, kind)));
    b.jmp_if(Cond::Eq, R2, i32::from(icmp::UNREACHABLE), error);
    b.jmp_if(Cond::Eq, R2, i32::from(icmp::TIME_EXCEEDED), error);
    b.jmp_if(Cond::Ne, R2, i32::from(icmp::PARAMETER), other);
    b.bind(error);
    b.load(Size::B, R2, R7, quoted(std::mem::offset_of!(ip::Ipv4, version_ihl)));
    b.jmp_if(Cond::Ne, R2, i32::from(ip::VERSION_IHL), other);
    b.load(Size::H, R2, R7, quoted(std::mem::offset_of!(ip::Ipv4, frag)));
    b.jmp_if(Cond::Set, R2, be16(ip::OFFSET), other);
    b.load(Size::B, R3, R7, quoted(std::mem::offset_of!(ip::Ipv4, protocol)));
    b.jmp_if(Cond::Eq, R3, i32::from(ip::TCP), ports);
    b.jmp_if(Cond::Ne, R3, i32::from(ip::UDP), other);
    b.bind(ports);
    // The error is for the address that sent the quoted packet, or it is a lie.
    b.load(Size::W, R4, R7, quoted(std::mem::offset_of!(ip::Ipv4, src)));
    b.load(Size::W, R5, R7, ip_field!(dst));
    b.jmp_if(Cond::Ne, R4, R5, not_vip);
    store_quoted_flow(b);
    b.mov(R9, i32::from(disp(ip::LEN + icmp::LEN + ip::LEN + udp::LEN)));
    b.jmp(parts.lookup);
}

/// As [`store_flow`], with the quoted packet's source as the VIP; its address is in `r4`, the protocol in `r3`.
fn store_quoted_flow(b: &mut Builder) {
    let ports = disp(QUOTE + ip::LEN);
    b.load(Size::H, R5, R7, ports);
    b.mov(R1, R5);
    b.lsh(R5, 32);
    b.or(R4, R5);
    b.lsh(R3, 48);
    b.or(R4, R3);
    b.store(Size::Dw, R10, frame::KEY, R4);
    b.load(Size::W, R4, R7, disp(QUOTE + std::mem::offset_of!(ip::Ipv4, dst)));
    b.load(Size::H, R5, R7, ports + 2);
    b.lsh(R5, 32);
    b.or(R4, R5);
    b.lsh(R1, 48);
    b.or(R4, R1);
    b.store(Size::Dw, R10, frame::TUPLE, R4);
}

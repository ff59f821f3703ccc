//! Packets for the tests, and what the balancer must make of them, by etherparse.

use std::net::Ipv4Addr;

use etherparse::{IpDscp, IpEcn, IpNumber, Ipv4Header, PacketBuilder};

/// A client.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
/// Where the IP header begins.
pub(crate) const IP: usize = 14;

/// A TCP segment from the client's port 40000 with `payload` bytes, DF set, as Linux sends it.
pub(crate) fn tcp(to: Ipv4Addr, port: u16, payload: usize) -> Vec<u8> {
    tcp_from(40_000, to, port, payload)
}

/// The same from another port.
pub(crate) fn tcp_from(from: u16, to: Ipv4Addr, port: u16, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC).ipv4(CLIENT.octets(), to.octets(), 57);
    let mut frame = Vec::new();
    builder.tcp(from, port, 1, 64_240).syn().write(&mut frame, &text(payload)).expect("a Vec takes it");
    frame
}

/// A UDP datagram from the client's port 40000.
pub(crate) fn udp(to: Ipv4Addr, port: u16, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC).ipv4(CLIENT.octets(), to.octets(), 57);
    let mut frame = Vec::new();
    builder.udp(40_000, port).write(&mut frame, &text(payload)).expect("a Vec takes it");
    frame
}

/// An echo request.
pub(crate) fn ping(to: Ipv4Addr) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC).ipv4(CLIENT.octets(), to.octets(), 57);
    let mut frame = Vec::new();
    builder.icmpv4_echo_request(7, 1).write(&mut frame, &text(32)).expect("a Vec takes it");
    frame
}

/// An ICMP error of `kind` to `to`, about what `quoted` (a frame) is.
pub(crate) fn icmp_error(kind: u8, to: Ipv4Addr, quoted: &[u8]) -> Vec<u8> {
    let router = [198, 51, 100, 1];
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC).ipv4(router, to.octets(), 60);
    let mut frame = Vec::new();
    builder.icmpv4_raw(kind, 4, [0, 0, 5, 0]).write(&mut frame, &quoted[IP..IP + 28]).expect("a Vec takes it");
    frame
}

/// What a server sends from a VIP: a segment or datagram the other way round.
pub(crate) fn reply(request: &[u8]) -> Vec<u8> {
    let mut frame = request.to_vec();
    let at = ports(&frame);
    for (a, b, len) in [(IP + 12, IP + 16, 4), (at, at + 2, 2)] {
        for i in 0..len {
            frame.swap(a + i, b + i);
        }
    }
    frame
}

fn ports(frame: &[u8]) -> usize {
    IP + usize::from(frame[IP] & 0xf) * 4
}

fn text(len: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(len).collect()
}

/// Changes the IP header and puts its checksum right.
pub(crate) fn edit(mut frame: Vec<u8>, change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let (mut header, rest) = Ipv4Header::from_slice(&frame[IP..]).expect("it has one");
    let rest = rest.to_vec();
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    frame.truncate(IP);
    frame.extend(header.to_bytes());
    frame.extend(rest);
    frame
}

/// Puts `len` bytes of options (no-ops) behind the IP header.
pub(crate) fn options(frame: Vec<u8>, len: u8) -> Vec<u8> {
    edit(frame, |header| {
        header.options = vec![1; len.into()].as_slice().try_into().expect("a multiple of four, up to 40");
        header.total_len += u16::from(len);
    })
}

/// Makes it a fragment: `offset` in units of eight bytes.
pub(crate) fn fragment(frame: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
    edit(frame, |header| {
        header.fragment_offset = offset.try_into().expect("13 bits");
        header.more_fragments = more;
        header.dont_fragment = false;
    })
}

/// Sets DSCP and ECN.
pub(crate) fn tos(frame: Vec<u8>, tos: u8) -> Vec<u8> {
    edit(frame, |header| {
        header.dscp = IpDscp::try_new(tos >> 2).expect("six bits");
        header.ecn = IpEcn::try_new(tos & 3).expect("two bits");
    })
}

/// Overwrites bytes of the frame as they are.
pub(crate) fn poke(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// Adds zeros up to `len` bytes, as a network card does.
pub(crate) fn pad(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(len.max(frame.len()), 0);
    frame
}

/// Puts VLAN tags in.
pub(crate) fn tag(mut frame: Vec<u8>, ethertype: [u8; 2]) -> Vec<u8> {
    frame.splice(12..12, [ethertype[0], ethertype[1], 0, 9]);
    frame
}

/// The frame inside an outer header from `source` to `real`, behind the Ethernet header `eth`.
pub(crate) fn encapsulated(frame: &[u8], eth: &[u8], source: Ipv4Addr, real: Ipv4Addr) -> Vec<u8> {
    let inner = Ipv4Header::from_slice(&frame[IP..]).expect("it has one").0;
    let payload = inner.total_len;
    let mut outer = Ipv4Header::new(payload, 64, IpNumber::IPV4, source.octets(), real.octets()).expect("it fits");
    (outer.dscp, outer.ecn, outer.dont_fragment, outer.identification) = (inner.dscp, inner.ecn, true, 0);
    outer.header_checksum = outer.calc_header_checksum();
    [eth, &outer.to_bytes(), &frame[IP..]].concat()
}

//! Stage: kernel program `balance`, first part. From a frame to the flow it belongs to.
//!
//! Input: the frame. Output: its IP header, the client's address, both ports as they lie in the packet (the VIP's in the upper
//! half), the protocol, and the least length that the packet must claim. Whatever cannot be for a VIP has left, untouched.
//! Next file to read: `select.rs`.

use asm::dsl::prelude::*;

use super::maps::{CONFIG, VIPS};
use super::types::{Ending, FILTER_HASH, Reason, VipKey};

/// EtherType of an 802.1Q tag.
const VLAN: Be16 = Be16::new(0x8100);
/// EtherType of an 802.1ad service tag.
const QINQ: Be16 = Be16::new(0x88a8);
/// The first byte of an IP header without options: version 4, five words.
const PLAIN: u8 = 0x45;
/// The fields that only fragments have: "more fragments follow", and an offset.
const FRAGMENT: Be16 = Be16::new(0x3fff);
/// The fields that only later fragments have.
const LATER: Be16 = Be16::new(0x1fff);

/// Bytes that a packet with ports has at least, as Ethernet, IP and UDP headers go.
const SHORT: Ending = Reason::Short.ends();
const OTHER: Ending = Reason::OtherProtocol.ends();

/// Two port numbers as they lie in a packet, in one number of this machine.
#[derive(Layout)]
#[repr(C)]
struct Both {
    ports: u32,
}

/// See above.
#[bpf_fn]
pub(super) fn parse<'a>(frame: Packet<'a>) -> Result<(PktRef<'a, Ipv4>, Be32, u32, u8, u64), Ending> {
    let mut pkt = frame;
    let eth = pkt.read::<Eth>().ok_or(SHORT)?;
    let mut behind_options = pkt.fork();
    let ip = pkt.read::<Ipv4>().ok_or(SHORT)?;
    let plain = pkt.peek::<Both>().ok_or(SHORT)?;
    if eth.proto != ETH_IPV4 {
        return Err(not_ipv4(eth.proto));
    }
    if ip.version_ihl != PLAIN && (ip.version_ihl >> 4 != 4 || ip.ihl() < 5) {
        return Err(Reason::Malformed.ends());
    }
    if ip.fragment & FRAGMENT != Be16::new(0) {
        return Err(fragment(ip));
    }
    if ip.protocol != TCP && ip.protocol != UDP {
        let (client, ports, proto) = icmp_error(pkt, ip)?;
        return Ok((ip, client, ports, proto, 20 + 8 + 20 + 8));
    }
    if ip.version_ihl != PLAIN {
        let header = ip.ihl() as u64 * 4;
        behind_options.skip(header).ok_or(SHORT)?;
        let both = behind_options.read::<Both>().ok_or(SHORT)?;
        return Ok((ip, ip.src, both.ports, ip.protocol, header + 8));
    }
    if !admits(ip.dst) {
        return Err(Reason::NotVip.ends());
    }
    Ok((ip, ip.src, plain.ports, ip.protocol, 20 + 8))
}

/// The key of a VIP as one number: put together in a register and stored at once. The loads of the lookup and the hash, which
/// are wider than the parts, would otherwise wait until all parts have left the store buffer.
#[bpf_fn]
pub(super) fn key(addr: Be32, port: u32, proto: u8) -> u64 {
    addr.raw() as u64 | (port as u64) << 32 | (proto as u64) << 48
}

#[bpf_fn]
fn not_ipv4(proto: Be16) -> Ending {
    if proto == VLAN || proto == QINQ { Reason::Vlan.ends() } else { Reason::NotIpv4.ends() }
}

/// Does some VIP's address share a bit of the filter with this one?
#[bpf_fn]
fn admits(addr: Be32) -> bool {
    let bucket = addr.raw() * FILTER_HASH.0 >> FILTER_HASH.1;
    CONFIG.place().filter[bucket >> 6] >> bucket & 1 != 0
}

/// A fragment. Those of VIP traffic are dropped, all of them: only the first has ports, the others cannot be sent to the
/// same server, and a part of a packet helps nobody. Everybody else's are passed.
#[bpf_fn]
fn fragment(ip: PktRef<'_, Ipv4>) -> Ending {
    if ip.protocol != TCP && ip.protocol != UDP {
        return OTHER;
    }
    let mark = from_word::<VipKey>(key(ip.dst, 0u32, ip.protocol) | (VipKey::MARK as u64) << 56);
    match VIPS.get(&mark) {
        Some(_) => Reason::Fragment.ends(),
        None => Reason::NotVip.ends(),
    }
}

/// An ICMP error about what a VIP sent belongs to the server that sent it: without it, the server never learns the path's MTU.
/// The quoted packet is the flow seen from the other side.
#[bpf_fn]
fn icmp_error(behind_ip: Packet<'_>, ip: PktRef<'_, Ipv4>) -> Result<(Be32, u32, u8), Ending> {
    if ip.version_ihl != PLAIN || ip.protocol != ICMP {
        return Err(OTHER);
    }
    let mut pkt = behind_ip;
    let icmp = pkt.read::<Icmp>().ok_or(OTHER)?;
    let quoted = pkt.read::<Ipv4>().ok_or(OTHER)?;
    let both = pkt.peek::<Both>().ok_or(OTHER)?;
    let _ = pkt.read::<Udp>().ok_or(OTHER)?;
    match icmp.kind {
        UNREACHABLE | TIME_EXCEEDED | PARAMETER => {}
        _ => return Err(OTHER),
    }
    if quoted.version_ihl != PLAIN || quoted.fragment & LATER != Be16::new(0) {
        return Err(OTHER);
    }
    if quoted.protocol != TCP && quoted.protocol != UDP {
        return Err(OTHER);
    }
    // The error is for the address that sent the quoted packet, or it is a lie.
    if quoted.src != ip.dst {
        return Err(Reason::NotVip.ends());
    }
    let ports = both.ports;
    Ok((quoted.dst, ports.rotate_left(16), quoted.protocol))
}

/// ICMP type: destination unreachable.
const UNREACHABLE: u8 = 3;
/// ICMP type: time exceeded.
const TIME_EXCEEDED: u8 = 11;
/// ICMP type: parameter problem.
const PARAMETER: u8 = 12;

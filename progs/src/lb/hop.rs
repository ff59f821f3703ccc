//! Stage: kernel program `balance`. The next hop: which interface, which Ethernet header, how large a packet may be.
//!
//! Input: the real server's row of this CPU. Output: the interface, and a row that is fresh; or an ending. The kernel is asked
//! once a real server, CPU and [`FRESH`], not once a packet. Next file to read: `encap.rs`.

use asm::dsl::prelude::*;

use super::types::{Backend, Ending, Reason};

/// No interface: the MAC address of the next hop is not known yet. The stack knows how to get it: the packet is encapsulated and
/// passed on with its own Ethernet header; the kernel routes it, asks for the neighbour, and holds the packet until the
/// answer is there. So the first packet to a real server is late, not lost, provided that the interface accepts a packet
/// from one of our own addresses (`net.ipv4.conf.<interface>.accept_local=1`).
pub(super) const UNKNOWN: u32 = 0;

/// How long an answer of the kernel's routing table is used, in jiffies: a quarter of a second where HZ is 250. A lookup for
/// each packet would cost more than everything else here together.
const FRESH: u64 = 64;
/// MTU assumed when neither kernel nor control plane know one, in bytes.
const USUAL_MTU: u32 = 1500;
/// The least MTU an IPv4 network has (RFC 791), in bytes.
const LEAST_MTU: u32 = 68;

/// Address family of IPv4.
const INET: u8 = 2;
/// The route needs an encapsulation of its own. C: `BPF_FIB_LKUP_RET_UNSUPP_LWT`.
const UNSUPPORTED: i64 = 6;
/// No neighbour entry for the next hop. C: `BPF_FIB_LKUP_RET_NO_NEIGH`.
const NO_NEIGHBOUR: i64 = 7;
/// Forwarding is off on the interface. C: `BPF_FIB_LKUP_RET_FWD_DISABLED`.
const FORWARDING_OFF: i64 = 5;

/// The interface that leads to the real server.
#[bpf_fn]
pub(super) fn next(ctx: &Xdp, real: ValRef<Backend>) -> Result<u32, Ending> {
    if jiffies() < real.fresh_until {
        return Ok(real.egress);
    }
    let fib = FibLookup {
        family: INET,
        l4_protocol: IPIP,
        sport: Be16::new(0),
        dport: Be16::new(0),
        tot_len: 1, // one byte fits every route; a kernel that tells the MTU replaces it
        ifindex: ctx.ingress_ifindex(),
        tos: 0,
        src: real.source,
        src_rest: [0u8; 12],
        dst: real.addr,
        dst_rest: [0u8; 12],
        vlan: 0,
        smac: [0u8; 6],
        dmac: [0u8; 6],
    };
    let answer = ctx.fib_lookup(&fib);
    real.mtu = mtu(fib.tot_len as u32, real.route_mtu as u32);
    match answer {
        0 => {}
        NO_NEIGHBOUR | UNSUPPORTED => return Ok(UNKNOWN),
        FORWARDING_OFF => return Err(Reason::ForwardingOff.ends()),
        _ => return Err(Reason::NoRoute.ends()),
    }
    // An entry that is still being resolved has no address yet; old kernels return it all the same.
    if fib.dmac.is_zero() {
        return Ok(UNKNOWN);
    }
    real.eth.dst = fib.dmac;
    real.eth.src = fib.smac;
    real.eth.proto = ETH_IPV4;
    real.egress = fib.ifindex;
    real.fresh_until = jiffies() + FRESH;
    Ok(fib.ifindex)
}

/// What the kernel told, or the control plane, or what is usual.
#[bpf_fn]
fn mtu(told: u32, known: u32) -> u32 {
    if told >= LEAST_MTU {
        return told;
    }
    if known != 0 { known } else { USUAL_MTU }
}

//! `icmp-echo`: answers ping in place, without the kernel's stack.
//!
//! Input: ICMP echo requests in IPv4 without options. Output: the same packet as reply, out by the interface it came in
//! on. The checksum is adjusted, not computed anew (RFC 1624). Read next: `ipip_decap.rs`.

use asm::dsl::prelude::*;

/// ICMP type of a request.
const ECHO: u8 = 8;
/// ICMP type of a reply.
const ECHO_REPLY: u8 = 0;

/// The checksum after 16 bits of the message went from `from` to zero.
#[bpf_fn]
fn without(checksum: u16, from: u16) -> u16 {
    let mut sum = !checksum as u32;
    sum += !from as u32;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[xdp(default = Action::Pass)]
fn icmp_echo(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    let icmp = pkt.read::<Icmp>()?;
    if eth.proto != ETH_IPV4 || ip.ihl() != 5 || ip.protocol != ICMP || icmp.kind != ECHO {
        return Ok(Action::Pass);
    }
    let mac = eth.dst;
    eth.dst = eth.src;
    eth.src = mac;
    let address = ip.src;
    ip.src = ip.dst;
    ip.dst = address;
    icmp.kind = ECHO_REPLY;
    icmp.checksum = without(icmp.checksum.raw(), Be16::new(0x0800).raw()).as_be();
    Ok(Action::Tx)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(icmp_echo())
}

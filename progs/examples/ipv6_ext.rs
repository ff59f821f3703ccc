//! `ipv6-ext`: walks up to eight extension headers, and counts packets by the upper protocol it finds.
//!
//! Input: IPv6. Output: `protocols`, per CPU; everything passes. Read next: `lpm_acl.rs`.

use asm::dsl::prelude::*;

#[map]
static PROTOCOLS: PerCpuArray<u64, 256> = map();

#[xdp(default = Action::Pass)]
fn ipv6_ext(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv6>()?;
    if eth.proto != ETH_IPV6 {
        return Ok(Action::Pass);
    }
    let mut next = ip.next_header as u32;
    for _ in 0..8 {
        match next {
            0 | 43 | 60 => {}
            _ => break,
        }
        let header = pkt.peek::<Ipv6Ext>()?;
        next = header.next_header as u32;
        pkt.skip(header.len as u32 * 8 + 8)?;
    }
    let packets = PROTOCOLS.get(&next)?;
    *packets += 1;
    Ok(Action::Pass)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(ipv6_ext())
}

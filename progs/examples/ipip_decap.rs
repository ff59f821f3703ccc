//! `ipip-decap`: unwraps IP in IP that is addressed to this host and carries traffic of a VIP.
//!
//! Input: IPv4 in IPv4, both without options. Output: the inner packet, to the stack; `vips` counts per VIP. What claims to
//! be for a VIP and is not is dropped. Read next: `ipv6_ext.rs`.

use asm::dsl::prelude::*;

#[map]
static VIPS: HashMap<Be32, u64, 512> = map();

/// This host's address, set before the load.
#[rodata]
static LOCAL: Be32 = Be32::new(0);

#[xdp(default = Action::Pass)]
fn ipip_decap(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let outer = pkt.read::<Ipv4>()?;
    let inner = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 || outer.ihl() != 5 || outer.protocol != IPIP || outer.dst != LOCAL {
        return Ok(Action::Pass);
    }
    let Some(packets) = VIPS.get(&inner.dst) else { return Ok(Action::Drop) };
    packets.atomic_add(1);

    let frame = *eth;
    let Some(()) = ctx.adjust_head(20) else { return Ok(Action::Drop) };
    let Some(eth) = ctx.packet().read::<Eth>() else { return Ok(Action::Drop) };
    *eth = frame;
    Ok(Action::Pass)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(ipip_decap())
}

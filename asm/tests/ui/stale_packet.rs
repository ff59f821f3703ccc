//! A reference into the packet does not outlive a move of the packet; one used on another path does.
use asm::dsl::prelude::*;

#[xdp(default = Action::Drop)]
fn stale(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    ctx.adjust_head(14)?;
    if eth.proto == ETH_IPV4 {
        return Ok(Action::Pass);
    }
    Ok(Action::Drop)
}

#[xdp(default = Action::Drop)]
fn other_path(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    if eth.proto == ETH_IPV4 {
        ctx.adjust_head(14)?;
        return Ok(Action::Pass);
    }
    eth.proto = ETH_IPV6;
    Ok(Action::Drop)
}

fn main() {
    let _ = (stale(), other_path());
}

//! `drop-port`: TCP to port 9999 is counted and dropped; everything else passes.
//!
//! Input: IPv4 without options. Output: `dropped[0]`, and the verdict. Read next: `tiny.rs`.

use asm::dsl::prelude::*;

#[map]
static DROPPED: Array<u64, 1> = map();

/// The port that nobody is to reach.
const CLOSED: Be16 = Be16::new(9999);

#[xdp(default = Action::Pass)]
fn drop_port(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    let tcp = pkt.read::<Tcp>()?;
    if eth.proto != ETH_IPV4 || ip.protocol != TCP || tcp.dst != CLOSED {
        return Ok(Action::Pass);
    }
    if let Some(packets) = DROPPED.get(&0) {
        packets.atomic_add(1);
    }
    Ok(Action::Drop)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(drop_port())
}

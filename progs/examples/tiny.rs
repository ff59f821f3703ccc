//! `tiny`: TCP to a port that user space has listed goes out by another device, and is counted.
//!
//! Input: IPv4, with options or without. Output: redirection through `tx[0]`; `ports` counts. Read next: `icmp_echo.rs`.

use asm::dsl::prelude::*;

#[map]
static PORTS: HashMap<Be16, u64, 1024> = map();
#[map]
static TX: DevMap<64> = map();

#[xdp(default = Action::Pass)]
fn tiny(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let mut l4 = pkt.fork();
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 || ip.protocol != TCP {
        return Ok(Action::Pass);
    }
    l4.skip(ip.ihl() as u32 * 4)?;
    let tcp = l4.read::<Tcp>()?;
    let packets = PORTS.get(&tcp.dst)?;
    packets.atomic_add(1);
    Ok(TX.redirect(ctx, 0, Action::Aborted))
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(tiny())
}

//! `ringbuf`: tells user space of every TCP reset.
//!
//! Input: TCP in IPv4 without options. Output: an [`Event`] in `events`; everything passes. Read next: `sk_msg.rs`.

use asm::dsl::prelude::*;

/// A reset that went by.
#[derive(Layout)]
#[repr(C)]
struct Event {
    /// Nanoseconds since boot.
    ns: u64,
    src: Be32,
    dst: Be32,
    sport: Be16,
    dport: Be16,
    /// Bytes of the IP packet.
    len: u32,
}

#[map]
static EVENTS: RingBuf<65536> = map();

#[xdp(default = Action::Pass)]
fn ringbuf(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    let tcp = pkt.read::<Tcp>()?;
    if eth.proto != ETH_IPV4 || ip.ihl() != 5 || ip.protocol != TCP || tcp.flags & RST == 0 {
        return Ok(Action::Pass);
    }
    let event = EVENTS.reserve::<Event>()?;
    event.ns = ktime_ns();
    event.src = ip.src;
    event.dst = ip.dst;
    event.sport = tcp.src;
    event.dport = tcp.dst;
    event.len = ip.total_len.get() as u32;
    event.submit();
    Ok(Action::Pass)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(ringbuf())
}

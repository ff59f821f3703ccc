//! A ring-buffer record is released once on every path.
use asm::dsl::prelude::*;

#[derive(Layout)]
#[repr(C)]
struct Event {
    len: u32,
}

#[map]
static EVENTS: RingBuf<4096> = map();

#[xdp(default = Action::Pass)]
fn twice(ctx: &mut Xdp) -> Result<Action> {
    let event = EVENTS.reserve::<Event>()?;
    event.len = 1;
    if ctx.ingress_ifindex() == 1 {
        event.discard();
    }
    event.submit();
    Ok(Action::Pass)
}

fn main() {
    let _ = twice();
}

//! Keys and values have the map's types, byte order included.
use asm::dsl::prelude::*;

#[map]
static PORTS: HashMap<Be16, u64, 16> = map();

#[xdp(default = Action::Pass)]
fn wrong_key(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let ports = pkt.read::<Ports>()?;
    PORTS.get(&ports.dst.get())?;
    if ports.src == 80 {
        return Ok(Action::Drop);
    }
    Ok(Action::Pass)
}

fn main() {
    let _ = wrong_key();
}

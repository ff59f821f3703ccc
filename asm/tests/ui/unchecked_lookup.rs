//! What a lookup finds cannot be read before it is tested.
use asm::dsl::prelude::*;

#[map]
static HITS: HashMap<u32, u64, 16> = map();

#[xdp]
fn unchecked(_ctx: &mut Xdp) -> Action {
    let hits = HITS.get(&1);
    *hits += 1;
    Action::Pass
}

fn main() {
    let _ = unchecked();
}

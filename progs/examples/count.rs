//! `count`: one atomic increment for each packet; everything passes.
//!
//! Input: packets. Output: `counter[0]`, from any CPU. Read next: `drop_port.rs`.

use asm::dsl::prelude::*;

#[map]
static COUNTER: Array<u64, 1> = map();

#[xdp]
fn count(_ctx: &mut Xdp) -> Action {
    if let Some(packets) = COUNTER.get(&0) {
        packets.atomic_add(1);
    }
    Action::Pass
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(count())
}

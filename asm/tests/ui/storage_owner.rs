//! Storage belongs to a kind of owner, and only memory of 32 and 64 bits is changed atomically.
use asm::dsl::prelude::*;

#[map]
static MEMORY: SkStorage<u64> = map();
#[map]
static SMALL: Array<u16, 1> = map();

#[sk_msg(default = SkAction::Pass)]
fn forgets(msg: &mut SkMsg) -> Result<SkAction> {
    MEMORY.get_or_zero(&msg.size())?.atomic_add(1);
    Ok(SkAction::Pass)
}

#[sock_ops(default = Reply::None)]
fn unsure(ops: &mut SockOps) -> Result<Reply> {
    MEMORY.get(&ops.sk())?;
    SMALL.get(&0)?.atomic_add(1);
    Ok(Reply::None)
}

fn main() {}

//! The context and the verdict are those of the program's type.
use asm::dsl::prelude::*;

#[sk_msg]
fn wrong_context(_ctx: &mut Xdp) -> SkAction {
    SkAction::Pass
}

#[sk_msg]
fn wrong_verdict(_msg: &mut SkMsg) -> Action {
    Action::Pass
}

#[xdp]
fn wrong_helper(ctx: &mut Xdp) -> Action {
    ctx.family();
    Action::Pass
}

#[sock_ops]
fn any_number(ops: &mut SockOps) -> u32 {
    ops.op()
}

#[fexit("tcp_sendmsg", default = 1)]
fn not_zero(ctx: &mut Fentry) -> Result<u32> {
    Ok(ctx.arg::<0>() as u32)
}

fn main() {
    let _ = (wrong_context(), wrong_verdict(), wrong_helper(), any_number(), not_zero());
}

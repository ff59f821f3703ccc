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

fn main() {
    let _ = (wrong_context(), wrong_verdict(), wrong_helper());
}

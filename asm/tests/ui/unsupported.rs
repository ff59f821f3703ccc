//! What a kernel program cannot say is refused at its token.
use asm::dsl::prelude::*;

#[xdp]
fn unsupported(ctx: &mut Xdp) -> Action {
    let add = |a: u32| a + 1;
    println!("{}", 1);
    for i in [1, 2, 3] {}
    let late;
    let found = loop {
        break 5;
    };
    unsafe { ctx.packet() };
    Action::Pass
}

#[xdp]
fn no_default(ctx: &mut Xdp) -> Result<Action> {
    Ok(Action::Pass)
}

fn main() {}

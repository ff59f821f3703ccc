//! Stage: kernel programs. `pass`: gives every packet to the stack.
//!
//! Input: nothing. Output: a module. Its use is to *be* there: the end of a veth pair takes packets that the other end's XDP
//! program transmits or redirects only while it runs an XDP program itself (or has GRO on). Next file to read:
//! `lb/mod.rs`.

use asm::dsl::Module;
use asm::dsl::prelude::*;

#[xdp]
fn pass(_ctx: &mut Xdp) -> Action {
    Action::Pass
}

/// The module `pass`.
pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(pass())
}

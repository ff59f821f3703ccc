//! Stage: control plane. What the programs are told of this kernel before they are loaded. Output: variables.
//!
//! Input: the kernel, which is asked and tried; no release is. Next file to read: `control.rs`.

use std::sync::OnceLock;

use asm::insn::helper;
use asm::object::{AttachType, ProgType};
use loader::features;

/// Constants that are not here what the object says, by name.
#[must_use]
pub fn told() -> Vec<(&'static str, u32)> {
    static TOLD: OnceLock<Vec<(&'static str, u32)>> = OnceLock::new();
    let ask = || {
        let watched = (!watches()).then_some(("watched", 0));
        watched.into_iter().collect()
    };
    TOLD.get_or_init(ask).clone()
}

/// May it be looked up who waits for a socket? A kernel that is locked down does not let programs read its memory.
fn watches() -> bool {
    let hooks = [(ProgType::SK_MSG, AttachType::SK_MSG_VERDICT), (ProgType::SOCK_OPS, AttachType::CGROUP_SOCK_OPS)];
    hooks.iter().all(|&(prog, attach)| features::helper(prog, attach, helper::PROBE_READ_KERNEL) == Ok(true))
}

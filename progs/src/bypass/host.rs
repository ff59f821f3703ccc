//! Stage: control plane. What the programs are told of this kernel before they are loaded. Output: variables.
//!
//! Input: the kernel, which is asked and tried; no release is. Next file to read: `control.rs`.

use std::sync::OnceLock;

use asm::btf::{Kind, Type};
use asm::insn::helper;
use asm::object::{AttachType, ProgType};
use loader::btf::KernelBtf;
use loader::features;

use super::control::kernel_types;

/// Constants that are not here what the object says, by name.
#[must_use]
pub fn told() -> Vec<(&'static str, u32)> {
    static TOLD: OnceLock<Vec<(&'static str, u32)>> = OnceLock::new();
    let ask = || {
        let parameters = kernel_types().as_deref().and_then(parameters);
        let watched = (!watches()).then_some(("watched", 0));
        let parameters = parameters.filter(|many| *many != 5).map(|many| ("parameters", many));
        watched.into_iter().chain(parameters).collect()
    };
    TOLD.get_or_init(ask).clone()
}

/// May it be looked up who waits for a socket? A kernel that is locked down does not let programs read its memory.
fn watches() -> bool {
    let hooks = [(ProgType::SK_MSG, AttachType::SK_MSG_VERDICT), (ProgType::SOCK_OPS, AttachType::CGROUP_SOCK_OPS)];
    hooks.iter().all(|&(prog, attach)| features::helper(prog, attach, helper::PROBE_READ_KERNEL) == Ok(true))
}

/// How many parameters the function has that receives on enrolled sockets: six, before Linux 5.19 took one away; four in 7.3.
fn parameters(kernel: &KernelBtf) -> Option<u32> {
    let wanted = ("tcp_bpf_recvmsg", Kind::FUNC);
    let (_, id) = *kernel.find_all(&[wanted]).get(&wanted)?;
    let Type::Func { proto, .. } = kernel.vmlinux().get(id).ok()? else { return None };
    let Type::FuncProto { params, .. } = kernel.vmlinux().get(proto).ok()? else { return None };
    u32::try_from(params.len()).ok()
}

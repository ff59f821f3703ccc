//! `lpm-acl`: the longest prefix of the source address decides.
//!
//! Input: IPv4. Output: drop where the rule's value is 0, else pass; `verdicts` counts both, per CPU. Read next: `maglev.rs`.

use asm::dsl::prelude::*;

/// A prefix, as the kernel's trie wants it.
#[derive(Layout)]
#[repr(C)]
struct Prefix {
    /// Bits of the address that count.
    len: u32,
    addr: Be32,
}

#[map]
static ACL: LpmTrie<Prefix, u32, 1024> = map();

/// How many passed, how many were dropped.
#[map]
static VERDICTS: PerCpuArray<u64, 2> = map();

#[xdp(default = Action::Pass)]
fn lpm_acl(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 {
        return Ok(Action::Pass);
    }
    let drop = match ACL.get(&Prefix { len: 32, addr: ip.src }) {
        Some(rule) => (*rule == 0) as u32,
        None => 0,
    };
    if let Some(packets) = VERDICTS.get(&drop) {
        *packets += 1;
    }
    Ok(if drop != 0 { Action::Drop } else { Action::Pass })
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(lpm_acl())
}

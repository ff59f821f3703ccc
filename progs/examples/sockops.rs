//! `sockops`: every established IPv4 connection of the cgroup gets into a sockhash, under its tuple.
//!
//! Input: events of TCP connections. Output: `socks`, for `sk_msg.rs` to look in. Read next: `synflood.rs`.

use asm::dsl::prelude::*;

/// Address family of IPv4.
pub(crate) const INET: u32 = 2;

/// What a socket is known by, as its own end sees it.
#[derive(Layout)]
#[repr(C)]
pub(crate) struct Tuple {
    pub(crate) sip: Be32,
    pub(crate) dip: Be32,
    pub(crate) sport: Be32,
    pub(crate) dport: Be32,
}

#[map]
pub(crate) static SOCKS: SockHash<Tuple, 65535> = map();

#[sock_ops]
fn enroll(ops: &mut SockOps) -> Reply {
    match ops.op() {
        SockOps::ACTIVE_ESTABLISHED | SockOps::PASSIVE_ESTABLISHED => {}
        _ => return Reply::None,
    }
    if ops.family() != INET {
        return Reply::None;
    }
    let tuple = Tuple {
        sip: ops.local_ip4(),
        dip: ops.remote_ip4(),
        sport: ops.local_port().to_be(),
        dport: ops.remote_port(),
    };
    SOCKS.add(ops, &tuple, Update::NoExist);
    Reply::None
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(enroll())
}

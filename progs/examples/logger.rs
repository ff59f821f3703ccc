//! `logger`: tells user space of every TCP connection that a cgroup's processes open or accept.
//!
//! Input: events of TCP connections, IPv4. Output: a [`Connection`] in `connections`. Read next: `sockops.rs`.

use asm::dsl::prelude::*;

/// Address family of IPv4.
const INET: u32 = 2;

/// Who began.
#[derive(Clone, Copy, Layout)]
#[repr(u32)]
enum Side {
    /// This host.
    Opened,
    /// The other end.
    Accepted,
}

/// A connection, as this end sees it.
#[derive(Layout)]
#[repr(C)]
struct Connection {
    /// Nanoseconds since boot.
    ns: u64,
    local: Be32,
    remote: Be32,
    local_port: u32,
    /// In network order of 32 bits.
    remote_port: Be32,
    side: Side,
    pad: u32,
}

#[map]
static CONNECTIONS: RingBuf<65536> = map();

#[sock_ops]
fn log(ops: &mut SockOps) -> Reply {
    let side = match ops.op() {
        SockOps::ACTIVE_ESTABLISHED => Side::Opened,
        SockOps::PASSIVE_ESTABLISHED => Side::Accepted,
        _ => return Reply::None,
    };
    if ops.family() != INET {
        return Reply::None;
    }
    let Some(connection) = CONNECTIONS.reserve::<Connection>() else { return Reply::None };
    *connection = Connection {
        ns: ktime_ns(),
        local: ops.local_ip4(),
        remote: ops.remote_ip4(),
        local_port: ops.local_port(),
        remote_port: ops.remote_port(),
        side,
        pad: 0,
    };
    connection.submit();
    Reply::None
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(log())
}

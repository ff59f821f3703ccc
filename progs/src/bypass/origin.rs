//! Whose a socket is.
//!
//! Stage: kernel programs, `cgroup/sock_create`. Input: a socket that a process of the cgroup makes. Output: its [`Origin`], in the socket.
//! Next file to read: `policy.rs`.
//!
//! Who it is can be asked only where that process runs. An event of a connection comes in whatever process the packet interrupts;
//! so it is written down when the socket is made, and what a listener accepts begins with a copy of what the listener has.

use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::quarantine::{Misfit, hold};

/// Who made a socket, or the listener that it was accepted from. All zeros where that was before the programs came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Origin {
    /// Id of the cgroup.
    pub cgroup: u64,
    /// The command: the name of the thread.
    pub comm: Chars<16>,
    /// The process.
    pub pid: u32,
    /// Nothing.
    pub pad: u32,
}

/// Levels of cgroups that are known: the own one and those above it, without the root.
pub(super) const LEVELS: u32 = 12;

/// What sockets remember of who made them. `BPF_F_CLONE`: connections have what their listener has.
#[map(flags = 0x200)]
pub(super) static ORIGINS: SkStorage<Origin> = map();

/// The cgroup above each cgroup; 0 above those that are below the root. Written when a socket is made. What was not used for long is
/// forgotten, and written again.
#[map]
pub static ABOVE: LruHashMap<u64, u64, 16384> = map();

/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `IPPROTO_MPTCP`.
const MPTCP: u32 = 262;

/// A socket is made.
#[cgroup_sock(sock_create, default = Access::Allow)]
pub(super) fn made(ctx: &mut CgroupSock) -> Result<Access> {
    if ctx.kind() != STREAM {
        return Ok(Access::Allow);
    }
    let cgroup = cgroup_id();
    if !ABOVE.get(&cgroup).is_some() {
        remember();
    }
    let origin = ORIGINS.get_or_zero(ctx)?;
    *origin = Origin { cgroup, comm: comm(), pid: pid(), pad: 0 };
    if ctx.protocol() == MPTCP {
        hold(origin, Misfit::Mptcp.number());
    }
    Ok(Access::Allow)
}

/// Writes down what is above the cgroup of the process that runs, and above those.
#[bpf_fn]
fn remember() {
    let mut above: u64 = 0;
    for level in 1..=LEVELS {
        let id = ancestor_cgroup_id(level);
        if id == 0 {
            break;
        }
        ABOVE.set(&id, &above, Update::Any);
        above = id;
    }
}

//! `synflood`: more than 100 SYNs in a second from one IPv4 source are dropped.
//!
//! Input: TCP in IPv4 without options. Output: `totals[0]` SYNs seen, `totals[1]` dropped; `sources` knows each source's
//! second. Read next: `firewall.rs`.

use asm::dsl::prelude::*;

/// The second that is being counted.
#[derive(Layout)]
#[repr(C)]
struct Bucket {
    /// When it began, in nanoseconds since boot.
    start: u64,
    /// SYNs in it.
    n: u64,
}

#[map]
static SOURCES: LruHashMap<Be32, Bucket, 65536> = map();
#[map]
static TOTALS: Array<u64, 2> = map();

const SECOND: u64 = 1_000_000_000;
/// SYNs that a source has a second.
const LIMIT: u64 = 100;

#[bpf_fn]
fn bump(which: u32) {
    if let Some(total) = TOTALS.get(&which) {
        total.atomic_add(1);
    }
}

#[xdp(default = Action::Pass)]
fn synflood(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    let tcp = pkt.read::<Tcp>()?;
    if eth.proto != ETH_IPV4 || ip.protocol != TCP || ip.ihl() != 5 {
        return Ok(Action::Pass);
    }
    if tcp.flags & (SYN | ACK) != SYN {
        return Ok(Action::Pass);
    }
    bump(0);
    let now = ktime_ns();
    let Some(bucket) = SOURCES.get(&ip.src) else {
        SOURCES.set(&ip.src, &Bucket { start: now, n: 1 }, Update::Any);
        return Ok(Action::Pass);
    };
    if now - bucket.start > SECOND {
        bucket.start = now;
        bucket.n = 1;
        return Ok(Action::Pass);
    }
    bucket.n += 1;
    if bucket.n <= LIMIT {
        return Ok(Action::Pass);
    }
    bump(1);
    Ok(Action::Drop)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(synflood())
}

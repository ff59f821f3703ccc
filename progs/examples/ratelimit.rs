//! `ratelimit`: a token bucket for each source: 1,000 packets a second, bursts of 100.
//!
//! Input: IPv4. Output: drop where the bucket is empty, else pass; `buckets` fills up as time goes by. Read next:
//! `ringbuf.rs`.

use asm::dsl::prelude::*;

/// A bucket.
#[derive(Layout)]
#[repr(C)]
struct Tokens {
    /// When it was last taken from, in nanoseconds since boot.
    last: u64,
    /// Tokens left then.
    left: u64,
}

#[map]
static BUCKETS: LruHashMap<Be32, Tokens, 65536> = map();

/// Nanoseconds for which there is a token.
const TOKEN: u64 = 1_000_000;
/// Tokens that a bucket holds.
const BURST: u64 = 100;

#[xdp(default = Action::Pass)]
fn ratelimit(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 {
        return Ok(Action::Pass);
    }
    let now = ktime_ns();
    let Some(tokens) = BUCKETS.get(&ip.src) else {
        BUCKETS.set(&ip.src, &Tokens { last: now, left: BURST - 1 }, Update::Any);
        return Ok(Action::Pass);
    };
    let left = (tokens.left + (now - tokens.last) / TOKEN).min(BURST);
    if left == 0 {
        return Ok(Action::Drop);
    }
    tokens.last = now;
    tokens.left = left - 1;
    Ok(Action::Pass)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(ratelimit())
}

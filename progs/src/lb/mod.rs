//! Stage: kernel programs. The load balancer: `balance` at the balancer, `decap` at the real servers, both XDP.
//!
//! Input: nothing. Output: modules, which become object files. Next file to read: `types.rs`, then `maps.rs`, `parse.rs`,
//! `select.rs`, `hop.rs`, `encap.rs`, `too_big.rs`, `decap.rs`, and `control/` for user space.
//!
//! ```text
//! frame ─▶ parse ──▶ vips ──▶ lengths ──▶ rings ──▶ backends ──▶ next hop ──▶ outer header ──▶ TX or REDIRECT
//!            │ not for a VIP: PASS, untouched          │            └ not known yet: PASS, the stack resolves it
//!            └ every other ending has a reason, and each reason a counter
//! ```
//!
//! A packet for a VIP costs one hash lookup and three array lookups, and no memory is written but counters: there is no
//! table of connections, because the ring alone decides. The inner packet is never changed, not even its TTL.

use asm::dsl::Module;
use asm::dsl::prelude::*;

use self::maps::{BACKENDS, REASONS, RINGS, VIPS};
use self::types::{Ending, REASONS as WIDTH, Reason, VERDICT_BITS, Vip, VipKey, VipKeyPlace, VipPlace};

pub mod control;
pub mod decap;
pub mod encap;
mod hop;
pub mod maps;
mod parse;
pub mod select;
pub mod too_big;
pub mod types;

/// The module `lb`: what runs at a balancer.
pub(crate) fn balancer() -> Module {
    Module::new(crate::LICENSE).prog(balance())
}

/// The module `lb-decap`: what runs at a real server. One of its own, so that a real server has no rings in memory.
pub(crate) fn real_server() -> Module {
    Module::new(crate::LICENSE).prog(decap::decap())
}

/// Bytes of an Ethernet header.
const ETH_LEN: u64 = 14;

/// Sends packets for a VIP to one of its real servers.
#[xdp]
fn balance(ctx: &mut Xdp) -> Action {
    let vip = from_word::<Vip>(0u64); // row 0 counts what is for no VIP
    match serve(ctx, &vip) {
        Ok(action) => action,
        Err(ending) => leave(&vip, ending),
    }
}

/// The way of a packet. `vip` is filled in as soon as it is known.
#[bpf_fn]
fn serve(ctx: &mut Xdp, vip: &VipPlace) -> Result<Action, Ending> {
    let frame = ctx.packet();
    let (ip, client, ports, proto, least) = parse::parse(frame)?;
    let key = from_word::<VipKey>(parse::key(ip.dst, ports >> 16, proto));
    let tuple = client.raw() as u64 | (ports as u64) << 32;
    let room = frame.remaining() - ETH_LEN;
    vip.set_word(find(&key)?.word());

    let total = ip.total_len.get() as u64;
    if total < least || total > room {
        return Err(Reason::BadLength.ends()); // the outer length is computed from it
    }
    let first = encap::first_word(ip.tos, total);
    let ring = RINGS.get(&vip.ring).ok_or(Reason::NoReal.ends())?;
    let slot = select::pick(tuple, key.word());
    let real = BACKENDS.get(&(*ring)[slot]).ok_or(Reason::NoReal.ends())?;

    let egress = hop::next(ctx, real)?;
    // The frame, not only the packet in it, is compared: a driver counts frames.
    if room + encap::ADDED > real.mtu as u64 {
        return Err(too_big::answer(ctx, real, room));
    }
    encap::push(ctx, real, first, egress)?;
    real.packets += 1;
    real.bytes += total;
    if egress == ctx.ingress_ifindex() {
        return Ok(Action::Tx);
    }
    if egress == hop::UNKNOWN {
        return Err(Reason::NoNeighbour.ends());
    }
    Ok(ctx.redirect(egress))
}

/// The VIP that a packet is for; its own port first, then every port of the address.
#[bpf_fn]
fn find(key: &VipKeyPlace) -> Result<ValRef<Vip>, Ending> {
    if let Some(vip) = VIPS.get(key) {
        return Ok(vip);
    }
    if maps::CONFIG.place().any_port == 0 {
        return Err(Reason::NotVip.ends());
    }
    key.port = Be16::new(0);
    Ok(VIPS.get(key).ok_or(Reason::NotVip.ends())?)
}

/// Counts why, and gives the verdict. The row becomes the place in `reasons` where it stands, and is the key there.
#[bpf_fn]
fn leave(vip: &VipPlace, ending: Ending) -> Action {
    vip.row = vip.row * WIDTH + (ending >> VERDICT_BITS);
    if let Some(packets) = REASONS.get(&vip.row) {
        *packets += 1;
    }
    Action::of(ending & 7)
}

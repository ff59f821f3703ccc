//! Stage: kernel programs. The load balancer: `balance` at the balancer, `decap` at the real servers, both XDP.
//!
//! Input: nothing. Output: instructions and object files. Next file to read: `types.rs`, then `maps.rs`, `parse.rs`,
//! `select.rs`, `encap.rs`, `too_big.rs`, `decap.rs`, and `control/` for user space.
//!
//! ```text
//! frame ─▶ parse ──▶ vips ──▶ lengths ──▶ rings ──▶ backends ──▶ next hop ──▶ outer header ──▶ TX or REDIRECT
//!            │ not for a VIP: PASS, untouched          │            └ not known yet: PASS, the stack resolves it
//!            └ every other ending has a reason, and each reason a counter
//! ```
//!
//! A packet for a VIP costs one hash lookup and three array lookups, and no memory is written but counters: there is no
//! table of connections, because the ring alone decides. The inner packet is never changed, not even its TTL.

use asm::{
    insn::{BuildError, Builder, Code, Cond, R0, R1, R6, R7, R10, Size},
    object::{Object, ProgDef},
};

use self::{
    emit::{Exits, lookup},
    maps::names,
    types::Reason,
};

pub mod control;
pub mod decap;
mod emit;
pub mod encap;
pub mod maps;
mod parse;
pub mod select;
pub mod too_big;
pub mod types;

/// The stack of `balance`, as displacements from `r10`.
mod frame {
    /// `VipKey`, 8 bytes.
    pub(super) const KEY: i16 = -8;
    /// The client's side of the flow, 8 bytes.
    pub(super) const TUPLE: i16 = -16;
    /// `Vip`, 8 bytes: the ring's row, and the row of the reasons.
    pub(super) const VIP: i16 = -24;
    pub(super) const ROW: i16 = VIP + 4;
    /// Index of the real server's row.
    pub(super) const BACKEND: i16 = -28;
    /// First word of the outer header.
    pub(super) const OUTER: i16 = -32;
    /// Key of the reasons.
    pub(super) const REASON: i16 = -36;
    /// `FibLookup`, 64 bytes.
    pub(super) const FIB: i16 = -104;
}

/// The object `lb`: what runs at a balancer.
///
/// # Errors
/// Only if this crate is wrong.
pub fn balancer_object() -> Result<Vec<u8>, crate::Error> {
    let object = Object::new(crate::LICENSE).global(maps::config()).prog(ProgDef::new("xdp", "balance", balance()?));
    Ok(maps::balancer().into_iter().fold(object, Object::map).write()?)
}

/// The object `lb-decap`: what runs at a real server. An object of its own, so that a real server has no rings in memory.
///
/// # Errors
/// Only if this crate is wrong.
pub fn real_server_object() -> Result<Vec<u8>, crate::Error> {
    let object = Object::new(crate::LICENSE).prog(ProgDef::new("xdp", "decap", decap::program()?));
    Ok(maps::real_server().into_iter().fold(object, Object::map).write()?)
}

/// The program `balance`.
///
/// # Errors
/// Only if this crate is wrong: a label without a place.
pub fn balance() -> Result<Code, BuildError> {
    let mut b = Builder::new();
    let mut exits = Exits::new(names::REASONS, frame::ROW, frame::REASON);
    let too_big = b.label("too_big");
    b.mov(R6, R1);
    let rest = parse::hot(&mut b, &mut exits);
    choose(&mut b, &mut exits);
    let hop = encap::hot(&mut b, &mut exits, too_big);
    encap::refresh(&mut b, &mut exits, &hop);
    too_big::place(&mut b, &mut exits, too_big);
    parse::cold(&mut b, &mut exits, rest);
    exits.place(&mut b);
    b.finish()
}

/// From the VIP in `r0` to the real server's row in `r7`.
fn choose(b: &mut Builder, exits: &mut Exits<Reason>) {
    let no_real = exits.of_vip(b, Reason::NoReal);
    b.load(Size::Dw, R1, R0, 0);
    b.store(Size::Dw, R10, frame::VIP, R1);
    encap::lengths(b, exits);
    encap::first_word(b);
    lookup(b, names::RINGS, frame::VIP);
    b.jmp_if(Cond::Eq, R0, 0, no_real);
    select::emit(b);
    b.load(Size::W, R1, R0, 0);
    b.store(Size::W, R10, frame::BACKEND, R1);
    lookup(b, names::BACKENDS, frame::BACKEND);
    b.jmp_if(Cond::Eq, R0, 0, no_real);
    b.mov(R7, R0);
}

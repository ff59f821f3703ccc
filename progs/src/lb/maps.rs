//! Stage: kernel programs. The maps: what each is for, who writes it, and why it is that large.
//!
//! Input: the structs of `types.rs`. Output: map definitions for the object. Sizes here are those of an object loaded as it
//! is; a control plane that knows its configuration overrides them (`control::Sizes`). Next file to read: `parse.rs`.

use asm::object::{GlobalDef, MapDef, MapType};
use zerocopy::FromZeros;

use super::types::{Backend, Config, Count, REASONS, SLOTS, Tunnel, TunnelState, Vip, VipKey};

/// The maps' names, as the object has them.
pub mod names {
    /// VIPs of the balancer.
    pub const VIPS: &str = "vips";
    /// Settings of the balancer: a section of variables, which loaders make a map of one row.
    pub const CONFIG: &str = ".data.config";
    /// The variable in it.
    pub const CONFIG_VARIABLE: &str = "config";
    /// Rings of the balancer.
    pub const RINGS: &str = "rings";
    /// Real servers of the balancer.
    pub const BACKENDS: &str = "backends";
    /// Reason counters of the balancer.
    pub const REASONS: &str = "reasons";
    /// VIP addresses of a real server.
    pub const SERVED: &str = "served";
    /// Who may send packets to a real server.
    pub const TUNNELS: &str = "tunnels";
    /// Reason counters of a real server.
    pub const DECAP_REASONS: &str = "decap_reasons";
}

/// The maps of `balance`.
#[must_use]
pub fn balancer() -> [MapDef; 4] {
    [
        // Written by the control plane, last of all: once a VIP is here, everything behind it stands. One entry a VIP, and
        // one a pair of address and protocol (the mark that fragments are looked up by); room for twice as many, because
        // new VIPs come before old ones go.
        MapDef::new(names::VIPS, MapType::HASH).key_of::<VipKey>().value_of::<Vip>().max_entries(64),
        // Written by the control plane, whole rows, never one that is in use. A row is a ring: 65,536 slots, each the index of
        // a real server's row. 256 KiB a row; room for every VIP's old and new ring.
        MapDef::new(names::RINGS, MapType::ARRAY).key_of::<u32>().value_of::<[u32; SLOTS]>().max_entries(32),
        // One row a real server of a VIP. Addresses are written by the control plane, on all CPUs alike, before a ring refers
        // to the row; the next hop and the counters by the program. Per CPU, because the program writes it for each
        // packet. 64 bytes a row.
        MapDef::new(names::BACKENDS, MapType::PERCPU_ARRAY).key_of::<u32>().value_of::<Backend>().max_entries(512),
        // Written by the program whenever a packet is not forwarded: row 0 for packets of no VIP, then a row a VIP. As many
        // rows as rings, and one.
        MapDef::new(names::REASONS, MapType::PERCPU_ARRAY).key_of::<u32>().value_of::<u64>().max_entries(33 * REASONS),
    ]
}

/// The settings of `balance`: written by the control plane, one row. A variable and not a map of its own, because a
/// variable's address is a constant of the program: reading it costs a load, and no lookup.
#[must_use]
pub fn config() -> GlobalDef {
    GlobalDef::of(names::CONFIG, names::CONFIG_VARIABLE, &Config::new_zeroed())
}

/// The maps of `decap`.
#[must_use]
pub fn real_server() -> [MapDef; 3] {
    [
        // Entries are written by the control plane: the addresses of VIPs. Counts by the program, hence per CPU. As many as
        // there may be VIPs.
        MapDef::new(names::SERVED, MapType::PERCPU_HASH).key_of::<[u8; 4]>().value_of::<Count>().max_entries(512),
        // Entries are written by the control plane: own address and balancer, and one a own address that tells "a stranger
        // sends to us" from "not for us". Counts by the program. Own addresses times balancers.
        MapDef::new(names::TUNNELS, MapType::PERCPU_HASH).key_of::<Tunnel>().value_of::<TunnelState>().max_entries(512),
        // Written by the program for every packet: one counter a reason.
        MapDef::new(names::DECAP_REASONS, MapType::PERCPU_ARRAY).key_of::<u32>().value_of::<u64>().max_entries(REASONS),
    ]
}

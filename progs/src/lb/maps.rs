//! Stage: kernel programs. The maps: what each is for, who writes it, and why it is that large.
//!
//! Input: the structs of `types.rs`. Output: maps of the object. Sizes here are those of an object loaded as it is; a control
//! plane that knows its configuration overrides them (`control::Sizes`). Next file to read: `parse.rs`.

use asm::dsl::prelude::*;

use super::types::{Backend, Config, Count, FILTER_WORDS, REASONS as WIDTH, SLOTS, Tunnel, TunnelState, Vip, VipKey};

/// The maps' names, as the object has them.
pub mod names {
    /// VIPs of the balancer.
    pub const VIPS: &str = "vips";
    /// Settings of the balancer: a section of variables, which loaders make a map of one row.
    pub const CONFIG: &str = ".data.config";
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

/// Written by the control plane, last of all: once a VIP is here, everything behind it stands. One entry a VIP, and one a pair
/// of address and protocol (the mark that fragments are looked up by); room for twice as many, because new VIPs come
/// before old ones go.
#[map]
pub(super) static VIPS: HashMap<VipKey, Vip, 64> = map();

/// The settings of `balance`: written by the control plane, one row. A variable and not a map of its own, because a variable's
/// address is a constant of the program: reading it costs a load, and no lookup.
#[data(".data.config")]
pub(super) static CONFIG: Config = Config { key: [0; 2], any_port: 0, reserved: 0, filter: [0; FILTER_WORDS] };

/// Written by the control plane, whole rows, never one that is in use. A row is a ring: 65,536 slots, each the index of a
/// real server's row. 256 KiB a row; room for every VIP's old and new ring.
#[map]
pub(super) static RINGS: Array<[u32; SLOTS], 32> = map();

/// One row a real server of a VIP. Addresses are written by the control plane, on all CPUs alike, before a ring refers to the
/// row; the next hop and the counters by the program. Per CPU, because the program writes it for each packet. 64
/// bytes a row.
#[map]
pub(super) static BACKENDS: PerCpuArray<Backend, 512> = map();

/// Written by the program whenever a packet is not forwarded: row 0 for packets of no VIP, then a row a VIP. As many rows as
/// rings, and one.
#[map]
pub(super) static REASONS: PerCpuArray<u64, { 33 * WIDTH }> = map();

/// Entries are written by the control plane: the addresses of VIPs. Counts by the program, hence per CPU. As many as there may
/// be VIPs.
#[map]
pub(super) static SERVED: PerCpuHashMap<Be32, Count, 512> = map();

/// Entries are written by the control plane: own address and balancer, and one a own address that tells "a stranger sends to
/// us" from "not for us". Counts by the program. Own addresses times balancers.
#[map]
pub(super) static TUNNELS: PerCpuHashMap<Tunnel, TunnelState, 512> = map();

/// Written by the program for every packet: one counter a reason.
#[map]
pub(super) static DECAP_REASONS: PerCpuArray<u64, WIDTH> = map();

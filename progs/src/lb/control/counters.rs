//! Stage: control plane. Counters, read back and added up: per VIP, per real server, per reason.
//!
//! Input: the maps. Output: [`Counters`] and [`DecapCounters`], which print as tables and serialise as JSON. This is the last
//! file of the control plane; the tests are next: `progs/tests/kernel/main.rs`.
//!
//! Each counter exists once per CPU and is only written there, so nothing is lost; a sum read while packets flow is that
//! of one moment on each CPU.

use std::{fmt, net::Ipv4Addr};

use asm::dsl::Action;
use serde::Serialize;
use zerocopy::FromBytes;

use super::{apply::Maps, tables::Tables};
use crate::lb::{
    maps::names,
    types::{Backend, Count, DecapReason, REASONS, Reason, Tunnel, TunnelState, word},
};

/// What the balancer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// One row a VIP.
    pub vips: Vec<VipCounters>,
    /// Packets that were for no VIP, by reason; only those that occurred.
    pub others: Vec<ReasonCount>,
}

/// What was done for one VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VipCounters {
    /// As `address:port/protocol`.
    pub vip: String,
    /// Packets forwarded, to all real servers together.
    pub packets: u64,
    /// Bytes of these, as the clients sent them.
    pub bytes: u64,
    /// One row a real server.
    pub reals: Vec<RealCounters>,
    /// Packets that ended otherwise, by reason; only those that occurred. `no-neighbour` ones were forwarded all the same.
    pub reasons: Vec<ReasonCount>,
}

/// What was forwarded to one real server for one VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RealCounters {
    /// The real server.
    pub address: Ipv4Addr,
    /// Slots of the VIP's ring that lead to it, of 65,536.
    pub slots: usize,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of these, as the clients sent them.
    pub bytes: u64,
}

/// How often packets ended for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The reason in one word.
    pub reason: &'static str,
    /// `pass`, `drop`, `tx`.
    pub verdict: &'static str,
    /// Packets.
    pub packets: u64,
    /// The reason in a sentence.
    pub text: &'static str,
}

/// What a real server unwrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DecapCounters {
    /// By VIP address.
    pub vips: Vec<AddressCount>,
    /// By balancer and own address.
    pub tunnels: Vec<TunnelCount>,
    /// All packets, by reason; only those that occurred.
    pub reasons: Vec<ReasonCount>,
}

/// What was unwrapped for one VIP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressCount {
    /// The address.
    pub address: Ipv4Addr,
    /// Packets unwrapped.
    pub packets: u64,
    /// Bytes of these, without the outer header.
    pub bytes: u64,
}

/// What was unwrapped from one balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelCount {
    /// As `balancer -> real server`.
    pub tunnel: String,
    /// Packets unwrapped.
    pub packets: u64,
    /// Bytes of these, without the outer header.
    pub bytes: u64,
}

impl Counters {
    /// Reads all counters; `tables` says whose they are (see [`Tables::read`]).
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses.
    pub fn read<M: Maps>(maps: &M, tables: &Tables) -> Result<Self, M::Error> {
        let mut counters = Self { vips: Vec::new(), others: reasons(maps, 0)? };
        for (key, vip) in tables.services() {
            let shares = tables.shares(vip.ring);
            let (mut reals, mut all) = (Vec::new(), Count::default());
            for (index, backend) in tables.backends_of(vip) {
                let count = sum::<M, Backend>(maps, names::BACKENDS, &index.to_ne_bytes(), |b| Count {
                    packets: b.packets,
                    bytes: b.bytes,
                })?;
                all = all.plus(count);
                let slots = shares.get(&backend.addr).copied().unwrap_or(0);
                reals.push(RealCounters { address: backend.addr, slots, packets: count.packets, bytes: count.bytes });
            }
            reals.sort_by_key(|real| real.address);
            let reasons = reasons(maps, vip.row)?;
            counters.vips.push(VipCounters {
                vip: key.to_string(),
                packets: all.packets,
                bytes: all.bytes,
                reals,
                reasons,
            });
        }
        Ok(counters)
    }
}

impl DecapCounters {
    /// Reads all counters.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses.
    pub fn read<M: Maps>(maps: &M) -> Result<Self, M::Error> {
        let mut counters = Self::default();
        for key in sorted(maps.keys(names::SERVED)?) {
            let count = sum::<M, Count>(maps, names::SERVED, &key, |count| *count)?;
            let Ok(octets) = <[u8; 4]>::read_from_bytes(&key) else { continue };
            counters.vips.push(AddressCount { address: octets.into(), packets: count.packets, bytes: count.bytes });
        }
        for key in sorted(maps.keys(names::TUNNELS)?) {
            let count = sum::<M, TunnelState>(maps, names::TUNNELS, &key, |state| state.count)?;
            let Ok(tunnel) = Tunnel::read_from_bytes(&key) else { continue };
            counters.tunnels.push(TunnelCount {
                tunnel: tunnel.to_string(),
                packets: count.packets,
                bytes: count.bytes,
            });
        }
        for reason in DecapReason::ALL {
            let packets = number(maps, names::DECAP_REASONS, reason.number())?;
            counters.reasons.extend(occurred(reason.word(), reason.verdict(), packets, reason.text()));
        }
        Ok(counters)
    }
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys
}

/// A row of `reasons`.
fn reasons<M: Maps>(maps: &M, row: u32) -> Result<Vec<ReasonCount>, M::Error> {
    let mut counts = Vec::new();
    for reason in Reason::ALL {
        let packets = number(maps, names::REASONS, row * REASONS + reason.number())?;
        counts.extend(occurred(reason.word(), reason.verdict(), packets, reason.text()));
    }
    Ok(counts)
}

fn occurred(reason: &'static str, verdict: Action, packets: u64, text: &'static str) -> Option<ReasonCount> {
    (packets > 0).then(|| ReasonCount { reason, verdict: word(verdict), packets, text })
}

fn number<M: Maps>(maps: &M, map: &str, key: u32) -> Result<u64, M::Error> {
    Ok(sum::<M, u64>(maps, map, &key.to_ne_bytes(), |packets| Count { packets: *packets, bytes: 0 })?.packets)
}

/// Adds up one value over the CPUs.
fn sum<M: Maps, T: FromBytes>(maps: &M, map: &str, key: &[u8], count: impl Fn(&T) -> Count) -> Result<Count, M::Error> {
    let cpus = maps.lookup_each_cpu(map, key)?.unwrap_or_default();
    let values = cpus.iter().filter_map(|bytes| T::read_from_bytes(bytes).ok());
    Ok(values.fold(Count::default(), |all, value| all.plus(count(&value))))
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for vip in &self.vips {
            writeln!(f, "{:<24} {:>12} packets {:>15} bytes", vip.vip, vip.packets, vip.bytes)?;
            for real in &vip.reals {
                let percent = real.slots * 100 / crate::lb::types::SLOTS;
                writeln!(
                    f,
                    "  {:<22} {:>12} packets {:>15} bytes  {percent:>3} % of the ring",
                    real.address, real.packets, real.bytes
                )?;
            }
            write_reasons(f, &vip.reasons)?;
        }
        if !self.others.is_empty() {
            writeln!(f, "not for a VIP")?;
        }
        write_reasons(f, &self.others)
    }
}

impl fmt::Display for DecapCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for vip in &self.vips {
            writeln!(f, "{:<34} {:>12} packets {:>15} bytes", vip.address, vip.packets, vip.bytes)?;
        }
        for tunnel in &self.tunnels {
            writeln!(f, "{:<34} {:>12} packets {:>15} bytes", tunnel.tunnel, tunnel.packets, tunnel.bytes)?;
        }
        write_reasons(f, &self.reasons)
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &[ReasonCount]) -> fmt::Result {
    reasons
        .iter()
        .try_for_each(|r| writeln!(f, "  {:<22} {:>12} packets  {}: {}", r.reason, r.packets, r.verdict, r.text))
}

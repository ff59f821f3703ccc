//! Stage: control plane. What the balancer's maps shall hold, and the shortest safe way there from what they hold.
//!
//! Input: the tables in force, read from the maps; the tables wanted. Output: a list of [`Write`]s. Pure, but for
//! [`Tables::read`]. Next file to read: `plan.rs`, which makes the wanted ones.
//!
//! Rows keep their numbers over updates as long as what they stand for stays, so counters go on. A row that is in force is
//! never rewritten: a changed ring goes to a free row, and the VIP's entry, which the kernel replaces atomically,
//! then points there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{
    apply::{Action, Maps, Write},
    config::HashKey,
};
use crate::lb::{
    encap,
    maps::names,
    select,
    types::{self, Backend, REASONS, VipKey},
};

/// The control plane's part of a row of `backends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendRow {
    /// The real server.
    pub addr: Ipv4Addr,
    /// Outer source address.
    pub source: Ipv4Addr,
    /// MTU of the route; 0: unknown.
    pub route_mtu: u16,
    /// Row of the VIP in `reasons`: whose real server it is.
    pub row: u16,
}

impl BackendRow {
    /// As the map holds it, counters at zero.
    #[must_use]
    pub fn to_wire(self) -> Backend {
        Backend {
            source: self.source.into(),
            addr: self.addr.into(),
            sum: encap::constant_sum(self.source, self.addr),
            route_mtu: self.route_mtu,
            row: self.row,
            ..Backend::new_zeroed()
        }
    }

    fn from_wire(wire: &Backend) -> Option<Self> {
        let row = Self { addr: wire.addr.into(), source: wire.source.into(), route_mtu: wire.route_mtu, row: wire.row };
        (row.row != 0).then_some(row)
    }
}

/// Contents of the balancer's maps, without counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The row of `config`.
    pub config: types::Config,
    /// `vips`: services and marks.
    pub vips: BTreeMap<VipKey, types::Vip>,
    /// Rows of `rings` in use.
    pub rings: BTreeMap<u32, Vec<u32>>,
    /// Rows of `backends` in use.
    pub backends: BTreeMap<u32, BackendRow>,
}

impl Default for Tables {
    /// What the maps of a freshly loaded object hold.
    fn default() -> Self {
        Self {
            config: types::Config::new_zeroed(),
            vips: BTreeMap::new(),
            rings: BTreeMap::new(),
            backends: BTreeMap::new(),
        }
    }
}

impl Tables {
    /// Reads what is in force from the maps.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses.
    pub fn read<M: Maps>(maps: &M) -> Result<Self, M::Error> {
        let mut tables = Self::default();
        if let Some(row) = read_row(maps, names::CONFIG, 0)? {
            tables.config = row;
        }
        for key in maps.keys(names::VIPS)? {
            let vip = maps.lookup(names::VIPS, &key)?.and_then(|value| types::Vip::read_from_bytes(&value).ok());
            tables.vips.extend(VipKey::read_from_bytes(&key).ok().zip(vip));
        }
        for ring in tables.rings_in_use() {
            if let Some(bytes) = maps.lookup(names::RINGS, &ring.to_ne_bytes())? {
                tables.rings.insert(
                    ring,
                    bytes.chunks_exact(4).map(|s| u32::from_ne_bytes([s[0], s[1], s[2], s[3]])).collect(),
                );
            }
        }
        for index in 0..maps.max_entries(names::BACKENDS)? {
            let first =
                maps.lookup_each_cpu(names::BACKENDS, &index.to_ne_bytes())?.and_then(|cpus| cpus.into_iter().next());
            let row = first
                .and_then(|bytes| Backend::read_from_bytes(&bytes).ok())
                .and_then(|wire| BackendRow::from_wire(&wire));
            tables.backends.extend(row.map(|row| (index, row)));
        }
        Ok(tables)
    }

    /// Rows of `rings` that VIPs point to.
    pub(super) fn rings_in_use(&self) -> BTreeSet<u32> {
        self.services().map(|(_, vip)| vip.ring).collect()
    }

    /// The VIPs, without marks.
    pub fn services(&self) -> impl Iterator<Item = (VipKey, types::Vip)> {
        self.vips.iter().filter(|(key, _)| key.kind == VipKey::SERVICE).map(|(key, vip)| (*key, *vip))
    }

    /// The rows of `backends` that belong to a VIP.
    pub fn backends_of(&self, vip: types::Vip) -> impl Iterator<Item = (u32, BackendRow)> {
        self.backends
            .iter()
            .filter(move |(_, backend)| u32::from(backend.row) == vip.row)
            .map(|(index, backend)| (*index, *backend))
    }

    /// For each real server of a ring the number of slots it owns.
    #[must_use]
    pub fn shares(&self, ring: u32) -> BTreeMap<Ipv4Addr, usize> {
        // Counted by row: a ring has many more slots than servers, and a look into a tree for each is most of what a status costs.
        let mut owned = vec![0; self.backend_rows()];
        for slot in self.slots(ring) {
            if let Some(owned) = owned.get_mut(slot) {
                *owned += 1;
            }
        }
        let mut shares = BTreeMap::new();
        for (index, backend) in &self.backends {
            match usize::try_from(*index).ok().and_then(|index| owned.get(index)) {
                None | Some(0) => {}
                Some(owned) => *shares.entry(backend.addr).or_default() += owned,
            }
        }
        shares
    }

    /// Fingerprint of a ring, equal on all balancers that choose alike, whatever numbers their rows have.
    #[must_use]
    pub fn digest(&self, ring: u32) -> u64 {
        let mut addrs = vec![Ipv4Addr::UNSPECIFIED; self.backend_rows()];
        for (index, backend) in &self.backends {
            if let Some(addr) = usize::try_from(*index).ok().and_then(|index| addrs.get_mut(index)) {
                *addr = backend.addr;
            }
        }
        let addr = |slot| addrs.get(slot).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        select::digest(self.slots(ring).map(addr))
    }

    /// Rows of `backends` up to the last that is in use.
    fn backend_rows(&self) -> usize {
        self.backends.last_key_value().and_then(|(last, _)| usize::try_from(*last).ok()).map_or(0, |last| last + 1)
    }

    /// The rows of `backends` that the slots of a ring lead to; those of a slot without one are beyond all rows.
    fn slots(&self, ring: u32) -> impl Iterator<Item = usize> {
        let slots = self.rings.get(&ring).into_iter().flatten();
        slots.map(|slot| usize::try_from(*slot).unwrap_or(usize::MAX))
    }

    /// What to write, in order, to get from `current` to `self`. Empty when nothing changes.
    ///
    /// First what nothing points to yet: real servers, then rings. Then VIPs are switched to them, and only then do old ones
    /// go, so that a VIP for one port takes over from one for every port, or gives way to it, without a gap. Last, rows that
    /// nothing points to any more are cleared.
    #[must_use]
    pub fn diff(&self, current: &Self) -> Vec<Write> {
        let mut writes = Vec::new();
        for (index, row) in self.backends.iter().filter(|(index, row)| current.backends.get(index) != Some(row)) {
            writes.push(self.write_backend(*index, row));
        }
        for (row, ring) in self.rings.iter().filter(|(row, ring)| current.rings.get(row) != Some(ring)) {
            writes.push(set(
                names::RINGS,
                &row.to_ne_bytes(),
                Action::Set(ring.as_bytes().to_vec()),
                self.describe_ring(*row),
            ));
        }
        let meanwhile = self.config.union(&current.config);
        writes.extend((meanwhile != current.config).then(|| write_config(&meanwhile)));
        // A VIP for every port comes last in its address and goes first: its flows are those that no other VIP takes.
        for (key, vip) in self.vips.iter().rev().filter(|(key, vip)| current.vips.get(key) != Some(vip)) {
            writes.push(write_vip(key, vip));
        }
        let gone = current.vips.keys().filter(|key| !self.vips.contains_key(key));
        writes.extend(gone.map(|key| delete(names::VIPS, key.as_bytes(), key.to_string())));
        writes.extend((self.config != meanwhile).then(|| write_config(&self.config)));
        let cleared = current.backends.iter().filter(|(index, _)| !self.backends.contains_key(index));
        writes.extend(cleared.map(|(index, row)| clear_backend(*index, *row)));
        let rows: BTreeSet<u32> = self.services().map(|(_, vip)| vip.row).collect();
        writes.extend(
            current
                .services()
                .filter(|(_, vip)| !rows.contains(&vip.row))
                .flat_map(|(key, vip)| clear_reasons(key, vip.row)),
        );
        writes
    }

    fn write_backend(&self, index: u32, row: &BackendRow) -> Write {
        let vip = self.services().find(|(_, vip)| vip.row == u32::from(row.row));
        let vip = vip.map_or_else(|| "no VIP".to_owned(), |(key, _)| key.to_string());
        let mtu = if row.route_mtu == 0 { "unknown".to_owned() } else { row.route_mtu.to_string() };
        let text = format!("{index}: {} for {vip}, outer source {}, route MTU {mtu}", row.addr, row.source);
        set(names::BACKENDS, &index.to_ne_bytes(), Action::SetEachCpu(row.to_wire().as_bytes().to_vec()), text)
    }

    fn describe_ring(&self, ring: u32) -> String {
        let shares: Vec<String> = self.shares(ring).iter().map(|(addr, slots)| format!("{addr} {slots}")).collect();
        format!("{ring}: slots {}; digest {:016x}", shares.join(", "), self.digest(ring))
    }
}

impl fmt::Display for Tables {
    /// As the writes that would fill empty maps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diff(&Self::default()).iter().try_for_each(|write| writeln!(f, "{write}"))
    }
}

fn read_row<M: Maps, T: FromBytes>(maps: &M, map: &str, row: u32) -> Result<Option<T>, M::Error> {
    Ok(maps.lookup(map, &row.to_ne_bytes())?.and_then(|bytes| T::read_from_bytes(&bytes).ok()))
}

fn write_config(config: &types::Config) -> Write {
    let key = if config.key == HashKey::PUBLIC.0 { "public default" } else { "set" };
    let bits: u32 = config.filter.iter().map(|word| word.count_ones()).sum();
    let any_port = if config.any_port == 0 { "none" } else { "some" };
    let text = format!("hash key {key}, VIPs for any port: {any_port}, {bits} bits of the filter set");
    set(names::CONFIG, &0u32.to_ne_bytes(), Action::Set(config.as_bytes().to_vec()), text)
}

fn write_vip(key: &VipKey, vip: &types::Vip) -> Write {
    let text = match key.kind {
        VipKey::MARK => format!("{key} has VIPs"),
        _ => format!("{key} uses ring {}, counts in row {}", vip.ring, vip.row),
    };
    set(names::VIPS, key.as_bytes(), Action::Set(vip.as_bytes().to_vec()), text)
}

fn set(map: &'static str, key: &[u8], action: Action, text: String) -> Write {
    Write { map, key: key.to_vec(), action, text }
}

fn delete(map: &'static str, key: &[u8], text: String) -> Write {
    Write { map, key: key.to_vec(), action: Action::Delete, text }
}

fn clear_backend(index: u32, row: BackendRow) -> Write {
    let zero = Action::SetEachCpu(vec![0; size_of::<Backend>()]);
    set(names::BACKENDS, &index.to_ne_bytes(), zero, format!("{index}: free (was {})", row.addr))
}

fn clear_reasons(key: VipKey, row: u32) -> impl Iterator<Item = Write> {
    types::Reason::ALL.iter().map(move |reason| {
        let text = format!("{} of {key}: 0", reason.word());
        set(names::REASONS, &(row * REASONS + reason.number()).to_ne_bytes(), Action::SetEachCpu(vec![0; 8]), text)
    })
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;

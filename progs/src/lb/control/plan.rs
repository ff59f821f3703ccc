//! Stage: control plane. From a configuration to tables: which row everything gets.
//!
//! Input: a [`Config`], [`Routes`], the tables in force. Output: the new [`Tables`]. Pure. Next file to read: `apply.rs`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{
    apply::Maps,
    config::{Config, Vip},
    routes::Routes,
    tables::{BackendRow, Tables},
};
use crate::lb::{
    maps::names,
    select,
    types::{self, NO_BACKEND, REASONS, SLOTS, VipKey},
};

/// How many entries the maps get when the object is loaded: by use, with room to change every VIP at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Entries of `vips`: a VIP and its mark each take one.
    pub vips: u32,
    /// Rows of `rings`, of 256 KiB each.
    pub rings: u32,
    /// Rows of `backends`, of 64 bytes on each CPU.
    pub backends: u32,
    /// Entries of `reasons`, of 8 bytes on each CPU.
    pub reasons: u32,
}

impl Sizes {
    /// For so many VIPs, with so many real servers all together.
    #[must_use]
    pub fn new(vips: usize, reals: usize) -> Self {
        let double =
            |n: usize, least: u32| u32::try_from(n).unwrap_or(1 << 20).saturating_mul(2).max(least).next_power_of_two();
        let rings = double(vips, 8);
        Self { vips: rings * 2, rings, backends: double(reals, 256), reasons: (rings + 1) * REASONS }
    }

    /// For a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self::new(config.vip.len(), config.vip.iter().map(|vip| vip.reals.len()).sum())
    }

    /// By map name, as a loader's `max_entries` overrides want them.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, u32); 4] {
        [
            (names::VIPS, self.vips),
            (names::RINGS, self.rings),
            (names::BACKENDS, self.backends),
            (names::REASONS, self.reasons),
        ]
    }

    /// What the maps were created with.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses.
    pub fn read<M: Maps>(maps: &M) -> Result<Self, M::Error> {
        let size = |name| maps.max_entries(name);
        Ok(Self {
            vips: size(names::VIPS)?,
            rings: size(names::RINGS)?,
            backends: size(names::BACKENDS)?,
            reasons: size(names::REASONS)?,
        })
    }
}

/// Why a configuration does not become tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// No route was given for a real server.
    #[error(
        "VIP {vip}: nothing is known about the way to its real server {real}; ask for the routes of all real servers first"
    )]
    NoRoute {
        /// The VIP.
        vip: VipKey,
        /// The real server.
        real: Ipv4Addr,
    },
    /// A map has no free row left.
    #[error(
        "VIP {vip}: map `{map}` is full ({max_entries} rows; a change needs free ones): bring the balancer down and up again, maps are sized when it loads"
    )]
    Full {
        /// The VIP.
        vip: VipKey,
        /// The map.
        map: &'static str,
        /// Its size.
        max_entries: u32,
    },
}

impl Tables {
    /// The tables for `config`, given the tables in force and the sizes of the maps. `config` should be valid.
    ///
    /// # Errors
    /// When a route is missing or a map is full.
    pub fn plan(config: &Config, routes: &Routes, current: &Self, sizes: Sizes) -> Result<Self, TablesError> {
        let mut planner = Planner::new(current, sizes);
        for vip in &config.vip {
            planner.vip(vip, routes)?;
            planner.check_room(vip)?;
        }
        planner.new.config.key = config.hash_key().0;
        config.vip.iter().for_each(|vip| planner.new.config.admit(vip.address.into()));
        planner.new.config.any_port = u32::from(config.vip.iter().any(|vip| vip.port == 0));
        Ok(planner.new)
    }
}

/// Hands out rows, keeping those that stay.
struct Planner<'a> {
    current: &'a Tables,
    new: Tables,
    sizes: Sizes,
    rings: BTreeSet<u32>,
    rows: BTreeSet<u32>,
    backends: BTreeSet<u32>,
}

impl<'a> Planner<'a> {
    fn new(current: &'a Tables, sizes: Sizes) -> Self {
        Self {
            current,
            new: Tables::default(),
            sizes,
            rings: current.rings_in_use(),
            rows: current.services().map(|(_, vip)| vip.row).collect(),
            backends: current.backends.keys().copied().collect(),
        }
    }

    fn vip(&mut self, vip: &Vip, routes: &Routes) -> Result<(), TablesError> {
        let key = vip.key();
        let known = self.current.vips.get(&key).copied();
        let full = |map, max_entries| TablesError::Full { vip: key, map, max_entries };
        let row = match known {
            Some(vip) => vip.row,
            None => take(&mut self.rows, 1, self.sizes.rings).ok_or(full(names::REASONS, self.sizes.reasons))?,
        };
        let indexes = self.backends(vip, row, routes)?;
        let owners = select::ring(&vip.reals.iter().map(|real| (real.address, real.weight)).collect::<Vec<_>>());
        let mut slots: Vec<u32> = owners.iter().map(|owner| indexes[*owner]).collect();
        slots.resize(SLOTS, NO_BACKEND);
        let ring = match known {
            Some(vip) if self.current.rings.get(&vip.ring) == Some(&slots) => vip.ring,
            _ => take(&mut self.rings, 0, self.sizes.rings.saturating_sub(1))
                .ok_or(full(names::RINGS, self.sizes.rings))?,
        };
        self.new.rings.insert(ring, slots);
        self.new.vips.insert(key, types::Vip { ring, row });
        self.new.vips.insert(key.mark(), types::Vip { ring: 0, row: 0 });
        Ok(())
    }

    /// New VIPs are written before old ones go, so there must be room for both.
    fn check_room(&self, vip: &Vip) -> Result<(), TablesError> {
        let both =
            self.new.vips.keys().filter(|key| !self.current.vips.contains_key(key)).count() + self.current.vips.len();
        if u32::try_from(both).is_ok_and(|both| both <= self.sizes.vips) {
            return Ok(());
        }
        Err(TablesError::Full { vip: vip.key(), map: names::VIPS, max_entries: self.sizes.vips })
    }

    /// The row of each real server of the VIP: the one it has, if nothing about it changed.
    fn backends(&mut self, vip: &Vip, row: u32, routes: &Routes) -> Result<Vec<u32>, TablesError> {
        let key = vip.key();
        let full = |map, max_entries| TablesError::Full { vip: key, map, max_entries };
        let row = u16::try_from(row).map_err(|_| full(names::REASONS, self.sizes.reasons))?;
        let mut indexes = Vec::with_capacity(vip.reals.len());
        for real in &vip.reals {
            let route = routes.get(&real.address).ok_or(TablesError::NoRoute { vip: key, real: real.address })?;
            let backend = BackendRow { addr: real.address, source: route.source, route_mtu: route.mtu, row };
            let kept = self.current.backends.iter().find(|(_, known)| **known == backend).map(|(index, _)| *index);
            let last = self.sizes.backends.saturating_sub(1);
            let index =
                kept.or_else(|| take(&mut self.backends, 0, last)).ok_or(full(names::BACKENDS, self.sizes.backends))?;
            self.new.backends.insert(index, backend);
            indexes.push(index);
        }
        Ok(indexes)
    }
}

/// The lowest free number in `least..=most`, now taken.
fn take(taken: &mut BTreeSet<u32>, least: u32, most: u32) -> Option<u32> {
    let free = (least..=most).find(|number| !taken.contains(number))?;
    taken.insert(free);
    Some(free)
}

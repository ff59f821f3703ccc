//! Stage: control plane, at a real server. Whose packets to unwrap.
//!
//! Input: the same [`Config`] as at the balancer, and which addresses are this machine's. Output: [`DecapTables`], and the
//! writes to get there. Next file to read: `counters.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use zerocopy::{FromBytes, IntoBytes};

use super::{
    apply::{Action, Maps, Write},
    config::Config,
};
use crate::lb::{
    maps::names,
    types::{Count, Tunnel, TunnelState},
};

/// Contents of the maps of `decap`, without counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecapTables {
    /// Addresses of VIPs.
    pub served: BTreeSet<Ipv4Addr>,
    /// Rows of `tunnels`: whether packets are unwrapped.
    pub tunnels: BTreeMap<Tunnel, bool>,
}

/// Why a real server cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecapError {
    /// Nobody may send to it.
    #[error(
        "lb.balancers is empty, so the real servers would drop everything: list the balancers' outer source addresses, or set lb.any_balancer = true in a network where nobody can forge them"
    )]
    NoBalancers,
    /// It is no real server.
    #[error("none of the real servers' addresses ({}) belongs to this network namespace: add the address to an interface, or run this on a real server", list(.reals))]
    NotHere {
        /// The configured addresses.
        reals: BTreeSet<Ipv4Addr>,
    },
}

fn list(addresses: &BTreeSet<Ipv4Addr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl DecapTables {
    /// The tables for `config` on a machine that has the addresses `local` (see [`routes::local`](super::routes::local)).
    ///
    /// # Errors
    /// When no packet could ever be unwrapped.
    pub fn plan(config: &Config, local: &BTreeSet<Ipv4Addr>) -> Result<Self, DecapError> {
        if config.balancers.is_empty() && !config.any_balancer {
            return Err(DecapError::NoBalancers);
        }
        let reals = config.reals();
        if reals.is_disjoint(local) {
            return Err(DecapError::NotHere { reals });
        }
        let mut tunnels = BTreeMap::new();
        for here in reals.intersection(local) {
            tunnels.insert(Tunnel::ours(*here), config.any_balancer);
            tunnels.extend(config.balancers.iter().map(|balancer| (Tunnel::new(*balancer, *here), true)));
        }
        Ok(Self { served: config.addresses(), tunnels })
    }

    /// Reads what is in force from the maps.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses.
    pub fn read<M: Maps>(maps: &M) -> Result<Self, M::Error> {
        let mut tables = Self::default();
        for key in maps.keys(names::SERVED)? {
            tables.served.extend(<[u8; 4]>::read_from_bytes(&key).ok().map(Ipv4Addr::from));
        }
        for key in maps.keys(names::TUNNELS)? {
            let first = maps.lookup_each_cpu(names::TUNNELS, &key)?.and_then(|cpus| cpus.into_iter().next());
            let state = first.and_then(|bytes| TunnelState::read_from_bytes(&bytes).ok());
            tables.tunnels.extend(Tunnel::read_from_bytes(&key).ok().zip(state.map(|state| state.allowed != 0)));
        }
        Ok(tables)
    }

    /// What to write, in order, to get from `current` to `self`: first what is no longer allowed.
    #[must_use]
    pub fn diff(&self, current: &Self) -> Vec<Write> {
        let delete = |map, key: &[u8], text| Write { map, key: key.to_vec(), action: Action::Delete, text };
        let set = |map, key: &[u8], value: Vec<u8>, text| Write {
            map,
            key: key.to_vec(),
            action: Action::SetEachCpu(value),
            text,
        };
        let mut writes = Vec::new();
        let gone = current.tunnels.keys().filter(|tunnel| !self.tunnels.contains_key(tunnel));
        writes.extend(gone.map(|tunnel| delete(names::TUNNELS, tunnel.as_bytes(), tunnel.to_string())));
        let gone = current.served.difference(&self.served);
        writes.extend(gone.map(|vip| delete(names::SERVED, &vip.octets(), vip.to_string())));
        for vip in self.served.difference(&current.served) {
            writes.push(set(names::SERVED, &vip.octets(), Count::default().as_bytes().to_vec(), vip.to_string()));
        }
        for (tunnel, allowed) in
            self.tunnels.iter().filter(|(tunnel, allowed)| current.tunnels.get(tunnel) != Some(allowed))
        {
            let state = TunnelState { allowed: u64::from(*allowed), ..TunnelState::default() };
            let text = format!("{tunnel}: {}", if *allowed { "unwrap" } else { "drop" });
            writes.push(set(names::TUNNELS, tunnel.as_bytes(), state.as_bytes().to_vec(), text));
        }
        writes
    }
}

impl fmt::Display for DecapTables {
    /// As the writes that would fill empty maps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diff(&Self::default()).iter().try_for_each(|write| writeln!(f, "{write}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let vip = r#"
            [[vip]]
            address = "10.10.0.5"
            port = 80
            protocol = "tcp"
            reals = [{ address = "10.10.1.2" }, { address = "10.10.1.3" }]"#;
        toml::from_str(&format!("{text}\n{vip}")).unwrap()
    }

    fn here(last: u8) -> BTreeSet<Ipv4Addr> {
        BTreeSet::from([Ipv4Addr::new(10, 10, 1, last)])
    }

    #[test]
    fn strict_by_default() {
        assert_eq!(DecapTables::plan(&config(""), &here(2)), Err(DecapError::NoBalancers));
        let text = DecapTables::plan(&config("balancers = [\"10.10.1.1\"]"), &here(9)).unwrap_err().to_string();
        assert!(text.contains("none of the real servers' addresses (10.10.1.2, 10.10.1.3)"), "{text}");
        let tables = DecapTables::plan(&config("balancers = [\"10.10.1.1\"]"), &here(2)).unwrap();
        assert_eq!(
            tables.to_string(),
            "set    served   10.10.0.5\nset    tunnels  * -> 10.10.1.2: drop\nset    tunnels  10.10.1.1 -> 10.10.1.2: unwrap\n"
        );
    }

    #[test]
    fn any_balancer_is_one_row() {
        let tables = DecapTables::plan(&config("any_balancer = true"), &here(3)).unwrap();
        assert_eq!(tables.to_string(), "set    served   10.10.0.5\nset    tunnels  * -> 10.10.1.3: unwrap\n");
        let strict = DecapTables::plan(&config("balancers = [\"10.10.1.1\"]"), &here(3)).unwrap();
        let change: Vec<String> = strict.diff(&tables).iter().map(ToString::to_string).collect();
        assert_eq!(change, ["set    tunnels  * -> 10.10.1.3: drop", "set    tunnels  10.10.1.1 -> 10.10.1.3: unwrap"]);
        assert_eq!(tables.diff(&tables), []);
    }
}

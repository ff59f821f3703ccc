//! Stage: control plane. The `[lb]` table of a manifest: what the operator wants.
//!
//! Input: anything serde reads. Output: a [`Config`] whose contents make sense together. Next file to read: `tables.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use crate::{
    lb::types::{SLOTS, VipKey},
    net::ip,
};

/// The table `[lb]`.
///
/// ```toml
/// [lb]
/// key = "3f9a0c…"                    # optional: 32 hex digits; balancers that share VIPs must share it
/// source = "10.10.1.1"               # optional: outer source address; otherwise the kernel's choice per route
/// balancers = ["10.10.1.1"]          # for the real servers: who may send them packets
/// [[lb.vip]]
/// address = "10.10.0.5"
/// port = 80                          # 0: every port that has no VIP of its own
/// protocol = "tcp"
/// reals = [{ address = "10.10.1.2", weight = 1 }, { address = "10.10.1.3" }]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Key of the flow hash. Without one, a public default is used: the balancing is as good, but somebody who knows this
    /// program can choose ports that all meet at one real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<HashKey>,
    /// Outer source address. Without one, the address the kernel would use towards each real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ipv4Addr>,
    /// Outer source addresses that real servers accept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Ipv4Addr>,
    /// Real servers accept every outer source. For networks in which nobody can forge one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_balancer: bool,
    /// The virtual services.
    #[serde(default)]
    pub vip: Vec<Vip>,
}

/// One `[[lb.vip]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vip {
    /// The address clients connect to.
    pub address: Ipv4Addr,
    /// The port; 0: every port of this address and protocol that has no VIP of its own.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who serves it.
    pub reals: Vec<Real>,
}

impl Vip {
    /// The VIP as the kernel knows it.
    #[must_use]
    pub fn key(&self) -> VipKey {
        VipKey::service(self.address, self.port, self.protocol.number())
    }
}

/// One real server of a VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Real {
    /// Its own address, to which packets are tunnelled.
    pub address: Ipv4Addr,
    /// Its share, relative to the VIP's other real servers. 0: no flows; its row and its counters stay.
    #[serde(default = "one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

/// A protocol with ports that the balancer can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => ip::TCP,
            Self::Udp => ip::UDP,
        }
    }
}

/// 128 bits as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    /// The key used when the manifest has none: the first digits of pi, so that nobody wonders what is behind it.
    pub const PUBLIC: Self = Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
}

impl TryFrom<String> for HashKey {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        let bad = || ConfigError::Key { digits: text.chars().count() };
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let both = u128::from_str_radix(&text, 16).map_err(|_| bad())?;
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).map_err(|_| bad());
        Ok(Self([half(both >> 64)?, half(both)?]))
    }
}

impl From<HashKey> for String {
    fn from(HashKey([high, low]): HashKey) -> Self {
        format!("{high:016x}{low:016x}")
    }
}

impl fmt::Debug for HashKey {
    /// The key is a secret: only the public default is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::PUBLIC { "public default" } else { "set" })
    }
}

/// The largest weight: one slot is then still about what weight 1 beside it deserves.
pub const MAX_WEIGHT: u32 = 65_535;
/// The most real servers of one VIP: fewer slots each than this leaves and their shares are no longer close to their weights.
pub const MAX_REALS: usize = SLOTS / 64;

/// What is wrong with a configuration. Each names the VIP, and says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The hash key is not 32 hexadecimal digits.
    #[error("lb.key must be 32 hexadecimal digits (it has {digits} characters); make one with `openssl rand -hex 16`")]
    Key {
        /// Characters it has.
        digits: usize,
    },
    /// A VIP without real servers.
    #[error("VIP {vip} has no real servers: give it at least one in `reals`, or remove the VIP")]
    NoReals {
        /// The VIP.
        vip: VipKey,
    },
    /// All weights are zero.
    #[error("every real server of VIP {vip} has weight 0: nobody would serve it; give one a weight, or remove the VIP")]
    NoWeight {
        /// The VIP.
        vip: VipKey,
    },
    /// Two entries for one VIP.
    #[error(
        "VIP {vip} is defined twice (lb.vip[{first}] and lb.vip[{second}]): put all its real servers into one entry"
    )]
    DuplicateVip {
        /// The VIP.
        vip: VipKey,
        /// Index of the first entry, counted from 0.
        first: usize,
        /// Index of the second entry.
        second: usize,
    },
    /// One real server twice.
    #[error("VIP {vip} lists real server {real} twice: list it once, with the sum of the weights")]
    DuplicateReal {
        /// The VIP.
        vip: VipKey,
        /// The real server.
        real: Ipv4Addr,
    },
    /// A real server that is a VIP.
    #[error(
        "VIP {vip} has {real} as a real server, which is itself a VIP's address: packets would go round in circles; use the server's own address"
    )]
    RealIsVip {
        /// The VIP.
        vip: VipKey,
        /// The real server.
        real: Ipv4Addr,
    },
    /// An address nobody can be sent to.
    #[error("VIP {vip}: {address} cannot be {role}: it is {kind}")]
    Address {
        /// The VIP.
        vip: VipKey,
        /// The address.
        address: Ipv4Addr,
        /// "a VIP" or "a real server".
        role: &'static str,
        /// What kind of address it is.
        kind: &'static str,
    },
    /// A weight over the limit.
    #[error(
        "VIP {vip}: weight {weight} of real server {real} is over {MAX_WEIGHT}: weights are relative, divide them all"
    )]
    Weight {
        /// The VIP.
        vip: VipKey,
        /// The real server.
        real: Ipv4Addr,
        /// Its weight.
        weight: u32,
    },
    /// More real servers than a ring can share out.
    #[error("VIP {vip} has {count} real servers, over the limit of {MAX_REALS}: split it into several VIPs")]
    TooManyReals {
        /// The VIP.
        vip: VipKey,
        /// How many.
        count: usize,
    },
    /// The outer source is not an address.
    #[error("lb.{field} has {address}, which is {kind}: a packet with that source would never arrive")]
    Source {
        /// The field.
        field: &'static str,
        /// The address.
        address: Ipv4Addr,
        /// What kind of address it is.
        kind: &'static str,
    },
}

impl ConfigError {
    /// The VIP it is about, so that a reader of the manifest can point at its line.
    #[must_use]
    pub const fn vip(&self) -> Option<VipKey> {
        match self {
            Self::Key { .. } | Self::Source { .. } => None,
            Self::NoReals { vip }
            | Self::NoWeight { vip }
            | Self::DuplicateVip { vip, .. }
            | Self::DuplicateReal { vip, .. }
            | Self::RealIsVip { vip, .. }
            | Self::Address { vip, .. }
            | Self::Weight { vip, .. }
            | Self::TooManyReals { vip, .. } => Some(*vip),
        }
    }
}

impl Config {
    /// Checks everything that serde cannot.
    ///
    /// # Errors
    /// All that is wrong, in the order of the file; never an empty list.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let mut errors = Vec::new();
        for (field, address) in
            self.source.iter().map(|a| ("source", a)).chain(self.balancers.iter().map(|a| ("balancers", a)))
        {
            if let Some(kind) = unusable(*address) {
                errors.push(ConfigError::Source { field, address: *address, kind });
            }
        }
        let addresses: BTreeSet<Ipv4Addr> = self.vip.iter().map(|vip| vip.address).collect();
        let mut seen = BTreeMap::new();
        for (second, vip) in self.vip.iter().enumerate() {
            if let Some(first) = seen.insert(vip.key(), second) {
                errors.push(ConfigError::DuplicateVip { vip: vip.key(), first, second });
            }
            vip.validate(&addresses, &mut errors);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The key that the flow hash will use.
    #[must_use]
    pub fn hash_key(&self) -> HashKey {
        self.key.unwrap_or(HashKey::PUBLIC)
    }

    /// Every real server's address, each once.
    #[must_use]
    pub fn reals(&self) -> BTreeSet<Ipv4Addr> {
        self.vip.iter().flat_map(|vip| &vip.reals).map(|real| real.address).collect()
    }

    /// Every VIP's address, each once.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.vip.iter().map(|vip| vip.address).collect()
    }
}

impl Vip {
    fn validate(&self, vips: &BTreeSet<Ipv4Addr>, errors: &mut Vec<ConfigError>) {
        let vip = self.key();
        if let Some(kind) = unusable(self.address) {
            errors.push(ConfigError::Address { vip, address: self.address, role: "a VIP", kind });
        }
        if self.reals.is_empty() {
            errors.push(ConfigError::NoReals { vip });
        } else if self.reals.iter().all(|real| real.weight == 0) {
            errors.push(ConfigError::NoWeight { vip });
        }
        if self.reals.len() > MAX_REALS {
            errors.push(ConfigError::TooManyReals { vip, count: self.reals.len() });
        }
        let mut seen = BTreeSet::new();
        for real in &self.reals {
            if !seen.insert(real.address) {
                errors.push(ConfigError::DuplicateReal { vip, real: real.address });
            }
            if vips.contains(&real.address) {
                errors.push(ConfigError::RealIsVip { vip, real: real.address });
            }
            if let Some(kind) = unusable(real.address) {
                errors.push(ConfigError::Address { vip, address: real.address, role: "a real server", kind });
            }
            if real.weight > MAX_WEIGHT {
                errors.push(ConfigError::Weight { vip, real: real.address, weight: real.weight });
            }
        }
    }
}

/// Why no packet can be sent to, or come from, this address through a tunnel.
fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        a if a.is_unspecified() => Some("the unspecified address"),
        a if a.is_loopback() => Some("a loopback address"),
        a if a.is_multicast() => Some("a multicast address"),
        a if a.is_broadcast() => Some("the broadcast address"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

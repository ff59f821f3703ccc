//! Stage: manifest. The `[lab]` table: a private network to try the deployment in.
//!
//! Input: a section of a document. Output: a [`Lab`]: hosts around one switch, checked for what can be checked without
//! a kernel. Read next: `../lab/mod.rs`, which builds it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::diagnostic::{Diagnostic, Place};
use super::document::{Section, Variables};
use super::trial;
pub use super::trial::{Protocol, Trial};

/// The namespace that holds the bridge; its ports carry the hosts' names.
pub const SWITCH: &str = "switch";

/// A network of namespaces: each host's `eth0` is one end of a veth pair, the other end is a port of one bridge, or is in the host
/// that it stands behind.
#[derive(Debug, Clone, Serialize)]
pub struct Lab {
    /// MTU of the bridge, of its ports, and of each host that names none, in bytes.
    pub mtu: u32,
    /// Driver features of each host's `eth0`, by the kernel's names (`tx-generic-segmentation`), on or off.
    pub features: BTreeMap<String, bool>,
    /// The hosts by name.
    pub hosts: BTreeMap<String, Host>,
    /// What is sent through it once it stands.
    pub trials: Vec<Trial>,
}

impl Lab {
    /// Whether it has cgroups.
    #[must_use]
    pub fn has_cgroups(&self) -> bool {
        self.hosts.values().any(|host| host.cgroup)
    }

    /// The hosts in an order in which they can be made: each after the one that it stands behind.
    pub fn in_order(&self) -> impl Iterator<Item = (&String, &Host)> {
        let (behind, at_switch): (Vec<_>, Vec<_>) = self.hosts.iter().partition(|(_, host)| host.behind.is_some());
        at_switch.into_iter().chain(behind)
    }
}

/// One host of the lab.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Addresses of `eth0`.
    #[serde(default)]
    pub address: Vec<Cidr>,
    /// Further addresses of `lo`: what a real server answers for without announcing it.
    #[serde(default)]
    pub loopback: Vec<Cidr>,
    /// MTU of `eth0`, in bytes; the switch's own when absent.
    pub mtu: Option<u32>,
    /// Routes beside those that the addresses bring.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Kernel settings by their dotted names (`net.ipv4.ip_forward`), set before `eth0` goes up.
    #[serde(default)]
    pub sysctl: BTreeMap<String, Setting>,
    /// Whether it has a cgroup of its own, in which the trials' sockets on it are made.
    #[serde(default)]
    pub cgroup: bool,
    /// The host that forwards for it; at the switch when absent.
    pub behind: Option<Behind>,
    /// Translations of destinations.
    #[serde(default)]
    pub dnat: Vec<Dnat>,
}

/// A route of a host.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where to.
    pub to: Cidr,
    /// The next hop.
    pub via: IpAddr,
}

/// The value of a kernel setting: written as a number or as text.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Where a host stands that is not at the switch: behind another one, which forwards for it, as a container is behind its host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// That other host. Its end of the wire has the name of this one.
    pub host: String,
    /// The address of that end, which is the way to the others.
    pub address: Cidr,
}

/// What arrives for one address and port, or is sent there from the host itself, goes to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dnat {
    /// The transport.
    pub protocol: Protocol,
    /// The destination that packets have.
    pub from: SocketAddr,
    /// The destination that they get.
    pub to: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLab {
    #[serde(default = "default_mtu")]
    mtu: u32,
    #[serde(default)]
    features: BTreeMap<String, bool>,
    host: BTreeMap<Spanned<String>, Spanned<Host>>,
    #[serde(default)]
    trial: Vec<Spanned<Trial>>,
    /// Values of variables with which there is a lab; with others the deployment goes where `loader` runs.
    #[serde(default)]
    when: BTreeMap<Spanned<String>, String>,
}

fn default_mtu() -> u32 {
    1_500
}

/// Reads `[lab]` and checks that it names only hosts it has; nothing where `when` asks for other values of the variables.
pub(super) fn read(section: &Section, variables: &Variables) -> Result<Option<Lab>, Diagnostic> {
    let raw: RawLab = section.read()?;
    for (name, value) in &raw.when {
        let Some(set) = variables.get(name.get_ref()) else {
            let error = section.at(name.span()).error(format!("there is no variable `{}`", name.get_ref()));
            return Err(error.help("give it a default in a table `[vars]`"));
        };
        if set != value {
            return Ok(None);
        }
    }
    let mut hosts = BTreeMap::new();
    for (name, host) in raw.host {
        let place = section.at(name.span());
        check_host_name(name.get_ref(), &place)?;
        hosts.insert(name.into_inner(), host.into_inner());
    }
    if hosts.is_empty() {
        return Err(section.place().error("a lab without hosts").help("add a table `[lab.host.NAME]`"));
    }
    for (name, host) in &hosts {
        check_host(section, name, host, &hosts)?;
    }
    let mut trials = Vec::new();
    for (at, trial) in raw.trial.into_iter().enumerate() {
        let trial = trial.into_inner();
        trial::check(section, at, &trial, &hosts)?;
        trials.push(trial);
    }
    Ok(Some(Lab { mtu: raw.mtu, features: raw.features, hosts, trials }))
}

/// What a host says of others, and of families.
fn check_host(section: &Section, name: &str, host: &Host, hosts: &BTreeMap<String, Host>) -> Result<(), Diagnostic> {
    if let Some(behind) = &host.behind {
        let path = format!("host.{name}.behind.host");
        trial::known(section, &path, &behind.host, hosts)?;
        if behind.host == name || hosts.get(&behind.host).is_some_and(|other| other.behind.is_some()) {
            let error = section.locate(&path).error(format!("`{}` is not at the switch itself", behind.host));
            return Err(error.help("a host stands behind one that is at the switch"));
        }
    }
    if let Some(at) = host.dnat.iter().position(|one| one.from.is_ipv4() != one.to.is_ipv4()) {
        let place = section.locate(&format!("host.{name}.dnat.{at}.to"));
        return Err(place.error(format!("not of the family of {}", host.dnat[at].from)));
    }
    Ok(())
}

/// A host's name is also the name of its port on the switch, so it must be an interface name.
fn check_host_name(name: &str, place: &Place) -> Result<(), Diagnostic> {
    if name == SWITCH {
        return Err(place
            .error(format!("`{SWITCH}` is the bridge's own namespace"))
            .help("call the host something else"));
    }
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 12 || !name.chars().all(fine) {
        return Err(place.error(format!("`{name}` cannot be a host's name")).help("1 to 12 of a-z, 0-9 and `-`"));
    }
    Ok(())
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// Bits of the prefix: up to 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is no address/prefix, such as 10.0.0.1/24");
        let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let prefix: u8 = prefix.parse().map_err(|_| fault())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(format!("a prefix of {prefix} bits, but the address has {most}"));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn addresses_print_as_they_parse(bytes: [u8; 4], prefix in 0..=32_u8) {
            let cidr = Cidr { address: bytes.into(), prefix };
            proptest::prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }
    }

    #[test]
    fn addresses_with_prefixes() {
        for text in ["10.0.0.1/24", "0.0.0.0/0", "fc00::1/128"] {
            assert_eq!(text.parse::<Cidr>().map(|c| c.to_string()), Ok(text.to_owned()), "{text}");
        }
        for text in ["", "10.0.0.1", "10.0.0.1/33", "fc00::1/129", "10.0.0/8", "10.0.0.1/-1", "10.0.0.1/256"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}

//! Stage: lab. Makes the namespaces and the wires between them.
//!
//! Input: a [`Lab`] of the manifest and the deployment's name. Output: [`Hosts`], the namespaces by host, and their cgroups. One
//! bridge in a namespace of its own (`switch`); each host's `eth0` is a veth whose other end carries the host's name, and is a port
//! of the bridge or, as with a container, an interface of the host that it stands behind. Read next: `settings.rs`, then `netns.rs`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use netlink::netfilter;
use netlink::route::{BridgeSpec, Route, Socket, VethPeer, VethSpec};

use super::netns::{self, Netns};
use super::{cgroup, settings};
use crate::manifest::lab::{Behind, Cidr, Dnat, Host, Lab, Protocol, SWITCH};
use crate::plan::netns_name;

/// The bridge's name inside its namespace.
const BRIDGE: &str = "br0";

/// Each host's interface.
pub const IFACE: &str = "eth0";

/// The table of nf_tables that holds a host's translations.
const TABLE: &str = "lab";

/// Why a lab cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A namespace cannot be made, entered or removed.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// A cgroup cannot be made, entered or removed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The kernel refused a link, an address, a route or a translation.
    #[error("lab host {host}: cannot {step}")]
    Net {
        /// The host.
        host: String,
        /// What was tried.
        step: String,
        /// The kernel's words.
        #[source]
        source: Box<netlink::Error>,
    },
    /// A setting or a driver feature was refused.
    #[error("lab host {host}")]
    Setting {
        /// The host.
        host: String,
        /// Which, and why.
        #[source]
        source: settings::Error,
    },
    /// A host was to be wired before the switch was there.
    #[error("the lab has no host {host}")]
    NoHost {
        /// The host.
        host: String,
    },
}

/// The namespaces of a lab, by host; the switch is one of them.
#[derive(Debug, Default)]
pub struct Hosts {
    all: BTreeMap<String, Netns>,
    cgroup: Option<PathBuf>,
}

impl Hosts {
    /// The namespace of a host.
    ///
    /// # Errors
    /// [`Error::NoHost`].
    pub fn get(&self, host: &str) -> Result<&Netns, Error> {
        self.all.get(host).ok_or_else(|| Error::NoHost { host: host.to_owned() })
    }

    /// All of them by name.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, Netns> {
        &self.all
    }

    /// Opens those that stand; what is missing is left out.
    ///
    /// # Errors
    /// When one that is there cannot be opened.
    pub fn open(deployment: &str, hosts: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut all = BTreeMap::new();
        for host in hosts {
            if let Some(netns) = Netns::open(&netns_name(deployment, &host))? {
                all.insert(host, netns);
            }
        }
        Ok(Self { all, cgroup: None })
    }

    /// With the lab's own cgroup, in which those of hosts are, or will be.
    #[must_use]
    pub fn with_cgroup(self, cgroup: Option<PathBuf>) -> Self {
        Self { cgroup, ..self }
    }

    /// The cgroup of a host, or of the whole lab.
    #[must_use]
    pub fn cgroup(&self, host: Option<&str>) -> Option<PathBuf> {
        let lab = self.cgroup.as_ref()?;
        Some(host.map_or_else(|| lab.clone(), |host| lab.join(host)))
    }

    /// Makes the switch: a namespace with a bridge that forwards at once; and the lab's cgroup.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn make_switch(&mut self, deployment: &str, lab: &Lab) -> Result<(), Error> {
        if let Some(cgroup) = self.cgroup.as_ref().filter(|_| lab.has_cgroups()) {
            cgroup::create(cgroup)?;
        }
        let netns = Netns::create(&netns_name(deployment, SWITCH))?;
        let mut net = Net::open(SWITCH, self.keep(SWITCH, netns)?)?;
        let bridge = BridgeSpec { name: BRIDGE, forward_delay: Some(0), ..BridgeSpec::default() };
        let bridge = net.step("make a bridge", |rt| rt.link_create_bridge(bridge))?;
        net.step("set the bridge's MTU", |rt| rt.link_set_mtu(bridge.ifindex, lab.mtu))?;
        net.step("set the bridge up", |rt| rt.link_set_up(bridge.ifindex))
    }

    /// Makes a host: namespace, cgroup, settings, wire, addresses, routes, translations.
    ///
    /// # Errors
    /// What the kernel refuses; the switch must stand already, and the host that it is behind.
    pub fn make_host(&mut self, deployment: &str, lab: &Lab, name: &str) -> Result<(), Error> {
        let host = lab.hosts.get(name).ok_or_else(|| Error::NoHost { host: name.to_owned() })?;
        let netns = Netns::create(&netns_name(deployment, name))?;
        self.keep(name, netns)?;
        let netns = self.get(name)?;
        let setting = |source| Error::Setting { host: name.to_owned(), source };
        let mut net = Net::open(name, netns)?;
        let eth0 = self.wire(&mut net, lab, host, name)?;
        // Before the interface goes up: what a real server must not announce, it must not announce even once.
        netns.run(|| settings::sysctls(&host.sysctl))?.map_err(setting)?;
        netns.run(|| settings::features(IFACE, &lab.features))?.map_err(setting)?;
        if let Some(path) = self.cgroup(Some(name)).filter(|_| host.cgroup) {
            cgroup::create(&path)?;
        }
        net.addresses(eth0, host)?;
        match &host.behind {
            Some(behind) => self.gateway_up(name, behind)?,
            None => self.port_up(name)?,
        }
        net.routes(host)?;
        translate(name, netns, &host.dnat)
    }

    /// From the moment it exists it is one of ours, so that a failure in the next step takes it away too.
    fn keep(&mut self, host: &str, netns: Netns) -> Result<&Netns, Error> {
        self.all.insert(host.to_owned(), netns);
        self.get(host)
    }

    /// The veth pair: `eth0` in the host, the other end under the host's name in the switch, or in the host that it is behind.
    fn wire(&self, net: &mut Net, lab: &Lab, host: &Host, name: &str) -> Result<u32, Error> {
        let other = self.get(far_end(host))?;
        let peer = VethPeer { name, netns_fd: Some(other.as_fd()), mtu: Some(lab.mtu), ..VethPeer::default() };
        let spec = VethSpec { name: IFACE, mtu: Some(host.mtu.unwrap_or(lab.mtu)), peer, ..VethSpec::default() };
        Ok(net.step(&format!("make its wire to {}", far_end(host)), |rt| rt.link_create_veth(spec))?.ifindex)
    }

    /// The other end of the wire becomes a port of the bridge.
    fn port_up(&self, name: &str) -> Result<(), Error> {
        let mut net = Net::open(SWITCH, self.get(SWITCH)?)?;
        let port = net.step(&format!("find port {name}"), |rt| rt.link_by_name(name))?.ifindex;
        let bridge = net.step("find the bridge", |rt| rt.link_by_name(BRIDGE))?.ifindex;
        net.step(&format!("put port {name} into the bridge"), |rt| rt.link_set_master(port, Some(bridge)))?;
        net.step(&format!("set port {name} up"), |rt| rt.link_set_up(port))
    }

    /// The other end of the wire becomes an interface of the host that forwards.
    fn gateway_up(&self, name: &str, behind: &Behind) -> Result<(), Error> {
        let mut net = Net::open(&behind.host, self.get(&behind.host)?)?;
        let link = net.step(&format!("find {name}"), |rt| rt.link_by_name(name))?.ifindex;
        let Cidr { address, prefix } = behind.address;
        net.step(&format!("add address {} to {name}", behind.address), |rt| rt.addr_add(link, address, prefix))?;
        net.step(&format!("set {name} up"), |rt| rt.link_set_up(link))
    }
}

/// Where the other end of a host's wire is.
fn far_end(host: &Host) -> &str {
    host.behind.as_ref().map_or(SWITCH, |behind| &behind.host)
}

/// Has a host's destinations translated, by a table for each family.
fn translate(host: &str, netns: &Netns, all: &[Dnat]) -> Result<(), Error> {
    if all.is_empty() {
        return Ok(());
    }
    let (four, six): (Vec<_>, Vec<_>) = all.iter().map(dnat).partition(|one| one.from.is_ipv4());
    let failed = |source| Error::Net {
        host: host.to_owned(),
        step: "translate destinations (kernel modules nft_chain_nat, nft_nat)".to_owned(),
        source: Box::new(source),
    };
    let mut nf = netns.run(netfilter::Socket::open)?.map_err(failed)?;
    for family in [four, six] {
        nf.change(&netfilter::table_request(TABLE, &family)).map_err(failed)?;
    }
    Ok(())
}

fn dnat(one: &Dnat) -> netfilter::Dnat {
    let protocol = match one.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    netfilter::Dnat { protocol, from: one.from, to: one.to }
}

/// What is missing of a lab that should stand; `None` when nothing is.
///
/// # Errors
/// When a namespace that is there cannot be looked into.
pub fn damage(deployment: &str, lab: &Lab, cgroup: Option<&Path>) -> Result<Option<String>, Error> {
    let names = lab.hosts.keys().cloned().chain([SWITCH.to_owned()]);
    let hosts = Hosts::open(deployment, names.clone())?;
    for name in names {
        let Some(netns) = hosts.all.get(&name) else {
            return Ok(Some(format!("its namespace {} is gone", netns_name(deployment, &name))));
        };
        let mut net = Net::open(&name, netns)?;
        let wires = lab.hosts.iter().filter(|(_, host)| far_end(host) == name).map(|(wire, _)| wire.as_str());
        let wanted: Vec<&str> = wires.chain([if name == SWITCH { BRIDGE } else { IFACE }]).collect();
        let there = net.step("list its links", Socket::links)?;
        for link in wanted {
            if !there.iter().any(|seen| seen.name == link && seen.is_up()) {
                return Ok(Some(format!("{name} has no {link} that is up")));
            }
        }
    }
    let cgroups = lab.hosts.iter().filter(|(_, host)| host.cgroup).filter_map(|(name, _)| Some(cgroup?.join(name)));
    let gone = cgroups.filter(|path| !path.is_dir()).map(|path| format!("its cgroup {} is gone", path.display()));
    Ok(gone.into_iter().next())
}

/// A route socket in one namespace, which names the host in its errors. It stays in that namespace, so that any thread
/// may use it.
struct Net {
    host: String,
    socket: Socket,
}

impl Net {
    fn open(host: &str, netns: &Netns) -> Result<Self, Error> {
        let open = netns.run(Socket::open)?;
        let step =
            |source| Error::Net { host: host.to_owned(), step: "open netlink".to_owned(), source: Box::new(source) };
        Ok(Self { host: host.to_owned(), socket: open.map_err(step)? })
    }

    fn step<T>(&mut self, step: &str, work: impl FnOnce(&mut Socket) -> Result<T, netlink::Error>) -> Result<T, Error> {
        let host = self.host.clone();
        work(&mut self.socket).map_err(|source| Error::Net { host, step: step.to_owned(), source: Box::new(source) })
    }

    fn addresses(&mut self, eth0: u32, host: &Host) -> Result<(), Error> {
        let lo = self.step("find lo", |rt| rt.link_by_name("lo"))?.ifindex;
        self.step("set lo up", |rt| rt.link_set_up(lo))?;
        let add = |net: &mut Self, link, cidr: &Cidr| {
            net.step(&format!("add address {cidr}"), |rt| rt.addr_add(link, cidr.address, cidr.prefix))
        };
        host.loopback.iter().try_for_each(|cidr| add(self, lo, cidr))?;
        host.address.iter().try_for_each(|cidr| add(self, eth0, cidr))?;
        self.step("set eth0 up", |rt| rt.link_set_up(eth0))
    }

    fn routes(&mut self, host: &Host) -> Result<(), Error> {
        for route in &host.route {
            let message = Route::new(route.to.address, route.to.prefix).via(route.via);
            self.step(&format!("add a route to {} via {}", route.to, route.via), |rt| rt.route_add(&message))?;
        }
        Ok(())
    }
}

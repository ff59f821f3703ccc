//! Stage: the tables of link attributes (`linux/if_link.h`). Input and output: see `wire/table.rs`. Next: `xdp.rs`.

use std::fmt;

use zerocopy::big_endian;

use super::link::LinkMessage;
use crate::wire::{Bytes, HwAddr, Nest, Payload, Text, Words, Writer, attributes};

attributes! {
    /// Attributes of a link.
    pub enum LinkAttr: "IFLA_" {
        /// Link-layer address.
        Address(HwAddr) = 1 "ADDRESS",
        /// Link-layer broadcast address; of a tunnel its far end.
        Broadcast(HwAddr) = 2 "BROADCAST",
        /// Name, at most 15 bytes.
        IfName(Text) = 3 "IFNAME",
        /// Largest packet, bytes, link-layer header not counted.
        Mtu(u32) = 4 "MTU",
        /// Index of the link below or at the other end.
        Link(u32) = 5 "LINK",
        /// Name of the queueing discipline.
        Qdisc(Text) = 6 "QDISC",
        /// Counters of 32 bits, in the order of `struct rtnl_link_stats`.
        Stats(Bytes) = 7 "STATS",
        /// Index of the bridge or bond it belongs to; 0 for none.
        Master(u32) = 10 "MASTER",
        /// Length of the transmit queue, packets.
        TxQLen(u32) = 13 "TXQLEN",
        /// Memory and interrupt of ISA devices.
        Map(Bytes) = 14 "MAP",
        /// State after RFC 2863.
        OperState(u8) = 16 "OPERSTATE",
        /// 1 for dormant links.
        LinkMode(u8) = 17 "LINKMODE",
        /// Kind of link, and what belongs to the kind.
        LinkInfo(Nest<InfoAttr>) = 18 "LINKINFO",
        /// Network namespace to move to, by process.
        NetNsPid(u32) = 19 "NET_NS_PID",
        /// A text for people.
        IfAlias(Text) = 20 "IFALIAS",
        /// Counters, in the order of `struct rtnl_link_stats64`.
        Stats64(Words) = 23 "STATS64",
        /// Settings of the IPv4 and IPv6 layers.
        AfSpec(Bytes) = 26 "AF_SPEC",
        /// Group of links.
        Group(u32) = 27 "GROUP",
        /// Network namespace to move to, by descriptor.
        NetNsFd(i32) = 28 "NET_NS_FD",
        /// What else a dump should hold (`RTEXT_FILTER_*`).
        ExtMask(u32) = 29 "EXT_MASK",
        /// How many want it promiscuous.
        Promiscuity(u32) = 30 "PROMISCUITY",
        /// Transmit queues.
        NumTxQueues(u32) = 31 "NUM_TX_QUEUES",
        /// Receive queues.
        NumRxQueues(u32) = 32 "NUM_RX_QUEUES",
        /// 1 with carrier.
        Carrier(u8) = 33 "CARRIER",
        /// How often the carrier came or went.
        CarrierChanges(u32) = 35 "CARRIER_CHANGES",
        /// Id of the network namespace that [`LinkAttr::Link`] is in.
        LinkNetNsId(i32) = 37 "LINK_NETNSID",
        /// 1 when user space holds it down.
        ProtoDown(u8) = 39 "PROTO_DOWN",
        /// Segments of the largest packet left to the device to cut.
        GsoMaxSegs(u32) = 40 "GSO_MAX_SEGS",
        /// Bytes of the largest packet left to the device to cut.
        GsoMaxSize(u32) = 41 "GSO_MAX_SIZE",
        /// XDP.
        Xdp(Nest<XdpAttr>) = 43 "XDP",
        /// Id it got where it moved to.
        NewNetNsId(i32) = 45 "NEW_NETNSID",
        /// Id of the namespace that the request is about.
        TargetNetNsId(i32) = 46 "TARGET_NETNSID",
        /// How often the carrier came.
        CarrierUpCount(u32) = 47 "CARRIER_UP_COUNT",
        /// How often the carrier went.
        CarrierDownCount(u32) = 48 "CARRIER_DOWN_COUNT",
        /// Index it got where it moved to; in a request the index it should get there (Linux 5.13 for moves).
        NewIfIndex(u32) = 49 "NEW_IFINDEX",
        /// Least MTU of the driver; 0 for none.
        MinMtu(u32) = 50 "MIN_MTU",
        /// Greatest MTU of the driver; 0 for none.
        MaxMtu(u32) = 51 "MAX_MTU",
        /// Further names.
        PropList(Nest<PropAttr>) = 52 "PROP_LIST",
        /// A further name; in a request the link that is meant.
        AltIfName(Text) = 53 "ALT_IFNAME",
        /// The address burnt in.
        PermAddress(HwAddr) = 54 "PERM_ADDRESS",
        /// Device below, such as a PCI address.
        ParentDevName(Text) = 56 "PARENT_DEV_NAME",
        /// Bus of that device.
        ParentDevBusName(Text) = 57 "PARENT_DEV_BUS_NAME",
        /// Bytes of the largest packet put together on receipt (Linux 5.17).
        GroMaxSize(u32) = 58 "GRO_MAX_SIZE",
        /// The device's limit for TCP, bytes (Linux 5.19).
        TsoMaxSize(u32) = 59 "TSO_MAX_SIZE",
        /// The device's limit for TCP, segments (Linux 5.19).
        TsoMaxSegs(u32) = 60 "TSO_MAX_SEGS",
        /// How many want all multicast (Linux 6.0).
        AllMulti(u32) = 61 "ALLMULTI",
        /// The port of a switch that it stands for (Linux 6.2).
        DevlinkPort(Bytes) = 62 "DEVLINK_PORT",
        /// Bytes of the largest IPv4 packet left to the device to cut (Linux 6.3).
        GsoIpv4MaxSize(u32) = 63 "GSO_IPV4_MAX_SIZE",
        /// Bytes of the largest IPv4 packet put together on receipt (Linux 6.3).
        GroIpv4MaxSize(u32) = 64 "GRO_IPV4_MAX_SIZE",
        /// The pin of a phase-locked loop that drives it (Linux 6.7).
        DpllPin(Bytes) = 65 "DPLL_PIN",
        /// How far ahead it can pace packets (Linux 6.13).
        MaxPacingOffloadHorizon(u32) = 66 "MAX_PACING_OFFLOAD_HORIZON",
        /// 1 when it cannot leave its network namespace (Linux 6.15).
        NetNsImmutable(u8) = 67 "NETNS_IMMUTABLE",
        /// Bytes kept free before each packet (Linux 6.18).
        Headroom(u16) = 68 "HEADROOM",
        /// Bytes kept free after each packet (Linux 6.18).
        Tailroom(u16) = 69 "TAILROOM",
    }
}

attributes! {
    /// Attributes of [`LinkAttr::PropList`].
    pub enum PropAttr: "IFLA_" {
        /// A further name.
        AltIfName(Text) = 53 "ALT_IFNAME",
    }
}

attributes! {
    /// Attributes of [`LinkAttr::Xdp`].
    pub enum XdpAttr: "IFLA_XDP_" {
        /// Program to attach, -1 to detach.
        Fd(i32) = 1 "FD",
        /// Where programs are attached: 0 nowhere, 1 native, 2 generic, 3 offload, 4 in several modes.
        Attached(u8) = 2 "ATTACHED",
        /// Mode and what may be replaced (`XDP_FLAGS_*`).
        Flags(u32) = 3 "FLAGS",
        /// Id of the program, when there is one.
        ProgId(u32) = 4 "PROG_ID",
        /// Id of the program in native mode.
        DrvProgId(u32) = 5 "DRV_PROG_ID",
        /// Id of the program in generic mode.
        SkbProgId(u32) = 6 "SKB_PROG_ID",
        /// Id of the program in the device.
        HwProgId(u32) = 7 "HW_PROG_ID",
        /// Program that must be attached now, -1 for none (Linux 5.7).
        ExpectedFd(i32) = 8 "EXPECTED_FD",
    }
}

attributes! {
    /// Attributes of [`LinkAttr::LinkInfo`].
    pub enum InfoAttr: "IFLA_INFO_" refined by refine_info {
        /// Kind of link: `veth`, `bridge`, `dummy`; real devices have none.
        Kind(Text) = 1 "KIND",
        /// What belongs to the kind.
        Data(InfoData) = 2 "DATA",
        /// Counters of the kind.
        XStats(Bytes) = 3 "XSTATS",
        /// Kind of link it belongs to.
        SlaveKind(Text) = 4 "SLAVE_KIND",
        /// What belongs to that membership.
        SlaveData(Bytes) = 5 "SLAVE_DATA",
    }
}

/// Value of [`InfoAttr::Data`], whose table depends on the kind of link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InfoData {
    /// Of a `veth`, only in requests.
    Veth(Nest<VethAttr>),
    /// Of a `bridge`.
    Bridge(Nest<BridgeAttr>),
    /// Of a `vlan`.
    Vlan(Nest<VlanAttr>),
    /// Of another kind, kept as it came, with the attribute's flags.
    Other(u16, Bytes),
}

/// Longest [`InfoAttr::Data`] that is taken apart. A veth's holds a link's attributes, which may hold such data again: so
/// made-up bytes could nest without end.
const MAX_INFO_DATA: usize = 4096;

/// Gives the data the type that the kind asks for.
fn refine_info(list: &mut [InfoAttr]) {
    let kind = list.iter().find_map(|attr| match attr {
        InfoAttr::Kind(kind) => Some(kind.as_str().into_owned()),
        _ => None,
    });
    for attr in list {
        if let InfoAttr::Data(data) = attr
            && let InfoData::Other(flags, bytes) = &*data
            && bytes.0.len() <= MAX_INFO_DATA
        {
            let refined = match kind.as_deref() {
                Some("veth") => Nest::read(&bytes.0, *flags).map(InfoData::Veth),
                Some("bridge") => Nest::read(&bytes.0, *flags).map(InfoData::Bridge),
                Some("vlan") => Nest::read(&bytes.0, *flags).map(InfoData::Vlan),
                _ => None,
            };
            *data = refined.unwrap_or_else(|| data.clone());
        }
    }
}

impl Payload for InfoData {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        Some(InfoData::Other(flags, Bytes(bytes.to_vec())))
    }

    fn write(&self, out: &mut Writer) {
        match self {
            InfoData::Veth(nest) => nest.write(out),
            InfoData::Bridge(nest) => nest.write(out),
            InfoData::Vlan(nest) => nest.write(out),
            InfoData::Other(_, bytes) => bytes.write(out),
        }
    }

    fn flags(&self) -> u16 {
        match self {
            InfoData::Veth(nest) => nest.flags(),
            InfoData::Bridge(nest) => nest.flags(),
            InfoData::Vlan(nest) => nest.flags(),
            InfoData::Other(flags, _) => *flags,
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InfoData::Veth(nest) => nest.print(f),
            InfoData::Bridge(nest) => nest.print(f),
            InfoData::Vlan(nest) => nest.print(f),
            InfoData::Other(_, bytes) => bytes.print(f),
        }
    }

    fn locate(&self, at: usize) -> Option<String> {
        match self {
            InfoData::Veth(nest) => nest.locate(at),
            InfoData::Bridge(nest) => nest.locate(at),
            InfoData::Vlan(nest) => nest.locate(at),
            InfoData::Other(..) => None,
        }
    }
}

attributes! {
    /// Attributes of a `veth`.
    pub enum VethAttr: "VETH_INFO_" {
        /// The other end: a link message of its own.
        Peer(LinkMessage) = 1 "PEER",
    }
}

attributes! {
    /// Attributes of a `bridge`; times are in hundredths of a second.
    pub enum BridgeAttr: "IFLA_BR_" {
        /// How long a port listens and learns before it forwards.
        ForwardDelay(u32) = 1 "FORWARD_DELAY",
        /// Between hellos.
        HelloTime(u32) = 2 "HELLO_TIME",
        /// Until the root counts as gone.
        MaxAge(u32) = 3 "MAX_AGE",
        /// Until a learnt address is forgotten.
        AgeingTime(u32) = 4 "AGEING_TIME",
        /// 1 with the spanning tree protocol.
        StpState(u32) = 5 "STP_STATE",
        /// Priority as root.
        Priority(u16) = 6 "PRIORITY",
        /// 1 when VLANs are kept apart.
        VlanFiltering(u8) = 7 "VLAN_FILTERING",
        /// Ethertype of VLAN tags.
        VlanProtocol(big_endian::U16) = 8 "VLAN_PROTOCOL",
        /// 1 when multicast goes only where it is wanted.
        McastSnooping(u8) = 23 "MCAST_SNOOPING",
        /// VLAN of what comes without a tag; 0 for none.
        VlanDefaultPvid(u16) = 39 "VLAN_DEFAULT_PVID",
    }
}

attributes! {
    /// Attributes of a `vlan`.
    pub enum VlanAttr: "IFLA_VLAN_" {
        /// VLAN id, 0 to 4095.
        Id(u16) = 1 "ID",
        /// Ethertype of the tag.
        Protocol(big_endian::U16) = 5 "PROTOCOL",
    }
}

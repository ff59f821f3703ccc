//! Stage: properties of the wire format, for any input: what is read is written again byte for byte, what is written is read
//! again, no bytes make it panic, and an offset in a request always finds the attribute there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use netlink::Mac;
use netlink::generic::ctrl::{CtrlAttr, Family, GroupAttr, OpAttr};
use netlink::generic::ethtool::{ChannelsAttr, FeaturesAttr, HeaderAttr, RingsAttr};
use netlink::generic::netdev::NetDevAttr;
use netlink::generic::{BitAttr, BitsAttr, BitsetAttr, GenericHeader};
use netlink::netfilter::{
    self, ChainAttr, CmpAttr, DataAttr, Dnat, ExprAttr, HookAttr, ImmediateAttr, ListAttr, MetaAttr, NatAttr,
    NetfilterHeader, PayloadAttr, TableAttr, table_request,
};
use netlink::route::{
    Addr, AddrAttr, AddrHeader, AddrMessage, BpfAttr, BpfFilter, BridgeAttr, BridgeSpec, InfoAttr, Link, LinkAttr,
    LinkHeader, LinkMessage, MetricAttr, Neigh, NeighAttr, NeighHeader, NeighMessage, NetNsAttr, NetNsHeader, Ports,
    Qdisc, Route, RouteAttr, RouteFlags, RouteHeader, RouteKind, RouteMessage, Rule, RuleAttr, RuleHeader, RuleMessage,
    Scope, TcAttr, TcHeader, TcMessage, VethAttr, VethPeer, VethSpec, VlanAttr, XdpAttr, family,
};
use netlink::wire::{
    Ack, AckAttr, Attribute, Body, FixedHeader, Flags, Header, NESTED, NET_BYTE_ORDER, PolicyAttr, Writer, align,
    attrs, control, locate, messages, read_attrs,
};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// Attributes of any shape: kinds that tables know and others, with and without flags, nested three deep.
#[derive(Debug, Clone)]
enum Shape {
    Value(u16, u16, Vec<u8>),
    Nest(u16, u16, Vec<Shape>),
}

impl Shape {
    fn write(&self, out: &mut Writer) {
        match self {
            Shape::Value(kind, flags, value) => out.attr(*kind, *flags, |out| out.bytes(value)),
            Shape::Nest(kind, flags, inner) => {
                out.attr(*kind, *flags, |out| inner.iter().for_each(|shape| shape.write(out)));
            }
        }
    }

    fn all(shapes: &[Shape]) -> Vec<u8> {
        let mut out = Writer::new();
        shapes.iter().for_each(|shape| shape.write(&mut out));
        out.finish().unwrap()
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let flags = || prop_oneof![4 => Just(0), 2 => Just(NESTED), 1 => Just(NET_BYTE_ORDER)];
    let kind = || prop_oneof![9 => 0u16..72, 1 => 0u16..0x3fff];
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(any::<u8>(), 4),
        vec(any::<u8>(), 8),
        prop::sample::select(
            &["veth", "bridge", "vlan", "bpf", "clsact", "meta", "payload", "cmp", "immediate", "nat"][..]
        )
        .prop_map(|word| [word.as_bytes(), b"\0"].concat()),
    ];
    let leaf = (kind(), flags(), value).prop_map(|(kind, flags, value)| Shape::Value(kind, flags, value));
    let tree = leaf.prop_recursive(3, 24, 6, move |inner| {
        (kind(), flags(), vec(inner, 0..6)).prop_map(|(kind, flags, inner)| Shape::Nest(kind, flags, inner))
    });
    vec(tree, 0..8)
}

/// Reads with one table, prints, writes, and reads again.
fn keeps<A: Attribute + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let list: Vec<A> = read_attrs(bytes).unwrap();
    let mut out = Writer::new();
    list.iter().for_each(|attr| attr.write(&mut out));
    let text: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(out.finish().unwrap(), bytes, "{text:?}");
}

/// Reads any bytes with one table; whatever comes out prints.
fn survives<A: Attribute>(bytes: &[u8]) {
    let list: Vec<A> = read_attrs(bytes).unwrap_or_default();
    let _ = list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let _ = (0..bytes.len()).filter_map(|at| locate(&list, at)).count();
}

/// Does something with each table there is.
macro_rules! each_table {
    ($function:ident($bytes:expr)) => {
        $function::<AckAttr>($bytes);
        $function::<PolicyAttr>($bytes);
        $function::<LinkAttr>($bytes);
        $function::<InfoAttr>($bytes);
        $function::<XdpAttr>($bytes);
        $function::<VethAttr>($bytes);
        $function::<BridgeAttr>($bytes);
        $function::<VlanAttr>($bytes);
        $function::<AddrAttr>($bytes);
        $function::<RouteAttr>($bytes);
        $function::<MetricAttr>($bytes);
        $function::<RuleAttr>($bytes);
        $function::<NeighAttr>($bytes);
        $function::<TcAttr>($bytes);
        $function::<BpfAttr>($bytes);
        $function::<NetNsAttr>($bytes);
        $function::<CtrlAttr>($bytes);
        $function::<OpAttr>($bytes);
        $function::<GroupAttr>($bytes);
        $function::<HeaderAttr>($bytes);
        $function::<FeaturesAttr>($bytes);
        $function::<BitsetAttr>($bytes);
        $function::<BitsAttr>($bytes);
        $function::<BitAttr>($bytes);
        $function::<RingsAttr>($bytes);
        $function::<ChannelsAttr>($bytes);
        $function::<NetDevAttr>($bytes);
        $function::<TableAttr>($bytes);
        $function::<ChainAttr>($bytes);
        $function::<HookAttr>($bytes);
        $function::<netfilter::RuleAttr>($bytes);
        $function::<ListAttr>($bytes);
        $function::<ExprAttr>($bytes);
        $function::<MetaAttr>($bytes);
        $function::<PayloadAttr>($bytes);
        $function::<CmpAttr>($bytes);
        $function::<ImmediateAttr>($bytes);
        $function::<NatAttr>($bytes);
        $function::<DataAttr>($bytes);
    };
}

/// Reads any bytes as each kind of message and makes of it what callers get.
fn survives_as_message(bytes: &[u8]) {
    let _ = LinkMessage::decode(bytes).ok().map(Link::from_message).map(|link| format!("{link:?}"));
    let _ = AddrMessage::decode(bytes).ok().and_then(Addr::from_message).map(|addr| format!("{addr:?}"));
    let _ = RouteMessage::decode(bytes).map(|message| Route::from_message(&message).to_string());
    let _ = RuleMessage::decode(bytes).map(|message| Rule::from_message(&message).to_string());
    let _ = NeighMessage::decode(bytes).ok().and_then(Neigh::from_message).map(|neigh| format!("{neigh:?}"));
    let _ = TcMessage::decode(bytes).ok().map(Qdisc::from_message).map(|qdisc| format!("{qdisc:?}"));
    let _ = TcMessage::decode(bytes).ok().and_then(BpfFilter::from_message).map(|filter| format!("{filter:?}"));
    let _ = Body::<NetNsHeader, NetNsAttr>::decode(bytes).map(|message| message.to_string());
    let _ = Body::<GenericHeader, CtrlAttr>::decode(bytes).map(|message| Family::from_message(&message).is_ok());
}

fn header(kind: u16, flags: u16, len: usize) -> Header {
    Header { len: u32::try_from(Header::LEN + len).unwrap(), kind, flags, seq: 1, port: 2 }
}

fn ip_of(family: u8) -> BoxedStrategy<IpAddr> {
    match family {
        family::INET => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        _ => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

fn family() -> impl Strategy<Value = u8> {
    prop_oneof![Just(family::INET), Just(family::INET6)]
}

fn route() -> impl Strategy<Value = Route> {
    family().prop_flat_map(|family| {
        let ip = || prop::option::of(ip_of(family));
        let number = || prop::option::of(any::<u32>());
        (ip(), any::<u8>(), ip(), ip(), number(), number(), number(), any::<u32>(), any::<[u8; 3]>(), any::<u32>())
            .prop_map(move |(dst, len, gateway, src, oif, priority, mtu, table, [kind, scope, protocol], flags)| {
                let mut route = Route::default_of(family).kind(RouteKind(kind)).table(table);
                (route.dst, route.gateway, route.src) = (dst.map(|ip| (ip, len)), gateway, src);
                (route.oif, route.priority, route.mtu) = (oif, priority, mtu);
                (route.scope, route.protocol) = (Some(Scope(scope)), protocol);
                route.flags = RouteFlags::from_bits_retain(flags);
                route
            })
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    family().prop_flat_map(|family| {
        let prefix = || prop::option::of((ip_of(family), any::<u8>()));
        let name = || prop::option::of("[a-z][a-z0-9.]{0,14}");
        let ports = || prop::option::of(any::<(u16, u16)>().prop_map(|(first, last)| Ports { first, last }));
        let numbers =
            (prop::option::of(any::<(u32, u32)>()), prop::option::of(any::<u8>()), any::<u32>(), any::<u32>());
        (prefix(), prefix(), name(), name(), ports(), ports(), numbers).prop_map(
            move |(src, dst, iif, oif, sports, dports, (mark, ip_proto, priority, table))| {
                let mut rule = Rule::new(family, table).priority(priority);
                (rule.src, rule.dst, rule.iif, rule.oif) = (src, dst, iif, oif);
                (rule.sports, rule.dports, rule.mark, rule.ip_proto) = (sports, dports, mark, ip_proto);
                rule
            },
        )
    })
}

proptest! {
    #[test]
    fn every_table_keeps_every_byte(shapes in shapes()) {
        let bytes = Shape::all(&shapes);
        each_table!(keeps(&bytes));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..160)) {
        each_table!(survives(&bytes));
        survives_as_message(&bytes);
        let _ = messages(&bytes).count();
        let _ = Ack::decode(&header(control::ERROR, 0x300, bytes.len()), &bytes).map(|ack| ack.to_string());
        let _ = Ack::decode(&header(control::DONE, 0x200, bytes.len()), &bytes).map(|ack| ack.to_string());
    }

    #[test]
    fn near_misses_are_survived(shapes in shapes(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = [vec![0; 20], Shape::all(&shapes)].concat();
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        bytes.truncate(cut.index(bytes.len() + 1));
        survives_as_message(&bytes);
        each_table!(survives(bytes.get(20..).unwrap_or_default()));
    }

    #[test]
    fn attributes_are_padded_and_walked(values in vec((0u16..0x3fff, vec(any::<u8>(), 0..30)), 0..10)) {
        let mut out = Writer::new();
        for (kind, value) in &values {
            out.attr(*kind, 0, |out| out.bytes(value));
            prop_assert_eq!(out.len() % 4, 0);
        }
        let bytes = out.finish().unwrap();
        prop_assert_eq!(bytes.len(), values.iter().map(|(_, value)| 4 + align(value.len())).sum::<usize>());
        let walked: Vec<_> = attrs(&bytes).map(|attr| attr.map(|attr| (attr.kind, attr.payload.to_vec()))).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&walked, &values);
        // Without the padding after the last one, too.
        let pad = values.last().map_or(0, |(_, value)| align(value.len()) - value.len());
        prop_assert_eq!(attrs(&bytes[..bytes.len() - pad]).filter(Result::is_ok).count(), values.len());
    }

    #[test]
    fn a_cut_attribute_is_an_error(value in vec(any::<u8>(), 1..30), cut in 1usize..4) {
        let mut out = Writer::new();
        out.attr(1, 0, |out| out.bytes(&value));
        let bytes = out.finish().unwrap();
        let cut = 4 + value.len() - cut.min(value.len());
        prop_assert!(attrs(&bytes[..cut]).any(|attr| attr.is_err()));
    }

    #[test]
    fn messages_are_padded_and_walked(all in vec((16u16..200, vec(any::<u8>(), 0..30)), 0..6)) {
        let mut datagram = Vec::new();
        for (kind, payload) in &all {
            datagram.extend_from_slice(header(*kind, 0, payload.len()).as_bytes());
            datagram.extend_from_slice(payload);
            datagram.resize(align(datagram.len()), 0);
        }
        let walked: Vec<_> = messages(&datagram).map(|message| message.map(|message| (message.header.kind, message.payload.to_vec()))).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(walked, all);
    }

    #[test]
    fn routes_survive_the_wire(route in route()) {
        let bytes = route.message().encode().unwrap();
        prop_assert_eq!(Route::from_message(&RouteMessage::decode(&bytes).unwrap()), route);
    }

    #[test]
    fn rules_survive_the_wire(rule in rule()) {
        let bytes = rule.message().encode().unwrap();
        prop_assert_eq!(Rule::from_message(&RuleMessage::decode(&bytes).unwrap()), rule);
    }

    #[test]
    fn ethernet_addresses_survive_text(bytes: [u8; 6], junk in "\\PC{0,20}") {
        let mac = Mac(bytes);
        prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        let _ = junk.parse::<Mac>().map_err(|error| error.to_string());
    }

    #[test]
    fn names_of_any_length_are_sent_or_refused(name in "\\PC{0,40}", long in any::<bool>()) {
        let name = if long { name.repeat(4000) } else { name };
        let request = VethSpec { name: &name, ..VethSpec::default() }.request();
        match request.encode(Flags::REQUEST, 1, 0) {
            Ok(bytes) => {
                let message = messages(&bytes).next().unwrap().unwrap();
                prop_assert_eq!(LinkMessage::decode(message.payload).unwrap(), request.body);
            }
            Err(error) => prop_assert!(name.len() > 65_000, "{error}"),
        }
    }
}

/// Each attribute of a request, found by walking its bytes, with the path that its offset gives.
fn paths(request_len: usize, bytes: &[u8], find: impl Fn(usize) -> Option<String>) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    for at in (request_len..bytes.len()).step_by(4) {
        if let Some(path) = find(at) {
            let kind = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) & 0x3fff;
            found.push((kind, path));
        }
    }
    found
}

#[test]
fn an_offset_finds_the_attribute() {
    let spec = VethSpec {
        name: "a",
        peer: VethPeer { name: "b", mtu: Some(9), ..VethPeer::default() },
        ..VethSpec::default()
    };
    let request = spec.request();
    let bytes = request.encode(Flags::REQUEST, 1, 0).unwrap();
    let want = [
        (3, "IFLA_IFNAME"),
        (18, "IFLA_LINKINFO"),
        (1, "IFLA_LINKINFO/IFLA_INFO_KIND"),
        (2, "IFLA_LINKINFO/IFLA_INFO_DATA"),
        (1, "IFLA_LINKINFO/IFLA_INFO_DATA/VETH_INFO_PEER"),
        (3, "IFLA_LINKINFO/IFLA_INFO_DATA/VETH_INFO_PEER/IFLA_IFNAME"),
        (4, "IFLA_LINKINFO/IFLA_INFO_DATA/VETH_INFO_PEER/IFLA_MTU"),
    ];
    let got = paths(Header::LEN, &bytes, |at| request.attribute_at(at));
    assert_eq!(got, want.map(|(kind, path)| (kind, path.to_owned())));
    assert_eq!(request.attribute_at(0), None);
    assert_eq!(request.attribute_at(usize::MAX), None);
}

#[test]
fn requests_print_as_text() {
    let bridge = BridgeSpec { name: "br0", mac: Some(Mac([2, 0, 0, 0, 0, 9])), forward_delay: Some(200) };
    let route = Route::new([10, 0, 0, 0].into(), 8).via([10, 1, 0, 1].into()).dev(3);
    let rule = Rule::new(family::INET, 100).mark(1, 0xff).priority(7).iif("lo");
    let cases = [
        (
            bridge.request().to_string(),
            "RTM_NEWLINK create excl ifindex 0 { ifname br0, address 02:00:00:00:00:09, \
             linkinfo { kind bridge, data { forward_delay 200 } } }",
        ),
        (
            route.add_request().to_string(),
            "RTM_NEWROUTE create excl inet unicast /8 table 254 protocol 4 scope global \
             { table 254, dst 10.0.0.0, gateway 10.1.0.1, oif 3 }",
        ),
        (route.to_string(), "unicast 10.0.0.0/8 via 10.1.0.1 dev 3 table 254"),
        (
            rule.add_request().to_string(),
            "RTM_NEWRULE create excl inet from /0 to /0 lookup table 100 \
             { table 100, priority 7, iifname lo, fwmark 1, fwmask 255 }",
        ),
        (rule.to_string(), "inet priority 7 iif lo mark 0x1/0xff lookup 100"),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}

#[test]
fn a_translation_prints_as_text() {
    let one = Dnat { protocol: 6, from: "10.9.0.1:80".parse().unwrap(), to: "10.9.0.2:8080".parse().unwrap() };
    let got: Vec<String> = table_request("lab", &[one]).iter().map(ToString::to_string).collect();
    assert_eq!(got.len(), 5);
    let want = [
        "NFT_MSG_NEWTABLE create excl inet { name lab }",
        "NFT_MSG_NEWCHAIN create excl inet { table lab, name prerouting, \
         hook { hooknum 0, priority 4294967196 }, type nat }",
        "NFT_MSG_NEWRULE create append inet { table lab, chain prerouting, expressions { \
         elem { name meta, data { dreg 1, key 16 } }, \
         elem { name cmp, data { sreg 1, op 0, data { value 0x06 } } }, \
         elem { name payload, data { dreg 1, base 1, offset 16, len 4 } }, \
         elem { name cmp, data { sreg 1, op 0, data { value 0x0a090001 } } }, \
         elem { name payload, data { dreg 1, base 2, offset 2, len 2 } }, \
         elem { name cmp, data { sreg 1, op 0, data { value 0x0050 } } }, \
         elem { name immediate, data { dreg 1, data { value 0x0a090002 } } }, \
         elem { name immediate, data { dreg 2, data { value 0x1f90 } } }, \
         elem { name nat, data { type 1, family 2, reg_addr_min 1, reg_proto_min 2 } } } }",
    ];
    assert_eq!(got[..3], want);
}

#[test]
fn what_does_not_fit_its_row_is_kept_and_shown() {
    let mut out = Writer::new();
    out.attr(4, 0, |out| out.bytes(&[1, 2, 3]));
    out.attr(9999, NESTED, |out| out.bytes(&[4]));
    let list: Vec<LinkAttr> = read_attrs(&out.finish().unwrap()).unwrap();
    let text: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["IFLA_MTU? 0x010203", "attribute 9999 0x04"]);
}

#[test]
fn nesting_without_end_does_not_exhaust_the_stack() {
    // A veth's data holds a peer, whose link info holds a veth's data, and so on up to the longest attribute.
    let mut bytes = Vec::new();
    while bytes.len() < 60_000 {
        let mut out = Writer::new();
        let inner = std::mem::take(&mut bytes);
        out.attr(18, NESTED, |out| {
            out.attr(1, 0, |out| out.bytes(b"veth\0"));
            out.attr(2, NESTED, |out| {
                out.attr(1, NESTED, |out| {
                    out.bytes(LinkHeader::of(0).as_bytes());
                    out.bytes(&inner);
                });
            });
        });
        bytes = out.finish().unwrap();
    }
    keeps::<LinkAttr>(&bytes);
}

#[test]
fn fixed_headers_have_the_kernels_sizes() {
    fn size<H: FixedHeader>() -> (&'static str, usize) {
        (H::NAME, size_of::<H>())
    }
    let got = [
        size::<LinkHeader>(),
        size::<AddrHeader>(),
        size::<RouteHeader>(),
        size::<RuleHeader>(),
        size::<NeighHeader>(),
        size::<TcHeader>(),
        size::<GenericHeader>(),
        size::<NetfilterHeader>(),
    ];
    let want = [
        ("ifinfomsg", 16),
        ("ifaddrmsg", 8),
        ("rtmsg", 12),
        ("fib_rule_hdr", 12),
        ("ndmsg", 12),
        ("tcmsg", 20),
        ("genlmsghdr", 4),
        ("nfgenmsg", 4),
    ];
    assert_eq!(got, want);
}

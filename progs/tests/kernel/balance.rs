//! `balance`, packet by packet.

use std::net::Ipv4Addr;

use etherparse::{Icmpv4Type, SlicedPacket, TransportSlice, icmpv4::DestUnreachableHeader};
use netlink::{
    route::{RouteKind, Socket, VethPeer, VethSpec},
    wire::Mac,
};
use progs::lb::{select, too_big, types::VipKey};
use zerocopy::IntoBytes;

use crate::{
    packets::*,
    support::{BALANCER, Balancer, CONFIG, DROP, HOP, PASS, REAL, REDIRECT, TX, VIP, in_netns},
};

/// What a packet becomes.
enum Out {
    /// Itself.
    Same,
    /// Itself, in an outer header to that real server.
    To(u8),
    /// Nothing that matters.
    Gone,
}

struct Case {
    name: &'static str,
    packet: Vec<u8>,
    verdict: u32,
    out: Out,
    counted: &'static str,
}

fn case(name: &'static str, packet: Vec<u8>, verdict: u32, out: Out, counted: &'static str) -> Case {
    Case { name, packet, verdict, out, counted }
}

fn forwarded(name: &'static str, packet: Vec<u8>, real: u8) -> Case {
    let counted = ["10.10.1.2 1", "10.10.1.3 1", "10.10.1.4 1"][usize::from(real) - 2];
    case(name, packet, REDIRECT, Out::To(real), counted)
}

fn passed(name: &'static str, packet: Vec<u8>, counted: &'static str) -> Case {
    case(name, packet, PASS, Out::Same, counted)
}

fn dropped(name: &'static str, packet: Vec<u8>, counted: &'static str) -> Case {
    case(name, packet, DROP, Out::Gone, counted)
}

/// An address that is no VIP.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 7);
/// The address whose VIP takes any TCP port.
const ANY_PORT: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 6);

fn check(cases: Vec<Case>) {
    in_netns(move || {
        let balancer = Balancer::with_hops(CONFIG, 7);
        for case in cases {
            balancer.reset_counters(7);
            let run = balancer.object.run(&case.packet);
            let name = case.name;
            assert_eq!(balancer.counted(), [case.counted], "{name}: counted");
            assert_eq!(run.retval, case.verdict, "{name}: verdict");
            match case.out {
                Out::Same => assert_eq!(run.data_out, case.packet, "{name}: packet out"),
                Out::To(real) => {
                    let real = Ipv4Addr::new(10, 10, 1, real);
                    assert_eq!(run.data_out, encapsulated(&case.packet, &HOP, BALANCER, real), "{name}: packet out");
                }
                Out::Gone => {}
            }
        }
    });
}

#[test]
fn traffic_of_a_vip_is_encapsulated() {
    check(vec![
        forwarded("TCP", tcp(VIP, 80, 0), 2),
        forwarded("TCP with data", tcp(VIP, 80, 1000), 2),
        forwarded("UDP on the same address and port", udp(VIP, 80, 10), 3),
        forwarded("UDP without data", udp(VIP, 80, 0), 3),
        forwarded("a VIP for any port", tcp(ANY_PORT, 1234, 0), 4),
        forwarded("a VIP for any port, port 0", tcp(ANY_PORT, 0, 0), 4),
        forwarded("one word of options", options(tcp(VIP, 80, 20), 4), 2),
        forwarded("the most options there can be", options(udp(VIP, 80, 20), 40), 3),
        forwarded("a SYN padded to 60 bytes", pad(tcp(VIP, 80, 0), 60), 2),
        forwarded("TTL 1", edit(tcp(VIP, 80, 0), |header| header.time_to_live = 1), 2),
        forwarded("DSCP and ECN", tos(tcp(VIP, 80, 0), 0xba), 2),
        forwarded("DF clear", edit(tcp(VIP, 80, 0), |header| header.dont_fragment = false), 2),
        forwarded("a wrong IP checksum is the real server's to refuse", poke(tcp(VIP, 80, 0), IP + 10, &[1, 2]), 2),
        forwarded("the largest that fits the MTU", tcp(VIP, 80, 1500 - 20 - 40), 2),
    ]);
}

#[test]
fn everything_else_is_passed_untouched() {
    let mut arp = vec![0xff; 6];
    arp.extend(*b"\x02\0\0\0\0\x01\x08\x06");
    check(vec![
        passed("ARP", pad(arp, 60), "not-ipv4 1"),
        passed("IPv6", poke(pad(tcp(VIP, 80, 0), 80), 12, &[0x86, 0xdd]), "not-ipv4 1"),
        passed("one VLAN tag", tag(tcp(VIP, 80, 0), [0x81, 0x00]), "vlan 1"),
        passed("two VLAN tags", tag(tag(tcp(VIP, 80, 0), [0x81, 0x00]), [0x88, 0xa8]), "vlan 1"),
        passed("another address", tcp(OTHER, 80, 0), "not-vip 1"),
        passed("another port", tcp(VIP, 81, 0), "not-vip 1"),
        passed("another protocol on the VIP's port", udp(ANY_PORT, 80, 0), "not-vip 1"),
        passed("another address, with options", options(tcp(OTHER, 80, 0), 8), "not-vip 1"),
        passed("echo to the VIP", ping(VIP), "other-protocol 1"),
        passed("echo to another address", ping(OTHER), "other-protocol 1"),
        passed("another protocol, with options", options(ping(VIP), 8), "other-protocol 1"),
        passed("ends within the ports", tcp(VIP, 80, 0)[..37].to_vec(), "short 1"),
        passed("14 bytes", tcp(VIP, 80, 0)[..14].to_vec(), "short 1"),
        passed("ends within the options", options(tcp(VIP, 80, 0), 40)[..14 + 60 + 3].to_vec(), "short 1"),
        passed("IP version 6 in an IPv4 frame", poke(tcp(VIP, 80, 0), IP, &[0x65]), "malformed 1"),
        passed("four words of IP header", poke(tcp(VIP, 80, 0), IP, &[0x44]), "malformed 1"),
        passed("no words of IP header", poke(tcp(VIP, 80, 0), IP, &[0x40]), "malformed 1"),
        passed("first fragment for others", fragment(udp(OTHER, 80, 64), 0, true), "not-vip 1"),
        passed("later fragment for others", fragment(udp(OTHER, 80, 64), 8, true), "not-vip 1"),
        passed("last fragment for others", fragment(udp(OTHER, 80, 64), 16, false), "not-vip 1"),
        passed("fragment for others, with options", options(fragment(udp(OTHER, 80, 64), 8, true), 4), "not-vip 1"),
        passed("fragment of a protocol without VIPs here", fragment(udp(ANY_PORT, 80, 64), 8, true), "not-vip 1"),
        passed("fragment of an echo to the VIP", fragment(ping(VIP), 8, false), "other-protocol 1"),
        passed("total length lies, but not to a VIP", poke(tcp(OTHER, 80, 0), IP + 2, &[0xff, 0xff]), "not-vip 1"),
    ]);
}

#[test]
fn what_cannot_be_forwarded_is_dropped_and_counted() {
    let no_df = edit(tcp(VIP, 80, 1500 - 20 - 40 + 1), |header| header.dont_fragment = false);
    check(vec![
        dropped("first fragment", fragment(udp(VIP, 80, 64), 0, true), "fragment 1"),
        dropped("later fragment", fragment(udp(VIP, 80, 64), 8, true), "fragment 1"),
        dropped("last fragment", fragment(udp(VIP, 80, 64), 16, false), "fragment 1"),
        dropped("fragment with options", options(fragment(tcp(VIP, 80, 64), 8, true), 4), "fragment 1"),
        dropped("total length one too long", poke(tcp(VIP, 80, 0), IP + 2, &[0, 41]), "vip bad-length 1"),
        dropped("total length as long as it gets", poke(tcp(VIP, 80, 0), IP + 2, &[0xff, 0xff]), "vip bad-length 1"),
        dropped(
            "total length wraps with the outer header",
            poke(tcp(VIP, 80, 0), IP + 2, &[0xff, 0xf0]),
            "vip bad-length 1",
        ),
        dropped("total length ends in the ports", poke(tcp(VIP, 80, 0), IP + 2, &[0, 22]), "vip bad-length 1"),
        dropped("total length zero", poke(tcp(VIP, 80, 0), IP + 2, &[0, 0]), "vip bad-length 1"),
        dropped(
            "total length less than its options",
            poke(options(tcp(VIP, 80, 0), 40), IP + 2, &[0, 66]),
            "vip bad-length 1",
        ),
        dropped("too big, DF clear", no_df, "vip too-big 1"),
        dropped("small, with a long trailer", edit_trailer(), "vip too-big 1"),
    ]);
}

/// A small packet without DF in a frame that would not fit.
fn edit_trailer() -> Vec<u8> {
    pad(edit(tcp(VIP, 80, 0), |header| header.dont_fragment = false), 1514)
}

#[test]
fn icmp_errors_follow_the_flow_they_are_about() {
    let (mine, others) = (reply(&tcp(VIP, 80, 0)), reply(&tcp(OTHER, 80, 0)));
    check(vec![
        forwarded("fragmentation needed", icmp_error(3, VIP, &mine), 2),
        forwarded("time exceeded, UDP", icmp_error(11, VIP, &reply(&udp(VIP, 80, 0))), 3),
        forwarded("about a VIP for any port", icmp_error(3, ANY_PORT, &reply(&tcp(ANY_PORT, 99, 0))), 4),
        passed("quotes what is not a VIP's", icmp_error(3, OTHER, &others), "not-vip 1"),
        passed("quotes somebody else's packet", icmp_error(3, OTHER, &mine), "not-vip 1"),
        passed("redirect", icmp_error(5, VIP, &mine), "other-protocol 1"),
        passed("quotes a later fragment", icmp_error(3, VIP, &fragment(mine.clone(), 8, true)), "other-protocol 1"),
        passed("ends within the quote", icmp_error(3, VIP, &mine)[..14 + 20 + 8 + 27].to_vec(), "other-protocol 1"),
    ]);
}

#[test]
fn an_icmp_error_reaches_the_server_of_its_flow() {
    in_netns(|| {
        let balancer = Balancer::with_hops(FIVE, 7);
        for port in 1000..1050 {
            let request = tcp_from(port, VIP, 80, 0);
            let there = balancer.object.run(&request).data_out[30..34].to_vec();
            let error = balancer.object.run(&icmp_error(3, VIP, &reply(&request))).data_out[30..34].to_vec();
            assert_eq!(error, there, "client port {port}");
        }
    });
}

/// Five real servers of different weights.
const FIVE: &str = r#"
    key = "00112233445566778899aabbccddeeff"
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [
        { address = "10.10.1.2", weight = 1 }, { address = "10.10.1.3", weight = 2 }, { address = "10.10.1.4", weight = 3 },
        { address = "10.10.1.5", weight = 4 }, { address = "10.10.1.6", weight = 5 },
    ]
"#;

#[test]
fn kernel_and_control_plane_choose_alike() {
    in_netns(|| {
        let balancer = Balancer::with_hops(FIVE, 7);
        let ring = &balancer.tables.rings[&0];
        let vip = VipKey::service(VIP, 80, 6);
        for port in 1..500 {
            let run = balancer.object.run(&tcp_from(port, VIP, 80, 0));
            let key = vip.as_bytes().try_into().expect("eight bytes");
            let slot = select::slot(balancer.tables.config.key, select::tuple(CLIENT, port, 80), key);
            let real = balancer.tables.backends[&ring[slot]].addr;
            assert_eq!(run.data_out[30..34], real.octets(), "client port {port}");
        }
        let vip = &balancer.counters().vips[0];
        assert_eq!((vip.packets, vip.bytes), (499, 499 * 40), "every packet is counted once");
        assert_eq!(vip.reals.iter().map(|real| real.packets).sum::<u64>(), 499);
    });
}

#[test]
fn a_hop_on_the_same_interface_is_transmitted() {
    in_netns(|| {
        // A test run comes in by `lo`, which is interface 1.
        let balancer = Balancer::with_hops(CONFIG, 1);
        let packet = tcp(VIP, 80, 0);
        let run = balancer.object.run(&packet);
        assert_eq!((run.retval, run.data_out), (TX, encapsulated(&packet, &HOP, BALANCER, REAL)));
    });
}

#[test]
fn what_is_too_big_is_answered_with_the_size_that_fits() {
    in_netns(|| {
        let balancer = Balancer::with_hops(CONFIG, 7);
        for (mtu, payload) in [(1500, 1500 - 20 - 40 + 1), (1500, 1460), (1400, 1400)] {
            balancer.reset_counters(7);
            balancer.prepare_hops(7, mtu);
            for packet in [tcp(VIP, 80, payload), options(tcp(VIP, 80, payload), 12)] {
                let run = balancer.object.run(&packet);
                assert_eq!(run.retval, TX, "MTU {mtu}, {payload} bytes");
                check_answer(&run.data_out, &packet, u16::try_from(mtu - 20).expect("small"));
            }
            assert_eq!(balancer.counted(), ["vip too-big-answered 2"]);
        }
    });
}

fn check_answer(answer: &[u8], packet: &[u8], mtu: u16) {
    assert_eq!((&answer[..6], &answer[6..12]), (&packet[6..12], &packet[..6]), "MAC addresses swapped");
    let sliced = SlicedPacket::from_ethernet(answer).expect("well-formed");
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4") };
    let header = ip.header();
    assert_eq!((header.source_addr(), header.destination_addr()), (VIP, CLIENT));
    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum(), "IP checksum");
    assert_eq!(usize::from(header.total_len()), answer.len() - IP);
    assert!(answer.len() <= 14 + 576 && answer.len() < packet.len());
    let Some(TransportSlice::Icmpv4(icmp)) = &sliced.transport else { panic!("not ICMP") };
    let want = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(want));
    assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum(), "ICMP checksum");
    assert_eq!(icmp.payload(), &packet[IP..IP + usize::from(too_big::QUOTED)], "what is quoted");
}

const PEER_MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
const VETH_MAC: Mac = Mac([2, 0, 0, 0, 8, 8]);

/// A veth with the balancer's address; forwarding as told. Returns the socket and the interface's index.
fn network(forwarding: bool) -> (Socket, u32) {
    std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", if forwarding { "1" } else { "0" })
        .expect("our own setting");
    let mut route = Socket::open().expect("netlink");
    let peer = VethPeer { name: "peer", ..VethPeer::default() };
    let veth = VethSpec { name: "out", mac: Some(VETH_MAC), mtu: Some(1400), peer, ..VethSpec::default() };
    let out = route.link_create_veth(veth).expect("a veth").ifindex;
    let peer = route.link_by_name("peer").expect("its peer").ifindex;
    for ifindex in [1, peer, out] {
        route.link_set_up(ifindex).expect("up");
    }
    route.addr_add(out, BALANCER.into(), 24).expect("an address");
    (route, out)
}

#[test]
fn the_kernels_routes_give_the_next_hop() {
    in_netns(|| {
        let (mut route, out) = network(true);
        route.neigh_add(out, REAL.into(), PEER_MAC).expect("a neighbour");
        let balancer = Balancer::new(CONFIG);
        let packet = tcp(VIP, 80, 0);
        let run = balancer.object.run(&packet);
        assert_eq!(balancer.counted(), ["10.10.1.2 1"]);
        let eth = [PEER_MAC.0.as_slice(), &VETH_MAC.0, &[8, 0]].concat();
        assert_eq!((run.retval, run.data_out), (REDIRECT, encapsulated(&packet, &eth, BALANCER, REAL)));
        let hop = balancer.hop(0);
        assert_eq!((hop.egress, hop.eth.as_bytes()), (out, eth.as_slice()));
        // Kernels before 5.12 do not tell the MTU of the route: then it is the one the control plane was told.
        assert!(hop.mtu == 1400 || hop.mtu == 1500, "{}", hop.mtu);
    });
}

#[test]
fn an_unknown_neighbour_is_left_to_the_stack() {
    in_netns(|| {
        let (mut route, out) = network(true);
        let balancer = Balancer::new(CONFIG);
        let packet = tcp(VIP, 80, 0);
        let run = balancer.object.run(&packet);
        assert_eq!(run.retval, PASS);
        assert_eq!(
            run.data_out,
            encapsulated(&packet, &packet[..14], BALANCER, REAL),
            "as it came, in an outer header"
        );
        assert_eq!(balancer.counted(), ["10.10.1.2 1", "vip no-neighbour 1"]);
        assert_eq!(balancer.hop(0).fresh_until, 0, "a failure is not kept");
        route.neigh_add(out, REAL.into(), PEER_MAC).expect("a neighbour");
        assert_eq!(balancer.object.run(&packet).retval, REDIRECT, "as soon as it is known");
    });
}

#[test]
fn without_a_route_packets_are_dropped() {
    in_netns(|| {
        let (mut route, _) = network(true);
        let nowhere = netlink::route::Route::new(REAL.into(), 32).kind(RouteKind::BLACKHOLE);
        route.route_add(&nowhere).expect("a route");
        let balancer = Balancer::new(CONFIG);
        assert_eq!(balancer.object.run(&tcp(VIP, 80, 0)).retval, DROP);
        assert_eq!(balancer.counted(), ["vip no-route 1"]);
    });
}

#[test]
fn an_interface_without_forwarding_is_named() {
    in_netns(|| {
        let (mut route, out) = network(false);
        route.neigh_add(out, REAL.into(), PEER_MAC).expect("a neighbour");
        let balancer = Balancer::new(CONFIG);
        assert_eq!(balancer.object.run(&tcp(VIP, 80, 0)).retval, DROP);
        assert_eq!(balancer.counted(), ["vip forwarding-off 1"]);
    });
}

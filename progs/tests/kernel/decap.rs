//! `decap`, packet by packet.

use std::{collections::BTreeSet, net::Ipv4Addr};

use progs::lb::control::{DecapCounters, DecapTables, apply};

use crate::{
    packets::*,
    support::{BALANCER, DROP, Loaded, PASS, REAL, VIP, config, in_netns},
};

/// Somebody who is not a balancer.
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// An address that is no VIP.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 7);
/// The Ethernet header that the balancer's packets arrive with.
const ETH: [u8; 14] = *b"\x02\0\0\0\0\x2a\x02\0\0\0\0\x0b\x08\x00";

const STRICT: &str = r#"balancers = ["10.10.1.1"]"#;
const OPEN: &str = "any_balancer = true";

fn real_server(options: &str) -> Loaded {
    let vip = r#"
        [[vip]]
        address = "10.10.0.5"
        port = 80
        protocol = "tcp"
        reals = [{ address = "10.10.1.2" }, { address = "10.10.1.3" }]"#;
    let object = Loaded::new("lb-decap", &[]);
    let tables =
        DecapTables::plan(&config(&format!("{options}\n{vip}")), &BTreeSet::from([REAL])).expect("it is a real server");
    apply(&tables.diff(&DecapTables::default()), &object.maps()).expect("the kernel takes it");
    assert_eq!(DecapTables::read(&object.maps()).expect("the maps are there"), tables);
    object
}

/// What comes out of a packet: nothing new, or the inner packet behind the Ethernet header.
enum Out {
    Same,
    Inner,
}

struct Case {
    name: &'static str,
    inner: Vec<u8>,
    outer: Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send>,
    verdict: u32,
    out: Out,
    reason: &'static str,
}

fn case(name: &'static str, inner: Vec<u8>, verdict: u32, out: Out, reason: &'static str) -> Case {
    Case { name, inner, outer: Box::new(|frame| frame), verdict, out, reason }
}

impl Case {
    /// Changes the encapsulated frame.
    fn with(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static) -> Self {
        self.outer = Box::new(change);
        self
    }
}

fn check(options: &'static str, source: Ipv4Addr, dst: Ipv4Addr, cases: Vec<Case>) {
    in_netns(move || {
        let object = real_server(options);
        let mut before = DecapCounters::default();
        for case in cases {
            let frame = (case.outer)(encapsulated(&case.inner, &ETH, source, dst));
            let run = object.run(&frame);
            let name = case.name;
            let counters = DecapCounters::read(&object.maps()).expect("the maps are there");
            assert_eq!(since(&before, &counters), [(case.reason, 1)], "{name}: counted");
            assert_eq!(run.retval, case.verdict, "{name}: verdict");
            let unwrapped = matches!(case.out, Out::Inner);
            if unwrapped {
                assert_eq!(run.data_out, [&ETH, &case.inner[IP..]].concat(), "{name}: packet out");
            } else if case.verdict == PASS {
                assert_eq!(run.data_out, frame, "{name}: packet out");
            }
            let more = u64::from(unwrapped);
            assert_eq!(of_vips(&counters), of_vips(&before) + more, "{name}: counted for the VIP");
            assert_eq!(of_tunnels(&counters), of_tunnels(&before) + more, "{name}: counted for the tunnel");
            before = counters;
        }
    });
}

/// Which reasons went up, and by how much.
fn since(before: &DecapCounters, after: &DecapCounters) -> Vec<(&'static str, u64)> {
    let known = |reason| before.reasons.iter().find(|r| r.reason == reason).map_or(0, |r| r.packets);
    after.reasons.iter().map(|r| (r.reason, r.packets - known(r.reason))).filter(|(_, more)| *more > 0).collect()
}

fn of_vips(counters: &DecapCounters) -> u64 {
    counters.vips.iter().map(|vip| vip.packets).sum()
}

fn of_tunnels(counters: &DecapCounters) -> u64 {
    counters.tunnels.iter().map(|tunnel| tunnel.packets).sum()
}

#[test]
fn what_a_balancer_sends_is_unwrapped() {
    let inner = |name, packet| case(name, packet, PASS, Out::Inner, "decapsulated");
    let cases = vec![
        inner("TCP", tcp(VIP, 80, 100)),
        inner("UDP", udp(VIP, 53, 0)),
        inner("options", options(tcp(VIP, 80, 0), 40)),
        inner("an ICMP error for the VIP", icmp_error(3, VIP, &reply(&tcp(VIP, 80, 0)))),
        inner("ECN capable", tos(tcp(VIP, 80, 0), 2)),
        inner("congestion was marked before the balancer", tos(tcp(VIP, 80, 0), 3)),
    ];
    check(STRICT, BALANCER, REAL, cases);
    check(OPEN, STRANGER, REAL, vec![inner("from anybody, when told so", tcp(VIP, 80, 0))]);
}

#[test]
fn padding_stays_behind_the_inner_packet() {
    in_netns(|| {
        let inner = pad(tcp(VIP, 80, 0), 60);
        let run = real_server(STRICT).run(&encapsulated(&inner, &ETH, BALANCER, REAL));
        assert_eq!((run.retval, run.data_out), (PASS, [&ETH, &inner[IP..]].concat()));
    });
}

#[test]
fn what_is_not_ours_is_passed_untouched() {
    let same = |name, packet, reason| case(name, packet, PASS, Out::Same, reason);
    let cases = vec![
        same("somebody else's tunnel", tcp(OTHER, 80, 0), "not-vip"),
        same("not IPv4", tcp(VIP, 80, 0), "not-ipv4").with(|frame| poke(frame, 12, &[0x86, 0xdd])),
        same("not IP-in-IP", tcp(VIP, 80, 0), "not-ipip").with(|frame| poke(frame, IP + 9, &[47])),
        same("options in the outer header", tcp(VIP, 80, 0), "not-ipip").with(|frame| options(frame, 4)),
        same("an outer fragment", udp(VIP, 80, 64), "outer-fragment").with(|frame| fragment(frame, 0, true)),
        same("ends within the inner header", tcp(VIP, 80, 0), "short").with(|frame| frame[..53].to_vec()),
    ];
    check(STRICT, BALANCER, REAL, cases);
    let elsewhere = Ipv4Addr::new(10, 10, 1, 3);
    check(STRICT, BALANCER, elsewhere, vec![same("on its way to another real server", tcp(VIP, 80, 0), "not-ours")]);
}

#[test]
fn what_is_forged_or_broken_is_dropped() {
    let gone = |name, packet, reason| case(name, packet, DROP, Out::Same, reason);
    check(STRICT, STRANGER, REAL, vec![gone("from nobody we know", tcp(VIP, 80, 0), "bad-source")]);
    let outer_len = |len: u8| move |frame| poke(frame, IP + 2, &[0, len]);
    let inner_len = |len: u16| move |frame| poke(frame, IP + 22, &len.to_be_bytes());
    let cases = vec![
        gone("inner length beyond the outer one", tcp(VIP, 80, 0), "bad-length").with(inner_len(41)),
        gone("inner length as long as it gets", tcp(VIP, 80, 0), "bad-length").with(inner_len(0xffff)),
        gone("inner length less than its header", tcp(VIP, 80, 0), "bad-length").with(inner_len(19)),
        gone("outer length beyond the frame", tcp(VIP, 80, 0), "bad-length").with(outer_len(61)),
        gone("outer length less than the inner one", tcp(VIP, 80, 0), "bad-length").with(outer_len(59)),
        gone("inner version 6", tcp(VIP, 80, 0), "bad-length").with(|frame| poke(frame, IP + 20, &[0x65])),
        gone("inner header of four words", tcp(VIP, 80, 0), "bad-length").with(|frame| poke(frame, IP + 20, &[0x44])),
        gone("congestion marked for a client without ECN", tcp(VIP, 80, 0), "bad-ecn").with(|frame| tos(frame, 3)),
    ];
    check(STRICT, BALANCER, REAL, cases);
}

#[test]
fn congestion_marked_on_the_way_reaches_the_inner_packet() {
    in_netns(|| {
        let real = real_server(STRICT);
        for (before, with) in [(0xb9, 0xbb), (0xba, 0xbb), (1, 3), (2, 3)] {
            let frame = tos(encapsulated(&tos(tcp(VIP, 80, 9), before), &ETH, BALANCER, REAL), before | 3);
            let run = real.run(&frame);
            let want = [&ETH, &tos(tcp(VIP, 80, 9), with)[IP..]].concat();
            assert_eq!((run.retval, run.data_out), (PASS, want), "TOS {before:#x}; the checksum follows");
        }
    });
}

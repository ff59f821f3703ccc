//! The cases themselves.
//!
//! Read next: `../examples.rs`.

use super::*;

const ONE: [u8; 8] = 1u64.to_le_bytes();
const ZERO: [u8; 4] = [0; 4];

/// Every case of the programs that see packets.
pub(crate) fn cases() -> Vec<Case> {
    [counting(), echo(), tunnels(), ipv6_headers(), rules(), balancing(), limits(), tiny(), events(), firewall()]
        .into_iter()
        .flatten()
        .collect()
}

fn counting() -> Vec<Case> {
    vec![
        Case::new("count", "anything", tcp(80, "S"), PASS).times(3).after("counter", &ZERO, &3u64.to_le_bytes()),
        Case::new("drop-port", "the port", tcp(9999, "S"), DROP).after("dropped", &ZERO, &ONE),
        Case::new("drop-port", "another port", tcp(9998, "S"), PASS).after("dropped", &ZERO, &[0; 8]),
        Case::new("drop-port", "not TCP", udp(9999), PASS).after("dropped", &ZERO, &[0; 8]),
        Case::new("drop-port", "too short", tcp(9999, "S")[..53].to_vec(), PASS).after("dropped", &ZERO, &[0; 8]),
    ]
}

fn echo() -> Vec<Case> {
    let mut reply = ping();
    reply[..12].rotate_left(6);
    reply[26..34].rotate_left(4);
    reply[34] = 0;
    let sum = u16::from_be_bytes([reply[36], reply[37]]);
    let (sum, carry) = sum.overflowing_add(0x0800);
    reply[36..38].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    vec![
        Case::new("icmp-echo", "a request", ping(), TX).out(reply.clone()),
        Case::new("icmp-echo", "a reply", reply, PASS),
        Case::new("icmp-echo", "with options", with_options(&ping(), 4), PASS),
    ]
}

fn tunnels() -> Vec<Case> {
    let (balancer, local) = ([10, 10, 1, 1], [10, 10, 1, 2]);
    let packet = tcp(80, "S");
    let outer = wrapped(&packet, balancer, local, 0);
    let case = |name, packet: Vec<u8>, verdict| {
        Case::new("ipip-decap", name, packet, verdict).variable("local", &local).before("vips", &TO, &[0; 8])
    };
    vec![
        case("for a VIP", outer.clone(), PASS).out(packet.clone()).after("vips", &TO, &ONE),
        case("for another host", wrapped(&packet, balancer, [10, 10, 1, 3], 0), PASS).after("vips", &TO, &[0; 8]),
        case("not wrapped", packet, PASS),
        Case::new("ipip-decap", "for no VIP", outer, DROP).variable("local", &local),
    ]
}

fn ipv6_headers() -> Vec<Case> {
    let count = |name, packet, protocol: u32| {
        Case::new("ipv6-ext", name, packet, PASS).after("protocols", &protocol.to_le_bytes(), &ONE)
    };
    let hops: Vec<u8> = [60, 0, 0, 0, 0, 0, 0, 0].repeat(8);
    let mut two = vec![43, 1];
    two.extend([0; 14]);
    two.extend([6, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        count("none", ipv6(17, &[]), 17),
        count("one of eight bytes", ipv6(0, &[17, 0, 0, 0, 0, 0, 0, 0]), 17),
        count("one of sixteen, one of eight", ipv6(60, &two), 6),
        count("eight, and a ninth", ipv6(0, &hops), 60),
        Case::new("ipv6-ext", "cut", ipv6(0, &[])[..55].to_vec(), PASS).after("protocols", &[0; 4], &[0; 8]),
    ]
}

fn rules() -> Vec<Case> {
    let prefix = |bits: u32, addr: [u8; 4]| [&bits.to_le_bytes()[..], &addr].concat();
    let case = |name, verdict, counted: u32| {
        Case::new("lpm-acl", name, udp(53), verdict).after("verdicts", &counted.to_le_bytes(), &ONE)
    };
    vec![
        case("no rule", PASS, 0),
        case("a rule that drops", DROP, 1).before("acl", &prefix(24, [192, 0, 2, 0]), &[0; 4]),
        case("a rule that passes", PASS, 0).before("acl", &prefix(24, [192, 0, 2, 0]), &[1, 0, 0, 0]),
        case("the longer prefix counts", PASS, 0).before("acl", &prefix(8, [192, 0, 0, 0]), &[0; 4]).before(
            "acl",
            &prefix(32, FROM),
            &[1, 0, 0, 0],
        ),
    ]
}

fn balancing() -> Vec<Case> {
    let (local, real) = ([10, 10, 1, 1], [10, 10, 1, 2]);
    let key = |port: u16, proto: u8| [&TO[..], &port.to_be_bytes(), &[proto, 0]].concat();
    let server = [&real[..], &[2, 0, 0, 0, 0, 0x0b, 0, 0]].concat();
    let mut out = wrapped(&tcp(80, "S"), local, real, 0);
    out[6..12].copy_from_slice(&tcp(80, "S")[..6]);
    out[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x0b]);
    let case = |name, packet, verdict| {
        Case::new("maglev", name, packet, verdict)
            .variable("local", &local)
            .before("vips", &key(80, 6), &[0; 4])
            .before("reals", &ZERO, &server)
    };
    let len = u64::try_from(tcp(80, "S").len() - 14).expect("short");
    vec![
        case("for a VIP", tcp(80, "S"), TX).out(out).after("stats", &ZERO, &[ONE, len.to_le_bytes()].concat()),
        case("another port", tcp(81, "S"), PASS),
        case("another protocol", udp(80), PASS),
        case("neither TCP nor UDP", ping(), PASS),
        case("options", with_options(&tcp(80, "S"), 4), PASS),
    ]
}

fn limits() -> Vec<Case> {
    vec![
        Case::new("ratelimit", "the first", udp(53), PASS),
        Case::new("ratelimit", "the hundredth", udp(53), PASS).times(100),
        Case::new("ratelimit", "not IPv4", ipv6(17, &[]), PASS).times(300),
        Case::new("synflood", "the hundredth", tcp(80, "S"), PASS).times(100).after(
            "totals",
            &ZERO,
            &100u64.to_le_bytes(),
        ),
        Case::new("synflood", "one more", tcp(80, "S"), DROP).times(101).after("totals", &[1, 0, 0, 0], &ONE),
        Case::new("synflood", "no SYN", tcp(80, "A"), PASS).times(200).after("totals", &ZERO, &[0; 8]),
        Case::new("synflood", "SYN and ACK", tcp(80, "SA"), PASS).times(200).after("totals", &ZERO, &[0; 8]),
    ]
}

fn tiny() -> Vec<Case> {
    let case =
        |name, packet, verdict| Case::new("tiny", name, packet, verdict).before("ports", &80u16.to_be_bytes(), &[0; 8]);
    vec![
        case("a listed port", tcp(80, "S"), ABORTED).after("ports", &80u16.to_be_bytes(), &ONE),
        case("with options", with_options(&tcp(80, "S"), 40), ABORTED).after("ports", &80u16.to_be_bytes(), &ONE),
        case("another port", tcp(81, "S"), PASS),
        case("cut behind the options", with_options(&tcp(80, "S"), 40)[..14 + 60 + 19].to_vec(), PASS),
    ]
}

/// No device is in the map: the call gives what the program said for that case.
const ABORTED: u32 = 0;

fn events() -> Vec<Case> {
    let len = u32::try_from(tcp(80, "R").len() - 14).expect("short");
    let event = [&FROM[..], &TO, &40_000u16.to_be_bytes(), &80u16.to_be_bytes(), &len.to_le_bytes()].concat();
    vec![
        Case::new("ringbuf", "a reset", tcp(80, "R"), PASS).after("events", &[], &event),
        Case::new("ringbuf", "no reset", tcp(80, "S"), PASS).after("events", &[], &[]),
    ]
}

fn firewall() -> Vec<Case> {
    let prefix = [&24u32.to_le_bytes()[..], &[192, 0, 2, 0]].concat();
    let service = |port: u16, protocol: u8| [&port.to_be_bytes()[..], &[protocol, 0]].concat();
    let case = |name, packet, verdict, reason: u32| {
        Case::new("firewall", name, packet, verdict)
            .variable("strict", &[1, 0, 0, 0])
            .before("open", &service(80, 6), &[0; 4])
            .after("counts", &reason.to_le_bytes(), &ONE)
    };
    vec![
        case("an open port", tcp(80, "S"), PASS, 0),
        case("an open port behind options", with_options(&tcp(80, "S"), 8), PASS, 0),
        case("a closed port", tcp(22, "S"), DROP, 2),
        case("the same port of the other protocol", udp(80), DROP, 2),
        case("ping", ping(), PASS, 0),
        case("a blocked source", tcp(80, "S"), DROP, 1).before("blocked", &prefix, &[0; 4]),
        case("an answer to a connection of ours", tcp(22, "A"), PASS, 0),
        case("a closed port, not strict", tcp(22, "S"), PASS, 2).variable("strict", &[0; 4]),
    ]
}

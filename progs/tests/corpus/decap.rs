//! Packets for the decapsulating program. Read next: `../lb.rs`.

use std::net::Ipv4Addr;

use super::{
    Corpus, VIP, damaged, each,
    packets::{IP, encapsulated, fragment, options, pad, poke, tcp, tos, udp},
};

/// What a real server is told.
pub(crate) const CONFIG: &str = r#"
    balancers = ["10.10.1.1"]
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.2" }, { address = "10.10.1.3" }]
"#;

/// The real server's own address.
pub(crate) const REAL: Ipv4Addr = Ipv4Addr::new(10, 10, 1, 2);
const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 10, 1, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 7);
const ETH: [u8; 14] = *b"\x02\0\0\0\0\x2a\x02\0\0\0\0\x0b\x08\x00";

fn wrapped(inner: &[u8]) -> Vec<u8> {
    encapsulated(inner, &ETH, BALANCER, REAL)
}

/// Every packet that `decap` is asked about.
pub(crate) fn decap() -> Corpus {
    let mut corpus = Corpus::new();
    for (name, from, to, inner) in [
        ("ours", BALANCER, REAL, VIP),
        ("a stranger's", STRANGER, REAL, VIP),
        ("to somebody else", BALANCER, Ipv4Addr::new(10, 10, 1, 3), VIP),
        ("not for a VIP", BALANCER, REAL, OTHER),
    ] {
        let wrap = |inner: &[u8]| encapsulated(inner, &ETH, from, to);
        each(&mut corpus, &format!("tcp {name}"), [0, 1, 100, 1400], |len| wrap(&tcp(inner, 80, len)));
        each(&mut corpus, &format!("udp {name}"), [0, 9], |len| wrap(&udp(inner, 53, len)));
        each(&mut corpus, &format!("options {name}"), [4, 40], |len| wrap(&options(tcp(inner, 80, 0), len)));
        each(&mut corpus, &format!("fragment {name}"), [0, 8], |at| wrap(&fragment(udp(inner, 80, 64), at, true)));
        each(&mut corpus, &format!("padded {name}"), [60, 100], |len| wrap(&pad(tcp(inner, 80, 0), len)));
    }
    let whole = wrapped(&tcp(VIP, 80, 0));
    each(&mut corpus, "cut", 14..whole.len(), |len| whole[..len].to_vec());
    for outer in 0..4u8 {
        let marked = |inner: u8| tos(wrapped(&tos(tcp(VIP, 80, 9), 0xb8 | inner)), 0x10 | outer);
        each(&mut corpus, &format!("ecn outer {outer}, inner"), 0..4u8, marked);
    }
    each(&mut corpus, "outer first byte", 0..=255, |byte| poke(whole.clone(), IP, &[byte]));
    each(&mut corpus, "inner first byte", 0..=255, |byte| poke(whole.clone(), IP + 20, &[byte]));
    each(&mut corpus, "outer flags and offset", [0x80u8, 0x40, 0x20, 1], |byte| poke(whole.clone(), IP + 6, &[byte]));
    each(&mut corpus, "outer protocol", [0u8, 4, 6, 41, 47], |byte| poke(whole.clone(), IP + 9, &[byte]));
    each(&mut corpus, "outer length", [0u16, 20, 40, 59, 60, 61, 0xffff], |len| {
        poke(whole.clone(), IP + 2, &len.to_be_bytes())
    });
    each(&mut corpus, "inner length", [0u16, 19, 20, 39, 40, 41, 0xffff], |len| {
        poke(whole.clone(), IP + 22, &len.to_be_bytes())
    });
    each(&mut corpus, "ethertype", [0x0806u16, 0x86dd, 0x8100], |proto| poke(whole.clone(), 12, &proto.to_be_bytes()));
    damaged(&mut corpus, &[whole, wrapped(&options(tcp(VIP, 80, 3), 8))], 200);
    corpus
}

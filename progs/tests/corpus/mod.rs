//! A corpus of packets for the load balancer, and what became of each: `../golden/lb.txt` and `../golden/lb-decap.txt`.
//!
//! Input: something that runs one packet. Output: a line a packet: name, verdict, and what it became. Used twice: by
//! `../lb.rs` in the interpreter, by `../kernel/corpus.rs` in the running kernel; both must write the same lines.
//! `UPDATE_GOLDEN=1 cargo test -p progs --test lb` rewrites them. Read next: `decap.rs`.

pub(crate) mod decap;
#[path = "../kernel/packets.rs"]
pub(crate) mod packets;

use std::{fmt::Write as _, net::Ipv4Addr};

use packets::{IP, edit, fragment, icmp_error, options, pad, ping, poke, reply, tag, tcp, tos, udp};

/// The VIPs of the corpus: TCP and UDP on one address and port, any TCP port of another, and one without real servers.
pub(crate) const CONFIG: &str = r#"
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.2" }, { address = "10.10.1.3", weight = 3 }]
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "udp"
    reals = [{ address = "10.10.1.3" }]
    [[vip]]
    address = "10.10.0.6"
    port = 0
    protocol = "tcp"
    reals = [{ address = "10.10.1.4" }]
    [[vip]]
    address = "10.10.0.8"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.4", weight = 0 }]
"#;

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 5);
const ANY_PORT: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 6);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 7);
const NO_REAL: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 8);

/// The line between packets and counters.
pub(crate) const COUNTED: &str = "---- counted:";

/// Packets by name. A kernel's test run takes no frame of less than an Ethernet header, so none is shorter.
pub(crate) type Corpus = Vec<(String, Vec<u8>)>;

/// Adds variants of a packet, each with the number that made it in its name.
pub(crate) fn each<N: Copy + std::fmt::Display>(
    corpus: &mut Corpus,
    name: &str,
    numbers: impl IntoIterator<Item = N>,
    make: impl Fn(N) -> Vec<u8>,
) {
    corpus.extend(numbers.into_iter().map(|number| (format!("{name} {number}"), make(number))));
}

/// Every packet that `balance` is asked about.
pub(crate) fn balance() -> Corpus {
    let mut corpus = Corpus::new();
    headers(&mut corpus);
    lengths(&mut corpus);
    errors(&mut corpus);
    damaged(&mut corpus, &[tcp(VIP, 80, 3), udp(VIP, 80, 9), options(tcp(ANY_PORT, 9, 0), 8), an_error()], 400);
    corpus
}

fn an_error() -> Vec<u8> {
    icmp_error(3, VIP, &reply(&tcp(VIP, 80, 0)))
}

/// Addresses, ports, protocols, options, fragments, tags.
fn headers(corpus: &mut Corpus) {
    for (name, to) in [("vip", VIP), ("any-port", ANY_PORT), ("other", OTHER), ("no-real", NO_REAL)] {
        each(corpus, &format!("tcp {name} port"), [0, 79, 80, 1234], |port| tcp(to, port, 8));
        each(corpus, &format!("udp {name} port"), [53, 80], |port| udp(to, port, 8));
        each(corpus, &format!("options {name}"), (4..=40).step_by(4), |len| options(tcp(to, 80, 8), len));
        each(corpus, &format!("udp options {name}"), (4..=40).step_by(12), |len| options(udp(to, 80, 8), len));
        for more in [true, false] {
            let what = format!("fragment {name} more={more}");
            each(corpus, &what, [0, 1, 8, 8191], |offset| fragment(udp(to, 80, 64), offset, more));
            each(corpus, &format!("{what} options"), [0, 8], |at| options(fragment(tcp(to, 80, 64), at, more), 8));
        }
        corpus.push((format!("ping {name}"), ping(to)));
        corpus.push((format!("ping options {name}"), options(ping(to), 8)));
    }
    let clients = [0u16, 1, 255, 256, 1023, 32_768, 40_001, 54_321, 65_535];
    each(corpus, "client port", clients, |port| packets::tcp_from(port, VIP, 80, 0));
    each(corpus, "protocol", [0u8, 1, 2, 4, 6, 17, 41, 47, 58, 132, 255], |p| poke(tcp(VIP, 80, 0), IP + 9, &[p]));
    each(corpus, "first byte", 0u8..=255, |byte| poke(tcp(VIP, 80, 40), IP, &[byte]));
    each(corpus, "tos", [1, 2, 3, 0x10, 0xb8, 0xba, 0xff], |byte| tos(tcp(VIP, 80, 0), byte));
    each(corpus, "ttl", [0, 1, 255], |ttl| edit(tcp(VIP, 80, 0), |header| header.time_to_live = ttl));
    each(corpus, "checksum", [0u8, 1, 0xff], |byte| poke(tcp(VIP, 80, 0), IP + 10, &[byte, byte]));
    each(corpus, "flags and offset", [0x80u8, 0x40, 0x20, 0x10, 1], |byte| poke(tcp(VIP, 80, 0), IP + 6, &[byte]));
    each(corpus, "ethertype", [0x0806u16, 0x86dd, 0x8100, 0x88a8, 0x9100, 8], |ethertype| {
        poke(tcp(VIP, 80, 0), 12, &ethertype.to_be_bytes())
    });
    corpus.push(("one tag".into(), tag(tcp(VIP, 80, 0), [0x81, 0])));
    corpus.push(("two tags".into(), tag(tag(tcp(VIP, 80, 0), [0x81, 0]), [0x88, 0xa8])));
}

/// Frames cut at every byte, lengths that lie, packets around the MTU.
fn lengths(corpus: &mut Corpus) {
    let whole = [("tcp", tcp(VIP, 80, 0)), ("udp", udp(VIP, 80, 0)), ("options", options(tcp(VIP, 80, 0), 40))];
    for (name, packet) in whole.into_iter().chain([("error", an_error()), ("fragment", fragment(ping(VIP), 8, true))]) {
        each(corpus, &format!("cut {name}"), 14..packet.len(), |len| packet[..len].to_vec());
    }
    each(corpus, "total length", [0u16, 19, 20, 27, 28, 39, 40, 41, 47, 48, 49, 0x7fff, 0xffff], |len| {
        poke(udp(VIP, 80, 20), IP + 2, &len.to_be_bytes())
    });
    each(corpus, "total length with options", [19u16, 59, 60, 67, 68, 69, 99, 100, 101], |len| {
        poke(options(tcp(VIP, 80, 0), 40), IP + 2, &len.to_be_bytes())
    });
    each(corpus, "total length of an error", [20u16, 28, 48, 55, 56, 57], |len| {
        poke(an_error(), IP + 2, &len.to_be_bytes())
    });
    each(corpus, "padded to", [60, 61, 504, 1494, 1495, 1514, 2000], |len| pad(tcp(VIP, 80, 0), len));
    each(corpus, "payload", [443, 444, 1439, 1440, 1441, 1460, 2000], |len| tcp(VIP, 80, len));
    each(corpus, "payload options", [1427, 1428, 1429, 1460], |len| options(tcp(VIP, 80, len), 12));
    each(corpus, "payload may be fragmented", [1440, 1441, 1460], |len| {
        edit(tcp(VIP, 80, len), |header| header.dont_fragment = false)
    });
    each(corpus, "payload udp", [1451, 1452, 1453], |len| udp(VIP, 80, len));
}

/// ICMP, with quotes true and false.
fn errors(corpus: &mut Corpus) {
    let (mine, others) = (reply(&tcp(VIP, 80, 0)), reply(&tcp(OTHER, 80, 0)));
    each(corpus, "icmp type", 0..=18, |kind| icmp_error(kind, VIP, &mine));
    each(corpus, "error about udp, port", [79, 80], |port| icmp_error(11, VIP, &reply(&udp(VIP, port, 0))));
    each(corpus, "error about any port", [1, 80], |port| icmp_error(3, ANY_PORT, &reply(&tcp(ANY_PORT, port, 0))));
    corpus.push(("error quotes others'".into(), icmp_error(3, OTHER, &others)));
    corpus.push(("error quotes somebody else's".into(), icmp_error(3, OTHER, &mine)));
    corpus.push(("error to us quotes others'".into(), icmp_error(3, VIP, &others)));
    corpus.push(("error quotes a fragment".into(), icmp_error(3, VIP, &fragment(mine.clone(), 8, true))));
    corpus.push(("error quotes a first fragment".into(), icmp_error(3, VIP, &fragment(mine.clone(), 0, true))));
    corpus.push(("error with options".into(), options(an_error(), 8)));
    each(corpus, "error quotes first byte", [0x40u8, 0x44, 0x46, 0x4f, 0x55, 0x65], |byte| {
        icmp_error(3, VIP, &poke(mine.clone(), IP, &[byte]))
    });
    each(corpus, "error quotes protocol", [0u8, 1, 6, 17, 47], |byte| {
        icmp_error(3, VIP, &poke(mine.clone(), IP + 9, &[byte]))
    });
}

/// Packets with bytes changed by chance, always the same.
pub(crate) fn damaged(corpus: &mut Corpus, from: &[Vec<u8>], count: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for number in 0..count {
        let mut packet = from[number % from.len()].clone();
        for _ in 0..=next(3) {
            let at = 12 + next(packet.len() - 12);
            packet[at] = u8::try_from(next(256)).expect("below 256");
        }
        corpus.push((format!("damaged {number}"), packet));
    }
}

/// A line for each packet.
pub(crate) fn report(corpus: &Corpus, mut run: impl FnMut(&[u8]) -> (u32, Vec<u8>)) -> String {
    let mut lines = String::new();
    for (name, packet) in corpus {
        let (verdict, out) = run(packet);
        let word = ["aborted", "drop", "pass", "tx", "redirect"].get(verdict as usize).unwrap_or(&"?");
        let became = match verdict {
            1 => String::new(),
            _ if out == *packet => ", as it came".to_owned(),
            _ => format!(", {} bytes, {:016x}", out.len(), digest(&out)),
        };
        writeln!(lines, "{name}: {word}{became}").expect("a String takes it");
    }
    lines
}

/// Fowler, Noll and Vo's hash 1a: enough to tell one packet from another.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Both line by line; the first that differs is shown.
pub(crate) fn same_lines(what: &str, known: &str, now: &str) {
    for (at, (known, now)) in known.lines().zip(now.lines()).enumerate() {
        assert_eq!(now, known, "{what}, line {}: new, then known", at + 1);
    }
    assert_eq!(known.lines().count(), now.lines().count(), "{what}: lines");
}

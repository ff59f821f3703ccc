//! What the example programs do, case by case: maps before, packet in, verdict, packet out, maps after.
//!
//! Used twice: by `../examples.rs` in the interpreter, by `../kernel/examples.rs` in the running kernel. Packets are put
//! together by etherparse, which shares no code with the programs. Read next: `table.rs`.

pub(crate) mod table;

use etherparse::{IpNumber, Ipv4Header, PacketBuilder};

pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;

/// An element of a map, by the map's name.
pub(crate) type Element = (&'static str, Vec<u8>, Vec<u8>);

/// One packet, or the same packet some times.
pub(crate) struct Case {
    pub(crate) program: &'static str,
    pub(crate) name: &'static str,
    /// Variables by name.
    pub(crate) variables: Vec<(&'static str, Vec<u8>)>,
    /// Elements that the test puts there.
    pub(crate) before: Vec<Element>,
    pub(crate) packet: Vec<u8>,
    /// How often it comes; the verdict is the last one's.
    pub(crate) times: usize,
    pub(crate) verdict: u32,
    /// `None`: as it came.
    pub(crate) out: Option<Vec<u8>>,
    /// Elements that must be there; of per-CPU maps the sum over all CPUs.
    pub(crate) after: Vec<Element>,
}

impl Case {
    pub(crate) fn new(program: &'static str, name: &'static str, packet: Vec<u8>, verdict: u32) -> Self {
        Self {
            program,
            name,
            variables: Vec::new(),
            before: Vec::new(),
            packet,
            times: 1,
            verdict,
            out: None,
            after: Vec::new(),
        }
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &[u8]) -> Self {
        self.variables.push((name, value.to_vec()));
        self
    }

    pub(crate) fn before(mut self, map: &'static str, key: &[u8], value: &[u8]) -> Self {
        self.before.push((map, key.to_vec(), value.to_vec()));
        self
    }

    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    pub(crate) fn out(mut self, packet: Vec<u8>) -> Self {
        self.out = Some(packet);
        self
    }

    pub(crate) fn after(mut self, map: &'static str, key: &[u8], value: &[u8]) -> Self {
        self.after.push((map, key.to_vec(), value.to_vec()));
        self
    }
}

pub(crate) const FROM: [u8; 4] = [192, 0, 2, 7];
pub(crate) const TO: [u8; 4] = [10, 10, 0, 5];

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0x0a])
}

/// A TCP segment with these flags: `S`, `A`, `R`.
pub(crate) fn tcp(port: u16, flags: &str) -> Vec<u8> {
    let mut step = ethernet().ipv4(FROM, TO, 57).tcp(40_000, port, 1, 64_240);
    for flag in flags.chars() {
        step = match flag {
            'S' => step.syn(),
            'A' => step.ack(1),
            _ => step.rst(),
        };
    }
    let mut frame = Vec::new();
    step.write(&mut frame, &[0x55; 8]).expect("a Vec takes it");
    frame
}

/// A UDP datagram.
pub(crate) fn udp(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet().ipv4(FROM, TO, 57).udp(40_000, port).write(&mut frame, &[0x55; 20]).expect("a Vec takes it");
    frame
}

/// An echo request.
pub(crate) fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet().ipv4(FROM, TO, 57).icmpv4_echo_request(7, 1).write(&mut frame, &[0x55; 32]).expect("a Vec takes it");
    frame
}

/// IPv6 whose headers after the first are `chain`, then UDP in name only.
pub(crate) fn ipv6(first: u8, chain: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0x0a, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 0, first, 64]);
    frame.extend([0xfd; 32]);
    frame.extend(chain);
    frame.extend([0; 16]);
    frame
}

/// With `bytes` (a multiple of 4) of IPv4 options.
pub(crate) fn with_options(frame: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = frame[..34].to_vec();
    out[14] += u8::try_from(bytes / 4).expect("at most 40");
    out.extend(vec![1; bytes]);
    out.extend(&frame[34..]);
    out
}

/// In an outer IPv4 header, as IP in IP.
pub(crate) fn wrapped(frame: &[u8], from: [u8; 4], to: [u8; 4], tos: u8) -> Vec<u8> {
    let inner = &frame[14..];
    let len = u16::try_from(inner.len()).expect("short");
    let mut header = Ipv4Header::new(len, 64, IpNumber::IPV4, from, to).expect("short");
    header.dscp = etherparse::IpDscp::try_new(tos >> 2).expect("six bits");
    header.dont_fragment = false;
    header.header_checksum = header.calc_header_checksum();
    let mut out = frame[..14].to_vec();
    header.write(&mut out).expect("a Vec takes it");
    out.extend(inner);
    out
}

//! Stage: kernel program `balance`. The outer header.
//!
//! Input: the real server's row, the first word of the header. Output: the packet in an IP-in-IP header, behind the Ethernet
//! header of the next hop. Next file to read: `too_big.rs`.
//!
//! The outer header (RFC 2003): TOS from the inner one, so queues and ECN work on the way; TTL 64, and the inner TTL stays,
//! for the VIP is where the client thinks it is; identification 0 *because* DF is set (RFC 6864: an atomic packet needs
//! none). DF is always set: reassembly happens before no XDP program, so a fragment could not be unwrapped at the real
//! server; and fragments of different packets, all with identification 0, would be mixed up. Packets that would need
//! fragments are answered here instead (`too_big.rs`).

use std::net::Ipv4Addr;

use asm::dsl::prelude::{Be16, Be32, Eth, IPIP, Ipv4, Layout, Reasoned as _, ValRef, Xdp, bpf_fn};
use zerocopy::IntoBytes;

use super::hop;
use super::types::{Backend, Ending, Reason};
use crate::net::csum;

/// TTL of the outer header.
pub const TTL: u8 = 64;
/// Bytes the encapsulation adds.
pub const OVERHEAD: u16 = 20;
/// The same as a kernel program computes with it.
pub(super) const ADDED: u64 = OVERHEAD as u64;

/// "Don't fragment", among the flags of an IP header.
const DF: u16 = 0x4000;
/// The first byte of an IP header without options: version 4, five words.
const VERSION_IHL: u8 = 0x45;

/// The outer header of a packet of `inner_len` bytes: what the kernel program writes, as a value.
#[must_use]
pub fn outer(source: Ipv4Addr, real: Ipv4Addr, tos: u8, inner_len: u16) -> Option<Ipv4> {
    let total_len = Be16::new(inner_len.checked_add(OVERHEAD)?);
    let mut header = Ipv4 { tos, total_len, ..template(source, real) };
    header.checksum = Be16::new(u16::from_be_bytes(csum::checksum(header.as_bytes())));
    Some(header)
}

fn template(source: Ipv4Addr, real: Ipv4Addr) -> Ipv4 {
    Ipv4 {
        version_ihl: VERSION_IHL,
        fragment: Be16::new(DF),
        ttl: TTL,
        protocol: IPIP,
        src: source.into(),
        dst: real.into(),
        ..Ipv4::default()
    }
}

/// The part of the outer header's sum that is the same for every packet: all but the first word (version, TOS, length).
///
/// Computed once by the control plane; the kernel program adds the first word as one 32-bit number, which is the same modulo
/// 0xffff, and folds. Folded already here, so that two folds are enough there: 0xffff_ffff + 0xffff folds to 0x1_fffe, then
/// to 0xffff.
#[must_use]
pub fn constant_sum(source: Ipv4Addr, real: Ipv4Addr) -> u32 {
    csum::fold(csum::sum(&template(source, real).as_bytes()[4..])).into()
}

/// An IP header without options, in the words that it is written in.
#[derive(Layout)]
#[repr(C)]
pub(super) struct Words {
    /// Version, length of the header, TOS, total length.
    pub(super) first: u32,
    /// Identification, fragments.
    pub(super) second: u32,
    /// TTL, protocol, checksum.
    pub(super) third: u32,
    /// Source address.
    pub(super) src: Be32,
    /// Destination address.
    pub(super) dst: Be32,
}

/// The second word of a packet that may not be fragmented.
pub(super) const DONT_FRAGMENT: u32 = (Be16::new(DF).raw() as u32) << 16;

/// The third word but for the checksum.
pub(super) const fn ttl_and(protocol: u8) -> u64 {
    (protocol as u64) << 8 | TTL as u64
}

/// The first word of the header of a packet of `len` bytes.
pub(super) const fn first(tos: u8, len: u16) -> u32 {
    (Be16::new(len).raw() as u32) << 16 | (tos as u32) << 8 | VERSION_IHL as u32
}

/// The first word of the outer header, from the inner TOS and length. It is computed early, while the packet is at hand;
/// whether the length fits is checked before it is used.
#[bpf_fn]
pub(super) fn first_word(tos: u8, inner_len: u64) -> u32 {
    let len = ((inner_len + ADDED) as u16).to_be();
    (len.raw() as u32) << 16 | (tos as u32) << 8 | VERSION_IHL as u32
}

/// A sum of 16-bit words as the checksum, in the lowest 16 bits (see `csum::fold`).
#[bpf_fn]
pub(super) fn fold(sum: u64) -> u64 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    twice ^ 0xffff
}

/// Where the Ethernet header of the client's packet lies in a packet with an outer header, from the outer header on.
#[derive(Layout)]
#[repr(C)]
pub(super) struct Moved {
    pub(super) outer: [u8; 6],
    pub(super) eth: Eth,
}

/// Makes room, and writes the Ethernet header of the next hop (or the client's again) and the outer header.
#[bpf_fn]
pub(super) fn push(ctx: &mut Xdp, real: ValRef<Backend>, first: u32, egress: u32) -> Result<(), Ending> {
    ctx.adjust_head(-20).ok_or(Reason::NoHeadroom.ends())?;
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>().ok_or(Reason::NoHeadroom.ends())?;
    let moved = pkt.peek::<Moved>().ok_or(Reason::NoHeadroom.ends())?;
    let outer = pkt.read::<Words>().ok_or(Reason::NoHeadroom.ends())?;
    if egress == hop::UNKNOWN {
        *eth = moved.eth;
    } else {
        *eth = real.eth;
    }
    let checksum = fold(real.sum as u64 + first as u64);
    *outer = Words {
        first,
        second: DONT_FRAGMENT,
        third: (checksum << 16 | ttl_and(IPIP)) as u32,
        src: real.source,
        dst: real.addr,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The kernel program's arithmetic, done here: constant sum, one 32-bit word added, two folds.
        #[test]
        fn one_word_and_the_constant_sum_make_the_checksum(src: u32, dst: u32, tos: u8, len in 28u16..65_515) {
            let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::from(dst));
            let header = outer(src, dst, tos, len).unwrap();
            let first = u32::from_ne_bytes(header.as_bytes()[..4].try_into().unwrap());
            let mut sum = u64::from(constant_sum(src, dst)) + u64::from(first);
            for _ in 0..2 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            prop_assert_eq!((!u16::try_from(sum).unwrap()).to_ne_bytes(), header.checksum.raw().to_ne_bytes());
            prop_assert_eq!(csum::checksum(header.as_bytes()), [0, 0]);
        }
    }

    #[test]
    fn a_length_that_would_wrap_has_no_header() {
        let a = Ipv4Addr::new(10, 0, 0, 1);
        assert!(outer(a, a, 0, 65_515).is_some());
        assert!(outer(a, a, 0, 65_516).is_none());
    }
}

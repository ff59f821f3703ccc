//! Stage: choice of the real server. A keyed hash of the flow picks a slot of the VIP's ring.
//!
//! Input: a list of real servers with weights (control plane), a packet's addresses and ports (kernel program). Output:
//! the ring; a slot number.
//!
//! The ring is Maglev's (Eisenbud et al., NSDI 2016): each server has its own permutation of the slots, and the servers
//! take turns at claiming the next free slot of theirs. It depends on the *set* of servers alone, so balancers behind
//! ECMP agree without talking to each other, and a server that comes or goes moves little else.
//! Next file to read: `hop.rs`.

use std::net::Ipv4Addr;

use asm::dsl::prelude::*;

use super::{maps::CONFIG, types::SLOTS};

/// Multipliers of the flow hash: odd, and with bits all over (those of splitmix64 and of MurmurHash3's finaliser).
const MUL_1: u64 = 0x9e37_79b9_7f4a_7c15;
const MUL_2: u64 = 0xff51_afd7_ed55_8ccd;
const MUL_3: u64 = 0xc4ce_b9fe_1a85_ec53;
/// The hash's high bits are its best: this many are shifted away.
const SHIFT: u32 = 64 - SLOTS.trailing_zeros();

/// The slot of a flow, as the kernel program computes it.
///
/// `tuple` is client address and both ports, `vip` the VIP's key, each as eight bytes from memory. The key enters before
/// and between the multiplications: somebody who does not know it cannot choose addresses that meet in one slot.
#[must_use]
pub fn slot(key: [u64; 2], tuple: [u8; 8], vip: [u8; 8]) -> usize {
    let mut hash = (u64::from_ne_bytes(tuple) ^ key[0]).wrapping_mul(MUL_1);
    hash ^= hash >> 32;
    hash = (hash ^ u64::from_ne_bytes(vip)).wrapping_add(key[1]).wrapping_mul(MUL_2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(MUL_3);
    usize::try_from(hash >> SHIFT).unwrap_or(0)
}

/// [`slot`] in the kernel program.
#[bpf_fn]
pub(super) fn pick(tuple: u64, vip: u64) -> u32 {
    let mut hash = (tuple ^ CONFIG.place().key[0]) * MUL_1;
    hash ^= hash >> 32;
    hash = ((hash ^ vip) + CONFIG.place().key[1]) * MUL_2;
    hash ^= hash >> 29;
    // A constant shift right is a bound the verifier understands.
    (hash * MUL_3 >> SHIFT) as u32
}

/// The client's side of a flow as the hash wants it: address, source port, destination port.
#[must_use]
pub fn tuple(client: Ipv4Addr, client_port: u16, port: u16) -> [u8; 8] {
    let ([a, b, c, d], [e, f], [g, h]) = (client.octets(), client_port.to_be_bytes(), port.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

/// A server's way through the ring.
struct Walk {
    /// Its place in the caller's list.
    member: usize,
    weight: u64,
    /// Turns saved up, in units of the heaviest weight.
    credit: u64,
    /// The slot it tries next.
    next: usize,
    /// Step width; odd, so that the walk meets every slot of a ring whose size is a power of two.
    step: usize,
}

/// Fills a ring: for each slot the index in `members` of the server that owns it. Empty when no member has weight.
///
/// The result, read as addresses, does not depend on the order of `members`. Each server owns slots in proportion to
/// its weight, give or take two. Members with weight zero own none; addresses must be distinct.
///
/// ```
/// use progs::lb::select::ring;
/// let ring = ring(&[([10, 10, 1, 2].into(), 1), ([10, 10, 1, 3].into(), 3)]);
/// assert!(ring.iter().filter(|owner| **owner == 1).count().abs_diff(3 * ring.len() / 4) <= 2);
/// ```
#[must_use]
pub fn ring(members: &[(Ipv4Addr, u32)]) -> Vec<usize> {
    let mut walks: Vec<Walk> = members
        .iter()
        .enumerate()
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(member, (addr, weight))| {
            let hash = mix(u64::from(addr.to_bits()));
            let half = |bits: u64| usize::try_from(bits).unwrap_or(0) % SLOTS;
            Walk {
                member,
                weight: (*weight).into(),
                credit: 0,
                next: half(hash >> 32),
                step: half(hash & 0xffff_ffff) | 1,
            }
        })
        .collect();
    walks.sort_by_key(|walk| members[walk.member].0);
    let Some(heaviest) = walks.iter().map(|walk| walk.weight).max() else { return Vec::new() };
    // Members stand here as numbers of 32 bits: a ring is written all over, and its memory is most of what it costs.
    let mut owner = vec![FREE; SLOTS];
    let mut free = SLOTS;
    while free > 0 {
        for walk in &mut walks {
            walk.credit += walk.weight;
            if walk.credit >= heaviest && free > 0 {
                walk.credit -= heaviest;
                claim(&mut owner, walk);
                free -= 1;
            }
        }
    }
    owner.into_iter().map(|member| usize::try_from(member).unwrap_or(0)).collect()
}

/// A slot that nobody owns yet. No ring has so many members.
const FREE: u32 = u32::MAX;

/// Gives `walk` the next free slot on its way. There must be one.
fn claim(owner: &mut [u32], walk: &mut Walk) {
    while owner[walk.next] != FREE {
        walk.next = (walk.next + walk.step) % SLOTS;
    }
    owner[walk.next] = u32::try_from(walk.member).unwrap_or(0);
}

/// A bijection of 64-bit words in which every input bit reaches every output bit (splitmix64's).
fn mix(word: u64) -> u64 {
    let mut word = word.wrapping_add(MUL_1).wrapping_mul(MUL_1);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A short fingerprint of a ring, read as addresses: equal on two balancers when and only when (up to chance) they choose alike.
#[must_use]
pub fn digest(owners: impl IntoIterator<Item = Ipv4Addr>) -> u64 {
    owners.into_iter().fold(0, |hash, addr| mix(hash ^ u64::from(addr.to_bits())))
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;

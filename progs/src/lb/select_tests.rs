//! Tests of `select.rs`: properties of rings, quality of the hash.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn addr(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a0a_0000 + n)
}

/// A ring as addresses.
fn owners(members: &[(Ipv4Addr, u32)]) -> Vec<Ipv4Addr> {
    ring(members).into_iter().map(|owner| members[owner].0).collect()
}

fn shares(owners: &[Ipv4Addr]) -> BTreeMap<Ipv4Addr, usize> {
    owners.iter().fold(BTreeMap::new(), |mut shares, owner| {
        *shares.entry(*owner).or_default() += 1;
        shares
    })
}

prop_compose! {
    fn members(max: usize)(members in proptest::collection::btree_map(0u32..5000, 1u32..20, 1..max)) -> Vec<(Ipv4Addr, u32)> {
        members.into_iter().map(|(n, weight)| (addr(n), weight)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn shares_follow_weights(members in members(200)) {
        let owners = owners(&members);
        prop_assert_eq!(owners.len(), SLOTS);
        let shares = shares(&owners);
        let total: u64 = members.iter().map(|(_, weight)| u64::from(*weight)).sum();
        for (member, weight) in &members {
            let due = SLOTS as u64 * u64::from(*weight) / total;
            let got = shares.get(member).copied().unwrap_or(0) as u64;
            prop_assert!(got.abs_diff(due) <= 2, "{} owns {} slots, {} are due", member, got, due);
        }
    }

    #[test]
    fn order_does_not_matter(members in members(50), seed: u64) {
        let mut shuffled = members.clone();
        shuffled.sort_by_key(|(member, _)| mix(u64::from(member.to_bits()) ^ seed));
        prop_assert_eq!(owners(&members), owners(&shuffled));
    }

    /// The least that can move is the share of who came or went. Maglev moves a little more; here up to 3 % of the slots.
    #[test]
    fn little_else_moves(members in members(100), at: prop::sample::Index) {
        prop_assume!(members.len() > 1);
        let with = owners(&members);
        let mut fewer = members.clone();
        let (gone, _) = fewer.remove(at.index(members.len()));
        let without = owners(&fewer);
        let moved = with.iter().zip(&without).filter(|(a, b)| **a != gone && a != b).count();
        prop_assert!(moved <= SLOTS * 3 / 100, "{} of {} slots moved though their owner stayed, {} members", moved, SLOTS, members.len());
    }

    #[test]
    fn a_weight_of_zero_is_absence(members in members(20), n in 6000u32..7000) {
        let mut more = members.clone();
        more.push((addr(n), 0));
        prop_assert_eq!(owners(&members), owners(&more));
    }
}

#[test]
fn nobody_and_one() {
    assert_eq!(ring(&[]), Vec::<usize>::new());
    assert_eq!(ring(&[(addr(1), 0)]), Vec::<usize>::new());
    assert_eq!(shares(&owners(&[(addr(1), 7)])), BTreeMap::from([(addr(1), SLOTS)]));
}

#[test]
fn the_heaviest_weights_work() {
    let shares = shares(&owners(&[(addr(1), 65_535), (addr(2), 1)]));
    assert!(shares[&addr(1)] >= SLOTS - 2, "{shares:?}");
}

#[test]
fn digests_tell_rings_apart() {
    let a = owners(&[(addr(1), 1), (addr(2), 1)]);
    let b = owners(&[(addr(1), 1), (addr(3), 1)]);
    assert_ne!(digest(a.iter().copied()), digest(b));
    let mut c = a.clone();
    c.swap(0, a.iter().position(|owner| *owner != a[0]).unwrap());
    assert_ne!(digest(a), digest(c));
}

/// Clients that differ only in low bits of address or port, as real ones do, must spread as random ones would.
#[test]
fn similar_flows_spread() {
    let key = crate::lb::control::config::HashKey::PUBLIC.0;
    let vip = *b"\x0a\x0a\x00\x05\x00\x50\x06\x00";
    type Flow = fn(u32) -> [u8; 8];
    let flows: [(&str, Flow); 3] = [
        ("ports", |n| tuple(addr(1), u16::try_from(n % 60_000).unwrap(), 80)),
        ("addresses", |n| tuple(addr(n), 40_000, 80)),
        ("ports two apart", |n| tuple(addr(n / 4096), u16::try_from(32_768 + 2 * (n % 4096)).unwrap(), 80)),
    ];
    for (name, flow) in flows {
        let (buckets, count) = (256, 60_000u32);
        let mut seen = vec![0u32; buckets];
        (0..count).for_each(|n| seen[slot(key, flow(n), vip) * buckets / SLOTS] += 1);
        let due = f64::from(count) / 256.0;
        let chi: f64 = seen.iter().map(|n| (f64::from(*n) - due).powi(2) / due).sum();
        // 255 degrees of freedom: mean 255, standard deviation 22.6; six of these off is no accident.
        assert!((255.0 - 136.0..255.0 + 136.0).contains(&chi), "{name}: chi² {chi}");
    }
}

#[test]
fn every_bit_of_the_flow_matters() {
    let key = [1, 2];
    let (flow, vip) = ([0x11; 8], [0x22; 8]);
    let base = slot(key, flow, vip);
    let mut same = 0;
    for bit in 0..64 {
        let flip = |mut bytes: [u8; 8]| {
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        same += usize::from(slot(key, flip(flow), vip) == base) + usize::from(slot(key, flow, flip(vip)) == base);
    }
    assert!(same <= 1, "{same} of 128 single-bit changes gave the same slot");
}

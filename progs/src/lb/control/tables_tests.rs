//! Tests of `tables.rs` against maps in memory: what is planned, in which order it is written, what survives an update.

use std::{cell::RefCell, collections::BTreeMap, convert::Infallible};

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::*;
use crate::lb::{
    control::{
        Config, Counters, Route, Routes, Sizes, apply,
        config::{Protocol, Real, Vip},
    },
    select,
};

/// Maps in memory, on two CPUs. Arrays are made of the rows that were written; a row never written is zero, as in the kernel.
#[derive(Default)]
struct Memory {
    /// Map and key; the values, of all CPUs or only one.
    rows: RefCell<BTreeMap<(String, Vec<u8>), Cpus>>,
}

type Cpus = Vec<Vec<u8>>;

const SIZES: Sizes = Sizes { vips: 32, rings: 8, backends: 32, reasons: 9 * REASONS };

impl Memory {
    fn get(&self, map: &str, key: &[u8]) -> Option<Cpus> {
        let zeros = |len| vec![vec![0; len]; 2];
        let row = self.rows.borrow().get(&(map.to_owned(), key.to_vec())).cloned();
        match map {
            names::BACKENDS => Some(row.unwrap_or_else(|| zeros(size_of::<Backend>()))),
            names::REASONS => Some(row.unwrap_or_else(|| zeros(8))),
            names::CONFIG => Some(row.unwrap_or_else(|| zeros(size_of::<types::Config>()))),
            _ => row,
        }
    }
}

impl Maps for Memory {
    type Error = Infallible;

    fn lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(map, key).map(|cpus| cpus[0].clone()))
    }
    fn lookup_each_cpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Infallible> {
        Ok(self.get(map, key))
    }
    fn set(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.rows.borrow_mut().insert((map.to_owned(), key.to_vec()), vec![value.to_vec()]);
        Ok(())
    }
    fn set_each_cpu(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.rows.borrow_mut().insert((map.to_owned(), key.to_vec()), vec![value.to_vec(); 2]);
        Ok(())
    }
    fn delete(&self, map: &str, key: &[u8]) -> Result<(), Infallible> {
        self.rows.borrow_mut().remove(&(map.to_owned(), key.to_vec()));
        Ok(())
    }
    fn keys(&self, map: &str) -> Result<Vec<Vec<u8>>, Infallible> {
        Ok(self.rows.borrow().keys().filter(|(name, _)| name == map).map(|(_, key)| key.clone()).collect())
    }
    fn max_entries(&self, map: &str) -> Result<u32, Infallible> {
        Ok(SIZES.by_name().iter().find(|(name, _)| *name == map).map_or(1, |(_, entries)| *entries))
    }
}

/// VIPs as `(port, [(last byte of the real server, weight)])` on one address.
fn config(vips: &[(u16, &[(u8, u32)])]) -> Config {
    let real = |(last, weight): &(u8, u32)| Real { address: [10, 10, 1, *last].into(), weight: *weight };
    let vip = |(port, reals): &(u16, &[(u8, u32)])| Vip {
        address: [10, 10, 0, 5].into(),
        port: *port,
        protocol: Protocol::Tcp,
        reals: reals.iter().map(real).collect(),
    };
    Config { vip: vips.iter().map(vip).collect(), ..Config::default() }
}

fn routes(config: &Config) -> Routes {
    config.reals().into_iter().map(|real| (real, Route { source: [10, 10, 1, 1].into(), mtu: 1500 })).collect()
}

fn plan(config: &Config, current: &Tables) -> Tables {
    assert_eq!(config.validate(), Ok(()));
    Tables::plan(config, &routes(config), current, SIZES).unwrap()
}

/// What the kernel program would do with a flow to `port`: the real server, and the row that counts it.
fn forward(maps: &Memory, port: u16, flow: u16) -> Option<(Ipv4Addr, u16)> {
    let read = |map: &str, key: &[u8]| maps.get(map, key).map(|cpus| cpus[1 % cpus.len()].clone());
    let config = types::Config::read_from_bytes(&read(names::CONFIG, &0u32.to_ne_bytes())?).ok()?;
    let mut key = VipKey::service([10, 10, 0, 5].into(), port, 6);
    let bucket = types::Config::bucket(key.addr);
    if config.filter[(bucket / 64) as usize] >> (bucket % 64) & 1 == 0 {
        return None;
    }
    let vip = read(names::VIPS, key.as_bytes()).or_else(|| {
        key.port = asm::dsl::Be16::new(0);
        (config.any_port != 0).then(|| read(names::VIPS, key.as_bytes()))?
    })?;
    let vip = types::Vip::read_from_bytes(&vip).ok()?;
    let ring = read(names::RINGS, &vip.ring.to_ne_bytes()).expect("a VIP points to a ring");
    let slot =
        select::slot(config.key, select::tuple([192, 0, 2, 1].into(), flow, port), key.as_bytes().try_into().ok()?);
    let backend = &ring[4 * slot..][..4];
    let backend = Backend::read_from_bytes(&read(names::BACKENDS, backend)?).ok()?;
    assert_ne!(backend.row, 0, "a slot points to a real server");
    assert_eq!(u32::from(backend.row), vip.row, "a slot points to a real server of its VIP");
    assert_eq!(backend.sum, encap::constant_sum(backend.source.into(), backend.addr.into()));
    Some((backend.addr.into(), backend.row))
}

#[test]
fn the_plan_reads_as_text() {
    let config = config(&[(80, &[(2, 1), (3, 1)]), (0, &[(4, 1)])]);
    let text = plan(&config, &Tables::default()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "set    backends 0: 10.10.1.2 for 10.10.0.5:80/tcp, outer source 10.10.1.1, route MTU 1500");
    assert!(lines[3].starts_with("set    rings    0: slots 10.10.1.2 32768, 10.10.1.3 32768; digest "), "{text}");
    assert_eq!(
        lines[5],
        "set    .data.config hash key public default, VIPs for any port: some, 1 bits of the filter set"
    );
    assert_eq!(lines[6], "set    vips     10.10.0.5:80/tcp uses ring 0, counts in row 1");
    assert_eq!(lines[7], "set    vips     10.10.0.5/tcp has VIPs");
    assert_eq!(lines[8], "set    vips     10.10.0.5:*/tcp uses ring 1, counts in row 2");
    assert_eq!(lines.len(), 9);
}

#[test]
fn what_is_written_is_read_back_and_a_second_time_nothing_changes() {
    let (maps, config) = (Memory::default(), config(&[(80, &[(2, 1), (3, 0)])]));
    let tables = plan(&config, &Tables::default());
    apply(&tables.diff(&Tables::default()), &maps).unwrap();
    let read = Tables::read(&maps).unwrap();
    assert_eq!(read, tables);
    assert_eq!(plan(&config, &read).diff(&read), []);
}

#[test]
fn an_update_changes_only_what_changed() {
    let maps = Memory::default();
    let before = plan(&config(&[(80, &[(2, 1), (3, 1)]), (81, &[(2, 1)])]), &Tables::default());
    apply(&before.diff(&Tables::default()), &maps).unwrap();
    let after = plan(&config(&[(80, &[(2, 1), (3, 1), (4, 1)]), (81, &[(2, 1)])]), &before);
    let touched: Vec<&str> = after.diff(&before).iter().map(|write| write.map).collect();
    assert_eq!(touched, ["backends", "rings", "vips"], "one real server, one ring to a free row, one switch");
}

#[test]
fn a_full_map_and_a_missing_route_are_errors_that_name_the_vip() {
    let config = config(&[(80, &[(2, 1), (3, 1)])]);
    let small = Sizes { backends: 1, ..SIZES };
    let error = Tables::plan(&config, &routes(&config), &Tables::default(), small).unwrap_err().to_string();
    assert!(error.contains("10.10.0.5:80/tcp") && error.contains("`backends` is full (1 rows"), "{error}");
    let error = Tables::plan(&config, &Routes::new(), &Tables::default(), SIZES).unwrap_err().to_string();
    assert!(error.contains("real server 10.10.1.2"), "{error}");
}

#[test]
fn counters_add_up_over_cpus_and_keep_going() {
    let maps = Memory::default();
    let first = plan(&config(&[(80, &[(2, 1), (3, 1)])]), &Tables::default());
    apply(&first.diff(&Tables::default()), &maps).unwrap();
    let (index, row) = first.backends.iter().next().map(|(index, row)| (*index, *row)).unwrap();
    let counted = |packets| Backend { packets, bytes: 100 * packets, ..row.to_wire() }.as_bytes().to_vec();
    maps.rows.borrow_mut().insert((names::BACKENDS.into(), index.to_ne_bytes().into()), vec![counted(3), counted(4)]);
    maps.set(names::REASONS, &(REASONS + types::Reason::Fragment.number()).to_ne_bytes(), &5u64.to_ne_bytes()).unwrap();
    let second = plan(&config(&[(80, &[(2, 1), (4, 1)])]), &first);
    apply(&second.diff(&first), &maps).unwrap();
    let counters = Counters::read(&maps, &second).unwrap();
    assert_eq!((counters.vips[0].packets, counters.vips[0].bytes), (7, 700));
    assert_eq!((counters.vips[0].reals[0].packets, counters.vips[0].reals[0].slots), (7, 32_768));
    assert_eq!((counters.vips[0].reasons[0].reason, counters.vips[0].reasons[0].packets), ("fragment", 5));
    let text = counters.to_string();
    assert!(text.starts_with("10.10.0.5:80/tcp                    7 packets             700 bytes\n"), "{text}");
    // A VIP that goes takes its counters with it.
    let none = plan(&config(&[]), &second);
    apply(&none.diff(&second), &maps).unwrap();
    assert_eq!(Tables::read(&maps).unwrap(), Tables { config: none.config, ..Tables::default() });
    let again = plan(&config(&[(80, &[(2, 1)])]), &none);
    apply(&again.diff(&none), &maps).unwrap();
    let counters = Counters::read(&maps, &again).unwrap();
    assert_eq!((counters.vips[0].packets, counters.vips[0].reasons.len()), (0, 0));
}

#[test]
fn maps_stay_small() {
    let Sizes { vips, rings, backends, reasons } = Sizes::new(16, 16 * 8);
    let cpus = 64;
    let bytes = vips * 80 + rings * 4 * 65_536 + cpus * (64 * backends + 8 * reasons);
    assert!(bytes < 40_000_000, "{bytes} bytes with 16 VIPs of eight real servers on {cpus} CPUs");
}

prop_compose! {
    fn any_config()(vips in proptest::collection::btree_map(0u16..4, proptest::collection::btree_map(2u8..8, 0u32..3, 1..4), 0..4)) -> Config {
        let vips: Vec<(u16, Vec<(u8, u32)>)> = vips.into_iter().map(|(port, reals)| (port, reals.into_iter().collect())).collect();
        let vips: Vec<(u16, &[(u8, u32)])> = vips.iter().filter(|(_, reals)| reals.iter().any(|(_, weight)| *weight > 0)).map(|(port, reals)| (*port, reals.as_slice())).collect();
        config(&vips)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// After each single write of an update, every flow goes where the old configuration or the new one sends it.
    #[test]
    fn packets_never_see_half_an_update(old in any_config(), new in any_config()) {
        let maps = Memory::default();
        let before = plan(&old, &Tables::default());
        apply(&before.diff(&Tables::default()), &maps).unwrap();
        let after = plan(&new, &before);
        let writes = after.diff(&before);
        let probes: Vec<(u16, u16)> = (0..4).flat_map(|port| [1, 2, 3, 4].map(|flow| (port, flow))).collect();
        let look = |maps: &Memory| probes.iter().map(|(port, flow)| forward(maps, *port, *flow).map(|(addr, _)| addr)).collect::<Vec<_>>();
        let old_way = look(&maps);
        let mut ways = Vec::new();
        for write in &writes {
            apply(std::slice::from_ref(write), &maps).unwrap();
            ways.push((write.to_string(), look(&maps)));
        }
        let new_way = look(&maps);
        prop_assert_eq!(Tables::read(&maps).unwrap(), after);
        for (write, way) in ways {
            for (i, real) in way.iter().enumerate() {
                prop_assert!(*real == old_way[i] || *real == new_way[i], "after `{}` flow {:?} goes to {:?}", write, probes[i], real);
            }
        }
    }
}

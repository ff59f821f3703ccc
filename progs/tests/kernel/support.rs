//! What the kernel tests share: a network namespace of the test's own, loaded objects, a balancer that knows its next hop.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
    thread,
};

use asm::{
    codegen::Profile,
    dsl::{Module, Program, net::Eth},
};
use loader::{
    LoadOptions, Spec,
    map::Map,
    prog::{Prog, TestRun},
};
use nix::sched::{CloneFlags, unshare};
use progs::lb::{
    control::{Config, Counters, KernelMaps, Maps, Route, Routes, Sizes, Tables, apply},
    maps::names,
    types::{Backend, REASONS, Reason},
};
use zerocopy::{FromBytes, IntoBytes};

/// `XDP_DROP` and its neighbours.
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
pub(crate) const REDIRECT: u32 = 4;

/// Runs `test` on a thread in a network namespace of its own, which goes when the thread ends.
pub(crate) fn in_netns(test: impl FnOnce() + Send + 'static) {
    assert!(nix::unistd::geteuid().is_root(), "the kernel tests need root: run them with `cargo ci test` as root");
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The kernel that runs here, as (major, minor).
pub(crate) fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut parts = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Loads programs as one object; the kernel takes its types too.
pub(crate) fn loads<const N: usize>(programs: [Program; N], profile: &Profile) -> loader::Loaded {
    let loaded = tried(programs, profile).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.notes(), [""; 0], "the kernel takes the types too");
    loaded
}

/// As [`loads`], or why not.
pub(crate) fn tried<const N: usize>(programs: [Program; N], profile: &Profile) -> Result<loader::Loaded, String> {
    let module = programs.into_iter().fold(Module::new(progs::LICENSE), Module::prog);
    let object = module.object(profile);
    let bytes = object.unwrap_or_else(|error| panic!("{error}")).write().expect("it is written");
    let spec = Spec::parse(&bytes).expect("it is well-formed");
    loader::load(&spec, &LoadOptions::default()).map_err(|error| crate::examples::causes(&error))
}

/// An object of that name, which is compiled once.
pub(crate) fn compiled(name: &str, compile: impl FnOnce() -> Vec<u8>) -> Spec {
    static COMPILED: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    Spec::parse(all.entry(name.to_owned()).or_insert_with(compile)).expect("it is well-formed")
}

/// A built-in object in the kernel, with its only program.
pub(crate) struct Loaded {
    loaded: loader::Loaded,
    prog: &'static str,
}

impl Loaded {
    pub(crate) fn new(object: &str, sizes: &[(&str, u32)]) -> Self {
        let built_in = progs::by_name(object).expect("it is built in");
        let spec = compiled(object, || built_in.object().expect("it is written"));
        let max_entries = sizes.iter().map(|(name, entries)| ((*name).to_owned(), *entries)).collect();
        let options = LoadOptions { max_entries, ..LoadOptions::default() };
        let loaded = loader::load(&spec, &options).unwrap_or_else(|error| panic!("{object}: {error:?}"));
        assert_eq!(loaded.notes(), [""; 0], "the kernel takes the types too");
        Self { loaded, prog: built_in.programs[0] }
    }

    pub(crate) fn prog(&self) -> &Prog {
        self.loaded.prog(self.prog).expect("it has one program")
    }

    pub(crate) fn maps(&self) -> KernelMaps<'_> {
        KernelMaps::new(|name| self.loaded.map(name).ok())
    }

    pub(crate) fn each_map(&self) -> impl Iterator<Item = &Map> {
        self.loaded.maps().map(|(_, map)| map)
    }

    pub(crate) fn run(&self, packet: &[u8]) -> TestRun {
        self.prog().test_run(packet, 1).expect("the kernel runs it")
    }
}

/// The balancer's address.
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 10, 1, 1);
/// The VIP.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 5);
/// A real server.
pub(crate) const REAL: Ipv4Addr = Ipv4Addr::new(10, 10, 1, 2);
/// The Ethernet header of the prepared next hop.
pub(crate) const HOP: [u8; 14] = *b"\x02\0\0\0\0\x0b\x02\0\0\0\0\x0a\x08\x00";

fn eth() -> Eth {
    Eth::read_from_bytes(&HOP).expect("its size")
}

/// A loaded `balance` with contents.
pub(crate) struct Balancer {
    pub(crate) object: Loaded,
    pub(crate) tables: Tables,
}

impl Balancer {
    /// With VIPs from TOML. The maps are as small as the configuration lets them be.
    pub(crate) fn new(toml: &str) -> Self {
        Self::of(&config(toml))
    }

    /// As [`Balancer::new`], with a configuration that need not make sense.
    pub(crate) fn of(config: &Config) -> Self {
        let object = Loaded::new("lb", &Sizes::of(config).by_name());
        let mut balancer = Self { object, tables: Tables::default() };
        balancer.update(config);
        balancer
    }

    /// As [`Balancer::new`], and each real server's next hop is known for ever: out by interface `egress`, MTU 1500.
    pub(crate) fn with_hops(toml: &str, egress: u32) -> Self {
        let balancer = Self::new(toml);
        balancer.prepare_hops(egress, 1500);
        balancer
    }

    pub(crate) fn prepare_hops(&self, egress: u32, mtu: u32) {
        let maps = self.object.maps();
        for (index, row) in &self.tables.backends {
            let hop = Backend { fresh_until: u64::MAX, eth: eth(), egress, mtu, ..row.to_wire() };
            maps.set_each_cpu(names::BACKENDS, &index.to_ne_bytes(), hop.as_bytes()).expect("the row exists");
        }
    }

    /// Brings the maps to `config`.
    pub(crate) fn update(&mut self, config: &Config) {
        let maps = self.object.maps();
        let sizes = Sizes::read(&maps).expect("the maps are there");
        let tables = Tables::plan(config, &routes(config), &self.tables, sizes).expect("it fits");
        apply(&tables.diff(&self.tables), &maps).expect("the kernel takes it");
        self.tables = tables;
    }

    /// Sets all counters to zero, and next hops as [`Balancer::with_hops`] does.
    pub(crate) fn reset_counters(&self, egress: u32) {
        self.prepare_hops(egress, 1500);
        let maps = self.object.maps();
        let rows = 1 + u32::try_from(self.tables.services().count()).expect("few");
        for row in 0..rows {
            for reason in Reason::ALL {
                let key = row * REASONS + reason.number();
                maps.set_each_cpu(names::REASONS, &key.to_ne_bytes(), &[0; 8]).expect("the row exists");
            }
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters::read(&self.object.maps(), &self.tables).expect("the maps are there")
    }

    /// What was counted, as `name packets` for each VIP's real servers and each reason, sorted.
    pub(crate) fn counted(&self) -> Vec<String> {
        let counters = self.counters();
        let reals = counters.vips.iter().flat_map(|vip| &vip.reals).filter(|real| real.packets > 0);
        let reasons =
            counters.vips.iter().flat_map(|vip| &vip.reasons).map(|r| format!("vip {} {}", r.reason, r.packets));
        let mut all: Vec<String> =
            reals.map(|real| format!("{} {}", real.address, real.packets)).chain(reasons).collect();
        all.extend(counters.others.iter().map(|r| format!("{} {}", r.reason, r.packets)));
        all.sort();
        all
    }

    /// Row of `backends` number `index`, on the CPU that wrote it last.
    pub(crate) fn hop(&self, index: u32) -> Backend {
        let cpus = self.object.maps().lookup_each_cpu(names::BACKENDS, &index.to_ne_bytes()).expect("it exists");
        let rows = cpus.into_iter().flatten().map(|bytes| Backend::read_from_bytes(&bytes).expect("its size"));
        rows.max_by_key(|row| row.fresh_until).expect("there is a CPU")
    }
}

pub(crate) fn config(toml: &str) -> Config {
    let config: Config = toml::from_str(toml).expect("the test's TOML is right");
    config.validate().expect("and makes sense");
    config
}

pub(crate) fn routes(config: &Config) -> Routes {
    config.reals().into_iter().map(|real| (real, Route { source: BALANCER, mtu: 1500 })).collect()
}

/// A VIP for TCP port 80 and one for UDP port 53 with one real server each, and one for any TCP port of another address.
pub(crate) const CONFIG: &str = r#"
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.2" }]
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
"#;

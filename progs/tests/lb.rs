//! The load balancer in the interpreter: the corpus, and every answer that a routing table can give.
//!
//! Input: `corpus/`. Output: the lines of `golden/lb*.txt`. No kernel, no root. Read next: `kernel/corpus.rs`.

mod corpus;

use std::{cell::RefCell, collections::BTreeSet, convert::Infallible, fmt::Write as _, fs, path::PathBuf};

use asm::dsl::net::{ETH_IPV4, Eth};
use asm::vm::{Vm, Xdp};
use corpus::packets::{tcp, udp};
use corpus::{CONFIG, COUNTED, VIP, report, same_lines};
use loader::{Spec, machine::machine};
use progs::lb::control::counters::ReasonCount;
use progs::lb::control::{Config, Counters, DecapCounters, DecapTables, Maps, Route, Routes, Sizes, Tables, apply};
use progs::lb::{maps::names, types::Backend};
use zerocopy::IntoBytes;

/// A machine with a program of the load balancer, whose maps are the control plane's.
struct Machine(RefCell<Vm>);

impl Machine {
    fn new(object: &str) -> Self {
        let built_in = progs::by_name(object).expect("it is built in");
        let spec = Spec::parse(&built_in.object().expect("it is written")).expect("it is well-formed");
        let mut vm = machine(&spec, built_in.programs[0]).expect("it is linked");
        vm.host().time_ns = 1_000_000_000;
        Self(RefCell::new(vm))
    }

    fn run(&self, packet: &[u8], ingress_ifindex: u32) -> (u32, Vec<u8>) {
        let meta = Xdp { ingress_ifindex, ..Xdp::default() };
        let run = self.0.borrow_mut().run_xdp(packet, meta).unwrap_or_else(|fault| panic!("{packet:02x?}: {fault}"));
        (run.verdict, run.packet)
    }
}

impl Maps for Machine {
    type Error = Infallible;

    fn lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        let mut vm = self.0.borrow_mut();
        let (map, memory) = vm.map(map).expect("it has the map");
        let size = map.spec().value_size as usize;
        Ok(map.lookup(key, 0).map(|at| memory.bytes(at, size).expect("a value of that size").to_vec()))
    }

    fn lookup_each_cpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Infallible> {
        Ok(self.lookup(map, key)?.map(|value| vec![value]))
    }

    fn set(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        let mut vm = self.0.borrow_mut();
        let (map, memory) = vm.map(map).expect("it has the map");
        map.update(memory, key, value, 0, None).expect("it fits");
        Ok(())
    }

    fn set_each_cpu(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.set(map, key, value)
    }

    fn delete(&self, map: &str, key: &[u8]) -> Result<(), Infallible> {
        self.0.borrow_mut().map(map).expect("it has the map").0.delete(key).ok();
        Ok(())
    }

    fn keys(&self, map: &str) -> Result<Vec<Vec<u8>>, Infallible> {
        Ok(self.0.borrow_mut().map(map).expect("it has the map").0.keys())
    }

    fn max_entries(&self, map: &str) -> Result<u32, Infallible> {
        Ok(self.0.borrow_mut().map(map).expect("it has the map").0.spec().max_entries)
    }
}

/// Compares with the golden file, or writes it.
fn golden(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("the directory is there");
    }
    same_lines(file, &fs::read_to_string(&path).unwrap_or_default(), text);
}

fn config(toml: &str) -> Config {
    toml::from_str(toml).expect("the test's TOML is right")
}

/// A balancer with the corpus's VIPs.
fn balancer() -> (Machine, Tables) {
    let machine = Machine::new("lb");
    let config = config(CONFIG);
    let route = Route { source: [10, 10, 1, 1].into(), mtu: 1480 };
    let routes: Routes = config.reals().into_iter().map(|real| (real, route)).collect();
    let sizes = Sizes::read(&machine).expect("the maps are there");
    let tables = Tables::plan(&config, &routes, &Tables::default(), sizes).expect("it fits");
    apply(&tables.diff(&Tables::default()), &machine).expect("it is written");
    (machine, tables)
}

/// The next hop of every real server: known for ever.
fn prepare_hops(machine: &Machine, tables: &Tables, egress: u32, mtu: u32) {
    for (index, row) in &tables.backends {
        let eth = Eth { dst: [2, 0, 0, 0, 0, 0x0b], src: [2, 0, 0, 0, 0, 0x0a], proto: ETH_IPV4 };
        let hop = Backend { fresh_until: u64::MAX, eth, egress, mtu, ..row.to_wire() };
        machine.set_each_cpu(names::BACKENDS, &index.to_ne_bytes(), hop.as_bytes()).expect("the row exists");
    }
}

#[test]
fn balance_does_with_every_packet_what_it_did() {
    let (machine, tables) = balancer();
    prepare_hops(&machine, &tables, 7, 1500);
    let mut lines = report(&corpus::balance(), |packet| machine.run(packet, 1));
    writeln!(lines, "{COUNTED}\n{}", counted(&machine, &tables)).expect("a String takes it");
    golden("lb.txt", &lines);
}

#[test]
fn decap_does_with_every_packet_what_it_did() {
    let machine = Machine::new("lb-decap");
    let tables = DecapTables::plan(&config(corpus::decap::CONFIG), &BTreeSet::from([corpus::decap::REAL]));
    apply(&tables.expect("it is a real server").diff(&DecapTables::default()), &machine).expect("it is written");
    let mut lines = report(&corpus::decap::decap(), |packet| machine.run(packet, 1));
    let counters = DecapCounters::read(&machine).expect("the maps are there");
    writeln!(lines, "{COUNTED}").expect("a String takes it");
    for vip in counters.vips {
        writeln!(lines, "{}: {} {}", vip.address, vip.packets, vip.bytes).expect("a String takes it");
    }
    for tunnel in counters.tunnels {
        writeln!(lines, "{}: {} {}", tunnel.tunnel, tunnel.packets, tunnel.bytes).expect("a String takes it");
    }
    writeln!(lines, "{}", reasons(&counters.reasons)).expect("a String takes it");
    golden("lb-decap.txt", &lines);
}

/// Counters of the balancer, and the rows of its real servers as bytes.
fn counted(machine: &Machine, tables: &Tables) -> String {
    let counters = Counters::read(machine, tables).expect("the maps are there");
    let mut lines = vec![format!("others: {}", reasons(&counters.others))];
    for vip in counters.vips {
        lines.push(format!("{}: {} {}, {}", vip.vip, vip.packets, vip.bytes, reasons(&vip.reasons)));
    }
    for index in tables.backends.keys() {
        let row = machine.lookup(names::BACKENDS, &index.to_ne_bytes()).expect("it is read").expect("it exists");
        lines.push(format!("{index}: {}", row.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    }
    lines.join("\n")
}

fn reasons(counts: &[ReasonCount]) -> String {
    let counts: Vec<_> = counts.iter().map(|count| format!("{} {}", count.reason, count.packets)).collect();
    counts.join(", ")
}

/// The kernel's answers: its code, the MTU it tells, and whether the next hop's address is known.
const ANSWERS: [fn(&mut [u8]) -> u64; 12] = [
    |fib| answer(fib, 0, 1480, true),
    |fib| answer(fib, 0, 1, true),
    |fib| answer(fib, 0, 67, true),
    |fib| answer(fib, 0, 68, true),
    |fib| answer(fib, 0, 1480, false),
    |fib| answer(fib, 1, 1480, true),
    |fib| answer(fib, 4, 1480, true),
    |fib| answer(fib, 5, 1480, true),
    |fib| answer(fib, 6, 1480, true),
    |fib| answer(fib, 7, 1480, true),
    |fib| answer(fib, 7, 300, false),
    |fib| answer(fib, 8, 1480, true),
];

fn answer(fib: &mut [u8], code: u64, mtu: u16, known: bool) -> u64 {
    // What was asked decides what is answered, so that another question gives another answer.
    let asked = fib.iter().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    fib[6..8].copy_from_slice(&mtu.to_ne_bytes());
    fib[8] = 7;
    fib[52..58].fill(asked);
    if known {
        fib[58..64].copy_from_slice(&[2, 0, 0, 0, asked, 9]);
    }
    code
}

#[test]
fn balance_takes_every_answer_of_the_routing_table_as_it_did() {
    let mut lines = String::new();
    for (number, fib) in ANSWERS.into_iter().enumerate() {
        let (machine, tables) = balancer();
        machine.0.borrow_mut().host().fib = fib;
        let packets = [("small", tcp(VIP, 80, 0)), ("large", tcp(VIP, 80, 1440)), ("udp", udp(VIP, 80, 1400))];
        for ingress in [1, 7] {
            let named =
                packets.clone().map(|(name, packet)| (format!("answer {number}, from {ingress}, {name}"), packet));
            lines += &report(&named.to_vec(), |packet| machine.run(packet, ingress));
        }
        writeln!(lines, "{}", counted(&machine, &tables)).expect("a String takes it");
    }
    golden("lb-hops.txt", &lines);
}

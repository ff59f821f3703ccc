//! Stage: fixtures. Input: the running kernel, as root; output: `tests/fixtures/*.hex`, the bytes of real exchanges, which
//! `tests/fixtures.rs` checks both ways. Run it as `cargo run -p netlink --example record`, then fill in the text with
//! `NETLINK_GOLDEN=update cargo test -p netlink --test fixtures`, and read the difference. All happens in new network namespaces.

use std::error::Error;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use netlink::generic::ctrl::Controller;
use netlink::generic::ethtool::Ethtool;
use netlink::generic::netdev::NetDevSocket;
use netlink::netfilter::{self, Dnat, table_delete_request, table_request};
use netlink::route::{
    BpfFilterSpec, BridgeSpec, Direction as Hook, Mode, Replace, Route, Rule, Socket, VethPeer, VethSpec,
};
use netlink::{Connection, Direction, Mac};
use nix::sched::{CloneFlags, unshare};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Lines of one fixture.
type Tape = Arc<Mutex<String>>;

/// Starts a fixture on a connection.
fn tape(connection: &mut Connection, table: &str, words: &str) -> Tape {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let series: Vec<&str> = kernel.split('.').take(2).collect();
    let tape = Tape::new(Mutex::new(format!("# {words}; Linux {}\n# table: {table}\n", series.join("."))));
    let writer = Arc::clone(&tape);
    connection.set_tap(Some(Box::new(move |direction, bytes| {
        let Ok(mut text) = writer.lock() else { return };
        text.push(if direction == Direction::Sent { '>' } else { '<' });
        text.push(' ');
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&hex);
        text.push('\n');
    })));
    tape
}

fn save(tape: &Tape, name: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.hex"));
    let text = tape.lock().map_err(|_| "the tape broke")?;
    fs::write(&path, text.as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

fn namespace() -> Result<(Socket, File)> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok((Socket::open()?, File::open("/proc/thread-self/ns/net")?))
}

/// `r0 = 2; exit`
fn program(prog_type: u32) -> Result<OwnedFd> {
    let insns = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat();
    let load = loader::sys::prog::Load { prog_type, insns: &insns, license: c"GPL", ..Default::default() };
    loader::sys::prog::load(&load, None).map_err(|failed| format!("load a program: {:?}", failed.errno).into())
}

fn ip(text: &str) -> Result<IpAddr> {
    Ok(text.parse()?)
}

fn links(rt: &mut Socket, there: &File) -> Result<()> {
    let t =
        tape(rt.connection(), "route", "make a veth pair with its peer in another namespace, read the end that stays");
    let peer =
        VethPeer { name: "eth0", netns_fd: Some(there.as_fd()), mtu: Some(1400), mac: Some(Mac([2, 0, 0, 0, 0, 2])) };
    let spec = VethSpec { name: "left", mtu: Some(1500), mac: Some(Mac([2, 0, 0, 0, 0, 1])), queues: Some(1), peer };
    let left = rt.link_create_veth(spec)?.ifindex;
    save(&t, "veth")?;
    let t = tape(rt.connection(), "route", "make a bridge, put a veth on it, up and down, list all, refusals");
    let bridge =
        rt.link_create_bridge(BridgeSpec { name: "br0", forward_delay: Some(200), ..BridgeSpec::default() })?.ifindex;
    rt.link_set_master(left, Some(bridge))?;
    rt.link_set_up(left)?;
    rt.links()?;
    rt.link_set_down(left)?;
    drop(rt.link_set_mtu(left, 3));
    drop(rt.link_by_name("nobody"));
    save(&t, "links")?;
    let t = tape(rt.connection(), "route", "the id of a namespace");
    rt.netns_id(there.as_fd())?;
    rt.netns_ids()?;
    save(&t, "netns")
}

fn addresses(rt: &mut Socket) -> Result<()> {
    let t = tape(rt.connection(), "route", "addresses, routes, rules, neighbours: add, list, delete");
    let left = rt.link_by_name("left")?.ifindex;
    rt.link_set_up(left)?;
    rt.addr_add(left, ip("10.1.0.1")?, 24)?;
    rt.addr_add(left, ip("fd00::1")?, 64)?;
    rt.addrs()?;
    rt.route_add(&Route::new(ip("10.2.0.0")?, 16).via(ip("10.1.0.2")?).table(100))?;
    rt.routes()?;
    rt.rule_add(&Rule::new(netlink::route::family::INET, 100).mark(1, 0xff).priority(7).iif("lo"))?;
    rt.rules(netlink::route::family::INET)?;
    rt.neigh_add(left, ip("10.1.0.2")?, Mac([2, 0, 0, 0, 0, 2]))?;
    rt.neighs()?;
    drop(rt.addr_delete(left, ip("10.9.9.9")?, 24));
    save(&t, "addresses")
}

fn programs(rt: &mut Socket) -> Result<()> {
    const SCHED_CLS: u32 = 3;
    const XDP: u32 = 6;
    let (left, bridge) = (rt.link_by_name("left")?.ifindex, rt.link_by_name("br0")?.ifindex);
    let (one, two) = (program(XDP)?, program(XDP)?);
    let t = tape(rt.connection(), "route", "XDP: attach, read, refusals, replace, detach");
    rt.xdp_attach(left, one.as_fd(), Mode::Native, Replace::IfNone)?;
    rt.link_by_index(left)?;
    drop(rt.xdp_attach(left, two.as_fd(), Mode::Native, Replace::IfNone));
    drop(rt.xdp_attach(left, two.as_fd(), Mode::Native, Replace::Expected(two.as_fd())));
    drop(rt.xdp_attach(left, two.as_fd(), Mode::Generic, Replace::IfNone));
    drop(rt.xdp_attach(bridge, two.as_fd(), Mode::Native, Replace::IfNone));
    rt.xdp_attach(left, two.as_fd(), Mode::Native, Replace::Expected(one.as_fd()))?;
    rt.xdp_detach(left, Mode::Native, Some(two.as_fd()))?;
    save(&t, "xdp")?;
    let filter = program(SCHED_CLS)?;
    let t = tape(rt.connection(), "route", "clsact and a bpf filter: add, list, replace, delete");
    let spec = BpfFilterSpec { ifindex: left, direction: Hook::Egress, priority: 1, handle: 1, name: "pass" };
    rt.clsact_add(left)?;
    rt.qdiscs(left)?;
    rt.filter_add(spec, filter.as_fd())?;
    rt.filters(left, Hook::Egress)?;
    rt.filter_replace(spec, filter.as_fd())?;
    rt.filter_delete(spec)?;
    drop(rt.filter_delete(spec));
    rt.clsact_delete(left)?;
    save(&t, "tc")
}

fn translation() -> Result<()> {
    let mut nf = netfilter::Socket::open()?;
    let t = tape(nf.connection(), "nft", "destination NAT: a table with a rule, the same again, list, delete");
    let one = Dnat { protocol: 6, from: "10.9.0.1:80".parse()?, to: "10.9.0.2:8080".parse()? };
    nf.change(&table_request("lab", &[one]))?;
    drop(nf.change(&table_request("lab", &[one])));
    nf.rules(netlink::route::family::INET)?;
    nf.change(&[table_delete_request(netlink::route::family::INET, "lab")])?;
    save(&t, "nat")
}

fn generic(left: u32) -> Result<()> {
    let mut ctrl = Controller::open()?;
    let t = tape(ctrl.connection(), "ctrl", "find a family, and one that is not there");
    ctrl.family("ethtool")?;
    drop(ctrl.family("nobody"));
    save(&t, "ctrl")?;
    let mut ethtool = Ethtool::open()?;
    let t = tape(ethtool.connection(), "features", "features: read, change, a link that is not there");
    ethtool.set_features(left, &[("tx", false), ("tso", false), ("gro", true)])?;
    drop(ethtool.features(9999));
    save(&t, "features")?;
    let t = tape(ethtool.connection(), "channels", "channels");
    ethtool.channels(left)?;
    save(&t, "channels")?;
    let mut netdev = NetDevSocket::open()?;
    let t = tape(netdev.connection(), "netdev", "what drivers can do with XDP");
    netdev.device(left)?;
    netdev.devices()?;
    save(&t, "netdev")
}

fn main() -> Result<()> {
    let (_, there) = namespace()?;
    let (mut rt, _) = namespace()?;
    links(&mut rt, &there)?;
    addresses(&mut rt)?;
    programs(&mut rt)?;
    translation()?;
    generic(rt.link_by_name("left")?.ifindex)
}

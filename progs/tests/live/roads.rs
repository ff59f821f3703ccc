//! Whatever way leads from one end to the other, what is sent arrives, and is redirected where both ends are on this host.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use asm::codegen::Profile;
use asm::dsl::prelude::*;
use loader::link::xdp::{self, XdpOptions};
use loader::{LoadOptions, Spec};
use netlink::route::{self, VethPeer, VethSpec};
use nix::sys::socket::connect as connect_fd;

use crate::rig::{Elsewhere, Rig, accept, address, bound, connect, each_way, exchange, greet, loopback_up};

/// Talks, with messages small and large; says whether any of it was redirected. What arrives is judged on the way.
fn talk(rig: &Rig, (mut client, mut server): (TcpStream, TcpStream)) -> bool {
    greet(&mut client, &mut server);
    for size in [1, 700, 9_000] {
        let bytes: Vec<u8> = (0..size).map(|i: u32| i.to_le_bytes()[0]).collect();
        exchange(&mut client, &mut server, &bytes);
        exchange(&mut server, &mut client, &bytes);
    }
    rig.redirected() > 0
}

/// A connection to a listener, by the address that `way` makes of the listener's.
fn connected(listen: &str, way: fn(SocketAddr) -> SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(listen).expect("a listener");
    let client = connect(way(listener.local_addr().expect("its address")));
    (client, accept(&listener))
}

/// Whether redirected: by the usual pair, and by ours, where it can be known what was read.
fn judge(scenario: fn(&mut Rig) -> (bool, bool), naive: bool) {
    let saw = each_way(scenario);
    assert_eq!((saw.plain.0, saw.naive.0), (false, naive));
    let (redirected, counted) = saw.ours;
    assert_eq!(redirected, counted, "both ends are here, and that is proven");
}

#[test]
fn over_ipv6() {
    judge(|rig| (talk(rig, connected("[::1]:0", |to| to)), rig.counted()), false);
}

/// The IPv4 loopback with the listener's port.
fn ipv4(to: SocketAddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, to.port()).into()
}

/// The same as an IPv6 address, which makes the client's socket one of IPv6.
fn mapped(to: SocketAddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), to.port()).into()
}

#[test]
fn an_ipv4_client_of_an_ipv6_server() {
    judge(|rig| (talk(rig, connected("[::]:0", ipv4)), rig.counted()), false);
}

#[test]
fn an_ipv6_client_of_an_ipv4_server() {
    judge(|rig| (talk(rig, connected("127.0.0.1:0", mapped)), rig.counted()), false);
}

/// Two namespaces and a wire between them: `10.9.0.1` and `10.9.0.2`.
pub(crate) fn wired() -> [Elsewhere; 2] {
    let (here, there) = (Elsewhere::new(), Elsewhere::new());
    let other = there.run(|| std::fs::File::open("/proc/thread-self/ns/net").expect("our namespace"));
    let end = |name: &str, last: u8| {
        let mut route = route::Socket::open().expect("netlink");
        let link = route.link_by_name(name).expect("it was made").ifindex;
        route.addr_add(link, [10, 9, 0, last].into(), 24).expect("it is free");
        route.link_set_up(link).expect("it goes up");
    };
    here.run(move || {
        use std::os::fd::AsFd;
        let peer = VethPeer { name: "bp1", netns_fd: Some(other.as_fd()), ..VethPeer::default() };
        let spec = VethSpec { name: "bp0", peer, ..VethSpec::default() };
        route::Socket::open().expect("netlink").link_create_veth(spec).expect("a pair of links");
        end("bp0", 1);
    });
    there.run(move || end("bp1", 2));
    [here, there]
}

#[test]
fn from_namespace_to_namespace() {
    let across = |rig: &mut Rig| {
        let [here, there] = wired();
        let listener = there.run(|| TcpListener::bind("10.9.0.2:7001").expect("a listener"));
        let client = here.run(|| connect("10.9.0.2:7001".parse().expect("an address")));
        (talk(rig, (client, accept(&listener))), rig.counted())
    };
    judge(across, true);
}

/// The client, the server as the client knows it, and the server.
const CLIENT: Be32 = Be32::new(0x7f00_0002);
const SERVICE: Be32 = Be32::new(0x7f00_0009);
const SERVER: Be32 = Be32::new(0x7f00_0001);

/// Translates the destination of the client's packets, and the source of what is answered, as a port that a container publishes does.
#[xdp(default = Action::Pass)]
fn dnat(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 {
        return Ok(Action::Pass);
    }
    if ip.dst == SERVICE {
        ip.dst = SERVER;
    } else if ip.dst == CLIENT {
        ip.src = SERVICE;
    }
    // What was handed to loopback bears no sum of TCP that anybody looks at.
    ip.checksum = Be16::new(0);
    ip.checksum = ip.sum();
    Ok(Action::Pass)
}

#[test]
fn through_address_translation() {
    let translated = |rig: &mut Rig| {
        let bytes = Module::new("Dual MIT/GPL").prog(dnat()).object(&Profile::linux_5_10()).expect("it is recorded");
        let bytes = bytes.write().expect("and written");
        let loaded = loader::load(&Spec::parse(&bytes).expect("ours"), &LoadOptions::default()).expect("it loads");
        let prog = loaded.prog("dnat").expect("its name");
        let _translating = xdp::attach(prog, loopback_up(), &XdpOptions::default()).expect("loopback takes it");
        let listener = TcpListener::bind("127.0.0.1:7001").expect("a listener");
        let client = bound("127.0.0.2:7002");
        connect_fd(client.as_raw_fd(), &address("127.0.0.9:7001")).expect("somebody listens");
        (talk(rig, (client.into(), accept(&listener))), rig.counted())
    };
    judge(translated, false);
}

//! Stage: tests against the running kernel, each in a network namespace of its own; they need root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;

use netlink::Mac;
use netlink::route::{Route, Socket, VethPeer, VethSpec};
use nix::sched::{CloneFlags, unshare};

/// Puts the test's thread into a new network namespace, which goes with the thread.
fn namespace() -> (Socket, File) {
    unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces: run them as root");
    let netns = File::open("/proc/thread-self/ns/net").unwrap();
    (Socket::open().unwrap(), netns)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_road() {
    let (mut there, there_fd) = namespace();
    let (mut here, _) = namespace();
    let spec = VethSpec {
        name: "left",
        peer: VethPeer { name: "right", netns_fd: Some(there_fd.as_fd()), ..VethPeer::default() },
        ..VethSpec::default()
    };
    println!("{}", spec.request());
    let left = here.link_create_veth(spec).unwrap();
    let right = there.link_by_name("right").unwrap();
    println!("{}", left.message);
    here.link_set_up(left.ifindex).unwrap();
    there.link_set_up(right.ifindex).unwrap();
    here.addr_add(left.ifindex, ip("10.1.0.1"), 24).unwrap();
    here.addr_add(left.ifindex, ip("fd00::1"), 64).unwrap();
    here.route_add(&Route::new(ip("10.2.0.0"), 16).via(ip("10.1.0.2"))).unwrap();
    here.neigh_add(left.ifindex, ip("10.1.0.2"), Mac([2, 0, 0, 0, 0, 2])).unwrap();
    for link in here.links().unwrap() {
        println!("{}", link.message);
    }
    for x in here.addrs().unwrap() {
        println!("{}", x.message);
    }
    for x in here.routes().unwrap() {
        println!("{x}");
    }
    for x in here.neighs().unwrap() {
        println!("{}", x.message);
    }
    println!("{}", here.link_by_name("nope").unwrap_err());
    println!("{}", here.link_create_veth(spec).unwrap_err());
    println!("{}", here.link_set_mtu(left.ifindex, 3).unwrap_err());
    println!("{}", here.link_set_mtu(1000, 3).unwrap_err());
    let p = File::open("/dev/null").unwrap();
    println!(
        "{}",
        here.xdp_attach(left.ifindex, p.as_fd(), netlink::route::Mode::Native, netlink::route::Replace::IfNone)
            .unwrap_err()
    );
    here.link_delete(left.ifindex).unwrap();
}

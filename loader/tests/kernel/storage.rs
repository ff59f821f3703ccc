//! Storage maps: values that live with a socket or a cgroup, found by its descriptor.

use std::fs::File;
use std::net::UdpSocket;

use loader::permission::kernel_release;

use crate::hooks::{OwnCgroup, load};

fn storage_of(kind: &str) -> String {
    format!(
        ".license \"GPL\"\n.map tags: {kind} {{ key: int, value: u64, max_entries: 0, flags: 1 }}\n.section xdp\n\
         .func pass(ctx: *xdp_md) -> int\npass:\n  r0 = 2\n  exit\n"
    )
}

#[test]
fn a_value_lives_with_its_socket() {
    let loaded = load(&storage_of("sk_storage"));
    let map = loaded.map("tags").unwrap();
    let (one, two) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(map.storage(&one).unwrap(), None);
    map.set_storage(&one, &7_u64.to_ne_bytes()).unwrap();
    assert_eq!((map.storage(&one).unwrap(), map.storage(&two).unwrap()), (Some(7_u64.to_ne_bytes().to_vec()), None));
    assert!(map.delete_storage(&one).unwrap() && !map.delete_storage(&one).unwrap());
    assert!(map.storage(File::open("/dev/null").unwrap()).is_err(), "no socket");
}

#[test]
fn a_value_lives_with_its_cgroup() {
    if kernel_release() < Some((6, 2)) {
        return println!("skip: cgroup storage needs Linux 6.2");
    }
    let own = OwnCgroup::enter("storage");
    let loaded = load(&storage_of("cgrp_storage"));
    let map = loaded.map("tags").unwrap();
    let cgroup = File::open(&own.own).unwrap();
    map.set_storage(&cgroup, &9_u64.to_ne_bytes()).unwrap();
    assert_eq!(map.storage(&cgroup).unwrap(), Some(9_u64.to_ne_bytes().to_vec()));
    assert!(map.delete_storage(&cgroup).unwrap());
}

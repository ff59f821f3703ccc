//! Stage: tests against the running kernel, each in network namespaces of its own, as root. They need no other program, so the
//! same binary runs in a guest; where iproute2 is installed it is asked too (`live/judged.rs`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "live/judged.rs"]
mod judged;
#[path = "live/nat.rs"]
mod nat;
#[path = "live/support.rs"]
mod support;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use netlink::generic::ctrl::Controller;
use netlink::generic::ethtool::Ethtool;
use netlink::generic::netdev::{NetDevSocket, XdpFeatures};
use netlink::route::{
    BridgeSpec, DummySpec, Link, LinkAttr, LinkHeader, Mode, PropAttr, Replace, Socket, VethPeer, VethSpec, XdpAttached,
};
use netlink::wire::{Flags, Message, Nest, Request, Text, messages};
use netlink::{Direction, Errno, Error};
use support::{XDP, judge, kernel, namespace, program, text, veth};

#[test]
fn a_link_moves_between_namespaces() {
    let (mut there, there_fd) = namespace();
    let (mut here, here_fd) = namespace();
    let (left, _) = veth(&mut here, "left", "right", 1500);
    here.link_set_netns(left.ifindex, there_fd.as_fd()).unwrap();
    assert!(here.link_by_name("left").unwrap_err().is(Errno::ENODEV));
    let moved = there.link_by_name("left").unwrap();
    assert_eq!(moved.mac, left.mac);
    assert!(!moved.is_up());
    there.link_set_name(moved.ifindex, "other").unwrap();
    there.link_set_up(moved.ifindex).unwrap();
    assert!(there.link_by_index(moved.ifindex).unwrap().is_up());
    there.link_set_down(moved.ifindex).unwrap();
    let far = there.link_by_name("other").unwrap().link_netns_id;
    assert_eq!(there.netns_id(here_fd.as_fd()).unwrap(), far);
    there.link_delete(moved.ifindex).unwrap();
    assert!(here.link_by_name("right").unwrap_err().is(Errno::ENODEV), "both ends go");
}

#[test]
fn namespaces_have_ids() {
    let (_there, there_fd) = namespace();
    let (mut here, _) = namespace();
    assert_eq!(here.netns_id(there_fd.as_fd()).unwrap(), None);
    here.netns_set_id(there_fd.as_fd(), Some(5)).unwrap();
    assert_eq!(here.netns_id(there_fd.as_fd()).unwrap(), Some(5));
    assert_eq!(here.netns_ids().unwrap(), [5]);
    assert!(here.netns_set_id(there_fd.as_fd(), None).unwrap_err().is(Errno::EEXIST));
    let null = File::open("/dev/null").unwrap();
    assert!(here.netns_id(null.as_fd()).unwrap_err().errno().is_some());
}

#[test]
fn links_are_made_and_refused() {
    let (mut rt, _) = namespace();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    let peer = VethPeer { name: "right", ..VethPeer::default() };
    let taken = rt.link_create_veth(VethSpec { name: "new", peer, ..VethSpec::default() }).unwrap_err();
    assert!(taken.is(Errno::EEXIST), "{taken}");
    assert!(rt.link_by_name("new").is_err(), "nothing is left of a refused pair");
    let small = rt.link_set_mtu(left.ifindex, 3).unwrap_err();
    assert_eq!(small.extack(), Some("mtu less than device minimum"));
    let text = format!(
        "set the MTU of ifindex {} to 3: mtu less than device minimum (EINVAL: Invalid argument)",
        left.ifindex
    );
    assert_eq!(small.to_string(), text);
    let long = rt.link_set_name(right.ifindex, "a-name-of-more-than-fifteen-bytes").unwrap_err();
    assert_eq!(long.attribute(), Some("IFLA_IFNAME"), "{long}");
    match rt.link_create_dummy(DummySpec { name: "dummy", mtu: Some(1400) }) {
        Ok(dummy) => assert_eq!((dummy.kind.as_deref(), dummy.mtu), (Some("dummy"), 1400)),
        // Some kernels are built without them; then the refusal must say so.
        Err(error) => assert_eq!(error.extack(), Some("Unknown device type"), "{error}"),
    }
    let bridge = rt.link_create_bridge(BridgeSpec { name: "br0", ..BridgeSpec::default() }).unwrap();
    rt.link_set_master(left.ifindex, Some(bridge.ifindex)).unwrap();
    assert_eq!(rt.link_by_index(left.ifindex).unwrap().master, Some(bridge.ifindex));
    rt.link_set_master(left.ifindex, None).unwrap();
    assert_eq!(rt.link_by_index(left.ifindex).unwrap().master, None);
    assert!(rt.link_set_master(left.ifindex, Some(right.ifindex)).is_err());
    rt.link_delete(bridge.ifindex).unwrap();
    assert!(rt.link_delete(1).is_err(), "the loopback stays");
}

#[test]
fn xdp_comes_and_goes() {
    let (mut rt, _) = namespace();
    let (left, _) = veth(&mut rt, "left", "right", 1500);
    let ((one, one_id), (two, two_id)) = (program(XDP), program(XDP));
    for mode in [Mode::Native, Mode::Generic] {
        rt.xdp_attach(left.ifindex, one.as_fd(), mode, Replace::IfNone).unwrap();
        let xdp = rt.link_by_index(left.ifindex).unwrap().xdp;
        assert_eq!((xdp.attached, xdp.prog_id, xdp.prog_in(mode)), (XdpAttached::In(mode), Some(one_id), Some(one_id)));

        let second = rt.xdp_attach(left.ifindex, two.as_fd(), mode, Replace::IfNone).unwrap_err();
        assert!(second.is(Errno::EBUSY), "{second}");
        assert_eq!(second.extack().map(str::to_lowercase).as_deref(), Some("xdp program already attached"));
        assert_eq!(second.request(), format!("attach XDP program to ifindex {} in {mode} mode", left.ifindex));

        let wrong = rt.xdp_attach(left.ifindex, two.as_fd(), mode, Replace::Expected(two.as_fd())).unwrap_err();
        assert!(wrong.is(Errno::EEXIST), "{wrong}");
        assert_eq!(wrong.extack(), Some("Active program does not match expected"));
        let wrong = rt.xdp_detach(left.ifindex, mode, Some(two.as_fd())).unwrap_err();
        assert!(wrong.is(Errno::EEXIST), "{wrong}");

        let other = if mode == Mode::Native { Mode::Generic } else { Mode::Native };
        let both = rt.xdp_attach(left.ifindex, two.as_fd(), other, Replace::IfNone).unwrap_err();
        assert_eq!(
            both.extack().map(str::to_lowercase).as_deref(),
            Some("native and generic xdp can't be active at the same time")
        );

        rt.xdp_attach(left.ifindex, two.as_fd(), mode, Replace::Expected(one.as_fd())).unwrap();
        assert_eq!(rt.link_by_index(left.ifindex).unwrap().xdp.prog_id, Some(two_id));
        rt.xdp_attach(left.ifindex, one.as_fd(), mode, Replace::Any).unwrap();
        assert_eq!(rt.link_by_index(left.ifindex).unwrap().xdp.prog_id, Some(one_id));
        if let Some(theirs) = judge("ip", "-j -d link show dev left") {
            assert_eq!(text(&theirs[0]["xdp"]["prog"], "id"), one_id.to_string());
        }
        rt.xdp_detach(left.ifindex, mode, Some(one.as_fd())).unwrap();
        let xdp = rt.link_by_index(left.ifindex).unwrap().xdp;
        assert_eq!((xdp.attached, xdp.prog_id, xdp.prog_in(mode)), (XdpAttached::Nowhere, None, None));
    }
}

#[test]
fn xdp_is_refused_in_the_drivers_words() {
    let (mut rt, _) = namespace();
    let (left, _) = veth(&mut rt, "left", "right", 9000);
    let bridge = rt.link_create_bridge(BridgeSpec { name: "br0", ..BridgeSpec::default() }).unwrap();
    let (prog, _) = program(XDP);
    let jumbo = rt.xdp_attach(left.ifindex, prog.as_fd(), Mode::Native, Replace::IfNone).unwrap_err();
    assert!(jumbo.is(Errno::ERANGE), "{jumbo}");
    assert!(jumbo.extack().unwrap().ends_with("Peer MTU is too large to set XDP"), "{jumbo}");
    let start =
        format!("attach XDP program to ifindex {} in native mode: {} (ERANGE: ", left.ifindex, jumbo.extack().unwrap());
    assert!(jumbo.to_string().starts_with(&start), "{jumbo}");
    for ifindex in [1, bridge.ifindex] {
        let no = rt.xdp_attach(ifindex, prog.as_fd(), Mode::Native, Replace::IfNone).unwrap_err();
        assert!(no.is(Errno::EOPNOTSUPP), "{no}");
        assert_eq!(no.extack(), Some("Underlying driver does not support XDP in native mode"));
        rt.xdp_attach(ifindex, prog.as_fd(), Mode::Generic, Replace::IfNone).unwrap();
        rt.xdp_detach(ifindex, Mode::Generic, None).unwrap();
    }
    assert!(rt.xdp_attach(left.ifindex, prog.as_fd(), Mode::Offload, Replace::IfNone).is_err());
    let null = File::open("/dev/null").unwrap();
    let no_prog = rt.xdp_attach(1, null.as_fd(), Mode::Generic, Replace::IfNone).unwrap_err();
    assert!(no_prog.errno().is_some(), "{no_prog}");
    let nobody = rt.xdp_attach(9999, prog.as_fd(), Mode::Native, Replace::IfNone).unwrap_err();
    assert!(nobody.is(Errno::ENODEV), "{nobody}");
}

#[test]
fn features_are_turned_on_and_off() {
    let (mut rt, _) = namespace();
    let (left, _) = veth(&mut rt, "left", "right", 1500);
    let mut ethtool = Ethtool::open().unwrap();
    let before = ethtool.features(left.ifindex).unwrap();
    assert!(before.is_on("tx") && before.is_on("tso") && before.is_on("gso"), "{before:?}");
    let wish = [("tx", false), ("tso", false), ("gso", false), ("gro", true)];
    let change = ethtool.set_features(left.ifindex, &wish).unwrap();
    assert_eq!(change.refused, []);
    assert!(change.changed.contains(&("rx-gro".to_owned(), true)) || before.is_on("gro"), "{change:?}");
    let after = ethtool.features(left.ifindex).unwrap();
    assert_eq!(
        ["tx", "tx-checksumming", "tso", "gso", "gro"].map(|name| after.is_on(name)),
        [false, false, false, false, true]
    );
    if judge("ethtool", "--json -k left").is_some() {
        let theirs = judge("ethtool", "--json -k left").unwrap();
        for feature in &after.all {
            let theirs = &theirs[0][&feature.name];
            assert!(theirs.is_null() || theirs["active"] == feature.active, "{feature:?} {theirs}");
        }
    }
    let again = ethtool.set_features(left.ifindex, &wish).unwrap();
    assert_eq!((again.changed, again.refused), (vec![], vec![]));
    // The loopback's checksums cannot be turned off: what is not granted is told.
    let refused = ethtool.set_features(1, &[("tx-checksum-ip-generic", false)]).unwrap().refused;
    assert_eq!(refused, [("tx-checksum-ip-generic".to_owned(), false)]);
    let unknown = ethtool.set_features(left.ifindex, &[("tx-tcp-segmentatoin", false)]).unwrap_err();
    assert!(
        matches!(&unknown, Error::UnknownName { known, .. } if known.contains(&"tx-tcp-segmentation".to_owned())),
        "{unknown}"
    );
    let nobody = ethtool.features(9999).unwrap_err();
    assert!(nobody.is(Errno::ENODEV));
    assert_eq!(nobody.attribute(), Some("ETHTOOL_A_FEATURES_HEADER/ETHTOOL_A_HEADER_DEV_INDEX"), "{nobody}");
}

#[test]
fn channels_and_rings_are_read_or_refused() {
    let (mut rt, _) = namespace();
    let spec = VethSpec {
        name: "left",
        queues: Some(2),
        peer: VethPeer { name: "right", ..VethPeer::default() },
        ..VethSpec::default()
    };
    let left = rt.link_create_veth(spec).unwrap();
    let mut ethtool = Ethtool::open().unwrap();
    match ethtool.channels(left.ifindex) {
        Ok(channels) => assert_eq!((channels.rx.1, channels.tx.1), (2, 2), "{channels:?}"),
        // Since Linux 5.13 veth tells its channels.
        Err(error) => assert!(error.is(Errno::EOPNOTSUPP) && kernel() < (5, 13), "{error}"),
    }
    assert!(ethtool.rings(left.ifindex).unwrap_err().is(Errno::EOPNOTSUPP), "veth has no rings");
}

#[test]
fn drivers_tell_what_they_can_do_with_xdp() {
    let (mut rt, _) = namespace();
    let (left, _) = veth(&mut rt, "left", "right", 1500);
    match NetDevSocket::open() {
        Ok(mut netdev) => {
            let dev = netdev.device(left.ifindex).unwrap();
            assert_eq!(dev.ifindex, left.ifindex);
            assert!(dev.xdp.contains(XdpFeatures::BASIC), "{dev:?}");
            let all = netdev.devices().unwrap();
            assert!(all.contains(&dev), "{all:?}");
            let lo = netdev.device(1).unwrap();
            assert!(!lo.xdp.contains(XdpFeatures::BASIC), "{lo:?}");
            assert!(netdev.device(9999).unwrap_err().is(Errno::ENODEV));
        }
        Err(error) => {
            assert!(matches!(error, Error::NotSupported { first_kernel: "6.3", .. }), "{error}");
            assert!(kernel() < (6, 3), "{error}, and yet this is {:?}", kernel());
        }
    }
}

#[test]
fn families_are_found_by_name() {
    namespace();
    let mut ctrl = Controller::open().unwrap();
    let ethtool = ctrl.family("ethtool").unwrap();
    assert!(ethtool.has_command(11) && ethtool.has_command(12), "{ethtool:?}");
    assert!(ethtool.groups.iter().any(|(name, _)| name == "monitor"));
    assert!(ctrl.families().unwrap().contains(&ethtool));
    let nobody = ctrl.family("nobody").unwrap_err();
    assert!(nobody.is(Errno::ENOENT));
    assert_eq!(nobody.request(), "find the generic netlink family \"nobody\"");
}

#[test]
fn only_the_kernels_word_counts() {
    let (mut rt, _) = namespace();
    let mut forger = netlink_sys::Socket::new(0).unwrap();
    forger.bind_auto().unwrap();
    // "Done, no error", for each of the next numbers, from somebody who is not the kernel.
    for seq in 1u32..20 {
        let port = rt.connection().port();
        let mut forged = Vec::new();
        [36u32, 2, seq, port].iter().for_each(|word| forged.extend_from_slice(&word.to_ne_bytes()));
        forged.resize(36, 0);
        let to = netlink_sys::SocketAddr::new(port, 0);
        forger.send_to(&forged, &to, 0).expect("root may write to any netlink address");
    }
    assert!(rt.link_by_name("nobody").unwrap_err().is(Errno::ENODEV));
    assert!(rt.link_set_up(9999).unwrap_err().is(Errno::ENODEV));
}

/// Gives a link so many further names of 124 bytes, all in one request.
fn add_names(rt: &mut Socket, ifindex: u32, count: usize) -> Vec<String> {
    const NEW_LINK_PROP: u16 = 108;
    let names: Vec<String> =
        (0..count).map(|n| format!("{:a<119}-{n:04}", format!("link-{ifindex}-has-many-names-"))).collect();
    let props = names.iter().map(|name| PropAttr::AltIfName(Text::new(name))).collect();
    let attrs = vec![LinkAttr::PropList(Nest::new(props))];
    let flags = Flags::CREATE | Flags::EXCL | Flags::APPEND;
    rt.send(&Request::new(NEW_LINK_PROP, flags, LinkHeader::of(ifindex), attrs, "add names".to_owned())).unwrap();
    names
}

/// The further names of a link.
fn names_of(link: &Link) -> Vec<String> {
    let props = link.message.attrs.iter().filter_map(|attr| match attr {
        LinkAttr::PropList(props) => Some(&props.attrs),
        _ => None,
    });
    let name = |prop: &PropAttr| match prop {
        PropAttr::AltIfName(name) => Some(name.as_str().into_owned()),
        _ => None,
    };
    props.flatten().filter_map(name).collect()
}

#[test]
fn a_message_larger_than_the_buffer_is_taken_whole() {
    let (mut rt, _) = namespace();
    let (left, _) = veth(&mut rt, "left", "right", 1500);
    let names = add_names(&mut rt, left.ifindex, 300);
    let longest = counter();
    let seen = Arc::clone(&longest);
    rt.connection().set_tap(Some(Box::new(move |_, bytes| {
        seen.fetch_max(bytes.len(), Ordering::Relaxed);
    })));
    let link = rt.link_by_name(&names[299]).unwrap();
    assert_eq!((link.ifindex, names_of(&link)), (left.ifindex, names));
    assert!(longest.load(Ordering::Relaxed) > 32 * 1024, "{longest:?}");
}

#[test]
fn a_dump_that_changes_meanwhile_is_asked_for_again() {
    let (mut rt, _) = namespace();
    let mut meddler = Socket::open().unwrap();
    // Links so large that a datagram has room for few of them.
    let mut names = Vec::new();
    for n in 0..10 {
        let (left, right) = veth(&mut rt, &format!("left{n}"), &format!("right{n}"), 1500);
        names.extend([left, right].iter().flat_map(|link| add_names(&mut rt, link.ifindex, 60)));
    }
    // Makes and deletes a link after the first datagram of each of the first three dumps.
    let (dumps, datagrams, told) = (counter(), counter(), counter());
    let (count_dumps, count_datagrams, count_told) = (Arc::clone(&dumps), Arc::clone(&datagrams), Arc::clone(&told));
    let mut first = false;
    rt.connection().set_tap(Some(Box::new(move |direction, bytes| {
        if direction == Direction::Sent {
            count_dumps.fetch_add(1, Ordering::Relaxed);
            first = true;
            return;
        }
        if std::mem::take(&mut first) && count_dumps.load(Ordering::Relaxed) <= 3 {
            let bridge = meddler.link_create_bridge(BridgeSpec { name: "br0", ..BridgeSpec::default() }).unwrap();
            meddler.link_delete(bridge.ifindex).unwrap();
        }
        let changed = |message: &Message<'_>| message.header.flags().contains(Flags::DUMP_INTR);
        count_told.fetch_add(messages(bytes).filter_map(Result::ok).filter(changed).count(), Ordering::Relaxed);
        count_datagrams.fetch_add(1, Ordering::Relaxed);
    })));
    let mut links = rt.links().unwrap();
    assert!(told.load(Ordering::Relaxed) > 0, "the kernel told of the change");
    assert_eq!(dumps.load(Ordering::Relaxed), 4, "three dumps were not whole");
    assert!(datagrams.load(Ordering::Relaxed) > 4 * 4, "{datagrams:?}");
    links.sort_by_key(|link| link.ifindex);
    assert_eq!(links.len(), 21);
    let mut ours: Vec<_> = links.iter().flat_map(names_of).collect();
    ours.sort();
    names.sort();
    assert_eq!(ours, names);
}

fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

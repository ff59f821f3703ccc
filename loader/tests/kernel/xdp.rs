//! XDP on interfaces of our own: modes asked, refused in the driver's words and got; replaced in place; detached, proven.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use loader::link::xdp::{Error, Mode, XdpOptions, attach, attach_netlink};
use loader::link::{self, Link, occupants, prove_gone};
use loader::prog::enable_stats;
use loader::sys::Errno;
use loader::sys::obj::Kind;
use netlink::route::{Socket, VethPeer, VethSpec};

use crate::support::{fresh_bpffs, gone, in_namespaces, verdict};

const PASS: i32 = 2;
const DROP: i32 = 1;

/// A veth pair `x0` and `x1` in this thread's namespace, both up; the ifindexes.
fn veth(mtu: u32) -> (Socket, u32, u32) {
    let mut rt = Socket::open().expect("a netlink socket");
    let spec = VethSpec {
        name: "x0",
        mtu: Some(mtu),
        peer: VethPeer { name: "x1", mtu: Some(mtu), ..VethPeer::default() },
        ..VethSpec::default()
    };
    let x0 = rt.link_create_veth(spec).expect("a veth pair").ifindex;
    let x1 = rt.link_by_name("x1").expect("its other end").ifindex;
    for ifindex in [x0, x1] {
        rt.link_set_up(ifindex).expect("up");
    }
    (rt, x0, x1)
}

fn only(mode: Mode) -> XdpOptions {
    XdpOptions { modes: vec![mode], ..XdpOptions::default() }
}

#[test]
fn each_mode_attaches_and_its_detach_is_proven() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(1500);
        for mode in [Mode::Native, Mode::Generic] {
            let prog = verdict("pass", PASS);
            let got = attach(&prog, x0, &only(mode)).unwrap();
            assert_eq!(got.mode, mode);
            let info = got.link.info().unwrap();
            let prog_id = prog.id().unwrap();
            assert_eq!((info.prog_id, info.ifindex, info.id), (prog_id, Some(x0), got.link.id()));
            let there = occupants(&mut rt, x0).unwrap();
            assert_eq!(there.len(), 1, "{there:?}");
            assert_eq!((there[0].mode, there[0].prog_id, &there[0].links[..]), (mode, prog_id, &[info.id][..]));
            got.link.close_proven().unwrap();
            assert_eq!(occupants(&mut rt, x0).unwrap(), [], "{mode}");
            drop(prog);
            gone(Kind::Prog, prog_id);
        }
    });
}

#[test]
fn packets_reach_the_program() {
    in_namespaces(|| {
        let (mut rt, x0, x1) = veth(1500);
        let prog = verdict("drop", DROP);
        let attached = attach(&prog, x1, &only(Mode::Native)).unwrap();
        let (ours, theirs) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
        rt.addr_add(x0, IpAddr::V4(ours), 24).unwrap();
        let mac = rt.link_by_index(x1).unwrap().mac.unwrap();
        rt.neigh_add(x0, IpAddr::V4(theirs), mac).unwrap();
        let stats = enable_stats().unwrap();
        let before = prog.info().unwrap().run_count;
        let socket = UdpSocket::bind((ours, 0)).unwrap();
        // The first ones may be lost: an interface passes packets a little after it was brought up.
        let mut runs = 0;
        for _ in 0..400 {
            socket.send_to(b"hello", (theirs, 9)).unwrap();
            runs = prog.info().unwrap().run_count - before;
            if runs >= 10 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(runs >= 10, "{runs} of 10");
        drop(stats);
        attached.link.close_proven().unwrap();
    });
}

#[test]
fn a_refused_mode_is_told_in_the_drivers_words_and_the_next_one_got() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(9000);
        let prog = verdict("jumbo", PASS);
        let got = attach(&prog, x0, &XdpOptions::default()).unwrap();
        assert_eq!(got.mode, Mode::Generic);
        let texts: Vec<String> = got.attempts.iter().map(ToString::to_string).collect();
        let want = ["native: refused: Peer MTU is too large to set XDP (ERANGE)", "generic: attached"];
        // Drivers' texts have the driver's name in front on some kernels.
        assert_eq!(texts[0].replace("veth: ", ""), want[0]);
        assert_eq!(texts[1..], want[1..]);
        got.link.close_proven().unwrap();
        assert_eq!(occupants(&mut rt, x0).unwrap(), []);
    });
}

#[test]
fn what_is_refused_altogether_lists_every_attempt() {
    in_namespaces(|| {
        let mut rt = Socket::open().unwrap();
        let lo = rt.link_by_name("lo").unwrap().ifindex;
        let prog = verdict("lo", PASS);
        let options = XdpOptions { modes: vec![Mode::Offload, Mode::Native], ..XdpOptions::default() };
        let error = attach(&prog, lo, &options).unwrap_err();
        let Error::Refused { iface, attempts, .. } = &error else { panic!("{error:?}") };
        assert_eq!((iface.as_str(), attempts.len()), ("lo", 2));
        for attempt in attempts {
            assert!(attempt.refused.is_some() && attempt.words.is_some(), "{attempt:?}");
        }
        let text = error.to_string().to_lowercase();
        assert!(text.contains("native: refused: underlying driver does not support xdp in native mode"), "{text}");
        assert_eq!(occupants(&mut rt, lo).unwrap(), []);
        let none = attach(&prog, lo, &XdpOptions { modes: vec![], ..XdpOptions::default() }).unwrap_err();
        assert!(matches!(none, Error::NoMode { .. }), "{none:?}");
        let missing = attach(&prog, 4242, &XdpOptions::default()).unwrap_err();
        assert!(
            matches!(&missing, Error::Interface { source, .. } if source.errno() == Some(libc::ENODEV)),
            "{missing:?}"
        );
    });
}

#[test]
fn a_program_is_replaced_in_place_if_it_is_the_expected_one() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(1500);
        let (first, second, third) = (verdict("first", PASS), verdict("second", PASS), verdict("third", PASS));
        let attached = attach(&first, x0, &only(Mode::Native)).unwrap();
        attached.link.update(&second, Some(&first)).unwrap();
        assert_eq!(attached.link.info().unwrap().prog_id, second.id().unwrap());
        let error = attached.link.update(&third, Some(&first)).unwrap_err();
        assert!(matches!(error, link::Error::Command { source: Errno::EPERM, .. }), "{error:?}");
        assert!(error.to_string().contains("not the expected one"), "{error}");
        assert_eq!(occupants(&mut rt, x0).unwrap()[0].prog_id, second.id().unwrap());
        let same = Link::from_id(attached.link.id()).unwrap();
        assert_eq!(same.info().unwrap(), attached.link.info().unwrap());
        drop(same);
        attached.link.close_proven().unwrap();
    });
}

#[test]
fn a_pinned_link_survives_and_is_no_proven_detach() {
    in_namespaces(|| {
        let (_rt, x0, _) = veth(1500);
        let path = fresh_bpffs().join("x0");
        let attached = attach(&verdict("pinned", PASS), x0, &only(Mode::Generic)).unwrap();
        attached.link.pin(&path).unwrap();
        let id = attached.link.id();
        assert!(matches!(attached.link.close_proven(), Err(link::Error::StillThere { id: there }) if there == id));
        let again = Link::from_pin(&path).unwrap();
        assert_eq!(again.id(), id);
        loader::pin::unpin(&path).unwrap();
        again.close_proven().unwrap();
        assert!(Link::from_pin(&path).is_err());
    });
}

#[test]
fn a_link_outlives_its_interface_empty() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(1500);
        let (first, second) = (verdict("first", PASS), verdict("second", PASS));
        let attached = attach(&first, x0, &only(Mode::Native)).unwrap();
        rt.link_delete(x0).unwrap();
        assert_eq!(attached.link.info().unwrap().ifindex, Some(0));
        let error = attached.link.update(&second, None).unwrap_err();
        assert!(matches!(error, link::Error::Command { source: Errno::ENOLINK, .. }), "{error:?}");
        prove_gone(attached.link.close_proven().unwrap()).unwrap();
    });
}

#[test]
fn somebody_elses_program_stays_unless_displacing_is_asked() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(1500);
        let (theirs, ours) = (verdict("theirs", PASS), verdict("ours", PASS));
        let displace = XdpOptions { displace: true, ..XdpOptions::default() };
        // By netlink, then by link.
        attach_netlink(&theirs, x0, &only(Mode::Native)).unwrap();
        let error = attach(&ours, x0, &XdpOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{error:?}");
        assert!(error.to_string().contains("`theirs` in native mode, attached by netlink is there already"), "{error}");
        let got = attach(&ours, x0, &displace).unwrap();
        assert_eq!((got.mode, got.displaced.len()), (Mode::Native, 1));
        // Generic beside native is refused too, and names the same program.
        let error = attach(&theirs, x0, &only(Mode::Generic)).unwrap_err();
        let want = format!("`ours` in native mode, attached by link {} is there already", got.link.id());
        assert!(error.to_string().contains(&want), "{error}");
        let next = attach(&theirs, x0, &displace).unwrap();
        assert_eq!(next.displaced[0].links, [got.link.id()]);
        assert_eq!(got.link.info().unwrap().ifindex, Some(0), "their empty link stays theirs");
        assert_eq!(occupants(&mut rt, x0).unwrap()[0].prog_id, theirs.id().unwrap());
        got.link.close_proven().unwrap();
        next.link.close_proven().unwrap();
    });
}

#[test]
fn by_netlink_with_expected_programs() {
    in_namespaces(|| {
        let (mut rt, x0, _) = veth(9000);
        let (first, second) = (verdict("first", PASS), verdict("second", PASS));
        let got = attach_netlink(&first, x0, &XdpOptions::default()).unwrap();
        assert_eq!((got.mode, got.attempts.len()), (Mode::Generic, 2));
        assert!(got.attempts[0].words.as_deref().is_some_and(|words| words.contains("Peer MTU is too large")));
        got.link.update(&second, &first).unwrap();
        let error = got.link.update(&second, &first).unwrap_err();
        let Error::Unexpected { found, expected, .. } = error else { panic!("{error:?}") };
        assert_eq!((found, expected), (second.id().ok(), first.id().unwrap()));
        assert!(matches!(got.link.detach(&first), Err(Error::Unexpected { .. })));
        got.link.detach(&second).unwrap();
        assert_eq!(occupants(&mut rt, x0).unwrap(), []);
    });
}

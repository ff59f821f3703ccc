//! XDP in the drivers of network cards: what each takes and refuses, in its own words, and that frames reach the program.
//!
//! In: the name of a card in the variable `NIC`; two of them, connected with each other (`cargo ci kernels --nic NAME`), or, for
//! interfaces that are no cards, what `setup.rs` makes. Out: the verdicts of `drivers.rs`, which were measured.
//! Next to read: `drivers.rs`.

mod drivers;
mod offload;
mod setup;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use loader::link::occupants;
use loader::link::xdp::{Error, Mode, XdpOptions, attach};
use loader::prog::Prog;

use drivers::{Driver, Frags};
use setup::{Wire, count, counter};

/// Attaches natively and takes it off again: `attached`, or why not in the driver's words.
fn verdict(prog: &Prog, ifindex: u32) -> String {
    let options = XdpOptions { modes: vec![Mode::Native], ..XdpOptions::default() };
    match attach(prog, ifindex, &options) {
        Ok(got) => {
            got.link.close_proven().expect("taken off");
            "attached".to_owned()
        }
        Err(Error::Refused { attempts, .. }) => attempts.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{error}"),
    }
}

/// Frames from the far end are counted, in native mode where the driver has one, else in generic mode.
#[test]
fn frames_are_counted() {
    let Wire { mut rt, near, far } = setup::wire();
    let driver = Driver::of_this_test();
    let link = rt.link_by_index(near).expect("the near end");
    assert!(driver.queues().is_none_or(|queues| link.rx_queues == queues), "{} queues", link.rx_queues);
    let counting = counter(Frags::No);
    let prog = counting.prog("count").expect("the program");
    let wish = XdpOptions { modes: vec![Mode::Native, Mode::Generic], ..XdpOptions::default() };
    let got = attach(prog, near, &wish).expect("attached");
    let said: Vec<String> = got.attempts.iter().map(ToString::to_string).collect();
    println!("{said:?}");
    assert_eq!(got.mode, if driver.is_native() { Mode::Native } else { Mode::Generic }, "{said:?}");
    if let Some(far) = far {
        let (ours, theirs) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
        rt.addr_add(far, IpAddr::V4(ours), 24).expect("an address");
        let mac = link.mac.expect("an address of its own");
        rt.neigh_add(far, IpAddr::V4(theirs), mac).expect("a neighbour");
        let socket = UdpSocket::bind((ours, 0)).expect("a socket");
        // A link that was reset by the attachment comes up a while later; until then frames are lost.
        let begin = Instant::now();
        while count(&counting) < 10 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{} of 10 frames", count(&counting));
            socket.send_to(b"counted", (theirs, 9)).expect("sent");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    got.link.close_proven().expect("taken off");
    assert_eq!(occupants(&mut rt, near).expect("occupants"), []);
}

/// Every row of the driver's table.
#[test]
fn the_driver_says_what_it_refuses() {
    let Wire { mut rt, near, far } = setup::wire();
    let driver = Driver::of_this_test();
    let (plain, frags) = (counter(Frags::No), driver.has_frags().then(|| counter(Frags::Yes)));
    let mut wrong = Vec::new();
    for row in driver.rows() {
        let Some(counting) = (if row.frags == Frags::Yes { frags.as_ref() } else { Some(&plain) }) else { continue };
        for end in [Some(near), far].into_iter().flatten() {
            rt.link_set_mtu(end, row.mtu).expect("an MTU that the card can have");
        }
        let said = verdict(counting.prog("count").expect("the program"), near);
        println!("MTU {} {:?}: {said}", row.mtu, row.frags);
        if !said.contains(row.says) {
            wrong.push(format!("MTU {} {:?}: {said}, not {}", row.mtu, row.frags, row.says));
        }
    }
    for end in [Some(near), far].into_iter().flatten() {
        rt.link_set_mtu(end, 1500).expect("the usual MTU");
    }
    assert_eq!(wrong, [""; 0]);
}

/// Who has checked the MTU at the attachment must check it again: these drivers let it grow beyond what they would have refused.
#[test]
fn the_mtu_grows_behind_the_program() {
    let Wire { mut rt, near, .. } = setup::wire();
    let Some(mtu) = Driver::of_this_test().grows_to() else { return };
    let counting = counter(Frags::No);
    let options = XdpOptions { modes: vec![Mode::Native], ..XdpOptions::default() };
    let got = attach(counting.prog("count").expect("the program"), near, &options).expect("attached");
    rt.link_set_mtu(near, mtu).expect("not refused");
    // First lowered again: with an MTU that is too large, virtio_net of 5.10 and 6.1 refuses even to take a program off, and
    // the kernel, whose link is closed already, can only warn.
    rt.link_set_mtu(near, 1500).expect("the usual MTU");
    got.link.close_proven().expect("taken off");
    rt.link_set_mtu(near, mtu).expect("not refused");
    let again = verdict(counting.prog("count").expect("the program"), near);
    rt.link_set_mtu(near, 1500).expect("the usual MTU");
    assert!(again.contains("refused"), "{again}");
}

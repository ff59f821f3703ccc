//! The interfaces of a test, and the program that counts. In: the variable `NIC`. Out: [`Wire`]. Next to read: `main.rs`.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use loader::Spec;
use loader::load::{LoadOptions, Loaded, load};
use netlink::route::Socket;

use super::drivers::{Frags, name};

/// Two interfaces that see each other, both up.
pub(crate) struct Wire {
    pub(crate) rt: Socket,
    /// Where programs are attached.
    pub(crate) near: u32,
    /// Where frames come from; none of a tap, whose far end is a program.
    pub(crate) far: Option<u32>,
}

/// Commands that make interfaces where there is no card for it, and their names.
const MADE: [(&str, &[&str], &str, Option<&str>); 2] = [
    (
        "bond",
        &[
            "link add near type bond mode active-backup",
            "link add part type veth peer name far",
            "link set part master near",
            "link set part up",
        ],
        "near",
        Some("far"),
    ),
    ("tap", &["tuntap add near mode tap"], "near", None),
];

/// The interfaces of the card that this test is about.
pub(crate) fn wire() -> Wire {
    let mut rt = Socket::open().expect("a netlink socket");
    let made = MADE.iter().find(|(of, ..)| *of == name());
    let (near, far) = match made {
        None if name() == "netdevsim" => (netdevsim(&mut rt), None),
        Some((_, commands, near, far)) => {
            // An earlier test in this process has made them, too. The other end of a pair goes along.
            for left in rt.links().expect("links").iter().filter(|link| ["near", "part"].contains(&link.name.as_str()))
            {
                rt.link_delete(left.ifindex).expect("taken away");
            }
            commands.iter().for_each(|command| ip(command));
            let mut index = |name: &str| rt.link_by_name(name).expect("made").ifindex;
            (index(near), far.map(index))
        }
        None => {
            let links = rt.links().expect("links");
            let mut cards =
                links.iter().filter(|link| link.kind.is_none() && link.name != "lo").map(|link| link.ifindex);
            (cards.next().expect("a card"), Some(cards.next().expect("a second card")))
        }
    };
    for end in [Some(near), far].into_iter().flatten() {
        rt.link_set_up(end).expect("up");
    }
    Wire { rt, near, far }
}

/// A device that its driver plays, by its index. A number that has been used is never free again.
fn netdevsim(rt: &mut Socket) -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
    std::fs::write("/sys/bus/netdevsim/new_device", format!("{id} 1")).expect("a device with one port");
    // Like a card, it has no kind; the youngest is the one just made.
    let links = rt.links().expect("links");
    let devices = links.iter().filter(|link| link.name != "lo").map(|link| link.ifindex);
    devices.max().unwrap_or_else(|| panic!("its interface: {links:?}"))
}

fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {command}: {status}");
}

/// A program that counts IPv4 frames, in its map `hits`, and passes everything.
pub(crate) fn counter(frags: Frags) -> Loaded {
    let section = if frags == Frags::Yes { "xdp.frags" } else { "xdp" };
    let text = format!(
        ".license \"GPL\"
        .map hits: array {{ key: u32, value: u64, max_entries: 1 }}
        .section {section}
        .globl count
        count:
            r2 = *(u32 *)(r1 + 4)
            r1 = *(u32 *)(r1 + 0)
            r3 = r1
            r3 += 14
            if r3 > r2 goto pass
            r1 = *(u16 *)(r1 + 12)
            if r1 != 8 goto pass
            *(u32 *)(r10 - 4) = 0
            r2 = r10
            r2 += -4
            r1 = hits ll
            call bpf_map_lookup_elem
            if r0 == 0 goto pass
            r1 = 1
            lock *(u64 *)(r0 + 0) += r1
        pass:
            r0 = 2
            exit\n"
    );
    let program = asm::text::parse("count.s", &text).unwrap_or_else(|e| panic!("{e}"));
    let spec = Spec::parse(&program.object().write().expect("an object")).expect("our own object");
    load(&spec, &LoadOptions::default()).expect("the counting program loads")
}

/// Frames counted so far.
pub(crate) fn count(loaded: &Loaded) -> u64 {
    let value =
        loaded.map("hits").expect("the map").lookup(&0_u32.to_ne_bytes()).expect("looked up").expect("an element");
    u64::from_ne_bytes(value.try_into().expect("eight bytes"))
}

//! Stage: captured exchanges, checked both ways: bytes → values → the same bytes, and the values as text.
//!
//! `tests/fixtures/*.hex` hold real exchanges, a datagram a line (`>` sent, `<` received), and below each line what it says
//! (`=`). `examples/record.rs` makes them; `foreign-*` are what other programs sent, taken with strace.
//! `NETLINK_GOLDEN=update` writes the text anew: read the difference before it is committed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use netlink::generic::GenericHeader;
use netlink::generic::ctrl::{self, CtrlAttr};
use netlink::generic::ethtool::{ChannelsAttr, FeaturesAttr};
use netlink::generic::netdev::NetDevAttr;
use netlink::netfilter::{self, ChainAttr, NetfilterHeader, TableAttr};
use netlink::route::{
    AddrAttr, AddrHeader, LinkAttr, LinkHeader, NeighAttr, NeighHeader, NetNsAttr, NetNsHeader, RouteAttr, RouteHeader,
    RuleAttr, RuleHeader, TcAttr, TcHeader, kind,
};
use netlink::wire::{Ack, Attribute, Body, FixedHeader, Message, Writer, control, messages};

/// The text of a message, after checking that its values give the same bytes.
fn both_ways<H: FixedHeader, A: Attribute>(message: &Message<'_>) -> String {
    let body = Body::<H, A>::decode(message.payload).unwrap();
    let bytes = body.encode().unwrap();
    // The last padding may be missing from a message.
    assert_eq!(&bytes[..message.payload.len()], message.payload, "{body}");
    let name = H::kind_name(message.header.kind).map_or("family", |name| name);
    format!("{name} {:?} {body}", message.header.flags())
}

/// The text of an acknowledgement, after the same check of its attributes.
fn verdict(message: &Message<'_>) -> String {
    let ack = Ack::decode(&message.header, message.payload).unwrap();
    let mut bytes = Writer::new();
    ack.attrs.iter().for_each(|attr| attr.write(&mut bytes));
    assert!(message.payload.ends_with(&bytes.finish().unwrap()));
    format!("{} {ack}", if message.header.kind == control::DONE { "NLMSG_DONE" } else { "NLMSG_ERROR" })
}

fn text(table: &str, message: &Message<'_>) -> String {
    match (table, message.header.kind) {
        (_, control::ERROR | control::DONE) => verdict(message),
        ("ctrl", ctrl::ID) => both_ways::<GenericHeader, CtrlAttr>(message),
        (_, ctrl::ID) if !["route", "nft"].contains(&table) => both_ways::<GenericHeader, CtrlAttr>(message),
        ("features", _) => both_ways::<GenericHeader, FeaturesAttr>(message),
        ("channels", _) => both_ways::<GenericHeader, ChannelsAttr>(message),
        ("netdev", _) => both_ways::<GenericHeader, NetDevAttr>(message),
        ("route", kind::NEWLINK..=kind::SETLINK) => both_ways::<LinkHeader, LinkAttr>(message),
        ("route", kind::NEWADDR..=kind::GETADDR) => both_ways::<AddrHeader, AddrAttr>(message),
        ("route", kind::NEWROUTE..=kind::GETROUTE) => both_ways::<RouteHeader, RouteAttr>(message),
        ("route", kind::NEWNEIGH..=kind::GETNEIGH) => both_ways::<NeighHeader, NeighAttr>(message),
        ("route", kind::NEWRULE..=kind::GETRULE) => both_ways::<RuleHeader, RuleAttr>(message),
        ("route", kind::NEWQDISC..=kind::GETQDISC | kind::NEWTFILTER..=kind::GETTFILTER) => {
            both_ways::<TcHeader, TcAttr>(message)
        }
        ("route", kind::NEWNSID..=kind::GETNSID) => both_ways::<NetNsHeader, NetNsAttr>(message),
        ("nft", netfilter::kind::NEWCHAIN) => both_ways::<NetfilterHeader, ChainAttr>(message),
        ("nft", netfilter::kind::NEWRULE | netfilter::kind::GETRULE) => {
            both_ways::<NetfilterHeader, netfilter::RuleAttr>(message)
        }
        ("nft", _) => both_ways::<NetfilterHeader, TableAttr>(message),
        (table, kind) => panic!("no test knows message {kind} of {table}"),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The fixture with the text that its bytes give.
fn rendered(fixture: &str) -> String {
    let table = fixture.lines().find_map(|line| line.strip_prefix("# table: ")).unwrap();
    let mut out = String::new();
    for line in fixture.lines().filter(|line| !line.starts_with('=')) {
        writeln!(out, "{line}").unwrap();
        if let Some(hex) = line.strip_prefix(['>', '<']) {
            for message in messages(&bytes_of(hex.trim())) {
                writeln!(out, "= {}", text(table, &message.unwrap())).unwrap();
            }
        }
    }
    out
}

#[test]
fn captured_bytes_both_ways() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let fixture = fs::read_to_string(&path).unwrap();
        let now = rendered(&fixture);
        count += 1;
        if now == fixture {
            continue;
        }
        if std::env::var_os("NETLINK_GOLDEN").is_some_and(|word| word == "update") {
            fs::write(&path, now).unwrap();
            continue;
        }
        let (want, got) = fixture.lines().zip(now.lines()).find(|(want, got)| want != got).unwrap_or(("", ""));
        panic!("{}: the text changed\n want {want}\n  got {got}\nNETLINK_GOLDEN=update accepts it", path.display());
    }
    assert!(count >= 10, "{count} fixtures");
}

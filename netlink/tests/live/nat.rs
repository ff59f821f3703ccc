//! Address translation, by connections that go through it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use netlink::Errno;
use netlink::netfilter::{
    Dnat, ExprAttr, ListAttr, RuleAttr, RuleMessage, Socket, table_delete_request, table_request,
};
use netlink::route::family;

use crate::support::namespace;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The kinds of a rule's expressions, in order.
fn kinds(rule: &RuleMessage) -> Vec<String> {
    let lists = rule.attrs.iter().filter_map(|attr| match attr {
        RuleAttr::Expressions(list) => Some(&list.attrs),
        _ => None,
    });
    let elems = lists.flatten().filter_map(|elem| match elem {
        ListAttr::Elem(elem) => Some(&elem.attrs),
        _ => None,
    });
    let names = elems.flatten().filter_map(|attr| match attr {
        ExprAttr::Name(name) => Some(name.as_str().into_owned()),
        _ => None,
    });
    names.collect()
}

/// A connection to `to` is taken by whoever listens at `real`, and for the client it is one with `to`.
fn connects(to: SocketAddr, real: SocketAddr) {
    let listener = TcpListener::bind(real).unwrap();
    let mut client = TcpStream::connect(to).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!((client.peer_addr().unwrap(), server.local_addr().unwrap()), (to, real));
    client.write_all(b"ping").unwrap();
    let mut word = [0; 4];
    server.read_exact(&mut word).unwrap();
    server.write_all(b"pong").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"pong");
}

/// Packets for an address of IPv6 come in a moment after it was added and its link is up: the kernel's search for duplicates, which a
/// loopback does not need, ends in a work queue. Then a port at which nobody listens says so.
fn arrives(ip: IpAddr) {
    let refused = |_| {
        let error = TcpStream::connect((ip, 1)).err().map(|error| error.kind());
        thread::sleep(Duration::from_millis(1));
        error == Some(ErrorKind::ConnectionRefused)
    };
    assert!((0..1000).any(refused), "nothing arrives at {ip}");
}

#[test]
fn connections_go_where_the_rules_say() {
    let (mut rt, _) = namespace();
    let lo = rt.link_by_name("lo").unwrap().ifindex;
    rt.addr_add(lo, "fd00::1".parse().unwrap(), 128).unwrap();
    rt.link_set_up(lo).unwrap();
    let mut nf = Socket::open().unwrap();
    let four = [
        Dnat { protocol: TCP, from: at("127.0.0.9:80"), to: at("127.0.0.1:8080") },
        Dnat { protocol: UDP, from: at("127.0.0.9:53"), to: at("127.0.0.2:5353") },
    ];
    nf.change(&table_request("lab", &four)).unwrap();
    let rules = nf.rules(family::INET).unwrap();
    assert_eq!(rules.len(), 4, "two translations, for what arrives and for what leaves");
    let want = ["meta", "cmp", "payload", "cmp", "payload", "cmp", "immediate", "immediate", "nat"];
    assert!(rules.iter().all(|rule| kinds(rule) == want), "{rules:?}");
    connects(at("127.0.0.9:80"), at("127.0.0.1:8080"));
    assert!(TcpStream::connect(at("127.0.0.9:81")).is_err(), "another port is another address");

    let (client, server) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.2:5353").unwrap());
    client.connect("127.0.0.9:53").unwrap();
    client.send(b"ping").unwrap();
    let (_, from) = server.recv_from(&mut [0; 4]).unwrap();
    server.send_to(b"pong", from).unwrap();
    assert_eq!(client.recv(&mut [0; 4]).unwrap(), 4, "the answer comes from the address that was asked");

    arrives("fd00::1".parse().unwrap());
    let six = [Dnat { protocol: TCP, from: at("[fd00::1]:80"), to: at("[fd00::1]:8080") }];
    nf.change(&table_request("lab", &six)).unwrap();
    connects(at("[fd00::1]:80"), at("[fd00::1]:8080"));
    assert_eq!((nf.rules(family::INET).unwrap().len(), nf.rules(family::INET6).unwrap().len()), (4, 2));

    nf.change(&[table_delete_request(family::INET, "lab")]).unwrap();
    assert!(nf.rules(family::INET).unwrap().is_empty());
    assert!(TcpStream::connect(at("127.0.0.9:80")).is_err());
}

#[test]
fn a_batch_is_done_whole_or_not_at_all() {
    let (_rt, _) = namespace();
    let mut nf = Socket::open().unwrap();
    let good = Dnat { protocol: TCP, from: at("127.0.0.9:80"), to: at("127.0.0.1:8080") };
    // Of another family than its table, whose addresses are longer.
    let bad = Dnat { to: at("[fd00::1]:80"), ..good };
    let refused = nf.change(&table_request("lab", &[good, bad])).unwrap_err();
    assert!(refused.errno().is_some(), "{refused}");
    assert_eq!(refused.request(), "add a rule to chain prerouting of table lab: tcp 127.0.0.9:80 to [fd00::1]:80");
    assert!(nf.rules(family::INET).unwrap().is_empty(), "not even the first rule is there");
    // The answers to the rest of that batch do not confuse the next one.
    nf.change(&table_request("lab", &[good])).unwrap();
    let again = nf.change(&table_request("lab", &[good])).unwrap_err();
    assert!(again.is(Errno::EEXIST), "{again}");
    assert_eq!(
        (again.request(), again.attribute()),
        ("add table lab to nf_tables", Some("NFTA_TABLE_NAME")),
        "{again}"
    );
    assert_eq!(nf.rules(family::INET).unwrap().len(), 2);
    let gone = nf.change(&[table_delete_request(family::INET, "other")]).unwrap_err();
    assert!(gone.is(Errno::ENOENT), "{gone}");
    assert!(nf.change(&[]).is_ok(), "nothing to do is done");
}

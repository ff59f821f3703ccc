//! What we read, against what `ip -json` and `tc -json` read.

use std::collections::HashMap;
use std::os::fd::AsFd;

use netlink::Mac;
use netlink::route::{
    BpfFilterSpec, BridgeSpec, Direction, NeighState, Route, RouteKind, Rule, Scope, Socket, VethPeer, VethSpec,
    family, table,
};
use serde_json::Value;

use crate::support::{SCHED_CLS, agree, ip, judge, namespace, opt, program, text, veth};

fn names(rt: &mut Socket) -> HashMap<u32, String> {
    rt.links().unwrap().into_iter().map(|link| (link.ifindex, link.name)).collect()
}

#[test]
fn links_as_ip_shows_them() {
    let (_there, there_fd) = namespace();
    let (mut rt, _) = namespace();
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let peer = VethPeer { name: "far", netns_fd: Some(there_fd.as_fd()), mtu: Some(1300), ..VethPeer::default() };
    let near =
        rt.link_create_veth(VethSpec { name: "near", mtu: Some(1400), mac: Some(mac), queues: Some(3), peer }).unwrap();
    assert_eq!(
        (near.mtu, near.mac, near.kind.as_deref(), near.tx_queues, near.rx_queues),
        (1400, Some(mac), Some("veth"), 3, 3)
    );
    assert!(near.link_netns_id.is_some(), "{near:?}");
    let bridge =
        rt.link_create_bridge(BridgeSpec { name: "br0", forward_delay: Some(200), ..BridgeSpec::default() }).unwrap();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    assert_eq!(left.link, Some(right.ifindex));
    rt.link_set_master(left.ifindex, Some(bridge.ifindex)).unwrap();
    rt.link_set_up(left.ifindex).unwrap();
    rt.link_set_up(right.ifindex).unwrap();
    rt.link_set_up(bridge.ifindex).unwrap();
    rt.link_set_mtu(right.ifindex, 1499).unwrap();
    rt.link_set_mac(right.ifindex, Mac([2, 0, 0, 0, 0, 9])).unwrap();
    agree(|| {
        let theirs = judge("ip", "-j -d link show")?;
        let names = names(&mut rt);
        let ours = rt.links().unwrap().into_iter().map(|link| {
            // A peer in another namespace is shown as an index there.
            let (peer, far) = if link.link_netns_id.is_some() { (None, link.link) } else { (link.link, None) };
            [
                link.ifindex.to_string(),
                link.name,
                link.mtu.to_string(),
                opt(link.mac),
                opt(link.kind),
                format!("{:?}", link.oper_state).to_uppercase(),
                link.arphrd.to_string().replace("772", "loopback").replace('1', "ether"),
                opt(link.master.map(|master| names[&master].clone())),
                opt(peer.map(|peer| names[&peer].clone())),
                opt(far),
                opt(link.link_netns_id),
                opt(link.qdisc),
                link.tx_queues.to_string(),
                link.rx_queues.to_string(),
                opt(Some(link.max_mtu).filter(|mtu| *mtu != 0)),
                link.flags.contains(netlink::route::LinkFlags::UP).to_string(),
            ]
        });
        let theirs = theirs.iter().map(|link| {
            [
                text(link, "ifindex"),
                text(link, "ifname"),
                text(link, "mtu"),
                text(link, "address"),
                text(&link["linkinfo"], "info_kind"),
                text(link, "operstate"),
                text(link, "link_type"),
                text(link, "master"),
                text(link, "link"),
                text(link, "link_index"),
                text(link, "link_netnsid"),
                text(link, "qdisc"),
                text(link, "num_tx_queues"),
                text(link, "num_rx_queues"),
                text(link, "max_mtu").replacen('0', "", usize::from(text(link, "max_mtu") == "0")),
                link["flags"].as_array().unwrap().contains(&Value::from("UP")).to_string(),
            ]
        });
        Some((ours.collect(), theirs.collect()))
    });
}

#[test]
fn addresses_as_ip_shows_them() {
    let (mut rt, _) = namespace();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    rt.link_set_up(1).unwrap();
    rt.link_set_up(left.ifindex).unwrap();
    rt.link_set_up(right.ifindex).unwrap();
    rt.addr_add(left.ifindex, ip("10.1.0.1"), 24).unwrap();
    rt.addr_add(left.ifindex, ip("10.1.0.2"), 24).unwrap();
    rt.addr_add(left.ifindex, ip("fd00::1"), 64).unwrap();
    rt.addr_add(1, ip("10.10.0.5"), 32).unwrap();
    assert_eq!(rt.addr_add(1, ip("10.10.0.5"), 32).unwrap_err().errno(), Some(17));
    rt.addr_add(1, ip("10.10.0.6"), 32).unwrap();
    rt.addr_delete(1, ip("10.10.0.6"), 32).unwrap();
    let ours = rt.addrs().unwrap();
    assert!(ours.iter().any(|addr| addr.ip == ip("10.10.0.5") && addr.prefix_len == 32 && addr.ifindex == 1));
    assert!(!ours.iter().any(|addr| addr.ip == ip("10.10.0.6")));
    agree(|| {
        let theirs = judge("ip", "-j addr show")?;
        let ours = rt.addrs().unwrap();
        let ours = ours.iter().map(|addr| {
            let kind = if addr.ip.is_ipv4() { "inet" } else { "inet6" };
            format!("{} {kind} {}/{} {} {}", addr.ifindex, addr.ip, addr.prefix_len, addr.scope, addr.peer.is_some())
        });
        let theirs = theirs.iter().flat_map(|link| {
            link["addr_info"].as_array().unwrap().iter().map(|addr| {
                let (family, local, len, scope) =
                    (text(addr, "family"), text(addr, "local"), text(addr, "prefixlen"), text(addr, "scope"));
                format!("{} {family} {local}/{len} {scope} {}", text(link, "ifindex"), !addr["address"].is_null())
            })
        });
        Some((ours.collect(), theirs.collect()))
    });
}

/// A route as `ip -j -d route` describes it.
fn words(route: &Route, names: &HashMap<u32, String>) -> [String; 8] {
    let full = if route.family == family::INET { 32 } else { 128 };
    let dst = match route.dst {
        None => "default".to_owned(),
        Some((ip, len)) if len == full => ip.to_string(),
        Some((ip, len)) => format!("{ip}/{len}"),
    };
    let table = match route.table {
        table::MAIN => "main".to_owned(),
        table::LOCAL => "local".to_owned(),
        other => other.to_string(),
    };
    // iproute2 shows no reach of 0 for IPv6, and always "global" in details.
    [
        route.kind.to_string(),
        dst,
        opt(route.gateway),
        opt(route.oif.map(|ifindex| names[&ifindex].clone())),
        opt(route.src),
        opt(route.priority),
        table,
        opt(route.scope.map(|scope| if scope == Scope::UNIVERSE { "global".to_owned() } else { scope.to_string() })),
    ]
}

#[test]
fn routes_as_ip_shows_them() {
    let (mut rt, _) = namespace();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    rt.link_set_up(1).unwrap();
    rt.link_set_up(left.ifindex).unwrap();
    rt.link_set_up(right.ifindex).unwrap();
    rt.addr_add(left.ifindex, ip("10.1.0.1"), 24).unwrap();
    rt.addr_add(left.ifindex, ip("fd00::1"), 64).unwrap();
    let via = Route::new(ip("10.2.0.0"), 16).via(ip("10.1.0.9"));
    rt.route_add(&via).unwrap();
    assert_eq!(rt.route_add(&via).unwrap_err().errno(), Some(17));
    rt.route_replace(&via.clone().dev(left.ifindex).src(ip("10.1.0.1"))).unwrap();
    rt.route_add(&Route::default_of(family::INET).via(ip("10.1.0.9"))).unwrap();
    rt.route_add(&Route::new(ip("fd01::"), 48).via(ip("fd00::9"))).unwrap();
    // What a transparent proxy needs: everything is local in a table of its own.
    rt.route_add(&Route::default_of(family::INET).dev(1).table(1000).kind(RouteKind::LOCAL)).unwrap();
    rt.route_add(&Route::new(ip("10.3.0.0"), 16).kind(RouteKind::BLACKHOLE)).unwrap();
    let gone = Route::new(ip("10.4.0.0"), 16).dev(left.ifindex);
    rt.route_add(&gone).unwrap();
    rt.route_delete(&gone).unwrap();
    assert_eq!(rt.route_delete(&gone).unwrap_err().errno(), Some(3));
    let unreachable = rt.route_add(&Route::new(ip("10.5.0.0"), 16).via(ip("10.99.0.1"))).unwrap_err();
    assert_eq!(unreachable.extack(), Some("Nexthop has invalid gateway"), "{unreachable}");
    let local = |route: &Route| route.kind == RouteKind::LOCAL && route.dst.is_none() && route.table == 1000;
    assert!(rt.routes().unwrap().iter().any(local));
    let names = names(&mut rt);
    for (option, family) in [("-4", family::INET), ("-6", family::INET6)] {
        agree(|| {
            let theirs = judge("ip", &format!("-j -d {option} route show table all"))?;
            let theirs = theirs.iter().map(|route| {
                let table = text(route, "table");
                let fields = ["type", "dst", "gateway", "dev", "prefsrc", "metric"].map(|field| text(route, field));
                let [kind, dst, gateway, dev, src, metric] = fields;
                let table = if table.is_empty() { "main".to_owned() } else { table };
                [kind, dst, gateway, dev, src, metric, table, text(route, "scope")]
            });
            let ours = rt.routes().unwrap().into_iter().filter(|route| route.family == family);
            Some((ours.map(|route| words(&route, &names)).collect(), theirs.collect()))
        });
    }
}

#[test]
fn rules_as_ip_shows_them() {
    let (mut rt, _) = namespace();
    let marked = Rule::new(family::INET, 1000).priority(7).mark(0x1, 0xff).iif("lo");
    rt.rule_add(&marked).unwrap();
    assert_eq!(rt.rule_add(&marked).unwrap_err().errno(), Some(17));
    rt.rule_add(&Rule::new(family::INET, 100).priority(8).from(ip("10.1.0.0"), 16).to(ip("10.2.0.0"), 24)).unwrap();
    rt.rule_add(&Rule::new(family::INET6, 300).priority(9).mark(2, u32::MAX)).unwrap();
    let gone = Rule::new(family::INET, 5).priority(10);
    rt.rule_add(&gone).unwrap();
    rt.rule_delete(&gone).unwrap();
    assert_eq!(rt.rule_delete(&gone).unwrap_err().errno(), Some(2));
    for (option, family) in [("-4", family::INET), ("-6", family::INET6)] {
        let rules = rt.rules(family).unwrap();
        let added = if family == family::INET { 2 } else { 1 };
        assert_eq!(rules.iter().filter(|rule| (1..100).contains(&rule.priority.unwrap_or(0))).count(), added);
        agree(|| {
            let theirs = judge("ip", &format!("-j {option} rule show"))?;
            let ours = rules.iter().map(|rule| {
                let table = match rule.table {
                    table::MAIN => "main".to_owned(),
                    table::LOCAL => "local".to_owned(),
                    table::DEFAULT => "default".to_owned(),
                    other => other.to_string(),
                };
                let (mark, mask) = rule.mark.map_or((None, None), |(mark, mask)| (Some(mark), Some(mask)));
                [
                    opt(rule.priority),
                    rule.src.map_or("all".to_owned(), |(ip, _)| ip.to_string()),
                    opt(rule.src.map(|(_, len)| len)),
                    opt(rule.dst.map(|(ip, _)| ip)),
                    opt(rule.dst.map(|(_, len)| len)),
                    opt(rule.iif.clone()),
                    opt(mark.map(|mark| format!("{mark:#x}"))),
                    opt(mask.filter(|mask| *mask != u32::MAX).map(|mask| format!("{mask:#x}"))),
                    table,
                ]
            });
            let fields = ["priority", "src", "srclen", "dst", "dstlen", "iif", "fwmark", "fwmask", "table"];
            let theirs = theirs.iter().map(|rule| fields.map(|field| text(rule, field)));
            Some((ours.collect(), theirs.collect()))
        });
    }
}

#[test]
fn neighbours_as_ip_shows_them() {
    let (mut rt, _) = namespace();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    rt.link_set_up(left.ifindex).unwrap();
    rt.link_set_up(right.ifindex).unwrap();
    rt.addr_add(left.ifindex, ip("10.1.0.1"), 24).unwrap();
    let (one, two) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    rt.neigh_add(left.ifindex, ip("10.1.0.2"), one).unwrap();
    rt.neigh_add(left.ifindex, ip("10.1.0.2"), two).unwrap();
    rt.neigh_add(left.ifindex, ip("fd00::2"), two).unwrap();
    rt.neigh_add(left.ifindex, ip("10.1.0.3"), two).unwrap();
    rt.neigh_delete(left.ifindex, ip("10.1.0.3")).unwrap();
    let permanent = |neighs: Vec<netlink::route::Neigh>| -> Vec<_> {
        let kept = neighs.into_iter().filter(|neigh| neigh.state == NeighState::PERMANENT);
        kept.map(|neigh| format!("{} {}", neigh.ip, opt(neigh.mac))).collect()
    };
    let ours = permanent(rt.neighs().unwrap());
    let want = vec![format!("10.1.0.2 {two}"), format!("fd00::2 {two}")];
    agree(|| Some((ours.clone(), want.clone())));
    agree(|| {
        let theirs = judge("ip", "-j neigh show nud permanent")?;
        let theirs = theirs.iter().map(|neigh| format!("{} {}", text(neigh, "dst"), text(neigh, "lladdr")));
        Some((ours.clone(), theirs.collect()))
    });
}

#[test]
fn filters_as_tc_shows_them() {
    let (mut rt, _) = namespace();
    let (left, right) = veth(&mut rt, "left", "right", 1500);
    let ((one, one_id), (two, two_id)) = (program(SCHED_CLS), program(SCHED_CLS));
    let spec =
        BpfFilterSpec { ifindex: left.ifindex, direction: Direction::Egress, priority: 3, handle: 1, name: "pass" };
    let early = rt.filter_add(spec, one.as_fd()).unwrap_err();
    assert_eq!(early.errno(), Some(22), "{early}");
    rt.clsact_add(left.ifindex).unwrap();
    assert_eq!(rt.clsact_add(left.ifindex).unwrap_err().errno(), Some(17));
    rt.filter_add(spec, one.as_fd()).unwrap();
    assert_eq!(rt.filter_add(spec, two.as_fd()).unwrap_err().errno(), Some(17));
    let ids = |rt: &mut Socket, direction| -> Vec<_> {
        rt.filters(left.ifindex, direction).unwrap().iter().map(|filter| filter.prog_id).collect()
    };
    assert_eq!(ids(&mut rt, Direction::Egress), [Some(one_id)]);
    rt.filter_replace(spec, two.as_fd()).unwrap();
    assert_eq!(ids(&mut rt, Direction::Egress), [Some(two_id)]);
    rt.filter_replace(BpfFilterSpec { direction: Direction::Ingress, ..spec }, one.as_fd()).unwrap();
    assert_eq!(ids(&mut rt, Direction::Ingress), [Some(one_id)]);
    agree(|| {
        let theirs = judge("tc", "-j filter show dev left egress")?;
        let ours =
            rt.filters(left.ifindex, Direction::Egress).unwrap().into_iter().map(|filter| {
                format!("{} {:#x} {} {}", filter.priority, filter.handle, filter.name, filter.direct_action)
            });
        let theirs = theirs.iter().filter(|filter| !filter["options"].is_null()).map(|filter| {
            let options = &filter["options"];
            let handle = text(options, "handle");
            format!("{} {handle} {} {}", text(filter, "pref"), text(options, "bpf_name"), options["direct-action"])
        });
        Some((ours.collect(), theirs.collect()))
    });
    agree(|| {
        let theirs = judge("tc", "-j qdisc show")?;
        let mut ours = rt.qdiscs(left.ifindex).unwrap();
        ours.extend(rt.qdiscs(right.ifindex).unwrap());
        let theirs = theirs.iter().filter(|qdisc| text(qdisc, "dev") != "lo").map(|qdisc| text(qdisc, "kind"));
        Some((ours.into_iter().map(|qdisc| qdisc.kind).collect(), theirs.collect()))
    });
    rt.filter_delete(spec).unwrap();
    assert_eq!(ids(&mut rt, Direction::Egress), []);
    assert!(matches!(rt.filter_delete(spec).unwrap_err().errno(), Some(2 | 22)));
    rt.clsact_delete(left.ifindex).unwrap();
    assert!(rt.qdiscs(left.ifindex).unwrap().iter().all(|qdisc| qdisc.kind != "clsact"));
}

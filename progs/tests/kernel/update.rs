//! Configuration changes in a running balancer, memory, and both programs together.

use std::{collections::BTreeSet, net::Ipv4Addr, os::fd::AsFd, os::fd::AsRawFd};

use progs::lb::control::{DecapTables, Sizes, Tables, apply};
use proptest::prelude::*;

use crate::{
    packets::*,
    support::{BALANCER, Balancer, CONFIG, HOP, Loaded, PASS, REDIRECT, VIP, config, in_netns},
};

#[test]
fn what_was_written_is_read_back() {
    in_netns(|| {
        let balancer = Balancer::new(CONFIG);
        assert_eq!(Tables::read(&balancer.object.maps()).expect("the maps are there"), balancer.tables);
    });
}

#[test]
fn counters_survive_an_update_and_a_vip_that_went_leaves_nothing() {
    in_netns(|| {
        let mut balancer = Balancer::with_hops(CONFIG, 7);
        balancer.object.run(&tcp(VIP, 80, 0));
        balancer.object.run(&udp(VIP, 80, 0));
        balancer.object.run(&fragment(udp(VIP, 80, 64), 0, true));
        let both =
            CONFIG.replace("{ address = \"10.10.1.2\" }", "{ address = \"10.10.1.2\" }, { address = \"10.10.1.9\" }");
        balancer.update(&config(&both));
        assert_eq!(balancer.counted(), ["10.10.1.2 1", "10.10.1.3 1", "fragment 1"]);
        balancer.update(&config(""));
        let read = Tables::read(&balancer.object.maps()).expect("the maps are there");
        assert_eq!((read.vips.len(), read.rings.len(), read.backends.len()), (0, 0, 0));
        assert_eq!(balancer.object.run(&tcp(VIP, 80, 0)).retval, PASS);
        balancer.update(&config(CONFIG));
        assert_eq!(balancer.counted(), ["fragment 1", "not-vip 1"], "the new VIP starts at zero");
    });
}

#[test]
fn a_vip_whose_servers_all_have_no_weight_drops_and_says_so() {
    in_netns(|| {
        let mut config = config(CONFIG);
        config.vip[0].reals[0].weight = 0;
        let mut balancer = Balancer::with_hops(CONFIG, 7);
        balancer.update(&config);
        balancer.object.run(&tcp(VIP, 80, 0));
        assert_eq!(balancer.counted(), ["vip no-real 1"]);
    });
}

/// What the kernel charges for a map, in bytes.
fn memory(fd: impl AsFd) -> u64 {
    let info =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).expect("our own descriptor");
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:")).expect("a map says what it takes");
    line.trim().parse().expect("a number")
}

#[test]
fn sixteen_vips_take_less_than_forty_megabytes() {
    in_netns(|| {
        let object = Loaded::new("lb", &Sizes::new(16, 16 * 16).by_name());
        let bytes: u64 = object.each_map().map(memory).sum();
        assert!(bytes > 4 << 20, "sixteen rings are in it: {bytes}");
        assert!(bytes < 40_000_000, "{bytes} bytes");
    });
}

#[test]
fn the_verifier_has_little_to_do() {
    in_netns(|| {
        for (object, most) in [("lb", 1200), ("lb-decap", 250)] {
            // Kernels before 5.16 do not tell, and say 0.
            let steps = Loaded::new(object, &[]).prog().info().expect("it is ours").verified_insns;
            assert!(steps <= most, "{object}: {steps} instructions were walked through, {most} were enough once");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3) })]

    /// Whatever goes through both programs comes out as it went in.
    #[test]
    fn decap_undoes_encap(packets in proptest::collection::vec((1u16.., 0usize..1400, 0u8..10, any::<u8>(), any::<bool>(), any::<u8>()), 100)) {
        in_netns(move || {
            let balancer = Balancer::with_hops(CONFIG, 7);
            let local = BTreeSet::from([2, 3, 4].map(|last| Ipv4Addr::new(10, 10, 1, last)));
            let real = Loaded::new("lb-decap", &[]);
            let tables = DecapTables::plan(&config(&format!("balancers = [\"{BALANCER}\"]\n{CONFIG}")), &local).expect("real servers");
            apply(&tables.diff(&DecapTables::default()), &real.maps()).expect("the kernel takes it");
            for (port, payload, words, dscp, is_tcp, ttl) in packets {
                let base = if is_tcp { tcp_from(port, VIP, 80, payload) } else { udp(VIP, 80, payload) };
                let packet = edit(tos(options(base, 4 * words), dscp), |header| header.time_to_live = ttl);
                let there = balancer.object.run(&packet);
                let to = Ipv4Addr::new(10, 10, 1, if is_tcp { 2 } else { 3 });
                assert_eq!(there.retval, REDIRECT);
                assert_eq!(there.data_out, encapsulated(&packet, &HOP, BALANCER, to), "the outer header, by etherparse");
                let back = real.run(&there.data_out);
                assert_eq!((back.retval, back.data_out), (PASS, [&HOP, &packet[IP..]].concat()));
            }
        });
    }
}

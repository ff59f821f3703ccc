//! The corpus of the load balancer in the running kernel: the lines that the interpreter writes.

use std::collections::BTreeSet;

use progs::lb::control::{DecapTables, apply};

use crate::{
    corpora::{self, report, same_lines},
    support::{Balancer, Loaded, config, in_netns},
};

/// The lines about packets; counters are in other tests.
fn packets(golden: &str) -> String {
    let lines = golden.lines().take_while(|line| *line != corpora::COUNTED);
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn balance_does_in_the_kernel_what_it_does_in_the_interpreter() {
    in_netns(|| {
        let balancer = Balancer::of(&toml::from_str(corpora::CONFIG).expect("the test's TOML is right"));
        balancer.prepare_hops(7, 1500);
        let lines = report(&corpora::balance(), |packet| {
            let run = balancer.object.run(packet);
            (run.retval, run.data_out)
        });
        same_lines("lb.txt", &packets(include_str!("../golden/lb.txt")), &lines);
    });
}

#[test]
fn decap_does_in_the_kernel_what_it_does_in_the_interpreter() {
    in_netns(|| {
        let object = Loaded::new("lb-decap", &[]);
        let own = BTreeSet::from([corpora::decap::REAL]);
        let tables = DecapTables::plan(&config(corpora::decap::CONFIG), &own).expect("it is a real server");
        apply(&tables.diff(&DecapTables::default()), &object.maps()).expect("the kernel takes it");
        let lines = report(&corpora::decap::decap(), |packet| {
            let run = object.run(packet);
            (run.retval, run.data_out)
        });
        same_lines("lb-decap.txt", &packets(include_str!("../golden/lb-decap.txt")), &lines);
    });
}

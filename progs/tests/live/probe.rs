//! The self-probe says of this kernel what the tests beside it measure.

use std::io::ErrorKind;
use std::sync::OnceLock;

use progs::bypass::control::Counting;
use progs::bypass::probe::{self, Verdicts};

use crate::calls::{readable_alone, readable_later, spliced_later};
use crate::rig::{Mode, Rig, in_netns, loopback_up, one_way};

/// How many cgroups of the probe's there are below the one in which we are.
fn left_behind(rig: &Rig) -> usize {
    let entries = std::fs::read_dir(rig.cgroup.path()).expect("it is ours").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("bypass-probe-")).count()
}

/// How ours counts here, and what the probe says where nothing of ours is: it is asked once.
fn alone() -> &'static (Counting, Verdicts) {
    static ALONE: OnceLock<(Counting, Verdicts)> = OnceLock::new();
    ALONE.get_or_init(|| {
        in_netns(|| {
            loopback_up();
            let mut rig = Rig::new(Mode::Ours);
            let counting = rig.ours.take().expect("it is ours").counting();
            // What a killed probe has left: no process has that number.
            std::fs::create_dir(rig.cgroup.path().join("bypass-probe-4194305")).expect("a cgroup below ours");
            let verdicts = probe::run().unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(left_behind(&rig), 0);
            let me = std::fs::read_to_string("/proc/self/cgroup").expect("procfs");
            let own = rig.cgroup.path().file_name().expect("a name").to_string_lossy().into_owned();
            assert!(me.lines().any(|line| line.starts_with("0::") && line.ends_with(&own)), "it is back: {me}");
            (counting, verdicts)
        })
    })
}

#[test]
fn the_verdicts_are_what_is_measured() {
    let (counting, verdicts) = alone();
    println!("self-probe, {} ms:\n{verdicts}", verdicts.took_ms);
    let (seen, choice) = (&verdicts.seen, &verdicts.choice);
    assert_eq!(choice.counting, *counting, "the hook that is loaded is the one that counts");
    if !choice.open {
        assert!(!counting_works(verdicts), "all else is right on every kernel: {verdicts}");
        return println!("skip: counting what is read needs Linux 5.11");
    }
    let spliced = match one_way(Mode::Naive, spliced_later).0 {
        Ok(bytes) => bytes as u64,
        Err(ErrorKind::WouldBlock) => 0,
        Err(other) => panic!("splice: {other}"),
    };
    // There are twelve bytes in that test, and ten here.
    assert_eq!(seen.spliced, Ok(spliced.min(10)));
    assert_eq!(seen.readable_redirected, Ok(one_way(Mode::Naive, readable_later).0));
    assert_eq!(seen.readable_by_tcp, Ok(one_way(Mode::Naive, readable_alone)));
    assert_eq!(choice.fionread, (&seen.readable_redirected, &seen.readable_by_tcp) == (&Ok(10), &Ok(10)));
}

fn counting_works(verdicts: &Verdicts) -> bool {
    verdicts.rows[0].good
}

/// Programs that are up already for the cgroup above do not change what is seen.
#[test]
fn a_second_probe_while_it_is_up_sees_the_same() {
    let (_, before) = alone();
    let during = in_netns(|| {
        loopback_up();
        let rig = Rig::new(Mode::Ours);
        let during = probe::run().unwrap_or_else(|error| panic!("{error:?}"));
        let held = rig.ours.as_ref().expect("they are up").quarantine().expect("it can be read");
        let commands = held.iter().filter(|(who, _)| who.pid == 0).map(|(who, _)| who.comm.to_string());
        assert!(commands.into_iter().all(|command| command == "bypass-probe"), "{held:?}");
        during
    });
    assert_eq!(during.choice, before.choice, "{during}{before}");
}

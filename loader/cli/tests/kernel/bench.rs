//! `loader bench`: the teaching programs have their figures on the running kernel, local TCP is measured in every mode, loading beside bpftool.

use std::process::{Child, Command};

use loader::lab::cgroup;
use nix::sys::signal::Signal;

use crate::ground::{Ground, alone};
use crate::killed::{end, signal, wait_for};

#[test]
fn generated_code_is_measured_on_this_kernel() {
    alone(|ground| {
        let report = ground.json(["bench", "codegen", "--kernel", "5.10", "--clang", "no-such-clang", "--json"]);
        let rows = report["rows"].as_array().expect("rows");
        let names: Vec<_> = rows.iter().filter_map(|row| row["case"].as_str()).collect();
        assert_eq!(names, progs::examples::NAMES);
        for row in rows {
            let (slots, jited) = (row["slots"].as_u64(), row["jited"].as_u64());
            assert!(slots.is_some_and(|n| (5..400).contains(&n)) && jited.is_some(), "{row}");
        }
        assert!(report["generation_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
        assert!(report["ratio"].is_null(), "without C texts there is nothing to compare with");
    });
}

#[test]
fn a_directory_without_texts_is_an_error() {
    alone(|ground| {
        let dir = ground.dir().to_owned();
        ground
            .run(["bench".as_ref(), "codegen".as_ref(), "--c".as_ref(), dir.as_os_str()])
            .failed(&["has none of", "tiny.c"]);
        ground.file("tiny.c", "no C at all");
        let args = ["bench".as_ref(), "codegen".as_ref(), "--clang".as_ref(), "no-such-clang".as_ref(), "--c".as_ref()];
        ground.run(args.into_iter().chain([dir.as_os_str()])).failed(&["cannot run no-such-clang"]);
    });
}

/// A measurement that ends some day.
fn start(ground: &Ground) -> Child {
    let args = ["bench", "bypass", "--rounds", "1000000", "--trips", "100", "--stream", "2", "--case", "p50_64b"];
    ground.command(args).spawn().expect("start loader")
}

/// Asked to end, it leaves no cgroup behind; killed it does, until the next one comes.
#[test]
fn a_measurement_that_is_interrupted_takes_its_cgroup_along() {
    alone(|ground| {
        let own = cgroup::own().expect("we are in one");
        let of = |child: &Child| own.join(format!("bp-bench-{}", child.id()));
        let mut killed = start(ground);
        wait_for(&mut killed, "round 1");
        killed.kill().expect("it runs");
        killed.wait().expect("it ends");
        assert!(of(&killed).exists(), "nobody could remove it");
        for with in [Signal::SIGINT, Signal::SIGTERM] {
            let mut child = start(ground);
            let stderr = wait_for(&mut child, "round 1");
            let path = of(&child);
            assert!(path.exists() && !of(&killed).exists(), "what was left is gone, and it has one of its own");
            signal(&child, with);
            end(child, stderr).failed(&["interrupted"]);
            assert!(!path.exists(), "{with}");
        }
    });
}

#[test]
fn local_tcp_is_measured_in_all_three_modes() {
    alone(|ground| {
        let plots = ground.dir().join("plots");
        let effort =
            ["bench", "bypass", "--json", "--rounds", "1", "--trips", "100", "--stream", "2", "--case", "p50_64b"];
        let args = effort.into_iter().chain(["--case", "throughput_64k", "--svg", plots.to_str().expect("a path")]);
        let report = ground.json(args);
        for (case, unit) in [("p50_64b", "us"), ("throughput_64k", "MB/s")] {
            let rows = report["rows"].as_array().expect("rows").iter().filter(|row| row["case"] == case);
            let modes: Vec<_> = rows.clone().filter_map(|row| row["mode"].as_str()).collect();
            assert_eq!(modes, ["plain", "naive", "ours"], "{report}");
            for row in rows {
                assert!(row["unit"] == unit && row["median"].as_f64().is_some_and(|median| median > 0.0), "{row}");
            }
            assert!(report["ratio"][case].as_f64().is_some_and(|ratio| ratio > 0.0), "{report}");
        }
        for plot in ["latency.svg", "throughput.svg"] {
            let svg = std::fs::read_to_string(plots.join(plot)).expect("a plot");
            assert!(svg.contains("ours"), "{plot}");
        }
    });
}

#[test]
fn loading_is_measured_beside_bpftool_and_leaves_nothing() {
    alone(|ground| {
        let args = ["bench", "load", "--rounds", "1", "--json"];
        let there = |program: &str| Command::new(program).arg("-V").output().is_ok();
        if !(there("bpftool") && there("ip")) {
            ground.run(args).failed(&["cannot run", "apt-get install bpftool iproute2"]);
            return ground.is_clean("without bpftool");
        }
        let report = ground.json(args);
        assert_eq!((&report["programs"], &report["rounds"]), (&3.into(), &1.into()), "{report}");
        for row in report["rows"].as_array().expect("two rows").iter().chain([&report["ratio"]]) {
            assert!(row["elapsed"].as_f64() > Some(0.0) && row["cpu"].as_f64().is_some(), "{row}");
        }
        ground.is_clean("after the rounds");
    });
}

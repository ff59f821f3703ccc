//! Every way a guest can end, in real guests: the kernel panics, hangs, is killed, loses what a test has to report, complains
//! about itself. Each must become a red row that says so. `endings.rs` has more ways, played by a script in QEMU's place.
//!
//! In: scripts for a shell that is taken along, run by process 1 on the smallest kernel. Out: the report that `cargo ci
//! kernels` would print. These tests boot guests themselves and need QEMU and the kernels of the cache, so they are
//! `test = false` and run when asked for: by `cargo ci kernels`, or `cargo test -p qemu-ci --test guests`.
//! Next to read: `src/console.rs`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use guest_init::Item;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qemu_ci::arch::Arch;
use qemu_ci::build;
use qemu_ci::guest::Patience;
use qemu_ci::host;
use qemu_ci::initramfs::archive;
use qemu_ci::kernels;
use qemu_ci::matrix::{Options, on_each};
use qemu_ci::repo::Repo;
use qemu_ci::report::Report;
use qemu_ci::suites::{Task, Work, base, environment};
use qemu_ci::verdicts::{Table, Verdict};

/// The kernel that boots quickest.
const KERNEL: &str = "5.10";

/// Programs that the scripts use.
const PROGRAMS: [&str; 3] = ["sh", "chrt", "sleep"];

/// Guest milliseconds for each script.
const TIMEOUT_MS: u64 = 1500;

/// What a script becomes.
fn item((index, script): (usize, &&str)) -> Item {
    Item {
        name: format!("script {}", index + 1),
        commands: vec![["/bin/sh", "-euc", script].map(str::to_owned).to_vec()],
        cwd: "/".to_owned(),
        timeout_ms: TIMEOUT_MS,
        ..Item::default()
    }
}

/// The items of one guest, and what they need.
fn work(repo: &Repo, items: Vec<Item>) -> Work {
    let built = build::build(repo, Arch::X86_64, &[], &[]).expect("process 1 builds");
    let mut tree = base(&built).expect("process 1 is there");
    for program in PROGRAMS {
        host::add(&mut tree, program).expect("a program that every machine has");
    }
    let task = |item: Item| {
        let of_runner = item.test.is_some();
        Task { item, modules: Vec::new(), of_runner }
    };
    Work {
        tasks: items.into_iter().map(task).collect(),
        shared: archive(&tree).expect("packed"),
        env: environment(),
        memory_mb: 128,
        nics: Vec::new(),
        drivers: Vec::new(),
    }
}

/// Boots a guest that runs these scripts, one after the other; meanwhile something is done to it from outside.
fn boot(scripts: &[&str], meanwhile: impl FnOnce(&Path) + Send) -> Report {
    boot_items(scripts.iter().enumerate().map(item).collect(), meanwhile)
}

/// The same with items.
fn boot_items(items: Vec<Item>, meanwhile: impl FnOnce(&Path) + Send) -> Report {
    let repo = Repo::find().expect("the workspace");
    let scratch = tempfile::tempdir().expect("a directory");
    let patience = Patience { silence: Duration::from_secs(5), ..Patience::default() };
    let options = Options { patience, ..Options::default() };
    let chosen = kernels::chosen(&repo, Arch::X86_64, Some(KERNEL)).expect("kernels.toml has it");
    let work = work(&repo, items);
    let begin = Instant::now();
    let done = thread::scope(|scope| {
        scope.spawn(|| meanwhile(&scratch.path().join(KERNEL)));
        on_each(&chosen, &options, scratch.path(), || Ok(work)).expect("booted")
    });
    done.judged(&Table::default(), begin.elapsed())
}

/// The verdicts in letters, R for red, P for passed; and all red rows with what they say.
fn said(report: &Report) -> (String, String) {
    let letter = |verdict: &Verdict| if matches!(verdict, Verdict::Red(_)) { 'R' } else { 'P' };
    let letters = report.rows.iter().flat_map(|row| &row.tests).map(|test| letter(&test.verdict)).collect();
    let red = report.red().into_iter().map(|red| format!("{}\n{}\n", red.what, red.detail)).collect();
    (letters, red)
}

/// The guest's first script says so on the console; waits for it.
fn wait_for_begin(directory: &Path) {
    let console = directory.join("console.log");
    let begin = Instant::now();
    while !fs::read_to_string(&console).is_ok_and(|text| text.contains("begun")) {
        assert!(begin.elapsed() < Duration::from_secs(120), "the guest has not begun");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The process that has this directory in its arguments: QEMU.
fn qemu_of(directory: &Path) -> Option<Pid> {
    let named = directory.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let of_it = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&named))
    };
    pids.filter(of_it).map(Pid::from_raw).next()
}

#[test]
fn a_panic_is_red_and_quotes_the_kernel() {
    let report = boot(&["true", "echo c > /proc/sysrq-trigger", "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "PRR", "{red}");
    assert!(red.contains("guest of Linux 5.10: kernel panic: sysrq triggered crash"), "{red}");
    assert!(red.contains("script 2: no result: the guest ended while it ran"), "{red}");
    assert!(red.contains("script 3: not run: the guest ended before"), "{red}");
}

#[test]
fn a_hang_is_red_after_a_while() {
    // A process that nothing but the kernel can interrupt, and that is allowed all of the only processor: process 1 never
    // runs again, so it cannot even tell that the test's time is over.
    let spin = "echo -1 > /proc/sys/kernel/sched_rt_runtime_us; exec chrt -f 99 sh -c 'while :; do :; done'";
    let report = boot(&["true", spin, "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "PRR", "{red}");
    assert!(red.contains("guest of Linux 5.10: guest hung: silent for 6 s"), "{red}");
}

#[test]
fn a_test_that_hangs_alone_does_not_take_the_guest_with_it() {
    let report = boot(&["sleep 60", "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "RP", "{red}");
    assert!(red.contains("script 1: its time was over") && red.contains("still running after 1500 ms"), "{red}");
    assert!(!red.contains("guest of"), "{red}");
}

#[test]
fn a_killed_guest_is_red() {
    let report = boot(&["echo begun > /dev/console; exec sleep 60", "true"], |directory| {
        wait_for_begin(directory);
        kill(qemu_of(directory).expect("QEMU runs"), Signal::SIGKILL).expect("killed");
    });
    let (letters, red) = said(&report);
    assert_eq!(letters, "RR", "{red}");
    assert!(red.contains("guest of Linux 5.10: guest gone before its end: QEMU: signal: 9"), "{red}");
    assert!(red.contains("script 1: no result"), "{red}");
}

#[test]
fn a_lost_result_is_red() {
    // The next line of process 1 is glued to this, and nobody can read it.
    let report = boot(&["printf half > /dev/ttyS1", "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "RP", "{red}");
    assert!(red.contains("unreadable line: half{") && red.contains("lines 2 to 2 are lost"), "{red}");
    assert!(red.contains("script 1: no result"), "{red}");
}

#[test]
fn a_result_port_that_goes_away_is_red() {
    let unbind = "cd -P /sys/class/tty/ttyS1/device; echo ${PWD##*/} > driver/unbind";
    let report = boot(&["true", unbind, "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "PRR", "{red}");
    assert!(red.contains("guest of Linux 5.10: guest gone before its end"), "{red}");
}

#[test]
fn what_the_kernel_complains_of_is_red_though_the_test_passes() {
    let report = boot(&["echo 'BUG: made up by a test' > /dev/kmsg", "true"], |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "RP", "{red}");
    assert!(red.contains("script 1: the kernel complained while it ran"), "{red}");
    assert!(red.contains("BUG: made up by a test"), "{red}");
}

/// A script in the place of Rust's test runner: it runs the tests that it is given the names of.
const RUNNER: &str = "for name; do printf 'test %s ... ' $name; case $name in crash) kill -9 $$;; hang) sleep 60;; leave) exit 0;; \
                      fail) echo FAILED;; *) echo ok;; esac; done; printf '\\ntest result: ok. '";

#[test]
fn of_tests_in_one_process_each_has_its_own_end() {
    let names = ["a", "crash", "b", "hang", "leave", "c", "fail", "d"];
    let test = |name: &str| Item {
        name: name.to_owned(),
        commands: vec![["/bin/sh", "-uc", RUNNER, "runner", name].map(str::to_owned).to_vec()],
        cwd: "/".to_owned(),
        timeout_ms: TIMEOUT_MS,
        test: Some(name.to_owned()),
        ..Item::default()
    };
    let report = boot_items(names.map(test).to_vec(), |_| ());
    let (letters, red) = said(&report);
    assert_eq!(letters, "PRPRRPRP", "{red}");
    assert!(red.contains("crash: failed") && red.contains("guest-init: signal: 9"), "{red}");
    assert!(red.contains("hang: its time was over"), "{red}");
    assert!(red.contains("the process ended before the test runner did"), "{red}");
    assert!(!red.contains("guest of"), "{red}");
}

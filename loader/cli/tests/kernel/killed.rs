//! `up` ended from outside, at any instant: by SIGKILL, by ^C; and two of them at once.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use asm::object::AttachType;
use loader::map::Map;
use netlink::route::Socket;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::broken::object;
use crate::bypass;
use crate::change::veths;
use crate::ground::{Done, Ground, alone, are_gone, ids, rounds};
use crate::hooks::{Cgroup, cgroup_root};
use crate::sockets::{count, exchange, loopback, manifest, say, talking};

fn start(ground: &Ground, manifest: &Path) -> Child {
    ground.command(["up".as_ref(), manifest.as_os_str()]).spawn().expect("start loader")
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), signal).expect("send a signal");
}

/// Waits for a line on the standard error of a run.
pub(crate) fn wait_for(child: &mut Child, word: &str) -> BufReader<impl Read + use<>> {
    let mut stderr = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    while stderr.read_line(&mut line).expect("read") > 0 {
        if line.contains(word) {
            return stderr;
        }
        line.clear();
    }
    panic!("`{word}` never came");
}

/// The rest of a run whose standard error is being read.
pub(crate) fn end(mut child: Child, mut stderr: BufReader<impl Read>) -> Done {
    let mut text = String::new();
    stderr.read_to_string(&mut text).expect("read");
    let code = child.wait().expect("wait").code();
    Done { code, stdout: String::new(), stderr: text }
}

#[test]
fn killed_at_any_instant_the_next_down_or_up_clears_the_rest() {
    alone(|ground| {
        let manifest = ground.small(20);
        let begin = Instant::now();
        ground.up(&manifest);
        let whole = begin.elapsed();
        ground.run(["down", "small"]);
        ground.is_clean("after the first down");
        let instants = rounds(9);
        for instant in 0..instants {
            let mut child = start(ground, &manifest);
            std::thread::sleep(whole * instant / instants);
            // It may have ended by itself at the last instants: then there is nothing to kill, and it is up.
            drop(child.kill());
            child.wait().expect("wait");
            if instant % 2 == 1 {
                let up = ground.up(&manifest);
                assert_eq!(
                    ground.status("small")["drift"],
                    serde_json::json!([]),
                    "killed at {instant}/{instants}: {up}"
                );
            }
            let ids = match ground.run(["status", "--json", "small"]).code {
                Some(0) => ids(&ground.status("small")),
                _ => Default::default(),
            };
            let down = ground.run(["down", "--all"]);
            assert_eq!(down.code, Some(0), "killed at {instant}/{instants}: {down:?}");
            ground.is_clean(&format!("killed at {instant}/{instants} of {whole:?}"));
            let cgroup = cgroup_root().join(format!("loader-small-{}", child.id()));
            assert!(!cgroup.exists(), "killed at {instant}/{instants}: left is {}", cgroup.display());
            are_gone(&ids);
        }
    });
}

/// In production: whatever instant a change is killed at, some program of ours is on the hook, and the next `up` needs no
/// gap to put things right.
#[test]
fn a_killed_change_leaves_no_gap() {
    alone(|ground| {
        veths(["v0", "v1"]);
        let text = "name = \"change\"\n[[program]]\nobject = \"x.o\"\nname = \"verdict\"\nattach = { xdp = \"v0\" }\n";
        let text = ground.file("change.toml", text);
        ground.file("x.o", object(2));
        let begin = Instant::now();
        ground.up(&text);
        let whole = begin.elapsed();
        let mut rt = Socket::open().expect("open netlink");
        let link = ground.status("change")["links"][0]["id"].clone();
        let instants = rounds(8);
        for instant in 0..instants {
            ground.file("x.o", object(if instant % 2 == 0 { 1 } else { 2 }));
            let mut child = start(ground, &text);
            std::thread::sleep(whole * instant / instants);
            drop(child.kill()); // it may be done already
            child.wait().expect("wait");
            let on = rt.link_by_name("v0").expect("look").xdp.prog_id;
            assert!(on.is_some(), "killed at {instant}/{instants}: nothing is attached");
            ground.up(&text);
            let status = ground.status("change");
            assert_eq!((&status["drift"], &status["links"][0]["id"]), (&serde_json::json!([]), &link), "{status}");
        }
        ground.run(["down", "change"]);
        ground.is_clean("after down");
    });
}

#[test]
fn a_killed_down_is_finished_by_the_next() {
    alone(|ground| {
        let manifest = ground.small(10);
        for instant in 1..=rounds(4) {
            ground.up(&manifest);
            let ids = ids(&ground.status("small"));
            let mut child = ground.command(["down", "small"]).spawn().expect("start loader");
            std::thread::sleep(Duration::from_millis(3) * instant * instant);
            drop(child.kill()); // it may be done already
            child.wait().expect("wait");
            assert_eq!(ground.run(["down", "--all"]).code, Some(0), "killed at {instant}");
            ground.is_clean(&format!("down killed at {instant}"));
            are_gone(&ids);
        }
    });
}

#[test]
fn interrupted_it_takes_everything_back() {
    alone(|ground| {
        let manifest = ground.small(1_000_000);
        let instants =
            [("make host two", Signal::SIGINT), ("pin pass", Signal::SIGTERM), ("attach pass", Signal::SIGINT)];
        for (word, with) in instants.into_iter().chain([("try", Signal::SIGINT), ("try", Signal::SIGHUP)]) {
            let mut child = start(ground, &manifest);
            let stderr = wait_for(&mut child, word);
            signal(&child, with);
            let done = end(child, stderr);
            done.failed(&["interrupted", "undo: take everything away again"]);
            ground.is_clean(&format!("{with} at `{word}`"));
        }
    });
}

#[test]
fn of_two_at_once_one_is_told_so() {
    alone(|ground| {
        let manifest = ground.small(1_000_000);
        let mut first = start(ground, &manifest);
        let stderr = wait_for(&mut first, "try");
        let second = ground.run(["up".as_ref(), manifest.as_os_str()]);
        second.failed(&["another loader is at work on `small`"]);
        ground.run(["down", "small"]).failed(&["another loader is at work on `small`"]);
        assert_eq!(ground.run(["status", "small"]).code, Some(0), "looking needs no lock");
        signal(&first, Signal::SIGINT);
        end(first, stderr).failed(&["interrupted"]);
        ground.is_clean("after both");
    });
}

#[test]
fn a_pin_that_others_hold_is_told() {
    alone(|ground| {
        let manifest = ground.small(10);
        ground.up(&manifest);
        let held = loader::prog::Prog::from_pin("/sys/fs/bpf/loader/small/progs/pass").expect("open the pin");
        let begin = Instant::now();
        let down = ground.run(["down", "small"]);
        assert_eq!(down.code, Some(0), "{down:?}");
        let id = held.id().expect("its id");
        let told = format!("program {id} lives on, held by process {}", std::process::id());
        assert!(down.stdout.contains(&told), "`{told}` is missing in:\n{}", down.stdout);
        assert!(begin.elapsed() < Duration::from_secs(20));
        ground.is_clean("after down");
    });
}

/// Numbers that look random and are the same in every run, unless `KILL_SEED` says otherwise.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(0x9e37_79b9_7f4a_7c15))
    }

    /// Below `end`.
    fn roll(&mut self, end: u32) -> u32 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

/// Programs on a cgroup and on the sockets of a map, brought up in two versions and on one cgroup or two, taken down, and
/// killed on the way, in any order: a connection that stands never notices, the cgroup is never without its program once
/// it was up, and the next `up` or `down` puts everything right.
#[test]
fn any_sequence_of_changes_kills_and_downs_leaves_no_gap_and_nothing_behind() {
    alone(|ground| {
        loopback();
        let (one, two) = (Cgroup::make("killed-one"), Cgroup::make("killed-two"));
        let attached = || {
            let cgroup = loader::link::cgroup::Cgroup::open(&one.0).expect("it is there");
            !cgroup.progs(AttachType::CGROUP_SOCK_OPS).expect("it can be asked").is_empty()
        };
        let home = one.enter();
        let (mut client, mut server) = exchange();
        let mut dice = Dice::new();
        let mut whole = Duration::from_millis(50);
        let mut is_up = false;
        for round in 0..rounds(24) {
            ground.file("count.s", count(dice.roll(2) + 1));
            let cgroups = [&one, &two];
            let text = manifest(ground, &cgroups[..1 + dice.roll(2) as usize]);
            let is_down = dice.roll(4) == 0;
            let mut command = match is_down {
                true => ground.command(["down", "--all"]),
                false => ground.command(["up".as_ref(), text.as_os_str()]),
            };
            let begin = Instant::now();
            let mut child = command.spawn().expect("start loader");
            let is_killed = dice.roll(3) > 0;
            if is_killed {
                std::thread::sleep(whole * dice.roll(100) / 100);
                drop(child.kill()); // it may be done already
            }
            let done = child.wait().expect("wait");
            assert!(is_killed || done.success(), "round {round}");
            say(&mut client, &mut server);
            say(&mut server, &mut client);
            if is_down {
                is_up = false;
            } else if done.success() {
                (is_up, whole) = (true, begin.elapsed());
                assert_eq!(ground.status("peers")["drift"], serde_json::json!([]), "round {round}");
                (client, server) = exchange();
            } else {
                assert!(!is_up || attached(), "round {round}: the cgroup has no program");
            }
        }
        drop(home);
        let ids = match ground.run(["status", "--json", "peers"]).code {
            Some(0) => ids(&ground.status("peers")),
            _ => Default::default(),
        };
        assert_eq!(ground.run(["down", "--all"]).code, Some(0));
        ground.is_clean("at the end");
        are_gone(&ids);
        say(&mut client, &mut server);
    });
}

/// An attachment without a name goes with the run that made it, and a connection that it has enrolled would stay enrolled, with nobody to see how
/// it goes on. So none is before everything has its name: this stops a run in between.
#[test]
fn connections_are_enrolled_when_all_of_it_is_there() {
    if rounds(2) == 1 {
        return; // in a guest, where everything takes ten times as long
    }
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("killed-begin");
        let manifest = bypass::manifest(ground, &cgroup, "", "");
        ground.up(&manifest);
        let all = names();
        ground.run(["down", "bypass"]);
        let caught = (0..5).any(|_| stopped_in_between(ground, &cgroup, &manifest, all));
        println!("stopped in between: {caught}");
        ground.is_clean("after down");
    });
}

/// How many attachments have their names.
fn names() -> usize {
    std::fs::read_dir("/sys/fs/bpf/loader/bypass/links").map_or(0, Iterator::count)
}

/// Stops a run, and looks who is enrolled; whether it was stopped before the last of `all` attachments had its name.
fn stopped_in_between(ground: &Ground, cgroup: &Cgroup, manifest: &Path, all: usize) -> bool {
    let mut up = start(ground, manifest);
    while names() == 0 && up.try_wait().expect("it is ours").is_none() {}
    signal(&up, Signal::SIGSTOP);
    let home = cgroup.enter();
    let _standing = talking();
    drop(home);
    let peers = Map::from_pin("/sys/fs/bpf/loader/bypass/maps/peers").expect("maps have names first");
    let caught = names() < all;
    if caught {
        assert_eq!(peers.keys().count(), 0, "enrolled by a program that may be gone soon");
    }
    signal(&up, Signal::SIGCONT);
    assert_eq!(up.wait().expect("it ends").code(), Some(0));
    ground.run(["down", "bypass"]);
    caught
}

//! What programs hold for connections is let go of before they go: `loader down bypass`, and an `up` with other programs, in the middle of
//! streams on real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loader::map::Map;
use loader::sys::uapi::UpdateFlags;
use loader::{LoadOptions, Spec};
use serde_json::{Value, json};

use crate::bypass::manifest;
use crate::ground::{Ground, alone, are_gone, ids, rounds};
use crate::hooks::{Cgroup, steps};
use crate::sockets::{loopback, say, talking};

/// Bytes that lie in queues.
fn queued(ground: &Ground) -> u64 {
    let inboxes = ground.json(["map", "dump", "/sys/fs/bpf/loader/bypass/maps/inboxes", "--json"]);
    let each = inboxes.as_array().into_iter().flatten().map(|one| &one["value"]);
    each.map(|inbox| inbox["tail"].as_u64().unwrap_or(0).saturating_sub(inbox["read"].as_u64().unwrap_or(0))).sum()
}

/// Whether the self-probe lets it redirect on this kernel.
pub(crate) fn is_open(up: &Value) -> bool {
    up["probe"]["choice"]["open"] == true
}

#[test]
fn who_does_not_read_is_named_and_loses_nothing() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("drain-unread");
        let text = manifest(ground, &cgroup, "", "");
        let up = ground.up(&text);
        let home = cgroup.enter();
        let (mut client, mut server) = talking();
        drop(home);
        client.write_all(&[7; 1000]).expect("it is taken");
        if is_open(&up) {
            assert_eq!(queued(ground), 1000);
            let before = ground.status("bypass");
            let address = server.local_addr().expect("its address");
            let words = [
                "bypass: leaving its connections to TCP failed",
                "1000 bytes at",
                &address.to_string(),
                "nothing is lost",
            ];
            ground.run(["down", "bypass", "--drain", "0.1"]).failed(&words);
            // Other programs would take the queue along too.
            let other = manifest(ground, &cgroup, "credit_messages = 77", "");
            let args = ["up".as_ref(), other.as_os_str(), "--drain".as_ref(), "0.1".as_ref()];
            ground.run(args).failed(&["1000 bytes at", "nothing is lost"]);
            let after = ground.status("bypass");
            assert_eq!((ids(&after), &after["drift"]), (ids(&before), &json!([])), "everything is as it was");
            // It works as before: what is sent now is redirected too.
            client.write_all(&[8; 500]).expect("it is taken");
            assert_eq!(queued(ground), 1500);
            let mut got = [0; 1500];
            server.read_exact(&mut got).expect("it comes");
            assert!(got[..1000].iter().all(|byte| *byte == 7) && got[1000..].iter().all(|byte| *byte == 8));
        }
        let status = ground.status("bypass");
        let down = ground.json(["down", "--json", "bypass"]);
        let told = down[0]["drained"][0].as_str().expect("it says what it did");
        let sockets = if is_open(&up) { "left 2 sockets to TCP" } else { "left 0 sockets to TCP" };
        assert!(told.starts_with(sockets), "{told}");
        are_gone(&ids(&status));
        ground.is_clean("after down");
        for _ in 0..2 {
            say(&mut server, &mut client);
        }
    });
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// A map as another version may have made it, pinned in the place of the one that is there.
fn put_in_place(name: &str, of: &str, entry: Option<(u64, &[u64])>) -> Map {
    let text = format!(
        ".license \"GPL\"\n.struct inbox {{ {of} }}\n.map {name}: hash {{ key: u64, value: inbox, max_entries: 65536 }}\n\
         .section xdp\n.func f(ctx: *xdp_md) -> int\nf:\n  r1 = {name} ll\n  r0 = 2\n  exit\n"
    );
    let object = asm::text::parse("old.s", &text).expect("it assembles").object().write().expect("it is written");
    let loaded = loader::load(&Spec::parse(&object).expect("ours"), &LoadOptions::default()).expect("it is accepted");
    let map = loaded.map(name).expect("its name").try_clone().expect("a second handle");
    let pin = format!("/sys/fs/bpf/loader/bypass/maps/{name}");
    std::fs::remove_file(&pin).expect("it was pinned");
    map.pin(&pin).expect("the name is free");
    if let Some((key, value)) = entry {
        map.update(&key.to_ne_bytes(), &words(value), UpdateFlags::ANY).expect("there is room");
    }
    map
}

/// Another version counts the same in other places. It is let go of by what its map says of itself, and its maps make way for the new ones;
/// only if it does not count so, it has to go first.
#[test]
fn what_another_version_has_left_is_drained_too() {
    if rounds(2) == 1 {
        return; // in a guest, where everything takes ten times as long
    }
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("drain-version");
        let up = ground.up(&manifest(ground, &cgroup, "", ""));
        let home = cgroup.enter();
        let (mut client, mut server) = talking();
        drop(home);
        let other = manifest(ground, &cgroup, "credit_messages = 77", "");
        let refused = |words: &[&str]| {
            let args = ["up".as_ref(), other.as_os_str(), "--drain".as_ref(), "0.1".as_ref()];
            ground.run(args).failed(words);
        };
        put_in_place("inboxes", "taken: u64, offered: u64", None);
        refused(&["`inboxes` does not say what was read", "`loader down bypass`", "nothing was changed"]);
        let old =
            put_in_place("inboxes", "ready: u32, pad: u32, tail: u64, sent: u64, read: u64", Some((1, &[1, 9, 9, 4])));
        refused(&["5 bytes at socket 0x1", "nothing is lost"]);
        old.update(&1_u64.to_ne_bytes(), &words(&[1, 9, 9, 9]), UpdateFlags::ANY).expect("it is there");
        let up_again = ground.up(&other);
        let steps = steps(&up_again);
        assert!(["load", "drain", "renew", "replace", "resume"].iter().all(|step| steps.contains(step)), "{steps:?}");
        say(&mut client, &mut server);
        assert_eq!(ground.status("bypass")["drift"], json!([]));
        assert_eq!(ground.json(["bypass", "flows", "--json"]), json!([]), "those that were there stay with TCP");
        let home = cgroup.enter();
        let _standing = talking();
        drop(home);
        let flows = ground.json(["bypass", "flows", "--json"]);
        assert_eq!(flows.as_array().map(Vec::len), Some(usize::from(is_open(&up))), "{flows}");
        ground.run(["down", "bypass"]);
        ground.is_clean("after down");
    });
}

/// What a stream's bytes repeat: a prime number of them, so that no loss of whole blocks goes unnoticed.
const PERIOD: usize = 65_521;

/// The bytes from a place of a stream on.
fn bytes(at: u64, len: usize) -> &'static [u8] {
    static TWICE: OnceLock<Vec<u8>> = OnceLock::new();
    let once = || (0..PERIOD as u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]);
    let start = usize::try_from(at % PERIOD as u64).expect("it is small");
    &TWICE.get_or_init(|| once().chain(once()).collect())[start..start + len]
}

/// One way of a connection, until told to stop: bursts with pauses, and a reader who takes most of a pause for a burst, so that there is
/// nearly always something in the queue, and now and then nothing.
fn stream(mut from: TcpStream, mut to: TcpStream, stop: &AtomicBool) {
    let sent = AtomicU64::new(u64::MAX);
    to.set_read_timeout(Some(Duration::from_millis(20))).expect("it is a socket");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                for len in [40_000, 100, 30_000] {
                    from.write_all(bytes(at, len)).expect("the connection stands");
                    at += len as u64;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            sent.store(at, Ordering::Relaxed);
        });
        let (mut part, mut at, mut waited) = ([0; 8 << 10], 0_u64, 0);
        while at != sent.load(Ordering::Relaxed) {
            match to.read(&mut part) {
                Ok(got) => {
                    assert!(got > 0 && part[..got] == *bytes(at, got), "other bytes at {at}");
                    (at, waited) = (at + got as u64, 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && waited < 500 => waited += 1,
                Err(error) => panic!("at byte {at} of {sent:?}: {error}"),
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    });
}

/// Sets the flag when it goes, also because something failed: those who wait for it end.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Streams on connections made while it was up, and in the middle of them something that takes programs away. Each goes one way: who reads by
/// one thread and sends by another is left with TCP.
fn streams(ground: &Ground, cgroup: &Cgroup, change: impl FnOnce(bool)) {
    let up = ground.up(&manifest(ground, cgroup, "", ""));
    let home = cgroup.enter();
    let there = [talking(), talking()];
    let back = [talking(), talking()].map(|(client, server)| (server, client));
    drop(home);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for (from, to) in there.into_iter().chain(back) {
            let stop = &stop;
            scope.spawn(move || stream(from, to, stop));
        }
        let begin = Instant::now();
        while is_open(&up) && queued(ground) == 0 {
            assert!(begin.elapsed().as_secs() < 10, "nothing was ever in a queue");
        }
        change(is_open(&up));
    });
    ground.run(["down", "--all"]);
    ground.is_clean("after down");
}

#[test]
fn streams_lose_nothing_by_downs_ups_and_kills() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("drain-streams");
        streams(ground, &cgroup, |_| assert_eq!(ground.run(["down", "bypass"]).code, Some(0)));
        if rounds(2) == 1 {
            return; // in a guest, where everything takes ten times as long
        }
        streams(ground, &cgroup, |_| {
            let up = ground.up(&manifest(ground, &cgroup, "credit_messages = 77", ""));
            let steps = steps(&up);
            let at =
                |name| steps.iter().position(|step| *step == name).unwrap_or_else(|| panic!("no {name}: {steps:?}"));
            assert!(at("load") < at("drain") && at("drain") < at("replace") && at("pin") < at("resume"), "{steps:?}");
            assert_eq!(
                ground.up(&manifest(ground, &cgroup, "credit_messages = 77", ""))["deployments"][0]["changed"],
                false
            );
        });
        // Killed at any instant of taking it down: the next `up` puts it right, and new connections are redirected again.
        for instant in 0..u64::from(rounds(3)) {
            streams(ground, &cgroup, |is_open| {
                let mut down = ground.command(["down", "bypass"]).spawn().expect("start loader");
                std::thread::sleep(Duration::from_millis(4 + 12 * instant));
                drop(down.kill()); // it may be done already
                down.wait().expect("it ends");
                ground.up(&manifest(ground, &cgroup, "", ""));
                let home = cgroup.enter();
                let (mut client, mut server) = talking();
                drop(home);
                client.write_all(&[1; 100]).expect("it is taken");
                assert!(!is_open || queued(ground) >= 100, "it is up, and redirects nothing");
                server.read_exact(&mut [0; 100]).expect("they come");
            });
        }
    });
}

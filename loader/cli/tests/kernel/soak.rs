//! Many connections that come and go by chance (`traffic::soak`), while the command takes `bypass` down and brings it up, with patience and
//! without, with other programs and other rules, and is killed at any instant of that: no connection notices.
//!
//! `BYPASS_SOAK_CONNECTIONS=10000` takes minutes, and does as much in between as there is time for. The command runs in the cgroup whose
//! sockets are enrolled, as it does where that is the whole machine's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use loader::map::Map;
use loader::prog::Prog;
use progs::bypass::types::Inbox;
use traffic::pair::talking;
use traffic::soak::Soak;
use traffic::tally::{Maps, tally};

use crate::bypass::manifest;
use crate::drain::is_open;
use crate::ground::{Done, Ground, alone, are_gone, ids, rounds};
use crate::hooks::Cgroup;
use crate::sockets::loopback;

/// Messages that were redirected on connections that live.
fn redirected() -> u64 {
    let Ok(inboxes) = Map::from_pin("/sys/fs/bpf/loader/bypass/maps/inboxes") else { return 0 };
    let all = inboxes.typed::<u64, Inbox>().expect("its types").entries().expect("it can be walked");
    all.into_iter().map(|(_, inbox)| if inbox.redirected > 0 { inbox.messages } else { 0 }).sum()
}

/// A rule about connections of port 1, of which there are none: it is judged again who may.
const RULE: &str = "\n[[map.policy_port.entry]]\nkey = 3\nvalue = { first = 1, last = 1, rule = \"Deny\" }\n";

/// What is done first.
const ORDER: [usize; 8] = [4, 0, 5, 0, 3, 2, 1, 0];

/// What is done in the middle of it.
struct Meddler<'g> {
    ground: &'g Ground,
    cgroup: Cgroup,
    chance: Box<dyn FnMut(u64) -> u64>,
    /// How long it takes to bring it up, when nothing else runs.
    whole: Duration,
    /// How often each thing was done.
    done: [u32; 6],
    /// How often the program that counts was left out, as far as that was seen.
    left_out: u64,
}

impl Meddler<'_> {
    /// The manifest in one of its forms.
    fn manifest(&mut self) -> PathBuf {
        let data = format!("credit_messages = {}", 510 + (self.chance)(3));
        let rule = if (self.chance)(2) == 0 { RULE } else { "" };
        manifest(self.ground, &self.cgroup, &data, rule)
    }

    /// Does one thing: takes it down, or brings it up in one form or another, to the end or until it is killed.
    fn meddle(&mut self, turn: usize) {
        let by_chance = (self.chance)(self.done.len() as u64);
        let what = ORDER.get(turn).copied().unwrap_or_else(|| usize::try_from(by_chance).expect("it is small"));
        match what {
            0 => self.up(),
            1 => self.down(),
            2 => {
                // As long as it may take somebody to read, or not.
                let patience = ["0", "0.001", "0.1"][usize::try_from((self.chance)(3)).expect("it is small")];
                let down = self.ground.run(["down", "bypass", "--drain", patience]);
                if down.code != Some(0)
                    && !["is not up", "there is no deployment"].iter().any(|none| down.stderr.contains(none))
                {
                    down.failed(&["unread bytes in", "nothing is lost"]);
                }
            }
            3 => {
                let manifest = self.manifest();
                let up = self.ground.run(["up".as_ref(), manifest.as_os_str(), "--drain".as_ref(), "0".as_ref()]);
                if up.code != Some(0) {
                    up.failed(&["unread bytes in", "nothing is lost"]);
                }
            }
            4 => {
                let manifest = self.manifest();
                self.killed(&["up".as_ref(), manifest.as_os_str()]);
            }
            _ => self.killed(&["down".as_ref(), "bypass".as_ref()]),
        }
        self.done[what] += 1;
        let heard = Prog::from_pin("/sys/fs/bpf/loader/bypass/progs/heard").and_then(|heard| heard.info());
        self.left_out = self.left_out.max(heard.map_or(0, |heard| heard.recursion_misses));
    }

    fn up(&mut self) {
        let manifest = self.manifest();
        self.ground.up(&manifest);
        assert_eq!(self.ground.status("bypass")["drift"], serde_json::json!([]));
    }

    fn down(&mut self) {
        let down: Done = self.ground.run(["down", "--all"]);
        assert_eq!(down.code, Some(0), "{down:?}");
        self.ground.is_clean("in the middle of it");
    }

    /// Killed at some instant, if it has not come to its end.
    fn killed(&mut self, args: &[&std::ffi::OsStr]) {
        let mut child = self.ground.command(args).spawn().expect("start loader");
        std::thread::sleep(self.whole * u32::try_from((self.chance)(150)).expect("it is small") / 100);
        drop(child.kill()); // it may be done already
        child.wait().expect("wait");
    }
}

#[test]
fn no_connection_notices_downs_ups_and_kills() {
    alone(|ground| {
        loopback();
        let soak = Soak::new(u64::from(rounds(300)));
        let cgroup = Cgroup::make("soak");
        let mut meddler = Meddler {
            ground,
            cgroup,
            chance: Box::new(soak.chance()),
            whole: Duration::ZERO,
            done: [0; 6],
            left_out: 0,
        };
        let (text, begin) = (meddler.manifest(), Instant::now());
        let open = is_open(&ground.up(&text));
        meddler.whole = begin.elapsed();
        let home = meddler.cgroup.enter();
        let maps = || Maps::find(|name| Map::from_pin(format!("/sys/fs/bpf/loader/bypass/maps/{name}")));
        let past = tally(&soak, maps, || {
            soak.run(|| {
                // Each thing once, and then what chance says.
                let turns = rounds(u32::try_from(ORDER.len()).expect("it is small"));
                for turn in 0.. {
                    if soak.is_enough() && turn >= turns as usize {
                        break;
                    }
                    meddler.meddle(turn);
                }
            });
        });
        meddler.up();
        let (client, server) = talking();
        assert_eq!(redirected() > 0, open, "it works as at the beginning");
        drop((client, server));
        drop(home);
        println!("did [up, down, impatient down, impatient up, killed up, killed down] so often: {:?}", meddler.done);
        // In an emulator the command is busy with it most of the time.
        past.is_enough(open, 10);
        soak.every_read_has_waited(meddler.left_out);
        let ids = ids(&ground.status("bypass"));
        meddler.down();
        are_gone(&ids);
        assert_eq!(std::fs::read_dir(&meddler.cgroup.0).expect("it is there").filter(is_cgroup).count(), 0);
    });
}

/// A cgroup that somebody has made and left.
fn is_cgroup(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().is_dir())
}

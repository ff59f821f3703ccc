//! Many connections that come and go by chance, while acceleration is taken down and brought up again: `traffic::soak` says what has to be
//! right, and what can be set. `BYPASS_SOAK_CONNECTIONS=10000` takes a few minutes. By the command, with changes and kills:
//! `loader/cli/tests/kernel/soak.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use traffic::soak::Soak;
use traffic::tally::{Maps, tally};

use crate::rig::{LONG, Mode, Rig, in_netns, loopback_up};

fn maps(rig: &Rig) -> Option<Arc<Maps>> {
    let loaded = rig.ours.as_ref()?.loaded();
    Maps::find(|name| loaded.map(name).expect("its name").try_clone())
}

#[test]
fn connections_come_and_go_and_every_byte_is_right() {
    in_netns(|| {
        loopback_up();
        let (mut rig, soak) = (Rig::new(Mode::Ours), Soak::new(60));
        let up = Mutex::new(maps(&rig));
        let set = |maps| *up.lock().unwrap_or_else(PoisonError::into_inner) = maps;
        let get = || up.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let past = tally(&soak, get, || {
            soak.run(|| {
                for quarter in 1.. {
                    soak.wait_for_one_of(4);
                    if quarter > 3 && soak.is_enough() {
                        break;
                    }
                    rig.down_and_up(LONG);
                    set(maps(&rig));
                }
            });
        });
        past.is_enough(rig.counted(), 2);
        let heard = rig.ours.as_ref().and_then(|ours| ours.loaded().prog("heard").ok()?.info().ok());
        soak.every_read_has_waited(heard.map_or(0, |heard| heard.recursion_misses));
    });
}

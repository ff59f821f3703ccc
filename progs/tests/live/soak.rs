//! Many connections that come and go by chance, while acceleration is taken down and brought up again: `traffic::soak` says what has to be
//! right, and what can be set. `BYPASS_SOAK_CONNECTIONS=10000` takes a few minutes. By the command, with changes and kills:
//! `loader/cli/tests/kernel/soak.rs`.

use traffic::soak::Soak;

use crate::rig::{LONG, Mode, Rig, in_netns, loopback_up};

#[test]
fn connections_come_and_go_and_every_byte_is_right() {
    in_netns(|| {
        loopback_up();
        let (mut rig, soak) = (Rig::new(Mode::Ours), Soak::new(60));
        soak.run(|| {
            for quarter in 1..4 {
                soak.wait_for(quarter, 4);
                rig.down_and_up(LONG);
            }
        });
    });
}

//! `sk-msg`: a message goes straight to the receive queue of the socket at the other end, when it is on this host.
//!
//! Input: messages of the sockets that `sockops.rs` has enrolled. Output: redirection by the reversed tuple. Read next:
//! `sockops.rs`.

use asm::dsl::prelude::*;

use super::sockops::{INET, SOCKS, Tuple};

#[sk_msg]
fn redirect(msg: &mut SkMsg) -> SkAction {
    if msg.family() != INET {
        return SkAction::Pass;
    }
    let peer = Tuple {
        sip: msg.remote_ip4(),
        dip: msg.local_ip4(),
        sport: msg.remote_port(),
        dport: msg.local_port().to_be(),
    };
    SOCKS.redirect_msg(msg, &peer, Toward::Ingress);
    SkAction::Pass
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(redirect())
}

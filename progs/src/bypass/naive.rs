//! The usual pair, as it is found in many places, and what goes wrong in it: a teaching example. Do not run it.
//!
//! Stage: kernel programs. Input: TCP connections over IPv4. Output: every message of an enrolled socket goes to the socket whose
//! addresses are the reverse. It is fast, and each line marked *wrong* loses, mixes up or misdirects bytes; the tests under
//! `tests/live/` show each of these on real sockets, next to plain TCP. Next file to read: `../lib.rs`.

use asm::codegen::Profile;
use asm::dsl::prelude::*;

/// Address family of IPv4.
const INET: u32 = 2;

/// What a socket is known by, as its own end sees it.
///
/// *Wrong:* addresses and ports are unique within one network namespace. Two namespaces have the same tuple twice, and a message then
/// goes to whichever socket is in the map: somebody else's. And behind address translation the two ends of one connection do not see
/// the reverse of each other's tuple, so they are never found.
#[derive(Layout)]
#[repr(C)]
struct Tuple {
    sip: Be32,
    dip: Be32,
    sport: Be32,
    dport: Be32,
}

/// *Wrong:* a socket that is deleted from here, or the whole map when its last user goes, takes the messages in its queue along.
/// Whoever detaches the programs does not stop them either: the sockets in the map keep the program they were given.
#[map]
static SOCKETS: SockHash<Tuple, 65535> = map();

/// Messages redirected, for the tests.
#[bss]
static REDIRECTED: u64 = 0;

#[sock_ops]
fn naive_enrol(ops: &mut SockOps) -> Reply {
    match ops.op() {
        SockOps::ACTIVE_ESTABLISHED | SockOps::PASSIVE_ESTABLISHED => {}
        _ => return Reply::None,
    }
    if ops.family() != INET {
        return Reply::None;
    }
    let tuple = Tuple {
        sip: ops.local_ip4(),
        dip: ops.remote_ip4(),
        sport: ops.local_port().to_be(),
        dport: ops.remote_port(),
    };
    // *Wrong:* the two ends get here at different times. What the first one sends before the second is here goes by TCP, and what it
    // sends after that is redirected, and is read first: the bytes change places. A server with `TCP_DEFER_ACCEPT` always comes second.
    //
    // *Wrong:* nobody takes the socket out again when its end of the stream is closed. A reader that is woken by the state and not by
    // data then gets `EAGAIN` from a socket that blocks.
    //
    // *Wrong:* every reader is enrolled, also those that will not see the queue: `splice`, and on some kernels `FIONREAD`.
    SOCKETS.add(ops, &tuple, Update::NoExist);
    Reply::None
}

#[sk_msg]
fn naive_redirect(msg: &mut SkMsg) -> SkAction {
    if msg.family() != INET {
        return SkAction::Pass;
    }
    let peer = Tuple {
        sip: msg.remote_ip4(),
        dip: msg.local_ip4(),
        sport: msg.remote_port(),
        dport: msg.local_port().to_be(),
    };
    // *Wrong:* nobody asks how much lies in the queue already. TCP has a window, this has none: a sender fills the memory of the machine
    // while the reader is looking elsewhere, a kilobyte for each message however small it is.
    if SOCKETS.redirect_msg(msg, &peer, Toward::Ingress) == SkAction::Pass {
        REDIRECTED.place().atomic_add(1);
    }
    // *Wrong:* the verdict is "pass" also where nobody was found, so this message goes by TCP and the next one may not.
    SkAction::Pass
}

/// Both programs and their map.
#[must_use]
pub fn module() -> Module {
    Module::new(crate::LICENSE).prog(naive_enrol()).prog(naive_redirect())
}

/// The ELF object, for the oldest kernel.
pub(crate) fn object() -> Result<Vec<u8>, crate::Error> {
    Ok(module().object(&Profile::linux_5_10())?.write()?)
}

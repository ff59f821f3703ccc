//! Bytes arrive in the order in which they were sent.

use std::io::Write;
use std::net::TcpListener;

use asm::codegen::Profile;
use asm::dsl::prelude::*;
use loader::link::xdp::{self, XdpOptions};
use loader::{LoadOptions, Spec};

use crate::rig::{Rig, accept, connect, each_way, loopback_up, read_exactly};

/// Bytes of an acknowledgement without data: IPv4, TCP, time stamps.
const BARE: Be16 = Be16::new(52);

/// Drops acknowledgements without data. The server then waits for the first data before it takes the connection for established, as a
/// listener with `TCP_DEFER_ACCEPT` does.
#[xdp(default = Action::Pass)]
fn defer_accept(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto == ETH_IPV4 && ip.protocol == TCP && ip.total_len == BARE {
        return Ok(Action::Drop);
    }
    Ok(Action::Pass)
}

/// What the server reads of three messages, of which the first one establishes the connection.
pub(crate) fn deferred(_: &Rig) -> String {
    let module = Module::new("Dual MIT/GPL").prog(defer_accept());
    let bytes = module.object(&Profile::linux_5_10()).expect("it is recorded").write().expect("and written");
    let loaded = loader::load(&Spec::parse(&bytes).expect("ours"), &LoadOptions::default()).expect("it is accepted");
    let prog = loaded.prog("defer_accept").expect("its name");
    let dropping = xdp::attach(prog, loopback_up(), &XdpOptions::default()).expect("loopback takes it");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut client = connect(listener.local_addr().expect("its address"));
    for message in [b"AAAA", b"BBBB", b"CCCC"] {
        client.write_all(message).expect("it is taken");
    }
    drop(dropping);
    let mut server = accept(&listener);
    String::from_utf8(read_exactly(&mut server, 12)).expect("letters")
}

#[test]
fn what_is_sent_before_the_other_end_is_there_is_read_first() {
    let saw = each_way(|rig| deferred(rig));
    assert_eq!((&*saw.plain, &*saw.ours), ("AAAABBBBCCCC", "AAAABBBBCCCC"));
    assert_eq!(saw.naive, "BBBBCCCCAAAA", "the usual pair lets redirected bytes overtake");
}

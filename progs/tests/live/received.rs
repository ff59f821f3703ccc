//! The end of the function that receives on enrolled sockets says what was read, however many parameters the function has: six in Linux 5.10,
//! where ours cannot count by it for another reason (a program there has no storage of sockets), five from 5.19 on,
//! four in Linux 7.3.

use std::io::Write;

use asm::codegen::Profile;
use asm::dsl::prelude::*;
use loader::link::tracing;
use loader::{LoadOptions, Loaded, Spec};
use progs::bypass::host;

use crate::rig::{Mode, Rig, one_way, read_exactly};

/// As in ours.
#[rodata]
static PARAMETERS: u32 = 5;

/// Bytes that were taken out of the stream.
#[bss]
static BYTES: u64 = 0;

/// `MSG_PEEK`.
const PEEK: u32 = 2;

#[fexit("tcp_bpf_recvmsg", default = Observed::Done)]
fn received(ctx: &mut Fentry) -> Result<Observed> {
    if PARAMETERS == 4 {
        count(ctx.arg::<4>() as i32, ctx.arg::<3>() as u32);
    } else if PARAMETERS == 5 {
        count(ctx.arg::<5>() as i32, ctx.arg::<3>() as u32);
    } else {
        count(ctx.arg::<6>() as i32, ctx.arg::<4>() as u32);
    }
    Ok(Observed::Done)
}

#[bpf_fn]
fn count(got: i32, flags: u32) {
    if got > 0 && flags & PEEK == 0 {
        BYTES.place().atomic_add(got as u64);
    }
}

/// The program, told what ours is told.
fn loaded() -> Result<Loaded, String> {
    let bytes = Module::new("Dual MIT/GPL").prog(received()).object(&Profile::linux_5_10()).expect("it is recorded");
    let bytes = bytes.write().expect("and written");
    let told = host::told().into_iter().filter(|(name, _)| *name == "parameters");
    let variables = told.map(|(name, value)| (name.to_owned(), value.to_ne_bytes().to_vec())).collect();
    let options = LoadOptions { variables, ..LoadOptions::default() };
    loader::load(&Spec::parse(&bytes).expect("ours"), &options).map_err(|error| format!("{error:?}"))
}

/// Bytes that are counted of eight that are looked at first and read then, on enrolled sockets.
fn counted(rig: &mut Rig) -> Option<u64> {
    let (mut client, mut server) = rig.talking();
    let loaded = match loaded() {
        Ok(loaded) => loaded,
        Err(error) if error.contains("EPERM") => return None,
        Err(error) => panic!("{error}"),
    };
    let _link = tracing::attach(loaded.prog("received").expect("its name")).expect("it is there");
    client.write_all(b"question").expect("it is taken");
    server.peek(&mut [0; 8]).expect("it comes");
    assert_eq!(read_exactly(&mut server, 8), b"question");
    let value = loaded.map(".bss").expect("it counts").lookup(&[0; 4]).expect("arrays can be read");
    Some(u64::from_ne_bytes(value.expect("an array has all its elements")[..8].try_into().expect("eight bytes")))
}

#[test]
fn what_was_received_is_told_at_the_end() {
    match one_way(Mode::Naive, counted) {
        Some(counted) => assert_eq!(counted, 8),
        None => println!("skip: fentry needs Linux 5.5"),
    }
}

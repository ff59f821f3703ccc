//! What a function gives that may have failed is tested where it is called.
use asm::dsl::prelude::*;

#[bpf_fn]
fn halved(number: u32) -> Option<u32> {
    if number & 1 == 0 { Some(number >> 1) } else { None }
}

#[sock_ops]
fn keeps(ops: &mut SockOps) -> u32 {
    let half = halved(ops.op());
    if let Some(half) = half { half } else { 0 }
}

#[sock_ops]
fn forgets_to_test(ops: &mut SockOps) -> u32 {
    halved(ops.op()) + 1
}

#[bpf_fn]
fn wrong_type(number: u32) -> Option<u16> {
    Some(number)
}

fn main() {}

//! What a function gives that may have failed is tested where it is called.
use asm::dsl::prelude::*;

#[bpf_fn]
fn halved(number: u32) -> Option<u32> {
    if number & 1 == 0 { Some(number >> 1) } else { None }
}

#[raw_tracepoint("sys_enter")]
fn keeps(ctx: &mut RawTracepoint) -> u32 {
    let half = halved(ctx.arg::<0>() as u32);
    if let Some(half) = half { half } else { 0 }
}

#[raw_tracepoint("sys_enter")]
fn forgets_to_test(ctx: &mut RawTracepoint) -> u32 {
    halved(ctx.arg::<0>() as u32) + 1
}

#[bpf_fn]
fn wrong_type(number: u32) -> Option<u16> {
    Some(number)
}

fn main() {}

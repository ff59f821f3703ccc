//! A `match` covers every value, and variables are given values as in Rust.
use asm::dsl::prelude::*;

#[derive(Clone, Copy, Layout)]
#[repr(u8)]
enum Side {
    Left,
    Right,
    Neither,
}

#[bpf_fn]
fn covers(side: Side) -> u32 {
    match side {
        Side::Left => 1,
        Side::Right => 2,
    }
}

#[bpf_fn]
fn assigns(value: u32) -> u32 {
    let sum = value;
    sum += 1;
    sum
}

fn main() {}

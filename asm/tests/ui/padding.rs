//! Hidden padding would leave the kernel's stack to user space, or make equal keys differ.
use asm::dsl::prelude::*;

#[derive(Layout)]
#[repr(C)]
struct Key {
    addr: u32,
    proto: u8,
}

#[derive(Layout)]
struct Unordered {
    addr: u32,
}

fn main() {}

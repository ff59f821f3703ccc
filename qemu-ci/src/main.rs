//! qemu-ci.
fn main() {}

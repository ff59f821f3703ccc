//! The command loader.
fn main() {}

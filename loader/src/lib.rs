//! loader: bytes of an object in, verified, pinned and attached programs out; see docs/architecture.md.
//!
//! Read next: `sys/mod.rs` (the system calls), `map/mod.rs`, `prog.rs`, `link/mod.rs`, `pin.rs`.
#![deny(unsafe_code)]

pub mod apply;
pub mod btf;
pub mod disasm;
pub mod elf;
pub mod errno;
pub mod features;
mod hint;
pub mod lab;
pub mod link;
pub mod load;
pub mod manifest;
pub mod map;
pub mod permission;
pub mod pin;
pub mod plan;
pub mod prog;
pub mod reloc;
pub mod spec;
pub mod sys;
pub mod system;
pub mod verifier;

pub use load::{LoadOptions, Loaded, load};
pub use spec::Spec;

/// Serializes a value as the text it prints as.
pub(crate) fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

//! loader: bytes of an object in, verified, pinned and attached programs out; see docs/architecture.md.
//!
//! ```no_run
//! let spec = loader::Spec::parse(&std::fs::read("lb.o")?)?;         // what the file says; no kernel asked
//! let loaded = loader::load(&spec, &loader::LoadOptions::default())?; // maps made, code relocated and verified
//! assert_eq!(loaded.prog("balance")?.test_run(&[0; 64], 1)?.retval, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read next: `elf/mod.rs` (bytes → `spec.rs`), `reloc/mod.rs`, `load/mod.rs`; below them `sys/mod.rs` (the system calls),
//! `map/mod.rs`, `prog.rs`, `link/mod.rs`, `pin.rs`.
#![deny(unsafe_code)]

pub mod apply;
pub mod btf;
pub mod check;
pub mod disasm;
pub mod elf;
pub mod errno;
pub mod features;
mod hint;
pub mod lab;
pub mod link;
pub mod load;
pub mod machine;
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

//! Stage: verification. Input: the verifier's log. Output: what it refused, where, and what to do about it.
//!
//! Read next: `parse.rs` (the log's two forms), `explain.rs` (the error a person reads).

mod explain;
mod messages;
mod parse;

pub use explain::{Explained, Place, Refusal};
pub use parse::{Cost, Finding, Report, Source, cost, parse};

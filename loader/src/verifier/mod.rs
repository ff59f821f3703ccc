//! Stage: verification. Input: the verifier's log. Output: what it refused, where, and what to do about it.
//!
//! Read next: `parse.rs` (the log's two forms), `explain.rs` (the error a person reads).

mod advice;
mod explain;
mod parse;

pub use explain::{Place, Refusal};
pub use parse::{Finding, Report, Source, parse};

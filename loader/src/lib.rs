//! loader: see docs/architecture.md.

pub mod lab;
pub mod manifest;

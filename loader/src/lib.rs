//! loader: see docs/architecture.md.

pub mod manifest;

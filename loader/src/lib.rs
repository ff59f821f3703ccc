//! loader: see docs/architecture.md.

pub mod apply;
pub mod lab;
pub mod manifest;
pub mod plan;

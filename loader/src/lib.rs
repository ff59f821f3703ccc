//! loader: see docs/architecture.md.

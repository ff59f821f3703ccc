//! Stage: control plane. From the `[lb]` table of a manifest to the contents of the maps, and back to counters.
//!
//! Input: a [`Config`], what the kernel knows about routes, what the maps hold now. Output: an ordered list of writes, each
//! of which prints as a line of text; counters as a table.
//!
//! ```text
//! Config ──validate──▶ Config ──Tables::plan(routes, current)──▶ Tables ──Tables::diff(current)──▶ [Write] ──apply──▶ maps
//! ```
//!
//! Everything left of `apply` is a pure function. The truth about what *is* in force is read from the maps, not from a
//! file: [`Tables::read`]. Next file to read: `config.rs`.

pub mod apply;
pub mod config;
pub mod counters;
pub mod decap;
pub mod kernel;
pub mod plan;
pub mod routes;
pub mod tables;

pub use apply::{Maps, Write, apply};
pub use config::Config;
pub use counters::{Counters, DecapCounters};
pub use decap::DecapTables;
pub use kernel::{KernelError, KernelMaps};
pub use plan::{Sizes, TablesError};
pub use routes::{Route, Routes};
pub use tables::Tables;

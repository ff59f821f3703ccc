//! Stage: apply. A plan → the kernel, step by step, and back again when a step fails.
//!
//! Input: deployments of a manifest, and the systems they name. Output: programs attached and pinned ([`up()`]), taken away
//! ([`down()`]), looked at ([`status()`]). Read next: `prepare.rs`, then `up.rs`.
//!
//! ```no_run
//! use loader::{apply, manifest};
//! use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicBool};
//!
//! let manifest = manifest::read(Path::new("lb.toml"), &[], &BTreeMap::new())?;
//! let systems = []; // whoever brings built-in objects names them here
//! let prepared: Vec<_> = manifest.deployments.iter().map(|one| apply::prepare(one, &systems)).collect::<Result<_, _>>()?;
//! let draining = apply::Draining { systems: &systems, patience: apply::DRAIN_PATIENCE };
//! for report in apply::up(&prepared, draining, &AtomicBool::new(false), &mut |event| eprintln!("{event}"))? {
//!     println!("{}: {} steps", report.name, report.plan.steps.len());
//! }
//! let removed = apply::down("lb", draining)?;
//! assert!(removed.left.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attach;
pub mod contents;
mod down;
mod drain;
mod error;
mod event;
mod hook;
mod job;
mod observe;
mod owner;
mod prepare;
mod privilege;
pub mod record;
mod standalone;
mod status;
mod store;
mod undo;
mod up;
mod work;

pub use down::{Removed, deployments, down};
pub use drain::{Draining, PATIENCE as DRAIN_PATIENCE};
pub use error::Error;
pub use event::{Event, Report, Tell, Took};
pub use observe::observe;
pub use owner::Owner;
pub use prepare::{Error as PrepareError, Prepared, PreparedObject, prepare};
pub use standalone::{Pinned, PinnedMap, PinnedProg, load_and_pin};
pub use status::{Status, status};
pub use up::up;

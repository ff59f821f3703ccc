//! Stage: apply. A plan → the kernel, step by step, and back again when a step fails.
//!
//! Input: deployments of a manifest, and the systems they name. Output: programs attached and pinned ([`up`]), taken away
//! ([`down`]), looked at ([`status`]). Read next: `prepare.rs`, then `up.rs`.

mod down;
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
pub use error::Error;
pub use event::{Event, Report, Tell, Took};
pub use observe::observe;
pub use owner::Owner;
pub use prepare::{Error as PrepareError, Prepared, PreparedObject, prepare};
pub use standalone::{Pinned, PinnedMap, PinnedProg, load_and_pin};
pub use status::{Status, status};
pub use up::up;

//! Stage: loaded maps, errors. Input: the kernel's refusals. Output: what a person reads of them.
//! Read next: `mod.rs`, which makes them.

use std::path::PathBuf;

use asm::object::MapType;

use crate::hint::Hint;
use crate::permission::Denied;
use crate::pin;
use crate::sys::Errno;
use crate::sys::uapi::Cmd;

/// What can go wrong with a map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel did not make it.
    #[error("map `{name}` ({map_type}, key {key_size} bytes, value {value_size} bytes, {max_entries} entries) was not created{}", why(denied.as_deref(), *source))]
    Create {
        /// Its name.
        name: String,
        /// Its type.
        map_type: MapType,
        /// Bytes.
        key_size: u32,
        /// Bytes.
        value_size: u32,
        /// As asked.
        max_entries: u32,
        /// For `EPERM`, the likely reason.
        denied: Option<Box<Denied>>,
        /// The kernel's answer.
        source: Errno,
    },
    /// A command on an element or on the map failed.
    #[error("{cmd} on map `{name}` failed{}", Hint(*cmd, *source))]
    Command {
        /// The command.
        cmd: Cmd,
        /// The map's name.
        name: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// A key or a value has another size than the map's.
    #[error("map `{name}`: a {what} of {got} bytes was given, but the map's has {want}")]
    Size {
        /// The map's name.
        name: String,
        /// `key` or `value`.
        what: &'static str,
        /// Bytes given.
        got: usize,
        /// Bytes of the map.
        want: usize,
    },
    /// There is no map with this id.
    #[error("there is no map with id {id}")]
    NoId {
        /// The id.
        id: u32,
        /// The kernel's answer.
        source: Errno,
    },
    /// Pinning or opening a pin failed.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// The pin holds something else.
    #[error("{path} is no map")]
    NotAMap {
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

/// What the errno means; for `EPERM`, what stands behind it.
fn why(denied: Option<&Denied>, errno: Errno) -> String {
    denied.map_or_else(|| Hint(Cmd::MAP_CREATE, errno).to_string(), |denied| format!(": {denied}"))
}

//! Stage: control plane. Writes to maps, one by one, in the order the plan gave them.
//!
//! Input: [`Write`]s. Output: changed maps. [`Maps`] is all that is asked of a loader, so the order of writes is tested
//! against maps in memory, and the same code runs against the kernel's. Next file to read: `counters.rs`.

use std::fmt;

/// The maps of a loaded object, by name. Keys and values are the bytes of the structs in `types.rs`.
pub trait Maps {
    /// How it fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// One value, or nothing.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// One value of a per-CPU map: one per possible CPU, without the padding between them.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn lookup_each_cpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Self::Error>;

    /// Sets one value.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn set(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Sets one value of a per-CPU map, on every possible CPU the same.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn set_each_cpu(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Removes one value; it need not exist.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn delete(&self, map: &str, key: &[u8]) -> Result<(), Self::Error>;

    /// Every key of a hash map.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn keys(&self, map: &str) -> Result<Vec<Vec<u8>>, Self::Error>;

    /// How many entries a map has room for.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    fn max_entries(&self, map: &str) -> Result<u32, Self::Error>;
}

/// One change of one map. Prints as the line an operator reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The map.
    pub map: &'static str,
    /// The key, as bytes.
    pub key: Vec<u8>,
    /// What happens to it.
    pub action: Action,
    /// The same in words.
    pub text: String,
}

/// What happens to a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// It gets this value.
    Set(Vec<u8>),
    /// It gets this value on every CPU.
    SetEachCpu(Vec<u8>),
    /// It goes.
    Delete,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.action == Action::Delete { "delete" } else { "set" };
        write!(f, "{verb:6} {:8} {}", self.map, self.text)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A write the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "write {number} of {total} failed: {write} (the writes before it are done and harmless: run it again, or go back to the old configuration)"
)]
#[non_exhaustive]
pub struct ApplyError<E: std::error::Error + 'static> {
    /// Its place in the list, counted from 1.
    pub number: usize,
    /// How many there were.
    pub total: usize,
    /// The write.
    pub write: Box<Write>,
    /// Why.
    #[source]
    pub source: E,
}

/// Does the writes in order.
///
/// Stopping after any of them is safe: the packets of a VIP are handled by its old ring or by its new one.
///
/// # Errors
/// The first write that the kernel refuses.
pub fn apply<M: Maps>(writes: &[Write], maps: &M) -> Result<(), ApplyError<M::Error>> {
    for (i, write) in writes.iter().enumerate() {
        let done = match &write.action {
            Action::Set(value) => maps.set(write.map, &write.key, value),
            Action::SetEachCpu(value) => maps.set_each_cpu(write.map, &write.key, value),
            Action::Delete => maps.delete(write.map, &write.key),
        };
        done.map_err(|source| ApplyError {
            number: i + 1,
            total: writes.len(),
            write: Box::new(write.clone()),
            source,
        })?;
    }
    Ok(())
}

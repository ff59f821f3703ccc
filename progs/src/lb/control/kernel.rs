//! Stage: control plane. The kernel's maps, as the control plane asks for them.
//!
//! Input: opened maps, found by name. Output: [`Maps`]. Next file to read: `counters.rs`.

use std::fmt;

use loader::{map::Map, sys::uapi::UpdateFlags};

use super::apply::Maps;

/// Maps in the kernel, by the names they have in the object.
///
/// ```no_run
/// use loader::map::Map;
/// use progs::lb::control::{KernelMaps, Tables};
/// let vips = Map::from_pin("/sys/fs/bpf/loader/lb/maps/vips")?;
/// let maps = KernelMaps::new(|name| (name == "vips").then_some(&vips));
/// let tables = Tables::read(&maps)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KernelMaps<'a> {
    find: Box<Find<'a>>,
}

type Find<'a> = dyn Fn(&str) -> Option<&'a Map> + 'a;

impl fmt::Debug for KernelMaps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelMaps").finish_non_exhaustive()
    }
}

/// Why a map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The object has no such map.
    #[error("there is no map `{map}`: this is not the load balancer's object, or one of another version")]
    Missing {
        /// Its name.
        map: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Map(#[from] loader::map::Error),
}

impl<'a> KernelMaps<'a> {
    /// Maps found by `find`, from the name in the object.
    pub fn new(find: impl Fn(&str) -> Option<&'a Map> + 'a) -> Self {
        Self { find: Box::new(find) }
    }

    fn map(&self, name: &str) -> Result<&'a Map, KernelError> {
        (self.find)(name).ok_or_else(|| KernelError::Missing { map: name.to_owned() })
    }
}

impl Maps for KernelMaps<'_> {
    type Error = KernelError;

    fn lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, KernelError> {
        Ok(self.map(map)?.lookup(key)?)
    }

    fn lookup_each_cpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, KernelError> {
        Ok(self.map(map)?.lookup_per_cpu(key)?)
    }

    fn set(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), KernelError> {
        Ok(self.map(map)?.update(key, value, UpdateFlags::ANY)?)
    }

    fn set_each_cpu(&self, map: &str, key: &[u8], value: &[u8]) -> Result<(), KernelError> {
        Ok(self.map(map)?.update_per_cpu(key, &[value], UpdateFlags::ANY)?)
    }

    fn delete(&self, map: &str, key: &[u8]) -> Result<(), KernelError> {
        self.map(map)?.delete(key)?;
        Ok(())
    }

    fn keys(&self, map: &str) -> Result<Vec<Vec<u8>>, KernelError> {
        Ok(self.map(map)?.keys().collect::<Result<_, _>>()?)
    }

    fn max_entries(&self, map: &str) -> Result<u32, KernelError> {
        Ok(self.map(map)?.info()?.max_entries)
    }
}

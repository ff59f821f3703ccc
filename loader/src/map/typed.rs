//! Stage: loaded maps. Input: a map and the Rust types of its key and value. Output: the same, without byte slices.
//! Read next: `compat.rs`.

use std::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Error, Map};
use crate::sys::uapi::UpdateFlags;

/// A view of a [`Map`] with keys `K` and values `V`, both without padding and valid with any bytes.
///
/// The sizes are compared with the map's when the view is made; field order and byte order are the author's word.
#[derive(Debug)]
pub struct TypedMap<'a, K, V> {
    map: &'a Map,
    types: PhantomData<fn(K) -> V>,
}

impl Map {
    /// Sees keys as `K` and values as `V`.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] if one has another size than the map's.
    pub fn typed<K, V>(&self) -> Result<TypedMap<'_, K, V>, Error>
    where
        K: IntoBytes + FromBytes + Immutable,
        V: IntoBytes + FromBytes + Immutable,
    {
        for (what, got, want) in
            [("key", size_of::<K>(), self.key_size()), ("value", size_of::<V>(), self.value_size())]
        {
            if got != want {
                return Err(self.size_error(what, got, want));
            }
        }
        Ok(TypedMap { map: self, types: PhantomData })
    }
}

impl<K, V> TypedMap<'_, K, V>
where
    K: IntoBytes + FromBytes + Immutable,
    V: IntoBytes + FromBytes + Immutable,
{
    /// The value for `key`; of the first CPU for a per-CPU map.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn get(&self, key: &K) -> Result<Option<V>, Error> {
        let value = self.map.lookup(key.as_bytes())?;
        // A per-CPU value is followed by the other CPUs'.
        Ok(value.and_then(|bytes| Some(V::read_from_prefix(&bytes).ok()?.0)))
    }

    /// The values for `key` of all possible CPUs; the one value if the map is not per CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn get_per_cpu(&self, key: &K) -> Result<Option<Vec<V>>, Error> {
        let values = self.map.lookup_per_cpu(key.as_bytes())?;
        Ok(values.map(|values| values.iter().filter_map(|bytes| V::read_from_bytes(bytes).ok()).collect()))
    }

    /// Inserts or replaces; on every CPU for a per-CPU map.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn set(&self, key: &K, value: &V) -> Result<(), Error> {
        self.set_with(key, value, UpdateFlags::ANY)
    }

    /// Inserts or replaces as `flags` say.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn set_with(&self, key: &K, value: &V, flags: UpdateFlags) -> Result<(), Error> {
        if self.map.is_per_cpu() {
            return self.map.update_per_cpu(key.as_bytes(), &[value.as_bytes()], flags);
        }
        self.map.update(key.as_bytes(), value.as_bytes(), flags)
    }

    /// Deletes; says whether the key was there.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn delete(&self, key: &K) -> Result<bool, Error> {
        self.map.delete(key.as_bytes())
    }

    /// All keys and values, as [`Map::entries`] reads them; the first CPU's for a per-CPU map.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn entries(&self) -> Result<Vec<(K, V)>, Error> {
        let entries = self
            .map
            .entries()?
            .into_iter()
            .filter_map(|(key, value)| Some((K::read_from_bytes(&key).ok()?, V::read_from_prefix(&value).ok()?.0)));
        Ok(entries.collect())
    }
}

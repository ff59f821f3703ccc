//! Stage: loaded maps. Input: keys and values as bytes. Output: elements read, written, deleted, for one CPU or all.
//! Read next: `keys.rs`.

use std::os::fd::AsFd;

use super::{Error, Map};
use crate::sys::map::possible_cpus;
use crate::sys::mmap::Mapping;
use crate::sys::uapi::{Cmd, UpdateFlags};
use crate::sys::{self, Errno};

/// A key and its value, as bytes.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Map {
    /// The value for `key`; for a per-CPU map, of all possible CPUs back to back, each rounded up to 8 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Size`], [`Error::Command`].
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.fd.user_value_size()];
        self.check(Some(key), None)?;
        self.some(Cmd::MAP_LOOKUP_ELEM, self.fd.lookup(key, &mut value, UpdateFlags::ANY), value)
    }

    /// The values for `key` of all possible CPUs, each of [`Map::value_size`] bytes. For a map that is not per CPU,
    /// the one value.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`].
    pub fn lookup_per_cpu(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(all) = self.lookup(key)? else { return Ok(None) };
        if !self.is_per_cpu() {
            return Ok(Some(vec![all]));
        }
        let size = self.value_size();
        let stride = size.next_multiple_of(8).max(8);
        Ok(Some(all.chunks_exact(stride).map(|one| one[..size].to_vec()).collect()))
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    ///
    /// [`Error::Size`]; [`Error::Command`] with `E2BIG` for a full map, `EEXIST` or `ENOENT` as `flags` say.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update(&self, key: &[u8], value: &[u8], flags: UpdateFlags) -> Result<(), Error> {
        self.check(Some(key), Some(value))?;
        self.fd.update(key, value, flags).map_err(|errno| self.error(Cmd::MAP_UPDATE_ELEM, errno))
    }

    /// Sets the values of all possible CPUs, each of [`Map::value_size`] bytes; one value is given to all.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update_per_cpu(&self, key: &[u8], values: &[&[u8]], flags: UpdateFlags) -> Result<(), Error> {
        let cpus = possible_cpus().map_err(|errno| self.error(Cmd::MAP_UPDATE_ELEM, errno))?;
        let (size, stride) = (self.value_size(), self.value_size().next_multiple_of(8));
        let wrong = values.iter().find(|value| value.len() != size);
        if let Some(value) = wrong {
            return Err(self.size_error("value", value.len(), size));
        }
        if values.len() != 1 && values.len() != cpus {
            return Err(self.size_error("list of values", values.len() * size, cpus * size));
        }
        let mut all = vec![0; stride * cpus];
        for (place, value) in all.chunks_exact_mut(stride.max(1)).zip(values.iter().cycle()) {
            place[..size].copy_from_slice(value);
        }
        self.update(key, &all, flags)
    }

    /// Deletes; says whether the key was there.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with `EINVAL` for types without deletion, such as arrays.
    #[doc(alias = "BPF_MAP_DELETE_ELEM")]
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check(Some(key), None)?;
        Ok(self.some(Cmd::MAP_DELETE_ELEM, self.fd.delete(key), ())?.is_some())
    }

    /// Takes an element out: of a queue or stack with an empty key (Linux 4.20), of a hash (Linux 5.14).
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with 524 or `EINVAL` where the kernel or the type has no such thing.
    #[doc(alias = "BPF_MAP_LOOKUP_AND_DELETE_ELEM")]
    pub fn take(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.fd.user_value_size()];
        self.check(Some(key), None)?;
        self.some(Cmd::MAP_LOOKUP_AND_DELETE_ELEM, self.fd.lookup_and_delete(key, &mut value), value)
    }

    /// All keys with their values (for a per-CPU map as [`Map::lookup`] gives them), in the kernel's order. Elements that
    /// come or go meanwhile may be missed or seen twice.
    ///
    /// Many are read in one call where the kernel can (Linux 5.6, by map type).
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_MAP_LOOKUP_BATCH")]
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        match self.entries_by_batch() {
            Ok(entries) => Ok(entries),
            // No batches here, or a bucket larger than the buffers: one by one.
            Err(_) => self.keys().filter_map(|key| self.entry(key).transpose()).collect(),
        }
    }

    fn entry(&self, key: Result<Vec<u8>, Error>) -> Result<Option<Entry>, Error> {
        let key = key?;
        Ok(self.lookup(&key)?.map(|value| (key, value)))
    }

    fn entries_by_batch(&self) -> sys::Result<Vec<Entry>> {
        const AT_ONCE: usize = 1024;
        let (key_size, value_size) = (self.fd.key_size(), self.fd.user_value_size());
        let (mut keys, mut values) = (vec![0; key_size * AT_ONCE], vec![0; value_size * AT_ONCE]);
        let (mut entries, mut from) = (Vec::new(), None);
        loop {
            let batch = self.fd.lookup_batch(from.as_ref(), &mut keys, &mut values, false)?;
            let done = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size)).take(batch.count);
            entries.extend(done.map(|(key, value)| (key.to_vec(), value.to_vec())));
            match batch.next {
                Some(next) => from = Some(next),
                None => return Ok(entries),
            }
        }
    }

    /// Writes a part of an array's first value, such as one global variable, and leaves the rest of it alone: through shared
    /// memory where the map allows that (Linux 5.5), where aligned numbers change at once; else the whole value is read
    /// and written, and what programs change in between is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Command`]; with `EINVAL` for a part beyond the end, with `EPERM` for a frozen map.
    pub fn write_part(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        match Mapping::new(self.as_fd(), self.value_size(), 0, true) {
            Ok(memory) => memory.write(offset, bytes).map_err(|errno| self.error(Cmd::MAP_UPDATE_ELEM, errno)),
            Err(_) => {
                let key = vec![0; self.key_size()];
                let mut value = self.lookup(&key)?.unwrap_or_default();
                let part = offset.checked_add(bytes.len()).and_then(|end| value.get_mut(offset..end));
                let Some(part) = part else { return Err(self.error(Cmd::MAP_UPDATE_ELEM, Errno::EINVAL)) };
                part.copy_from_slice(bytes);
                self.update(&key, &value, UpdateFlags::ANY)
            }
        }
    }

    /// `ENOENT` is an answer, not a failure.
    fn some<T>(&self, cmd: Cmd, done: sys::Result<()>, value: T) -> Result<Option<T>, Error> {
        match done {
            Ok(()) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.error(cmd, errno)),
        }
    }

    fn check(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Error> {
        let sizes = [("key", key, self.fd.key_size()), ("value", value, self.fd.user_value_size())];
        match sizes.into_iter().find_map(|(what, given, want)| {
            given.filter(|given| given.len() != want).map(|given| (what, given.len(), want))
        }) {
            Some((what, got, want)) => Err(self.size_error(what, got, want)),
            None => Ok(()),
        }
    }
}

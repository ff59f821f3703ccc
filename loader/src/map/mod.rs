//! Stage: loaded maps. Input: a definition, a pin or an id. Output: [`Map`], read and written as bytes.
//!
//! Read next: `typed.rs` (keys and values as structs), `compat.rs` (may a pinned map be used again?), `keys.rs`.

mod compat;
mod keys;
mod typed;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use compat::{Difference, Wanted, differences};
pub use keys::Keys;
pub use typed::TypedMap;

use crate::permission::{Denied, raise_memlock};
use crate::pin;
use crate::sys::map::{Btf, Create, MapFd, possible_cpus};
use crate::sys::uapi::{Cmd, MapFlags, UpdateFlags};
use crate::sys::{self, Errno};

/// What can go wrong with a map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel did not make it.
    #[error("map `{name}` (type {map_type}, key {key_size} bytes, value {value_size} bytes, {max_entries} entries) was not created: {}", why(denied.as_deref(), *source))]
    Create {
        /// Its name.
        name: String,
        /// `enum bpf_map_type`.
        map_type: u32,
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
    #[error("{cmd} on map `{name}` failed")]
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

/// The errno, and for `EPERM` what stands behind it.
fn why(denied: Option<&Denied>, errno: Errno) -> String {
    denied.map_or_else(|| errno.to_string(), |denied| format!("{errno}; {denied}"))
}

/// How a map is made.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes; of one CPU for the per-CPU types.
    pub value_size: u32,
    /// Elements; bytes for a ring buffer.
    pub max_entries: u32,
    /// [`MapFlags`] as bits.
    pub flags: u32,
    /// The pattern of the inner maps, for a map of maps.
    pub inner: Option<BorrowedFd<'a>>,
    /// Counts only with [`MapFlags::NUMA_NODE`].
    pub numa_node: u32,
    /// The types of key and value.
    pub btf: Option<Btf<'a>>,
    /// `map_extra` (Linux 5.16).
    pub extra: u64,
}

/// What the kernel says of a map.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Info {
    /// The id.
    pub id: u32,
    /// The kernel's name: at most 15 bytes.
    pub name: String,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes; of one CPU for the per-CPU types.
    pub value_size: u32,
    /// Elements; bytes for a ring buffer.
    pub max_entries: u32,
    /// [`MapFlags`] as bits.
    pub flags: u32,
    /// The id of its BTF, or 0.
    pub btf_id: u32,
    /// The key's type in that, or 0.
    pub btf_key_type_id: u32,
    /// The value's type in that, or 0.
    pub btf_value_type_id: u32,
    /// `map_extra` (Linux 5.16).
    pub extra: u64,
}

/// A map in the kernel, kept alive by this descriptor.
///
/// ```no_run
/// use loader::map::Map;
/// let stats = Map::from_pin("/sys/fs/bpf/loader/lb/maps/stats")?;
/// if let Some(values) = stats.lookup_per_cpu(&0_u32.to_ne_bytes())? {
///     println!("{} CPUs", values.len());
/// }
/// # Ok::<(), loader::map::Error>(())
/// ```
#[doc(alias = "bpf_map")]
#[derive(Debug)]
pub struct Map {
    fd: MapFd,
    name: String,
}

impl Map {
    /// Makes a map. On kernels before 5.11 the limit of locked memory is raised if it is in the way.
    ///
    /// # Errors
    ///
    /// [`Error::Create`], which for `EPERM` says why.
    #[doc(alias = "BPF_MAP_CREATE")]
    pub fn create(name: &str, options: &Options<'_>) -> Result<Self, Error> {
        let create = Create {
            map_type: options.map_type,
            key_size: options.key_size,
            value_size: options.value_size,
            max_entries: options.max_entries,
            flags: options.flags,
            inner_map: options.inner,
            numa_node: options.numa_node,
            name,
            btf: options.btf,
            extra: options.extra,
        };
        let made = match sys::map::create(&create) {
            Err(Errno::EPERM) if raise_memlock() => sys::map::create(&create),
            made => made,
        };
        let fd = made.map_err(|source| Error::Create {
            name: name.to_owned(),
            map_type: options.map_type,
            key_size: options.key_size,
            value_size: options.value_size,
            max_entries: options.max_entries,
            denied: (source == Errno::EPERM).then(|| Box::new(Denied::look(Cmd::MAP_CREATE))),
            source,
        })?;
        Ok(Self { fd, name: name.to_owned() })
    }

    /// Opens a pinned map.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] if there is nothing, [`Error::NotAMap`] if it is something else.
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn from_pin(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let fd = pin::open(path, pin::Kind::Map)?;
        Self::from_fd(fd).map_err(|source| Error::NotAMap { path: path.to_owned(), source })
    }

    /// Opens the map with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NoId`].
    #[doc(alias = "BPF_MAP_GET_FD_BY_ID")]
    pub fn from_id(id: u32) -> Result<Self, Error> {
        let fd = sys::obj::fd_by_id(sys::obj::Kind::Map, id).and_then(Self::from_fd);
        fd.map_err(|source| Error::NoId { id, source })
    }

    /// Takes a map's descriptor that came from elsewhere.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no map.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let info = sys::info::map(fd.as_fd())?;
        Ok(Self { fd: MapFd::from_fd(fd)?, name: sys::name_text(&info.name) })
    }

    /// The name it was made with, or the kernel's shorter one for a map opened by pin or id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of a key.
    #[must_use]
    pub fn key_size(&self) -> usize {
        self.fd.key_size()
    }

    /// Bytes of a value; of one CPU for the per-CPU types.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.fd.value_size()
    }

    /// `enum bpf_map_type`.
    #[must_use]
    pub fn map_type(&self) -> u32 {
        self.fd.map_type()
    }

    /// Whether each element has a value for each possible CPU.
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        self.fd.is_per_cpu()
    }

    /// The descriptor with its sizes, for what this type does not offer.
    #[must_use]
    pub fn sys(&self) -> &MapFd {
        &self.fd
    }

    /// Another descriptor of the same map.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with `EMFILE`.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|errno| self.error(Cmd::OBJ_GET, errno))?;
        Ok(Self { fd, name: self.name.clone() })
    }

    /// Gives the map a name on bpffs, which keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`].
    #[doc(alias = "BPF_OBJ_PIN")]
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(pin::pin(self.fd.as_fd(), path.as_ref())?)
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<Info, Error> {
        let info = sys::info::map(self.fd.as_fd()).map_err(|errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno))?;
        Ok(Info {
            id: info.id,
            name: sys::name_text(&info.name),
            map_type: info.map_type,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            btf_id: info.btf_id,
            btf_key_type_id: info.btf_key_type_id,
            btf_value_type_id: info.btf_value_type_id,
            extra: info.map_extra,
        })
    }

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

    /// All keys, in the kernel's order. Keys that come or go meanwhile may be missed or seen twice.
    #[must_use]
    #[doc(alias = "BPF_MAP_GET_NEXT_KEY")]
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(self)
    }

    /// User space can never write to it again (Linux 5.2); the verifier then knows the values of a read-only map.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_MAP_FREEZE")]
    pub fn freeze(&self) -> Result<(), Error> {
        self.fd.freeze().map_err(|errno| self.error(Cmd::MAP_FREEZE, errno))
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

    fn size_error(&self, what: &'static str, got: usize, want: usize) -> Error {
        Error::Size { name: self.name.clone(), what, got, want }
    }

    fn error(&self, cmd: Cmd, source: Errno) -> Error {
        Error::Command { cmd, name: self.name.clone(), source }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Flags that decide whether user space may read back what it wrote; used by the compatibility check.
pub(crate) const ACCESS_FLAGS: u32 = MapFlags::RDONLY.bits() | MapFlags::WRONLY.bits();

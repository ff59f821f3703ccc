//! Stage: loaded maps. Input: a definition, a pin or an id. Output: [`Map`], read and written as bytes.
//!
//! Read next: `typed.rs` (keys and values as structs), `compat.rs` (may a pinned map be used again?), `migrate.rs`
//! (may its contents?), `keys.rs`, `storage.rs` (values of sockets and
//! cgroups), `ringbuf.rs`.

mod compat;
mod elements;
mod error;
mod keys;
mod migrate;
mod ringbuf;
mod storage;
mod typed;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use asm::object::MapType;
use serde::Serialize;

pub use compat::{Difference, Found, Wanted, differences};
pub use elements::Entry;
pub use error::Error;
pub use keys::Keys;
pub(crate) use migrate::TYPES as ORDINARY;
pub use migrate::{Migrated, Migration};
pub use ringbuf::RingBuf;
pub use typed::TypedMap;

use crate::permission::{Denied, raise_memlock};
use crate::pin;
use crate::sys::map::{Btf, Create, MapFd};
use crate::sys::uapi::{Cmd, MapFlags};
use crate::sys::{self, Errno};

/// How a map is made.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// What kind of map.
    pub map_type: MapType,
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

impl Default for Options<'_> {
    /// No type, which no kernel accepts: the caller names one.
    fn default() -> Self {
        Self {
            map_type: MapType::UNSPEC,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: 0,
            inner: None,
            numa_node: 0,
            btf: None,
            extra: 0,
        }
    }
}

/// What the kernel says of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// The id.
    pub id: u32,
    /// The kernel's name: at most 15 bytes.
    pub name: String,
    /// What kind of map; its name in JSON.
    #[serde(serialize_with = "crate::as_text")]
    pub map_type: MapType,
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
            map_type: options.map_type.0,
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
            // `EINVAL`: so Linux 5.10 calls it for maps of devices (`dev_map_init_map` drops the reason).
            Err(Errno::EPERM | Errno::EINVAL) if raise_memlock() => sys::map::create(&create),
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

    /// What kind of map it is.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        MapType(self.fd.map_type())
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
            map_type: MapType(info.map_type),
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

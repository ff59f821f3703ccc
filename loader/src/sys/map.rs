//! Stage: system calls, maps. Input: sizes, keys and values as bytes. Output: [`MapFd`], a descriptor that knows its sizes.
//! Read next: `batch.rs`, `prog.rs`; the comfortable API is `crate::map`.

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::uapi::{MapFlags, OBJ_NAME_LEN, UpdateFlags};
use super::{Errno, Result, addr, addr_mut, bpf, bpf_fd, commands, fd_u32, info, obj_name, opt_fd_u32, zeroed};

/// Map types whose values are stored once a possible CPU.
const PER_CPU_TYPES: [u32; 4] = [5, 6, 10, 21];
/// Map types whose elements are descriptors on the way in and ids on the way out, 4 bytes both.
const FD_TYPES: [u32; 5] = [3, 4, 8, 12, 13];

/// What `BPF_MAP_CREATE` is told.
#[derive(Debug, Clone, Default)]
pub struct Create<'a> {
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
    pub inner_map: Option<BorrowedFd<'a>>,
    /// Counts only with [`MapFlags::NUMA_NODE`].
    pub numa_node: u32,
    /// Cut to 15 bytes; may be empty.
    pub name: &'a str,
    /// The types of key and value.
    pub btf: Option<Btf<'a>>,
    /// `map_extra`: hash functions of a Bloom filter (Linux 5.16).
    pub extra: u64,
}

/// The BTF types of a map's key and value.
#[derive(Debug, Clone, Copy)]
pub struct Btf<'a> {
    /// A loaded BTF object.
    pub fd: BorrowedFd<'a>,
    /// The key's type id, or 0.
    pub key: u32,
    /// The value's type id.
    pub value: u32,
}

/// `BPF_MAP_CREATE`, up to and including `map_extra` (Linux 5.16).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; OBJ_NAME_LEN],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
}
const _: () = assert!(size_of::<CreateAttr>() == 72);
const _: () = assert!(offset_of!(CreateAttr, map_name) == 28);
const _: () = assert!(offset_of!(CreateAttr, btf_fd) == 48);

/// `BPF_MAP_*_ELEM` and `BPF_MAP_GET_NEXT_KEY`; one layout, told apart by the command.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct ElemAttr {
    map_fd: u32,
    reserved: u32,
    key: u64,
    /// Also `next_key`.
    value: u64,
    flags: u64,
}
const _: () = assert!(size_of::<ElemAttr>() == 32);
const _: () = assert!(offset_of!(ElemAttr, key) == 8);

/// `BPF_MAP_FREEZE` (Linux 5.2).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct FreezeAttr {
    map_fd: u32,
}
const _: () = assert!(size_of::<FreezeAttr>() == 4);

commands! {
    MapCreate(CreateAttr) = MAP_CREATE;
    Lookup(ElemAttr) = MAP_LOOKUP_ELEM;
    Update(ElemAttr) = MAP_UPDATE_ELEM;
    Delete(ElemAttr) = MAP_DELETE_ELEM;
    NextKey(ElemAttr) = MAP_GET_NEXT_KEY;
    LookupAndDelete(ElemAttr) = MAP_LOOKUP_AND_DELETE_ELEM;
    Freeze(FreezeAttr) = MAP_FREEZE;
}

/// A map's descriptor with the sizes that its elements have in user space.
///
/// Invariant: the sizes are those of the map behind the descriptor, so that no element command can make the kernel
/// read or write beyond a slice of that length.
#[derive(Debug)]
pub struct MapFd {
    fd: OwnedFd,
    map_type: u32,
    key_size: usize,
    /// Bytes of one CPU's value, as the map was made.
    value_size: usize,
    /// Bytes that one element command reads or writes.
    user_value_size: usize,
}

/// `BPF_MAP_CREATE`.
///
/// # Errors
///
/// The kernel's: `EINVAL` for a combination it does not know, `EPERM`, `ENOMEM`, `E2BIG` for sizes and for
/// [`Create::extra`] before 5.16.
pub fn create(options: &Create<'_>) -> Result<MapFd> {
    let btf = options.btf;
    let mut attr = CreateAttr {
        map_type: options.map_type,
        key_size: options.key_size,
        value_size: options.value_size,
        max_entries: options.max_entries,
        map_flags: options.flags,
        inner_map_fd: opt_fd_u32(options.inner_map),
        numa_node: if options.flags & MapFlags::NUMA_NODE.bits() == 0 { 0 } else { options.numa_node },
        map_name: obj_name(options.name),
        map_ifindex: 0,
        btf_fd: btf.map_or(0, |btf| fd_u32(btf.fd)),
        btf_key_type_id: btf.map_or(0, |btf| btf.key),
        btf_value_type_id: btf.map_or(0, |btf| btf.value),
        btf_vmlinux_value_type_id: 0,
        map_extra: options.extra,
    };
    // SAFETY: the struct holds no address, and the command returns a new descriptor.
    let fd = unsafe { bpf_fd::<MapCreate>(&mut attr) }?;
    MapFd::with_sizes(fd, options.map_type, options.key_size, options.value_size)
}

impl MapFd {
    /// Takes a descriptor of a map made elsewhere, asking the kernel for its sizes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no map.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let info = info::map(fd.as_fd())?;
        Self::with_sizes(fd, info.map_type, info.key_size, info.value_size)
    }

    /// The one constructor; the sizes come from the kernel, directly or because it made the map with them.
    fn with_sizes(fd: OwnedFd, map_type: u32, key_size: u32, value_size: u32) -> Result<Self> {
        let [key_size, value_size] = [key_size, value_size].map(|size| size as usize);
        let user_value_size = if PER_CPU_TYPES.contains(&map_type) {
            value_size.next_multiple_of(8).checked_mul(possible_cpus()?).ok_or(Errno::E2BIG)?
        } else if FD_TYPES.contains(&map_type) {
            4
        } else {
            value_size
        };
        Ok(Self { fd, map_type, key_size, value_size, user_value_size })
    }

    /// Bytes of a key; 0 for queues, stacks and Bloom filters.
    #[must_use]
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value as the map was made; of one CPU for the per-CPU types.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// Bytes that one lookup fills: for a per-CPU map, the value rounded up to 8 bytes, times the possible CPUs.
    #[must_use]
    pub fn user_value_size(&self) -> usize {
        self.user_value_size
    }

    /// Whether an element holds a value for each possible CPU.
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        PER_CPU_TYPES.contains(&self.map_type)
    }

    /// `enum bpf_map_type`.
    #[must_use]
    pub fn map_type(&self) -> u32 {
        self.map_type
    }

    /// Another descriptor of the same map.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self { fd, ..*self })
    }

    fn check(&self, key: Option<usize>, value: Option<usize>) -> Result<()> {
        let key_fits = key.is_none_or(|len| len == self.key_size);
        let value_fits = value.is_none_or(|len| len == self.user_value_size);
        if key_fits && value_fits { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// `BPF_MAP_LOOKUP_ELEM` into `value`.
    ///
    /// # Errors
    ///
    /// `ENOENT` for no such key, `EINVAL` for slices of another size than the map's.
    pub fn lookup(&self, key: &[u8], value: &mut [u8], flags: UpdateFlags) -> Result<()> {
        self.check(Some(key.len()), Some(value.len()))?;
        let mut attr: ElemAttr = zeroed();
        (attr.map_fd, attr.key, attr.value) = (fd_u32(self.as_fd()), addr(key), addr_mut(value));
        attr.flags = flags.bits();
        // SAFETY: the kernel reads `key_size` bytes and writes `user_value_size`; `check` compared both with the slices,
        // which are borrowed over the call.
        unsafe { bpf::<Lookup>(&mut attr) }.map(drop)
    }

    /// `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    ///
    /// As `flags` say; `E2BIG` for a full map or an index beyond the array, `EINVAL` for slices of another size.
    pub fn update(&self, key: &[u8], value: &[u8], flags: UpdateFlags) -> Result<()> {
        self.check(Some(key.len()), Some(value.len()))?;
        let mut attr: ElemAttr = zeroed();
        (attr.map_fd, attr.key, attr.value) = (fd_u32(self.as_fd()), addr(key), addr(value));
        attr.flags = flags.bits();
        // SAFETY: the kernel reads `key_size` and `user_value_size` bytes; `check` compared both with the slices.
        unsafe { bpf::<Update>(&mut attr) }.map(drop)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    ///
    /// `ENOENT` for no such key, `EINVAL` for map types without deletion (arrays) and for a key of another size.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.check(Some(key.len()), None)?;
        let mut attr: ElemAttr = zeroed();
        (attr.map_fd, attr.key) = (fd_u32(self.as_fd()), addr(key));
        // SAFETY: the kernel reads `key_size` bytes; `check` compared them with the slice.
        unsafe { bpf::<Delete>(&mut attr) }.map(drop)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: the key after `key`, the first one for `None` or for a key that is not there.
    ///
    /// # Errors
    ///
    /// `ENOENT` after the last one.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<()> {
        self.check(key.map(<[u8]>::len), None)?;
        self.check(Some(next.len()), None)?;
        let mut attr: ElemAttr = zeroed();
        (attr.map_fd, attr.key, attr.value) = (fd_u32(self.as_fd()), addr(key.unwrap_or(&[])), addr_mut(next));
        // SAFETY: the kernel reads `key_size` bytes, or nothing for a zero address, and writes `key_size`; `check`
        // compared both slices.
        unsafe { bpf::<NextKey>(&mut attr) }.map(drop)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` (Linux 4.20 for queues and stacks, 5.14 for hashes).
    ///
    /// # Errors
    ///
    /// `ENOENT` for no such key or an empty queue; 524 or `EINVAL` for other types.
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> Result<()> {
        self.check(Some(key.len()), Some(value.len()))?;
        let mut attr: ElemAttr = zeroed();
        (attr.map_fd, attr.key, attr.value) = (fd_u32(self.as_fd()), addr(key), addr_mut(value));
        // SAFETY: as in `lookup`.
        unsafe { bpf::<LookupAndDelete>(&mut attr) }.map(drop)
    }

    /// `BPF_MAP_FREEZE`: user space can never write again (Linux 5.2).
    ///
    /// # Errors
    ///
    /// `EBUSY` while it is mapped writable, 524 for types without it.
    pub fn freeze(&self) -> Result<()> {
        let mut attr = FreezeAttr { map_fd: fd_u32(self.as_fd()) };
        // SAFETY: the struct holds no address.
        unsafe { bpf::<Freeze>(&mut attr) }.map(drop)
    }
}

impl AsFd for MapFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How many CPUs this machine could ever have: the number of values in an element of a per-CPU map.
///
/// # Errors
///
/// `ENOENT` without sysfs on `/sys`.
pub fn possible_cpus() -> Result<usize> {
    static CPUS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    if let Some(cpus) = CPUS.get() {
        return Ok(*cpus);
    }
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").map_err(|_| Errno::ENOENT)?;
    let cpus = parse_cpus(&text).ok_or(Errno::EINVAL)?;
    Ok(*CPUS.get_or_init(|| cpus))
}

/// The number of CPUs in a list such as `0-3,8`. The kernel counts the set bits of its mask, so do we.
fn parse_cpus(list: &str) -> Option<usize> {
    let mut cpus = 0_usize;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cpus = cpus.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_cpu_lists() {
        for (list, want) in
            [("0\n", Some(1)), ("0-3\n", Some(4)), ("0-1,4,8-9", Some(5)), ("", None), ("3-1", None), ("a", None)]
        {
            assert_eq!(parse_cpus(list), want, "{list:?}");
        }
    }
}

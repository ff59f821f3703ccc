//! Stage: system calls, many elements of a map at once. Input: keys and values back to back. Output: how many were done.
//! Read next: `prog.rs`.

use std::mem::offset_of;
use std::os::fd::AsFd;

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::map::MapFd;
use super::uapi::UpdateFlags;
use super::{Errno, Result, addr, addr_mut, bpf, commands, fd_u32, zeroed};

/// `BPF_MAP_*_BATCH` (Linux 5.6).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}
const _: () = assert!(size_of::<BatchAttr>() == 56);
const _: () = assert!(offset_of!(BatchAttr, map_fd) == 36);

commands! {
    LookupBatch(BatchAttr) = MAP_LOOKUP_BATCH;
    LookupAndDeleteBatch(BatchAttr) = MAP_LOOKUP_AND_DELETE_BATCH;
    UpdateBatch(BatchAttr) = MAP_UPDATE_BATCH;
    DeleteBatch(BatchAttr) = MAP_DELETE_BATCH;
}

/// Where a batch command goes on.
#[derive(Debug, Clone)]
pub struct BatchPos(Vec<u8>);

/// What one batch command did.
#[derive(Debug)]
pub struct Batch {
    /// Elements done.
    pub count: usize,
    /// Where to go on; `None` after the last element.
    pub next: Option<BatchPos>,
}

impl MapFd {
    /// `BPF_MAP_LOOKUP_BATCH`, or with `delete` `BPF_MAP_LOOKUP_AND_DELETE_BATCH`: as many elements as fit into `keys`
    /// and `values` (Linux 5.6).
    ///
    /// # Errors
    ///
    /// `ENOSPC` if one hash bucket holds more elements than fit; 524 for types without it.
    pub fn lookup_batch(
        &self,
        from: Option<&BatchPos>,
        keys: &mut [u8],
        values: &mut [u8],
        delete: bool,
    ) -> Result<Batch> {
        let count = self.batch_count(keys.len(), Some(values.len()))?;
        // Hashes keep a 4-byte bucket number there, the others a key.
        let mut next = vec![0; self.key_size().max(8)];
        let done = if delete {
            let mut attr: BatchAttr = zeroed();
            (attr.map_fd, attr.count) = (fd_u32(self.as_fd()), count);
            (attr.in_batch, attr.out_batch) = (addr(from.map_or(&[], |pos| &pos.0)), addr_mut(&mut next));
            (attr.keys, attr.values) = (addr_mut(keys), addr_mut(values));
            // SAFETY: `batch_count` made sure that `count` keys and values fit; both positions have room for a key or
            // 8 bytes, whichever is more, and a `BatchPos` is only made here.
            unsafe { bpf::<LookupAndDeleteBatch>(&mut attr) }
                .map(|_| (attr.count, true))
                .or_else(|errno| end(errno, attr.count))?
        } else {
            let mut attr: BatchAttr = zeroed();
            (attr.map_fd, attr.count) = (fd_u32(self.as_fd()), count);
            (attr.in_batch, attr.out_batch) = (addr(from.map_or(&[], |pos| &pos.0)), addr_mut(&mut next));
            (attr.keys, attr.values) = (addr_mut(keys), addr_mut(values));
            // SAFETY: as above.
            unsafe { bpf::<LookupBatch>(&mut attr) }
                .map(|_| (attr.count, true))
                .or_else(|errno| end(errno, attr.count))?
        };
        let (count, more) = done;
        Ok(Batch { count: count as usize, next: more.then_some(BatchPos(next)) })
    }

    /// `BPF_MAP_UPDATE_BATCH`: all of `keys` and `values` (Linux 5.6).
    ///
    /// # Errors
    ///
    /// The error of the first element that failed, with the number of elements done before it.
    pub fn update_batch(
        &self,
        keys: &[u8],
        values: &[u8],
        flags: UpdateFlags,
    ) -> std::result::Result<(), (Errno, usize)> {
        let count = self.batch_count(keys.len(), Some(values.len())).map_err(|errno| (errno, 0))?;
        let mut attr: BatchAttr = zeroed();
        (attr.map_fd, attr.count) = (fd_u32(self.as_fd()), count);
        (attr.keys, attr.values, attr.elem_flags) = (addr(keys), addr(values), flags.bits());
        // SAFETY: the kernel reads `count` keys and values; `batch_count` made sure that both slices hold them.
        unsafe { bpf::<UpdateBatch>(&mut attr) }.map(drop).map_err(|errno| (errno, done(count, attr.count)))
    }

    /// `BPF_MAP_DELETE_BATCH`: all of `keys` (Linux 5.6).
    ///
    /// # Errors
    ///
    /// The error of the first element that failed, with the number of elements done before it.
    pub fn delete_batch(&self, keys: &[u8]) -> std::result::Result<(), (Errno, usize)> {
        let count = self.batch_count(keys.len(), None).map_err(|errno| (errno, 0))?;
        let mut attr: BatchAttr = zeroed();
        (attr.map_fd, attr.count, attr.keys) = (fd_u32(self.as_fd()), count, addr(keys));
        // SAFETY: the kernel reads `count` keys; `batch_count` made sure that the slice holds them.
        unsafe { bpf::<DeleteBatch>(&mut attr) }.map(drop).map_err(|errno| (errno, done(count, attr.count)))
    }

    /// How many elements the slices hold; both must hold the same whole number of them.
    fn batch_count(&self, keys: usize, values: Option<usize>) -> Result<u32> {
        let whole =
            |len: usize, size: usize| (size != 0 && len.is_multiple_of(size)).then(|| len / size).ok_or(Errno::EINVAL);
        let count = whole(keys, self.key_size())?;
        if let Some(values) = values
            && whole(values, self.user_value_size())? != count
        {
            return Err(Errno::EINVAL);
        }
        u32::try_from(count).map_err(|_| Errno::E2BIG)
    }
}

/// `ENOENT` from a batch lookup means the end of the map, not a failure.
fn end(errno: Errno, count: u32) -> Result<(u32, bool)> {
    if errno == Errno::ENOENT { Ok((count, false)) } else { Err(errno) }
}

/// How many elements a failed command has done: a kernel that refuses it as a whole leaves the number as it was.
fn done(asked: u32, told: u32) -> usize {
    if told >= asked { 0 } else { told as usize }
}

//! Stage: system calls, mmap(2). Input: a map's descriptor. Output: memory shared with the kernel, read and written safely.
//! Read next: `crate::map`.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::{Errno, Result};

/// Memory shared with programs in the kernel, unmapped on drop.
///
/// Invariant: `len` bytes at `ptr` are mapped, readable, and writable if `writable`, until drop. As others write to
/// them at any time, no reference to plain bytes is ever made: every access is atomic.
#[derive(Debug)]
pub struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to the process, not to the thread that made it, and nothing else owns it.
unsafe impl Send for Mapping {}
// SAFETY: all access through a shared reference is atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes at `offset` (a multiple of the page size) of `fd`.
    ///
    /// # Errors
    ///
    /// `EPERM` for a frozen or read-only map asked writable, `ENOTSUPP` or `EINVAL` for maps that cannot be mapped.
    pub fn new(fd: BorrowedFd<'_>, len: usize, offset: i64, writable: bool) -> Result<Self> {
        let prot = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let ptr = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        if ptr == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let ptr = NonNull::new(ptr.cast()).ok_or(Errno::EFAULT)?;
        Ok(Self { ptr, len, writable })
    }

    /// Bytes mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing; never, as the kernel refuses to map nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `out.len()` bytes from `at`: eight at a time where `at` is a multiple of 8. Each piece is read atomically, the
    /// whole is not.
    ///
    /// # Errors
    ///
    /// `EINVAL` beyond the end.
    pub fn read(&self, mut at: usize, mut out: &mut [u8]) -> Result<()> {
        self.check(at, out.len())?;
        if at.is_multiple_of(8) {
            let (words, rest) = out.as_chunks_mut::<8>();
            for word in words {
                *word = self.word(at)?.load(Ordering::Relaxed).to_ne_bytes();
                at += 8;
            }
            out = rest;
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.byte(at + i)?.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies `bytes` to `at`: pieces of eight and four bytes at once where they lie on a multiple of that, else byte by byte.
    /// Each piece is written atomically, the whole is not.
    ///
    /// # Errors
    ///
    /// `EINVAL` beyond the end, `EPERM` for a read-only mapping.
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.check(at, bytes.len())?;
        let (mut at, mut rest) = (at, bytes);
        while let [first, ..] = rest {
            let done = match (rest.first_chunk::<8>(), rest.first_chunk::<4>()) {
                (Some(word), _) if at.is_multiple_of(8) => {
                    self.word(at)?.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
                    8
                }
                (_, Some(half)) if at.is_multiple_of(4) => {
                    self.half(at)?.store(u32::from_ne_bytes(*half), Ordering::Relaxed);
                    4
                }
                _ => {
                    self.byte(at)?.store(*first, Ordering::Relaxed);
                    1
                }
            };
            (at, rest) = (at + done, &rest[done..]);
        }
        Ok(())
    }

    /// The 8 bytes at `at`, which must be a multiple of 8, in one load with acquire order.
    ///
    /// # Errors
    ///
    /// `EINVAL` beyond the end or unaligned.
    pub fn load_u64(&self, at: usize) -> Result<u64> {
        Ok(self.word(at)?.load(Ordering::Acquire))
    }

    /// Sets the 8 bytes at `at`, which must be a multiple of 8, in one store with release order.
    ///
    /// # Errors
    ///
    /// `EINVAL` beyond the end or unaligned, `EPERM` for a read-only mapping.
    pub fn store_u64(&self, at: usize, value: u64) -> Result<()> {
        self.check_writable()?;
        self.word(at)?.store(value, Ordering::Release);
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn check(&self, at: usize, len: usize) -> Result<()> {
        let fits = at.checked_add(len).is_some_and(|end| end <= self.len);
        if fits { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn byte(&self, at: usize) -> Result<&AtomicU8> {
        self.check(at, 1)?;
        // SAFETY: `at` is within the mapping.
        let ptr = unsafe { self.ptr.add(at) };
        // SAFETY: mapped for as long as `self` (the invariant), aligned, and only accessed atomically.
        Ok(unsafe { AtomicU8::from_ptr(ptr.as_ptr()) })
    }

    fn half(&self, at: usize) -> Result<&AtomicU32> {
        self.check(at, 4)?;
        if !at.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: `at` is within the mapping.
        let ptr = unsafe { self.ptr.add(at) };
        // SAFETY: mapped for as long as `self` (the invariant), aligned as the mapping starts at a page, and only
        // accessed atomically.
        Ok(unsafe { AtomicU32::from_ptr(ptr.as_ptr().cast()) })
    }

    fn word(&self, at: usize) -> Result<&AtomicU64> {
        self.check(at, 8)?;
        if !at.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: `at` is within the mapping.
        let ptr = unsafe { self.ptr.add(at) };
        // SAFETY: mapped for as long as `self` (the invariant), aligned as the mapping starts at a page, and only
        // accessed atomically.
        Ok(unsafe { AtomicU64::from_ptr(ptr.as_ptr().cast()) })
    }
}

/// Bytes of a page of memory.
///
/// # Errors
///
/// `EINVAL` if the system does not say.
pub fn page_size() -> Result<usize> {
    // SAFETY: sysconf(3) takes a number and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_err(|_| Errno::EINVAL)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `ptr` and `len` are exactly what mmap returned, and no reference into it outlives `self`.
        let _unmapped = unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

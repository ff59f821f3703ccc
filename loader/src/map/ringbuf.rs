//! Stage: loaded maps. Input: a ring buffer that programs write to. Output: their records, one after the other, each once.
//!
//! The buffer is memory shared with the kernel: one page with the reader's position, one with the writers', then the data,
//! mapped twice in a row so that a record over the end is still in one piece. Positions only grow; each record has an
//! 8-byte header and is padded to 8 bytes. Source: `kernel/bpf/ringbuf.c`. Read next: `../sys/mmap.rs`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use asm::object::MapType;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Error, Map};
use crate::sys::mmap::{Mapping, page_size};
use crate::sys::uapi::Cmd;
use crate::sys::{self, Errno};

/// `BPF_RINGBUF_BUSY_BIT`: reserved, not yet submitted.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: given back unused.
const DISCARDED: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`: bytes.
const HEADER: u64 = 8;

/// The reading end of a ring buffer (Linux 5.8). A buffer has one reader: a second one would take records from the first.
///
/// ```no_run
/// use loader::map::{Map, RingBuf};
/// let map = Map::from_pin("/sys/fs/bpf/loader/bypass/maps/events")?;
/// let mut events = RingBuf::new(&map)?;
/// while events.wait(None)? {
///     events.read(|record| println!("{} bytes", record.len()))?;
/// }
/// # Ok::<(), loader::map::Error>(())
/// ```
#[doc(alias = "BPF_MAP_TYPE_RINGBUF")]
#[derive(Debug)]
pub struct RingBuf {
    map: Map,
    /// The reader's position, at offset 0.
    consumer: Mapping,
    /// The writers' position at offset 0, the data from the next page on, twice.
    producer: Mapping,
    page: usize,
    /// Bytes of data less one; the size is a power of two.
    mask: u64,
    /// Where a record is put together; kept from one to the next.
    record: Vec<u8>,
}

impl RingBuf {
    /// Maps a ring buffer's memory.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with `EINVAL` for a map of another type, with the kernel's errno if it cannot be mapped.
    pub fn new(map: &Map) -> Result<Self, Error> {
        let failed = |errno| map.error(Cmd::MAP_LOOKUP_ELEM, errno);
        if map.map_type() != MapType::RINGBUF {
            return Err(failed(Errno::EINVAL));
        }
        let size = map.info()?.max_entries as usize;
        let page = page_size().map_err(failed)?;
        let at = i64::try_from(page).map_err(|_| failed(Errno::EINVAL))?;
        let consumer = Mapping::new(map.as_fd(), page, 0, true).map_err(failed)?;
        let producer = Mapping::new(map.as_fd(), page + 2 * size, at, false).map_err(failed)?;
        let mask = size.saturating_sub(1) as u64;
        Ok(Self { map: map.try_clone()?, consumer, producer, page, mask, record: Vec::new() })
    }

    /// Hands every record there is now to `each`, in the order in which they were reserved, and gives their room back.
    /// Returns how many there were. A record that is reserved and not yet submitted holds up those behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with `EINVAL` if the memory does not hold a ring buffer: a second reader moved the position.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize, Error> {
        let mut count = 0;
        while let Some((at, len)) = self.head().map_err(|errno| self.failed(errno))? {
            if len & DISCARDED == 0 {
                self.record.resize((len & !(BUSY | DISCARDED)) as usize, 0);
                let from = self.data(at + HEADER);
                self.producer.read(from, &mut self.record).map_err(|errno| self.map.error(READ, errno))?;
                each(&self.record);
                count += 1;
            }
            let next = at + HEADER + u64::from(len & !(BUSY | DISCARDED)).next_multiple_of(8);
            self.consumer.store_u64(0, next).map_err(|errno| self.failed(errno))?;
        }
        Ok(count)
    }

    /// Waits until there may be records, as long as `timeout` (without end if `None`); says whether there may be.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with what poll(2) says; an interruption by a signal counts as nothing there.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        let timeout = timeout.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        let mut fds = [PollFd::new(self.map.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(errno) => Err(self.failed(Errno::from_raw(errno as i32))),
        }
    }

    /// The reader's position and the length word of the record there, if one is finished.
    fn head(&self) -> sys::Result<Option<(u64, u32)>> {
        let at = self.consumer.load_u64(0)?;
        if at >= self.producer.load_u64(0)? {
            return Ok(None);
        }
        // The header: length with its two bits, then four bytes of the kernel's own.
        let [a, b, c, d, ..] = self.producer.load_u64(self.data(at))?.to_ne_bytes();
        let len = u32::from_ne_bytes([a, b, c, d]);
        Ok((len & BUSY == 0).then_some((at, len)))
    }

    /// Where a position lies in the mapping.
    fn data(&self, position: u64) -> usize {
        self.page + usize::try_from(position & self.mask).unwrap_or(usize::MAX)
    }

    fn failed(&self, errno: Errno) -> Error {
        self.map.error(READ, errno)
    }
}

/// The command named in errors: there is none for reading shared memory.
const READ: Cmd = Cmd::MAP_LOOKUP_ELEM;

impl AsFd for RingBuf {
    /// For poll(2) and epoll(7) together with other descriptors.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

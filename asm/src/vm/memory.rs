//! The interpreter's memory: every byte a program may touch lies in a region, and every access is checked.
//!
//! Input: 64-bit addresses as programs compute them. Output: the bytes behind them, or a [`MemoryFault`] that says in
//! words how the access missed. Read next: `fault.rs`, then `maps/mod.rs`, whose values
//! are regions too.
//!
//! An address is `region << 32 | offset`. Region 0 does not exist, so a null pointer, and anything computed from a small
//! number, faults. A region that a helper invalidates (the packet after `bpf_xdp_adjust_head`) is retired under its old
//! number and lives on under a new one, so that a stale pointer is caught as such and not silently right.

use super::fault::{Access, MemoryFault, RegionKind};

/// Number of a region; the upper half of every address into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegionId(u32);

impl RegionId {
    /// The address of the byte at `offset`.
    #[must_use]
    pub fn address(self, offset: u32) -> u64 {
        u64::from(self.0) << 32 | u64::from(offset)
    }
}

/// One block of memory.
#[derive(Debug, Clone)]
struct Region {
    kind: RegionKind,
    bytes: Vec<u8>,
    /// First byte a program may touch.
    low: usize,
    /// One past the last byte a program may touch.
    high: usize,
    writable: bool,
    /// For map values: bytes from one value to the next, and bytes of a value; no access may cross a value's end.
    cells: Option<Cells>,
    /// Why it can no longer be touched.
    retired: Option<&'static str>,
}

/// Layout of a region that is a row of equal values.
#[derive(Debug, Clone, Copy)]
struct Cells {
    stride: usize,
    size: usize,
}

/// All regions of one run.
#[derive(Debug, Clone)]
pub struct Memory {
    regions: Vec<Region>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// No regions at all.
    #[must_use]
    pub fn new() -> Self {
        let nothing = Region {
            kind: RegionKind::Buffer,
            bytes: Vec::new(),
            low: 0,
            high: 0,
            writable: false,
            cells: None,
            retired: None,
        };
        Self { regions: vec![nothing] }
    }

    /// Adds a region whose bytes `low..` may all be touched.
    pub fn add(&mut self, kind: RegionKind, bytes: Vec<u8>, writable: bool) -> RegionId {
        let high = bytes.len();
        self.push(Region { kind, bytes, low: 0, high, writable, cells: None, retired: None })
    }

    /// Adds a region of which only `low..high` may be touched now; [`Memory::set_bounds`] moves the bounds.
    pub(super) fn add_window(&mut self, kind: RegionKind, bytes: Vec<u8>, low: usize, high: usize) -> RegionId {
        self.push(Region { kind, bytes, low, high, writable: true, cells: None, retired: None })
    }

    /// Adds a region that is a row of values of `size` bytes, `stride` bytes apart.
    pub(super) fn add_cells(&mut self, kind: RegionKind, bytes: Vec<u8>, size: usize, stride: usize) -> RegionId {
        let high = bytes.len();
        let cells = Some(Cells { stride, size });
        self.push(Region { kind, bytes, low: 0, high, writable: true, cells, retired: None })
    }

    fn push(&mut self, region: Region) -> RegionId {
        // A run that could make 2^32 regions would have been stopped by its step limit long before.
        let id = RegionId(u32::try_from(self.regions.len()).unwrap_or(u32::MAX));
        self.regions.push(region);
        id
    }

    /// How many regions there are; [`Memory::release`] goes back to it.
    pub(super) fn mark(&self) -> usize {
        self.regions.len()
    }

    /// Drops all regions added since `mark`.
    pub(super) fn release(&mut self, mark: usize) {
        self.regions.truncate(mark);
    }

    /// Makes the region unreachable under its old addresses and returns it under a new number.
    pub(super) fn renew(&mut self, id: RegionId, reason: &'static str) -> RegionId {
        let old = &mut self.regions[id.0 as usize];
        let fresh = Region { bytes: std::mem::take(&mut old.bytes), retired: None, ..*old };
        old.retired = Some(reason);
        self.push(fresh)
    }

    /// Makes the region unreachable.
    pub(super) fn retire(&mut self, id: RegionId, reason: &'static str) -> Vec<u8> {
        let old = &mut self.regions[id.0 as usize];
        old.retired = Some(reason);
        std::mem::take(&mut old.bytes)
    }

    /// Moves the bounds inside which a program may touch the region.
    pub(super) fn set_bounds(&mut self, id: RegionId, low: usize, high: usize) {
        let region = &mut self.regions[id.0 as usize];
        (region.low, region.high) = (low, high);
    }

    /// The bounds inside which a program may touch the region, as offsets.
    #[must_use]
    pub fn bounds(&self, id: RegionId) -> (usize, usize) {
        let region = &self.regions[id.0 as usize];
        (region.low, region.high)
    }

    /// All bytes of a region, those outside its bounds included.
    #[must_use]
    pub fn region(&self, id: RegionId) -> &[u8] {
        &self.regions[id.0 as usize].bytes
    }

    /// All bytes of a region, writable.
    pub fn region_mut(&mut self, id: RegionId) -> &mut Vec<u8> {
        &mut self.regions[id.0 as usize].bytes
    }

    /// Grows a region of map values to `len` bytes, zeroed.
    pub(super) fn grow(&mut self, id: RegionId, len: usize) {
        let region = &mut self.regions[id.0 as usize];
        region.bytes.resize(len, 0);
        region.high = len;
    }

    /// What lies at an address: the region's kind, its number and the offset in it. For traces.
    #[must_use]
    pub fn locate(&self, address: u64) -> Option<(RegionKind, RegionId, u32)> {
        let (index, offset) = split(address);
        let region = self.regions.get(index).filter(|_| index != 0)?;
        Some((region.kind, RegionId(u32::try_from(index).ok()?), offset))
    }

    /// `size` bytes at `address`, for reading.
    ///
    /// # Errors
    /// The access is not inside one region, or the region is retired.
    #[inline]
    pub fn bytes(&self, address: u64, size: usize) -> Result<&[u8], MemoryFault> {
        let (index, offset) = split(address);
        let at = offset as usize;
        match self.regions.get(index) {
            Some(r) if at >= r.low && at + size <= r.high && r.cells.is_none() && r.retired.is_none() => {
                Ok(&r.bytes[at..at + size])
            }
            _ => {
                self.check(Access::Load, address, size)?;
                Ok(&self.regions[index].bytes[at..at + size])
            }
        }
    }

    /// `size` bytes at `address`, for writing.
    ///
    /// # Errors
    /// As [`Memory::bytes`], and when the region is read-only.
    #[inline]
    pub fn bytes_mut(&mut self, address: u64, size: usize) -> Result<&mut [u8], MemoryFault> {
        let (index, offset) = split(address);
        let at = offset as usize;
        let direct = self.regions.get(index).is_some_and(|r| {
            at >= r.low && at + size <= r.high && r.cells.is_none() && r.retired.is_none() && r.writable
        });
        if !direct {
            self.check(Access::Store, address, size)?;
        }
        Ok(&mut self.regions[index].bytes[at..at + size])
    }

    /// The `N` bytes at `address`.
    ///
    /// # Errors
    /// As [`Memory::bytes`].
    #[inline]
    pub fn array<const N: usize>(&self, address: u64) -> Result<[u8; N], MemoryFault> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(address, N)?);
        Ok(out)
    }

    /// The long way: every rule in turn, so that the fault names the one that was broken.
    fn check(&self, access: Access, address: u64, size: usize) -> Result<(), MemoryFault> {
        let (index, offset) = split(address);
        let Some(region) = self.regions.get(index).filter(|_| index != 0) else {
            return Err(self.missed(access, address, size));
        };
        let (kind, at) = (region.kind, offset as usize);
        if let Some(reason) = region.retired {
            return Err(MemoryFault::Stale { access, region: kind, size, reason });
        }
        let (low, high) = region.limits_at(at);
        if at < low || at + size > high {
            return Err(MemoryFault::OutOfBounds { access, region: kind, offset: i64::from(offset), size, low, high });
        }
        if access == Access::Store && !region.writable {
            return Err(MemoryFault::ReadOnly { region: kind, offset: i64::from(offset), size });
        }
        Ok(())
    }

    /// An address in no region: perhaps one just below the start of the next region, by a negative offset.
    fn missed(&self, access: Access, address: u64, size: usize) -> MemoryFault {
        let (index, offset) = split(address.wrapping_add(1 << 31));
        let nearest = self.regions.get(index).filter(|_| index != 0);
        match nearest {
            Some(r) => MemoryFault::OutOfBounds {
                access,
                region: r.kind,
                offset: i64::from(offset) - (1 << 31),
                size,
                low: r.low,
                high: r.high,
            },
            None => MemoryFault::Unmapped { access, address, size },
        }
    }
}

impl Region {
    /// The bounds that hold for an access starting at `at`: the region's, or those of the value it lies in.
    fn limits_at(&self, at: usize) -> (usize, usize) {
        match self.cells {
            Some(Cells { stride, size }) if at < self.high => {
                let start = at / stride * stride;
                (start, start + size)
            }
            _ => (self.low, self.high),
        }
    }
}

#[inline]
fn split(address: u64) -> (usize, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of an address are taken apart")]
    ((address >> 32) as usize, address as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_inside_one_region_or_a_fault_that_says_where() {
        let mut memory = Memory::new();
        let buffer = memory.add(RegionKind::Buffer, vec![1, 2, 3, 4], true);
        let values = memory.add_cells(RegionKind::MapValues(0), vec![0; 32], 12, 16);
        let frozen = memory.add(RegionKind::Context, vec![0; 8], false);
        let cases: &[(&str, u64, usize, Access, &str)] = &[
            (
                "null",
                0,
                4,
                Access::Load,
                "load of 4 bytes at 0x0: no memory there (a null pointer, or a number used as one)",
            ),
            ("past the end", buffer.address(2), 4, Access::Load, "load of 4 bytes at mem+2: its bytes are 0..4"),
            (
                "before the start",
                buffer.address(0) - 2,
                1,
                Access::Load,
                "load of 1 bytes at mem-2: its bytes are 0..4",
            ),
            (
                "over a value's end",
                values.address(24),
                8,
                Access::Store,
                "store of 8 bytes at values of map 0+24: its bytes are 16..28",
            ),
            ("read-only", frozen.address(4), 4, Access::Store, "store of 4 bytes at ctx+4: it is read-only"),
            ("far away", 9 << 40, 1, Access::Load, "load of 1 bytes at 0x90000000000: no memory there"),
        ];
        for (name, address, size, access, want) in cases {
            let got = match access {
                Access::Load => memory.bytes(*address, *size).map(<[u8]>::len),
                Access::Store => memory.bytes_mut(*address, *size).map(|b| b.len()),
            };
            assert_eq!(got.expect_err(name).to_string(), *want, "{name}");
        }
        assert_eq!(memory.bytes(buffer.address(1), 3).expect("inside"), [2, 3, 4]);
        assert_eq!(memory.bytes(values.address(16), 12).expect("a whole value").len(), 12);
    }

    #[test]
    fn a_renewed_region_keeps_its_bytes_and_refuses_old_pointers() {
        let mut memory = Memory::new();
        let old = memory.add(RegionKind::Packet, vec![7; 4], true);
        let new = memory.renew(old, "bpf_xdp_adjust_head moved the packet");
        assert_eq!(memory.bytes(new.address(0), 4).expect("the new address"), [7; 4]);
        assert_eq!(
            memory.bytes(old.address(0), 4).expect_err("the old one").to_string(),
            "load of 4 bytes through a stale packet pointer: bpf_xdp_adjust_head moved the packet"
        );
    }
}

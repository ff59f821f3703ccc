//! The machine without its own steps: memory, maps, contexts and helpers, for somebody else's.
//!
//! Input: single accesses and calls. Output: what they give, or the same faults that a program would end in. The
//! interpreter of the intermediate representation runs on it. Read next: `../ir/interp/mod.rs`.

use super::fault::RegionKind;
use super::memory::RegionId;
use super::{FaultKind, LinkError, MapSpec, Vm};
use crate::insn::{Insn, Size};

/// What the bytes of a new stack object hold: nothing that a program could mean.
const POISON: u8 = 0xa5;

impl Vm {
    /// A machine that has these maps and no program.
    pub(crate) fn bare(maps: Vec<MapSpec>) -> Result<Self, LinkError> {
        let mut vm = Self::new(&[Insn::new(0x95, 0, 0, 0, 0)])?;
        for map in maps {
            vm.add_map(map)?;
        }
        Ok(vm)
    }

    /// The index of the map of this name.
    pub(crate) fn map_named(&self, name: &str) -> Option<usize> {
        self.maps.iter().position(|map| map.spec().name == name)
    }

    /// Reads a number.
    pub(crate) fn read(&self, address: u64, size: Size) -> Result<u64, FaultKind> {
        match size {
            Size::B => self.load::<1>(address),
            Size::H => self.load::<2>(address),
            Size::W => self.load::<4>(address),
            Size::Dw => self.load::<8>(address),
        }
    }

    /// Writes the low bytes of a number.
    pub(crate) fn write(&mut self, address: u64, size: Size, value: u64) -> Result<(), FaultKind> {
        match size {
            Size::B => self.store::<1>(address, value),
            Size::H => self.store::<2>(address, value),
            Size::W => self.store::<4>(address, value),
            Size::Dw => self.store::<8>(address, value),
        }
    }

    /// Calls a helper.
    pub(crate) fn help(&mut self, id: i32, args: [u64; 5]) -> Result<u64, FaultKind> {
        self.regs[1..=5].copy_from_slice(&args);
        self.call_helper(id.cast_unsigned(), &mut 0)?;
        Ok(self.regs[0])
    }

    /// Calls a kernel function by its number here.
    pub(crate) fn help_kfunc(&mut self, id: i32, args: [u64; 5]) -> Result<u64, FaultKind> {
        self.regs[1..=5].copy_from_slice(&args);
        self.call_kfunc(id)?;
        Ok(self.regs[0])
    }

    /// An object on the stack of the frame at `depth`, filled with [`POISON`].
    pub(crate) fn stack_object(&mut self, depth: usize, size: u32) -> RegionId {
        let kind = RegionKind::Stack(u8::try_from(depth).unwrap_or(u8::MAX));
        self.memory.add(kind, vec![POISON; size as usize], true)
    }

    /// A stack object as it was when it was made.
    pub(crate) fn fresh_again(&mut self, object: RegionId) {
        self.memory.region_mut(object).fill(POISON);
    }

    /// Bytes that are read only, such as a callback's key.
    pub(crate) fn lend(&mut self, bytes: Vec<u8>) -> RegionId {
        self.memory.add(RegionKind::Buffer, bytes, false)
    }
}

//! Stage: code generation. Where on the stack each place lies.
//!
//! Input: the places of a [`Machine`]. Output: [`Frame`]: an offset from `r10` each, aligned, the strictest first. Places
//! that no instruction names take no room. Next: `layout.rs`.
//!
//! A key of four bytes lies in the upper half of eight, unless a multiple of eight is asked for. Newest verifiers follow a number
//! through the stack where it lies at a multiple of eight, and from a lookup in an array under a key that differs from
//! path to path they go on once for each number.

use super::Error;
use super::mir::{Base, MOp, Machine, Slot};

/// Bytes of stack there are.
const LIMIT: u32 = 512;

/// The stack of a function.
pub(super) struct Frame {
    /// Distance of each place from `r10`, negative.
    pub(super) offsets: Vec<i32>,
    /// Bytes.
    pub(super) size: u32,
}

/// Gives every place an offset.
///
/// # Errors
/// [`Error::Stack`] over 512 bytes.
pub(super) fn lay_out(machine: &Machine) -> Result<Frame, Error> {
    let used = used(machine);
    let mut order: Vec<usize> = (0..machine.slots.len()).filter(|i| used[*i]).collect();
    order.sort_by_key(|i| std::cmp::Reverse(machine.slots[*i].align));
    let mut offsets = vec![0; machine.slots.len()];
    let mut size = 0u32;
    for i in order {
        let slot = machine.slots[i];
        size = size.saturating_add(slot.size).next_multiple_of(slot.align.max(1));
        if (slot.size, slot.align) == (4, 4) && size.is_multiple_of(8) {
            size += 4;
        }
        offsets[i] = i32::try_from(size).map_or(i32::MIN, |size| -size);
    }
    if size > LIMIT {
        let of =
            |spill| machine.slots.iter().zip(&used).filter(|(s, u)| **u && s.spill == spill).map(|(s, _)| s.size).sum();
        return Err(Error::Stack { func: machine.name.clone(), total: size, objects: of(false), spills: of(true) });
    }
    Ok(Frame { offsets, size })
}

/// Which places the code names.
fn used(machine: &Machine) -> Vec<bool> {
    let mut used = vec![false; machine.slots.len()];
    let mut mark = |slot: Slot| used[slot.0 as usize] = true;
    for inst in machine.blocks.iter().flat_map(|block| &block.insts) {
        match inst.op {
            MOp::Frame { slot, .. } => mark(slot),
            MOp::Load { base: Base::Slot(slot), .. }
            | MOp::Store { base: Base::Slot(slot), .. }
            | MOp::Atomic { base: Base::Slot(slot), .. } => mark(slot),
            _ => {}
        }
    }
    used
}

//! Kernel functions (kfuncs): the few that make sense without a kernel.
//!
//! Input: `r1`–`r5`. Output: `r0`. In a kernel a kfunc has a BTF id; here its number is its place in [`TABLE`].

use super::{HelperFn, errno, low};
use crate::vm::{FaultKind, MAX_LOOPS, Vm};

const TABLE: &[(&str, HelperFn)] = &[
    ("bpf_iter_num_new", iter_num_new),
    ("bpf_iter_num_next", iter_num_next),
    ("bpf_iter_num_destroy", iter_num_destroy),
    ("bpf_rcu_read_lock", |_, _| Ok(0)),
    ("bpf_rcu_read_unlock", |_, _| Ok(0)),
];

/// The number that stands in the interpreter's calls for the kernel function of this name; `None` where it has none.
#[must_use]
pub fn kfunc(name: &str) -> Option<i32> {
    i32::try_from(TABLE.iter().position(|(known, _)| *known == name)?).ok()
}

impl Vm {
    /// A `call` of a kernel function.
    pub(in crate::vm) fn call_kfunc(&mut self, id: i32) -> Result<(), FaultKind> {
        let found = usize::try_from(id).ok().and_then(|id| TABLE.get(id));
        let (_, function) = found.ok_or(FaultKind::NoKfunc(id))?;
        let [_, r1, r2, r3, r4, r5, ..] = self.regs;
        self.regs[0] = function(self, [r1, r2, r3, r4, r5])?;
        Ok(())
    }
}

/// `struct bpf_iter_num`: the number that was given last, and the end. An iterator over nothing has both 0.
fn set(vm: &mut Vm, at: u64, current: i32, end: i32) -> Result<(), FaultKind> {
    let bytes = [current.to_le_bytes(), end.to_le_bytes()].concat();
    vm.memory.bytes_mut(at, 8)?.copy_from_slice(&bytes);
    Ok(())
}

fn iter_num_new(vm: &mut Vm, [at, start, end, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let (start, end) = (low(start).cast_signed(), low(end).cast_signed());
    let rounds = i64::from(end) - i64::from(start);
    let error = if rounds < 0 {
        -22
    } else if rounds > i64::from(MAX_LOOPS) {
        -7
    } else {
        set(vm, at, start.wrapping_sub(1), end)?;
        return Ok(0);
    };
    set(vm, at, 0, 0)?;
    Ok(errno(error))
}

fn iter_num_next(vm: &mut Vm, [at, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let current = i32::from_le_bytes(vm.memory.array(at)?);
    let end = i32::from_le_bytes(vm.memory.array(at + 4)?);
    // The first number may be the smallest there is, so the sum is taken in 64 bits, as the kernel does.
    let next = current.wrapping_add(1);
    if i64::from(current) + 1 >= i64::from(end) && next >= end {
        set(vm, at, 0, 0)?;
        return Ok(0);
    }
    set(vm, at, next, end)?;
    Ok(at)
}

fn iter_num_destroy(vm: &mut Vm, [at, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    set(vm, at, 0, 0)?;
    Ok(0)
}

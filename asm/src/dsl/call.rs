//! Helpers that need no context: time, chance, who runs.
//!
//! Stage: after `value.rs`. Output: numbers. Read next: `object.rs`.

use super::layout::Layout;
use super::pointed::Pointed;
use super::sock::{Kptr, Pointer};
use super::value::{IntoVal, Repr, Val};
use super::{bytes, kernel, rec};
use crate::insn::helper;
use crate::ir::Ty;

/// Nanoseconds since boot, without time asleep. C: `bpf_ktime_get_ns`, Linux 4.1.
#[track_caller]
pub fn ktime_ns() -> Val<u64> {
    number(helper::KTIME_GET_NS)
}

/// Ticks of the kernel's clock since boot, of 1 to 10 milliseconds each: cheaper than [`ktime_ns`]. C: `bpf_jiffies64`,
/// Linux 5.5.
#[track_caller]
pub fn jiffies() -> Val<u64> {
    number(helper::JIFFIES64)
}

/// The ones' complement sum of the bytes at `bytes`, as 32 bits that are still to be folded to 16: of at most 512 bytes, and a
/// multiple of 4. C: `bpf_csum_diff`, Linux 4.6.
#[track_caller]
pub fn ones_sum<T: Layout>(bytes: &impl Pointed<T>) -> Val<u64> {
    const { assert!(T::SIZE <= 512 && T::SIZE.is_multiple_of(4), "at most 512 bytes, and a multiple of 4") };
    let bytes = bytes.pointer();
    rec::with(|r| {
        let (none, size) = (r.number(Ty::I64, 0), r.number(Ty::I64, T::SIZE.into()));
        Val::of(r.b.call(helper::CSUM_DIFF, &[none, none, bytes, size, none]).unwrap_or(none))
    })
}

/// A random number. C: `bpf_get_prandom_u32`, Linux 4.1.
#[track_caller]
pub fn random() -> Val<u32> {
    narrow(helper::GET_PRANDOM_U32)
}

/// The CPU that the program runs on. C: `bpf_get_smp_processor_id`, Linux 4.1.
#[track_caller]
pub fn cpu() -> Val<u32> {
    narrow(helper::GET_SMP_PROCESSOR_ID)
}

/// The process that runs, as user space numbers it. C: the upper half of `bpf_get_current_pid_tgid`, Linux 4.2.
#[track_caller]
pub fn pid() -> Val<u32> {
    let both = number(helper::GET_CURRENT_PID_TGID);
    rec::with(|r| {
        let (both, bits) = (both.value(r), r.number(Ty::I64, 32));
        let pid = r.b.shr(both, bits);
        Val::of(r.b.trunc(pid, Ty::I32))
    })
}

/// The thread that runs. C: the lower half of `bpf_get_current_pid_tgid`, Linux 4.2.
#[track_caller]
pub fn tid() -> Val<u32> {
    narrow(helper::GET_CURRENT_PID_TGID)
}

/// The user that runs. C: the lower half of `bpf_get_current_uid_gid`, Linux 4.2.
#[track_caller]
pub fn uid() -> Val<u32> {
    narrow(helper::GET_CURRENT_UID_GID)
}

/// The cgroup of the process that runs, cgroup v2. C: `bpf_get_current_cgroup_id`, Linux 4.18.
#[track_caller]
pub fn cgroup_id() -> Val<u64> {
    number(helper::GET_CURRENT_CGROUP_ID)
}

/// The ancestor, at a level, of the cgroup of the process that runs; level 0 is the root, and 0 comes for a level that is not
/// above it. C: `bpf_get_current_ancestor_cgroup_id`, Linux 5.7.
#[track_caller]
pub fn ancestor_cgroup_id(level: impl IntoVal<u32>) -> Val<u64> {
    let level = level.into_val();
    rec::with(|r| {
        let level = level.value(r);
        Val::of(r.b.call(helper::GET_CURRENT_ANCESTOR_CGROUP_ID, &[level]).unwrap_or(level))
    })
}

/// The name of the thread that runs, with zeros behind it. C: `bpf_get_current_comm`, Linux 4.2.
#[track_caller]
pub fn comm() -> Val<[u8; 16]> {
    rec::with(|r| {
        let (at, size, zero) = (r.b.stack(16, bytes::STACK_ALIGN), r.number(Ty::I64, 16), r.number(Ty::I64, 0));
        // Some kernels leave what is behind the end of a short name as it was.
        r.b.store(at, 0, zero);
        r.b.store(at, 8, zero);
        r.b.call(helper::GET_CURRENT_COMM, &[at, size]);
        Val::new(Repr::Stack(at))
    })
}

/// The thread that runs, by the kernel's types. C: `bpf_get_current_task_btf`, Linux 5.11.
#[track_caller]
pub fn task() -> Kptr<kernel::Task> {
    Kptr::at(rec::with(|r| r.b.call(helper::GET_CURRENT_TASK_BTF, &[]).unwrap_or_else(|| r.b.ctx())))
}

/// What the registers of a thread held when it entered the kernel. C: `bpf_task_pt_regs`, Linux 5.15.
#[track_caller]
pub fn user_regs(task: Kptr<kernel::Task>) -> Kptr<kernel::Regs> {
    Kptr::at(rec::with(|r| r.b.call(helper::TASK_PT_REGS, &[task.value()]).unwrap_or_else(|| r.b.ctx())))
}

#[track_caller]
fn number(id: helper::Id) -> Val<u64> {
    rec::with(|r| Val::of(r.b.call(id, &[]).unwrap_or_else(|| r.b.ctx())))
}

#[track_caller]
fn narrow(id: helper::Id) -> Val<u32> {
    let wide = number(id);
    rec::with(|r| {
        let wide = wide.value(r);
        Val::of(r.b.trunc(wide, Ty::I32))
    })
}

//! Helpers that need no context: time, chance, who runs.
//!
//! Stage: after `value.rs`. Output: numbers. Read next: `object.rs`.

use super::sock::{Kptr, Pointer};
use super::value::{Repr, Val};
use super::{bytes, kernel, rec};
use crate::insn::helper;
use crate::ir::Ty;

/// Nanoseconds since boot, without time asleep. C: `bpf_ktime_get_ns`, Linux 4.1.
#[track_caller]
pub fn ktime_ns() -> Val<u64> {
    number(helper::KTIME_GET_NS)
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

/// The name of the thread that runs, with zeros behind it. C: `bpf_get_current_comm`, Linux 4.2.
#[track_caller]
pub fn comm() -> Val<[u8; 16]> {
    rec::with(|r| {
        let (at, size) = (r.b.stack(16, bytes::STACK_ALIGN), r.number(Ty::I64, 16));
        r.b.call(helper::GET_CURRENT_COMM, &[at, size]);
        Val::new(Repr::Stack(at))
    })
}

/// The thread that runs, by the kernel's types. C: `bpf_get_current_task_btf`, Linux 5.11.
#[track_caller]
pub fn task() -> Kptr<kernel::Task> {
    Kptr::at(rec::with(|r| r.b.call(helper::GET_CURRENT_TASK_BTF, &[]).unwrap_or_else(|| r.b.ctx())))
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

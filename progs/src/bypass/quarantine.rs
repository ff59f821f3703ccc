//! Who does what redirected bytes cannot bear: they are found out, and left with TCP from then on.
//!
//! Stage: kernel programs. Input: calls on sockets that were made in the cgroups. Output: entries in `quarantine`, by process and by command
//! and cgroup; `policy.rs` asks for them. Each hook may be missing: then what it sees is not found out. Next file to read: `enrol.rs`.
//!
//! None of these hooks is on the way of a message: `spliced` runs when TCP has given bytes to somebody, the others with calls that
//! are made once. `calls` alone sees every system call of the machine, so it is attached only where somebody asks for it.

use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::origin::{ABOVE, ORIGINS, Origin};
use super::policy::{ENDS, End, POLICY};

/// Who is in quarantine: a process, or a command in a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Who {
    /// Id of the cgroup; 0 if it is a process.
    pub cgroup: u64,
    /// The command; empty if it is a process.
    pub comm: Chars<16>,
    /// The process; 0 if it is a command.
    pub pid: u32,
    /// Nothing.
    pub pad: u32,
}

/// Since when, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Quarantined {
    /// Nanoseconds since boot.
    pub since: u64,
    /// When it ends.
    pub until: u64,
    /// What was seen last: a [`Misfit`]'s number.
    pub misfit: u32,
    /// The process that did it.
    pub pid: u32,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Misfit {
    /// `splice` or `sendfile` from a socket: they look into TCP only.
    Splice = 1,
    /// `FIONREAD`: it counts what came by one way, on some kernels.
    Fionread = 2,
    /// `TCP_ULP`, TLS in the kernel: it has no room beside a sockhash.
    Ulp = 3,
    /// A socket of MPTCP.
    Mptcp = 4,
    /// Urgent bytes: a message has none.
    Urgent = 5,
    /// `SO_ZEROCOPY`: nobody tells when redirected pages are free.
    Zerocopy = 6,
    /// A thread that waits for something to read while another one sends: it is woken for nothing.
    Duplex = 7,
}

impl Misfit {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// In a word, by number.
    #[must_use]
    pub const fn word(number: u32) -> &'static str {
        match number {
            1 => "splice",
            2 => "fionread",
            3 => "ulp",
            4 => "mptcp",
            5 => "urgent",
            6 => "zerocopy",
            7 => "duplex",
            _ => "?",
        }
    }
}

/// Who is in quarantine. What is oldest makes room; removing an entry by hand ends it.
#[map]
pub static QUARANTINE: LruHashMap<Who, Quarantined, 4096> = map();

/// `SOL_SOCKET`, and options of it.
const SOCKET: u32 = 1;
const OOBINLINE: u32 = 10;
const ZEROCOPY: u32 = 60;
/// `SOL_TCP`, and an option of it.
const TCP: u32 = 6;
const ULP: u32 = 31;
/// Larger values the kernel shows in part.
const PAGE: u32 = 4096;
/// Requests of `ioctl`: `FIONREAD`, `SIOCATMARK`.
const FIONREAD: u32 = 0x541b;
const ATMARK: u32 = 0x8905;
/// `MSG_OOB`.
const OOB: u64 = 1;

/// Is who made this end's socket in quarantine?
#[bpf_fn]
pub(super) fn is_held(end: ValRef<End>) -> bool {
    let now = ktime_ns();
    let mut who = Who { cgroup: 0, comm: Chars::EMPTY, pid: end.pid, pad: 0 };
    if let Some(held) = QUARANTINE.get(&who) {
        if held.until > now {
            return true;
        }
    }
    who.cgroup = end.cgroup;
    who.comm = end.comm;
    who.pid = 0;
    match QUARANTINE.get(&who) {
        Some(held) => held.until > now,
        None => false,
    }
}

/// Puts who made a socket into quarantine.
#[bpf_fn]
pub(super) fn hold(origin: ValRef<Origin>, misfit: u32) {
    let comm = origin.comm;
    keep(origin.cgroup, comm, origin.pid, misfit);
}

/// The same with who made the socket of an enrolled end, by its key. Says whether that is known: 1 or 0.
#[subprog]
pub(super) fn hold_end(key: u64, misfit: u32) -> u32 {
    let Some(end) = ENDS.get(&key) else { return 0 };
    if end.pid == 0 {
        return 0;
    }
    let comm = end.comm;
    keep(end.cgroup, comm, end.pid, misfit);
    1
}

/// Puts a process, and its command in its cgroup, into quarantine.
#[bpf_fn]
fn keep(cgroup: u64, comm: [u8; 16], pid: u32, misfit: u32) {
    let since = ktime_ns();
    let until = since + POLICY.place().quarantine_seconds as u64 * 1_000_000_000;
    let held = Quarantined { since, until, misfit, pid };
    let process = Who { cgroup: 0, comm: Chars::EMPTY, pid, pad: 0 };
    let again = QUARANTINE.get(&process).is_some();
    QUARANTINE.set(&process, &held, Update::Any);
    QUARANTINE.set(&Who { cgroup, comm, pid: 0, pad: 0 }, &held, Update::Any);
    if !again {
        // Living connections are judged again.
        POLICY.place().generation.atomic_add(1);
    }
}

/// TCP has given bytes to somebody, or has none. Linux 5.15.
#[tp_btf("tcp_rcv_space_adjust", default = 0)]
pub(super) fn spliced(ctx: &mut TpBtf) -> Result<u32> {
    let call = number(user_regs(task()));
    if call == SPLICE || call == SENDFILE {
        hold(ORIGINS.get(&ctx.ptr::<0, kernel::Sock>())?, Misfit::Splice.number());
    }
    Ok(0)
}

/// A socket of TCP is asked something. Linux 5.11.
#[fentry("tcp_ioctl", default = Observed::Done)]
pub(super) fn asked(ctx: &mut Fentry) -> Result<Observed> {
    let misfit = by_request(ctx.arg::<1>() as u32);
    if misfit != 0 {
        hold(ORIGINS.get(&ctx.ptr::<0, kernel::Sock>())?, misfit);
    }
    Ok(Observed::Done)
}

/// What a request of `ioctl` shows, or 0.
#[bpf_fn]
fn by_request(request: u32) -> u32 {
    if request == FIONREAD && POLICY.place().hold_fionread != 0 {
        Misfit::Fionread.number()
    } else if request == ATMARK {
        Misfit::Urgent.number()
    } else {
        0
    }
}

/// An option of a socket is set. Linux 5.3.
#[cgroup_sockopt(setsockopt, default = Access::Allow)]
pub(super) fn optioned(ctx: &mut SockOpt) -> Result<Access> {
    if ctx.optlen() > PAGE {
        ctx.keep_value();
    }
    let misfit = match (ctx.level(), ctx.optname()) {
        (TCP, ULP) => Misfit::Ulp.number(),
        (SOCKET, ZEROCOPY) => Misfit::Zerocopy.number(),
        (SOCKET, OOBINLINE) => Misfit::Urgent.number(),
        _ => 0,
    };
    if misfit != 0 {
        hold(ORIGINS.get(&ctx.sk())?, misfit);
    }
    Ok(Access::Allow)
}

/// Who runs, where no socket says it.
#[map]
static CALLER: PerCpuArray<Origin, 1> = map();

/// A system call begins, of whatever process: only those in cgroups where sockets were made are looked at. Linux 5.5.
#[tp_btf("sys_enter", default = 0)]
pub(super) fn calls(ctx: &mut TpBtf) -> Result<u32> {
    let misfit = by_call(ctx.ptr::<0, kernel::Regs>());
    let cgroup = cgroup_id();
    if misfit != 0 && ABOVE.get(&cgroup).is_some() {
        let caller = CALLER.get(&0)?;
        *caller = Origin { cgroup, comm: comm(), pid: pid(), pad: 0 };
        hold(caller, misfit);
    }
    Ok(0)
}

/// What a system call shows, or 0.
#[bpf_fn]
fn by_call(regs: Kptr<kernel::Regs>) -> u32 {
    let arm = regs.cast::<kernel::ArmRegs>();
    let call = number(regs);
    match call {
        SPLICE => Misfit::Splice.number(),
        IOCTL => {
            let request = if arm.regs.exists() { arm.regs.load::<1>() } else { regs.si.load() };
            by_request(request as u32)
        }
        SENDTO | RECVFROM => {
            let flags = if arm.regs.exists() { arm.regs.load::<3>() } else { regs.r10.load() };
            by_flags(flags)
        }
        SENDMSG | RECVMSG => {
            let flags = if arm.regs.exists() { arm.regs.load::<2>() } else { regs.dx.load() };
            by_flags(flags)
        }
        _ => 0,
    }
}

/// What the flags of a message show, or 0.
#[bpf_fn]
fn by_flags(flags: u64) -> u32 {
    (flags & OOB) as u32 * Misfit::Urgent.number()
}

/// Which system call it is: its number on x86-64, on ARM64, too. 0: one that shows nothing.
#[bpf_fn]
fn number(regs: Kptr<kernel::Regs>) -> u64 {
    let arm = regs.cast::<kernel::ArmRegs>();
    if arm.regs.exists() {
        match arm.syscallno.load() {
            29 => IOCTL,
            71 => SENDFILE,
            76 => SPLICE,
            206 => SENDTO,
            207 => RECVFROM,
            211 => SENDMSG,
            212 => RECVMSG,
            _ => 0,
        }
    } else {
        regs.orig_ax.load()
    }
}

/// System calls by their numbers on x86-64; of none that shows something it is 0.
const IOCTL: u64 = 16;
const SENDFILE: u64 = 40;
const SENDTO: u64 = 44;
const RECVFROM: u64 = 45;
const SENDMSG: u64 = 46;
const RECVMSG: u64 = 47;
const SPLICE: u64 = 275;

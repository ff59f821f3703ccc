//! Stage: what this kernel can do. Input: nothing but the kernel. Output: yes or no for each [`Feature`].
//!
//! Every answer is tried out, never guessed from the release: vendors and stable kernels carry features back. The first
//! kernel of a feature is told beside the answer, for the person who has to choose one. Read next: `features/survey.rs`.

pub mod iface;
pub mod survey;

use std::fmt;
use std::path::Path;

use asm::btf::Kind;
use asm::insn::{Insn, helper};
use asm::object::{AttachType, MapType, ProgType};
use zerocopy::IntoBytes;

use crate::map::{self, Map};
use crate::prog::load_plain;
use crate::sys::prog::{Load, LoadFailed, Log};
use crate::sys::uapi::{LogLevel, MapFlags, ProgFlags, UpdateFlags};
use crate::sys::{self, Errno};

/// Something that not every kernel from 5.10 on can do.
#[derive(Clone, Copy)]
pub struct Feature {
    /// A short name, as `loader features` shows it.
    pub name: &'static str,
    /// What it is good for.
    pub what: &'static str,
    /// The first kernel that has it, without those that carry it back.
    pub since: &'static str,
    probe: Probe,
}

/// How a feature is tried out.
#[derive(Clone, Copy)]
enum Probe {
    /// Load an XDP program.
    Insns(&'static [Insn], ProgFlags),
    /// Call a helper from an XDP program.
    Helper(helper::Id),
    /// Create a map.
    Map(MapType),
    /// Load the smallest program of a type.
    Prog(ProgType, AttachType),
    /// Load BTF of a kind.
    Btf(Kind),
    /// Something of its own.
    Ask(fn() -> Result<bool, Errno>),
}

/// `r0 = 0; exit`, at the end of most.
const ZERO: Insn = Insn::new(0xb7, 0, 0, 0, 0);
const EXIT: Insn = Insn::new(0x95, 0, 0, 0, 0);

/// `*(u64 *)(r10 - 8) = 0; r0 = 1; r0 = atomic_fetch_add(*(u64 *)(r10 - 8), r0); exit`.
const ATOMIC_FETCH: &[Insn] =
    &[Insn::new(0x7a, 10, 0, -8, 0), Insn::new(0xb7, 0, 0, 0, 1), Insn::new(0xdb, 10, 0, -8, 0x01), ZERO, EXIT];
/// `r0 = 1; r0 = (s8)r0; exit`: one of the instructions that came as version 4.
const CPU_V4: &[Insn] = &[Insn::new(0xb7, 0, 0, 0, 1), Insn::new(0xbf, 0, 0, 8, 0), ZERO, EXIT];
/// `may_goto +1; goto -2; r0 = 0; exit`: a loop without a counter.
const MAY_GOTO: &[Insn] = &[Insn::new(0xe5, 0, 0, 1, 0), Insn::new(0x05, 0, 0, -2, 0), ZERO, EXIT];
/// `r0 = load_acquire(*(u64 *)(r10 - 8))` on a stack slot written before.
const LOAD_ACQUIRE: &[Insn] = &[Insn::new(0x7a, 10, 0, -8, 0), Insn::new(0xdb, 0, 10, -8, 0x100), ZERO, EXIT];

/// All features this crate knows to ask for.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    row("kernel_btf", "types of the kernel, for CO-RE and tracing", "5.4", Probe::Ask(kernel_btf)),
    row("map_mmap", "arrays mapped into user space", "5.5", Probe::Ask(map_mmap)),
    row("map_batch", "many elements of a map in one call", "5.6", Probe::Ask(map_batch)),
    row("map_ringbuf", "ring buffer shared by all CPUs", "5.8", Probe::Map(MapType::RINGBUF)),
    row("run_stats", "runs and run time of programs on request", "5.8", Probe::Ask(run_stats)),
    row("atomic_fetch", "atomic operations that return the old value", "5.12", Probe::Insns(ATOMIC_FETCH, ProgFlags::empty())),
    row("btf_float", "BTF of floating-point types", "5.13", Probe::Btf(Kind::FLOAT)),
    row("prog_syscall", "programs run by hand that make system calls", "5.14", Probe::Prog(ProgType::SYSCALL, AttachType(0))),
    row("map_hash_take", "looking up and deleting in a hash at once", "5.14", Probe::Ask(map_hash_take)),
    row("map_bloom_filter", "Bloom filter", "5.16", Probe::Map(MapType::BLOOM_FILTER)),
    row("btf_decl_tag", "BTF of declaration tags", "5.16", Probe::Btf(Kind::DECL_TAG)),
    row("btf_type_tag", "BTF of type tags", "5.17", Probe::Btf(Kind::TYPE_TAG)),
    row("helper_loop", "bpf_loop: loops verified once", "5.17", Probe::Helper(helper::LOOP)),
    row("xdp_frags", "XDP programs on packets in several buffers", "5.18", Probe::Insns(&[ZERO, EXIT], ProgFlags::XDP_HAS_FRAGS)),
    row("helper_xdp_load_bytes", "bpf_xdp_load_bytes: reading packets in several buffers", "5.18", Probe::Helper(helper::XDP_LOAD_BYTES)),
    row("btf_enum64", "BTF of 64-bit enumerations", "6.0", Probe::Btf(Kind::ENUM64)),
    row("map_user_ringbuf", "ring buffer from user space to programs", "6.1", Probe::Map(MapType::USER_RINGBUF)),
    row("prog_netfilter", "programs on netfilter hooks", "6.4", Probe::Prog(ProgType::NETFILTER, AttachType::NETFILTER)),
    row("log_true_size", "the kernel says how long the verifier's log is", "6.4", Probe::Ask(log_true_size)),
    row("cpu_v4", "sign extension, byte swap, signed division, long jumps", "6.6", Probe::Insns(CPU_V4, ProgFlags::empty())),
    row("tcx", "programs in order on traffic control, by link", "6.6", Probe::Ask(tcx)),
    row("may_goto", "loops that the kernel bounds while they run", "6.9", Probe::Insns(MAY_GOTO, ProgFlags::empty())),
    row("map_arena", "memory shared with programs, with pointers", "6.9", Probe::Map(MapType::ARENA)),
    row("load_acquire", "loads and stores with acquire and release order", "6.15", Probe::Insns(LOAD_ACQUIRE, ProgFlags::empty())),
];

const fn row(name: &'static str, what: &'static str, since: &'static str, probe: Probe) -> Feature {
    Feature { name, what, since, probe }
}

impl Feature {
    /// The feature of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// Tries it out on the running kernel. Nothing stays behind.
    ///
    /// # Errors
    ///
    /// An answer that tells neither yes nor no, such as `EPERM`.
    pub fn probe(&self) -> Result<bool, Errno> {
        match self.probe {
            Probe::Insns(insns, flags) => {
                accepted(&Load { flags, ..load(ProgType::XDP, AttachType::XDP, insns.as_bytes()) })
            }
            Probe::Helper(id) => helper(ProgType::XDP, AttachType::XDP, id),
            Probe::Map(map_type) => self::map_type(map_type),
            Probe::Prog(prog_type, attach_type) => accepted(&load(prog_type, attach_type, [ZERO, EXIT].as_bytes())),
            Probe::Btf(kind) => Ok(crate::btf::handle::knows(kind)),
            Probe::Ask(ask) => ask(),
        }
    }
}

impl fmt::Debug for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.since)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (Linux {})", self.name, self.what, self.since)
    }
}

fn load(prog_type: ProgType, attach_type: AttachType, insns: &[u8]) -> Load<'_> {
    Load {
        prog_type: prog_type.0,
        expected_attach_type: attach_type.0,
        insns,
        license: c"GPL",
        name: "probe",
        flags: if prog_type == ProgType::SYSCALL { ProgFlags::SLEEPABLE } else { ProgFlags::empty() },
        ..Load::default()
    }
}

/// Whether the kernel takes the program.
fn accepted(load: &Load<'_>) -> Result<bool, Errno> {
    refusal(load_plain(load).map(drop))
}

/// Yes, no, or neither.
fn refusal(done: Result<(), Errno>) -> Result<bool, Errno> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL | Errno::EACCES | Errno::E2BIG | Errno::EOPNOTSUPP | Errno::ENOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether programs of this type may call the helper: `EINVAL` says no, anything about its arguments says yes.
///
/// # Errors
///
/// An answer that tells neither.
pub fn helper(prog_type: ProgType, attach_type: AttachType, id: helper::Id) -> Result<bool, Errno> {
    let insns = [Insn::new(0x85, 0, 0, 0, id.0), ZERO, EXIT];
    match load_plain(&load(prog_type, attach_type, insns.as_bytes())) {
        Ok(_) | Err(Errno::EACCES) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether maps of this type can be made. Types that need BTF or another map to be made are answered with no.
///
/// # Errors
///
/// An answer that tells neither.
pub fn map_type(map_type: MapType) -> Result<bool, Errno> {
    let (key_size, value_size, max_entries) = match map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF => (0, 0, 1 << 16),
        MapType::ARENA => (0, 0, 1),
        MapType::BLOOM_FILTER | MapType::QUEUE | MapType::STACK => (0, 4, 1),
        MapType::LPM_TRIE => (8, 4, 1),
        MapType::STACK_TRACE => (4, 8, 1),
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => (8, 4, 0),
        _ => (4, 4, 1),
    };
    let flags = match map_type {
        MapType::ARENA => MapFlags::MMAPABLE.bits(),
        MapType::LPM_TRIE => MapFlags::NO_PREALLOC.bits(),
        _ => 0,
    };
    let options = map::Options { map_type, key_size, value_size, max_entries, flags, ..map::Options::default() };
    made(&options).map(|map| map.is_some())
}

/// A map for a probe; `None` if the kernel knows no such map.
fn made(options: &map::Options<'_>) -> Result<Option<Map>, Errno> {
    match Map::create("probe", options) {
        Ok(map) => Ok(Some(map)),
        Err(map::Error::Create { source, .. }) => refusal(Err(source)).map(|_| None),
        Err(_) => Err(Errno::EINVAL),
    }
}

fn of(map_type: MapType, flags: MapFlags) -> Result<Option<Map>, Errno> {
    let flags = flags.bits();
    made(&map::Options { map_type, key_size: 4, value_size: 8, max_entries: 2, flags, ..map::Options::default() })
}

fn kernel_btf() -> Result<bool, Errno> {
    Ok(Path::new("/sys/kernel/btf/vmlinux").exists())
}

fn map_mmap() -> Result<bool, Errno> {
    Ok(of(MapType::ARRAY, MapFlags::MMAPABLE)?.is_some())
}

fn map_batch() -> Result<bool, Errno> {
    let Some(map) = of(MapType::HASH, MapFlags::empty())? else { return Ok(false) };
    refusal(map.sys().update_batch(&[0; 8], &[0; 16], UpdateFlags::ANY).map_err(|(errno, _)| errno))
}

fn map_hash_take() -> Result<bool, Errno> {
    let Some(map) = of(MapType::HASH, MapFlags::empty())? else { return Ok(false) };
    match map.sys().lookup_and_delete(&[0; 4], &mut [0; 8]) {
        Err(Errno::ENOENT) => Ok(true),
        done => refusal(done),
    }
}

fn run_stats() -> Result<bool, Errno> {
    refusal(sys::prog::enable_stats().map(drop))
}

/// Whether a load with a log says how long that log is.
fn log_true_size() -> Result<bool, Errno> {
    let mut buf = [0; 4096];
    let log = Log { level: LogLevel::REFUSAL, buf: &mut buf };
    match sys::prog::load(&load(ProgType::XDP, AttachType::XDP, EXIT.as_bytes()), Some(log)) {
        Ok(_) => Ok(false),
        Err(LoadFailed { errno: Errno::EPERM, .. }) => Err(Errno::EPERM),
        Err(failed) => Ok(failed.log_true_size != 0),
    }
}

/// Asks for the programs on the loopback's hook; a kernel without tcx knows no such hook.
fn tcx() -> Result<bool, Errno> {
    const LOOPBACK: u32 = 1;
    refusal(sys::attach::query(sys::link::Target::Ifindex(LOOPBACK), AttachType::TCX_INGRESS.0, 0).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_first_kernels_rise() {
        let since = |feature: &Feature| {
            let (major, minor) = feature.since.split_once('.').unwrap();
            (major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap())
        };
        for pair in FEATURES.windows(2) {
            assert!(since(&pair[0]) <= since(&pair[1]), "{pair:?}");
        }
        for feature in FEATURES {
            assert_eq!(Feature::find(feature.name).map(|found| found.what), Some(feature.what));
        }
    }
}

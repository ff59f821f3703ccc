//! Stage: system calls, programs. Input: instructions and what goes with them. Output: a program's descriptor.
//! Read next: `attach.rs`, `link.rs`; the comfortable API is `crate::prog`.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use super::uapi::{LogLevel, OBJ_NAME_LEN, ProgFlags};
use super::{Errno, Result, addr, addr_mut, bpf, bpf_fd, commands, fd_u32, len_u32, obj_name, opt_fd_u32, zeroed};

/// Bytes of an instruction.
const INSN_SIZE: usize = 8;
/// How often a load that a signal interrupted is tried again. The kernel answers `EAGAIN` to a signal that came while
/// it verified; a profiler's timer can do that again and again.
const LOAD_TRIES: usize = 10;

/// What `BPF_PROG_LOAD` is told.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`; 0 where the type has none.
    pub expected_attach_type: u32,
    /// Instructions, 8 bytes each.
    pub insns: &'a [u8],
    /// Decides which helpers may be called.
    pub license: &'a CStr,
    /// Cut to 15 bytes.
    pub name: &'a str,
    /// `BPF_F_*`.
    pub flags: ProgFlags,
    /// The device to offload to or to be bound to; 0 for none.
    pub ifindex: u32,
    /// A loaded BTF object, needed for the two infos.
    pub btf: Option<BorrowedFd<'a>>,
    /// `struct bpf_func_info` records.
    pub func_info: Records<'a>,
    /// `struct bpf_line_info` records.
    pub line_info: Records<'a>,
    /// The kernel function, hook or type to attach to.
    pub attach_btf_id: u32,
    /// Where that id is from: a module's BTF object or the program to extend. `None` is the kernel itself.
    pub attach_fd: Option<BorrowedFd<'a>>,
    /// Descriptors for the instructions that name maps and kernel functions by index (Linux 5.14).
    pub fd_array: &'a [i32],
}

impl Default for Load<'_> {
    fn default() -> Self {
        Self {
            prog_type: 0,
            expected_attach_type: 0,
            insns: &[],
            license: c"",
            name: "",
            flags: ProgFlags::empty(),
            ifindex: 0,
            btf: None,
            func_info: Records::default(),
            line_info: Records::default(),
            attach_btf_id: 0,
            attach_fd: None,
            fd_array: &[],
        }
    }
}

/// Records of one size, back to back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Records<'a> {
    /// Bytes of one record; a kernel that knows a shorter one wants the rest to be zero.
    pub size: u32,
    /// All of them.
    pub bytes: &'a [u8],
}

impl Records<'_> {
    /// How many whole records there are, after checking that there is nothing else.
    fn count(&self) -> Result<u32> {
        if self.bytes.is_empty() {
            return Ok(0);
        }
        let len = len_u32(self.bytes)?;
        if self.size == 0 || !len.is_multiple_of(self.size) {
            return Err(Errno::EINVAL);
        }
        Ok(len / self.size)
    }
}

/// `BPF_PROG_LOAD`, up to and including `log_true_size` (Linux 6.4).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; OBJ_NAME_LEN],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_fd: u32,
    core_relo_cnt: u32,
    fd_array: u64,
    core_relos: u64,
    core_relo_rec_size: u32,
    log_true_size: u32,
}
const _: () = assert!(size_of::<LoadAttr>() == 144);
const _: () = assert!(offset_of!(LoadAttr, prog_name) == 48);
const _: () = assert!(offset_of!(LoadAttr, line_info) == 96);
const _: () = assert!(offset_of!(LoadAttr, fd_array) == 120);
commands! { ProgLoad(LoadAttr) = PROG_LOAD; }

/// Where the verifier writes.
#[derive(Debug)]
pub struct Log<'a> {
    /// How much it writes.
    pub level: LogLevel,
    /// At least 128 bytes. A zero-terminated text afterwards.
    pub buf: &'a mut [u8],
}

/// A load that failed.
#[derive(Debug, Clone, Copy)]
pub struct LoadFailed {
    /// Why; `ENOSPC` with a log may mean that the log was too small.
    pub errno: Errno,
    /// Bytes the whole log needs, where the kernel says it (Linux 6.4); else 0.
    pub log_true_size: u32,
}

impl From<Errno> for LoadFailed {
    fn from(errno: Errno) -> Self {
        Self { errno, log_true_size: 0 }
    }
}

/// `BPF_PROG_LOAD`: verifies and compiles. A signal that interrupts the verifier does not make it fail.
///
/// # Errors
///
/// `EACCES` and `EINVAL` from the verifier (its reasons are in `log`), `EPERM`, `E2BIG` for too many instructions or
/// steps, `ENOSPC` for a log that is too small.
pub fn load(options: &Load<'_>, log: Option<Log<'_>>) -> std::result::Result<OwnedFd, LoadFailed> {
    let mut log = log;
    let mut tries = LOAD_TRIES;
    loop {
        let mut attr = load_attr(options, log.as_mut())?;
        // SAFETY: addresses and lengths of instructions, license (zero-terminated by type), infos, descriptors and log
        // come in pairs from slices that `options` and `log` borrow over the call; only the log is written, and it is
        // borrowed mutably. `load_attr` sets no other address.
        match unsafe { bpf_fd::<ProgLoad>(&mut attr) } {
            Ok(fd) => return Ok(fd),
            Err(Errno::EAGAIN | Errno::EINTR) if tries > 1 => tries -= 1,
            Err(errno) => return Err(LoadFailed { errno, log_true_size: attr.log_true_size }),
        }
    }
}

/// The wire struct for `options`; the borrow of `log` must outlive its use.
fn load_attr(options: &Load<'_>, log: Option<&mut Log<'_>>) -> Result<LoadAttr> {
    if !options.insns.len().is_multiple_of(INSN_SIZE) {
        return Err(Errno::EINVAL);
    }
    let mut attr: LoadAttr = zeroed();
    attr.prog_type = options.prog_type;
    attr.insn_cnt = u32::try_from(options.insns.len() / INSN_SIZE).map_err(|_| Errno::E2BIG)?;
    attr.insns = addr(options.insns);
    attr.license = addr(options.license.to_bytes_with_nul());
    attr.prog_flags = options.flags.bits();
    attr.prog_name = obj_name(options.name);
    attr.prog_ifindex = options.ifindex;
    attr.expected_attach_type = options.expected_attach_type;
    attr.prog_btf_fd = opt_fd_u32(options.btf);
    (attr.func_info_cnt, attr.func_info) = (options.func_info.count()?, addr(options.func_info.bytes));
    (attr.line_info_cnt, attr.line_info) = (options.line_info.count()?, addr(options.line_info.bytes));
    // A size without records is refused by some kernels.
    attr.func_info_rec_size = if attr.func_info_cnt == 0 { 0 } else { options.func_info.size };
    attr.line_info_rec_size = if attr.line_info_cnt == 0 { 0 } else { options.line_info.size };
    attr.attach_btf_id = options.attach_btf_id;
    attr.attach_fd = opt_fd_u32(options.attach_fd);
    attr.fd_array = addr(options.fd_array.as_bytes());
    if let Some(log) = log {
        attr.log_level = log.level.bits();
        attr.log_size = len_u32(log.buf)?;
        attr.log_buf = addr_mut(log.buf);
    }
    Ok(attr)
}

/// What `BPF_PROG_TEST_RUN` is told.
#[derive(Debug, Default)]
pub struct TestRun<'a> {
    /// The packet; XDP and the like want at least 14 bytes.
    pub data_in: &'a [u8],
    /// Where the packet afterwards goes; may be empty.
    pub data_out: &'a mut [u8],
    /// The context, in the layout of the program's type; may be empty.
    pub ctx_in: &'a [u8],
    /// Where the context afterwards goes; may be empty.
    pub ctx_out: &'a mut [u8],
    /// How often; 0 is once.
    pub repeat: u32,
    /// `BPF_F_TEST_*`.
    pub flags: u32,
    /// The CPU, with `BPF_F_TEST_RUN_ON_CPU`.
    pub cpu: u32,
    /// Packets a batch, with `BPF_F_TEST_XDP_LIVE_FRAMES` (Linux 5.18).
    pub batch_size: u32,
}

/// What a test run gave.
#[derive(Debug, Clone, Copy)]
pub struct TestRunDone {
    /// The program's return value.
    pub retval: u32,
    /// Nanoseconds of one run, averaged over the repeats.
    pub duration: u32,
    /// Bytes the packet has now; more than `data_out` holds if that was too short.
    pub data_size: u32,
    /// Bytes the context has now.
    pub ctx_size: u32,
}

/// `BPF_PROG_TEST_RUN`, up to and including `batch_size` (Linux 5.18).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<TestRunAttr>() == 80);
const _: () = assert!(offset_of!(TestRunAttr, ctx_in) == 48);
commands! { ProgTestRun(TestRunAttr) = PROG_TEST_RUN; }

/// `BPF_PROG_TEST_RUN`: runs the program on a packet and a context of ours.
///
/// # Errors
///
/// `ENOSPC` if an output is longer than the slice for it (what fits is there), 524 for types without test runs,
/// `EINTR` if a signal comes between repeats.
pub fn test_run(prog: BorrowedFd<'_>, run: &mut TestRun<'_>) -> Result<TestRunDone> {
    // Programs of type SYSCALL get their context written back to where it came from: give the kernel a copy.
    let mut ctx_in = run.ctx_in.to_vec();
    let mut attr: TestRunAttr = zeroed();
    attr.prog_fd = fd_u32(prog);
    (attr.data_size_in, attr.data_in) = (len_u32(run.data_in)?, addr(run.data_in));
    (attr.data_size_out, attr.data_out) = (len_u32(run.data_out)?, addr_mut(run.data_out));
    (attr.ctx_size_in, attr.ctx_in) = (len_u32(&ctx_in)?, addr_mut(&mut ctx_in));
    (attr.ctx_size_out, attr.ctx_out) = (len_u32(run.ctx_out)?, addr_mut(run.ctx_out));
    (attr.repeat, attr.flags, attr.cpu, attr.batch_size) = (run.repeat, run.flags, run.cpu, run.batch_size);
    // SAFETY: each address is paired with the length of its slice, and the kernel copies at most that much out: an
    // output of length 0, which old kernels take as "no limit", has the address 0. Outputs are borrowed mutably, and
    // `ctx_in`, which may be written too, is our own copy.
    unsafe { bpf::<ProgTestRun>(&mut attr) }?;
    Ok(TestRunDone {
        retval: attr.retval,
        duration: attr.duration,
        data_size: attr.data_size_out,
        ctx_size: attr.ctx_size_out,
    })
}

/// `BPF_PROG_BIND_MAP` (Linux 5.10).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct BindMapAttr {
    prog_fd: u32,
    map_fd: u32,
    flags: u32,
}
const _: () = assert!(size_of::<BindMapAttr>() == 12);
commands! { ProgBindMap(BindMapAttr) = PROG_BIND_MAP; }

/// `BPF_PROG_BIND_MAP`: the map lives as long as the program, though no instruction names it (Linux 5.10).
///
/// # Errors
///
/// `EINVAL` if one is not what it should be.
pub fn bind_map(prog: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<()> {
    let mut attr = BindMapAttr { prog_fd: fd_u32(prog), map_fd: fd_u32(map), flags: 0 };
    // SAFETY: the struct holds no address.
    unsafe { bpf::<ProgBindMap>(&mut attr) }.map(drop)
}

/// `BPF_ENABLE_STATS` (Linux 5.8).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct EnableStatsAttr {
    stats_type: u32,
}
const _: () = assert!(size_of::<EnableStatsAttr>() == 4);
commands! { EnableStats(EnableStatsAttr) = ENABLE_STATS; }

/// `BPF_ENABLE_STATS`: programs count runs and time until the descriptor is closed (Linux 5.8).
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn enable_stats() -> Result<OwnedFd> {
    // BPF_STATS_RUN_TIME, the only kind there is.
    let mut attr = EnableStatsAttr { stats_type: 0 };
    // SAFETY: the struct holds no address, and the command returns a new descriptor.
    unsafe { bpf_fd::<EnableStats>(&mut attr) }
}

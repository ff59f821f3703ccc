//! Stage: verified programs. Input: relocated instructions, or a pin or an id. Output: [`Prog`].
//!
//! Read next: `verifier/parse.rs` (what a refusal means), then `link/mod.rs` (attaching).

mod error;
mod lines;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use asm::object::{AttachType, ProgType};
use serde::Serialize;

use crate::permission::{Denied, raise_memlock};
use crate::pin;
pub use error::Error;
pub use lines::SourceLine;

pub use crate::sys::prog::Records;
use crate::sys::prog::{Load, LoadFailed, Log};
use crate::sys::uapi::{Cmd, LogLevel, ProgFlags};
use crate::sys::{self, Errno};
use crate::verifier::Refusal;

/// The first log buffer: enough for most refusals in one call.
const LOG_START: usize = 1 << 20;
/// The most a log buffer grows to; beyond that the log is cut.
const LOG_MAX: usize = 1 << 28;

/// How a program is loaded.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// What kind of program.
    pub prog_type: ProgType,
    /// Where it will be attached, if the kernel wants to know that now.
    pub expected_attach_type: Option<AttachType>,
    /// Relocated instructions, 8 bytes each.
    pub insns: &'a [u8],
    /// The object's license.
    pub license: &'a CStr,
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
    /// Where that id is from: a module's BTF object or the program to extend.
    pub attach_fd: Option<BorrowedFd<'a>>,
    /// Descriptors for instructions that name maps and modules by index.
    pub fd_array: &'a [i32],
    /// What to log even if the program is accepted; nothing by default. A refusal is always logged.
    pub log: LogLevel,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            prog_type: ProgType::UNSPEC,
            expected_attach_type: None,
            insns: &[],
            license: c"",
            flags: ProgFlags::empty(),
            ifindex: 0,
            btf: None,
            func_info: Records::default(),
            line_info: Records::default(),
            attach_btf_id: 0,
            attach_fd: None,
            fd_array: &[],
            log: LogLevel::empty(),
        }
    }
}

/// What the kernel says of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// The id.
    pub id: u32,
    /// What kind of program; its name in JSON.
    #[serde(serialize_with = "crate::as_text")]
    pub prog_type: ProgType,
    /// The kernel's name: at most 15 bytes.
    pub name: String,
    /// A hash of the instructions before map descriptors were put in, as 16 hex digits.
    pub tag: String,
    /// Instructions (8 bytes each) as they run; 0 where the kernel does not show it.
    pub xlated_insns: u32,
    /// Bytes of machine code; 0 without JIT or where the kernel does not show it.
    pub jited_bytes: u32,
    /// Instructions the verifier stepped through (Linux 5.16), else 0.
    pub verified_insns: u32,
    /// When it was loaded, after boot.
    pub load_time: Duration,
    /// The user who loaded it.
    pub created_by_uid: u32,
    /// Runs, counted while statistics are on (see [`enable_stats`]).
    pub run_count: u64,
    /// Time of these runs.
    pub run_time: Duration,
    /// Runs that were left out because it was running already on that CPU (Linux 5.12), else 0.
    pub recursion_misses: u64,
    /// The id of its BTF, or 0.
    pub btf_id: u32,
    /// Whether its license lets it call GPL-only helpers.
    pub gpl_compatible: bool,
    /// The ids of the maps it uses.
    pub map_ids: Vec<u32>,
}

/// What a test run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// The program's return value; for XDP the action.
    pub retval: u32,
    /// The packet afterwards.
    pub data_out: Vec<u8>,
    /// Of one run, averaged over the repeats.
    pub duration: Duration,
}

/// A program in the kernel, kept alive by this descriptor.
///
/// ```no_run
/// use asm::object::ProgType;
/// use loader::prog::{Options, Prog};
/// // r0 = 2 (XDP_PASS); exit
/// let insns = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// let options = Options { prog_type: ProgType::XDP, insns: &insns, license: c"GPL", ..Options::default() };
/// let prog = Prog::load("pass", &options)?;
/// assert_eq!(prog.test_run(&[0; 14], 1)?.retval, 2);
/// # Ok::<(), loader::prog::Error>(())
/// ```
#[doc(alias = "bpf_prog")]
#[derive(Debug)]
pub struct Prog {
    fd: OwnedFd,
    name: String,
    log: Option<String>,
}

impl Prog {
    /// Verifies and compiles a program.
    ///
    /// The first try is without a log, as most programs are accepted; a refused one is tried again to get the
    /// verifier's words. On kernels before 5.11 the limit of locked memory is raised if it is in the way.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the log, [`Error::Denied`] with the reason, [`Error::Load`].
    #[doc(alias = "BPF_PROG_LOAD")]
    pub fn load(name: &str, options: &Options<'_>) -> Result<Self, Error> {
        let load = Load {
            prog_type: options.prog_type.0,
            expected_attach_type: options.expected_attach_type.map_or(0, |attach_type| attach_type.0),
            insns: options.insns,
            license: options.license,
            name,
            flags: options.flags,
            ifindex: options.ifindex,
            btf: options.btf,
            func_info: options.func_info,
            line_info: options.line_info,
            attach_btf_id: options.attach_btf_id,
            attach_fd: options.attach_fd,
            fd_array: options.fd_array,
        };
        if options.log.is_empty() {
            match load_plain(&load) {
                Ok(fd) => return Ok(Self { fd, name: name.to_owned(), log: None }),
                Err(Errno::EPERM) => return Err(denied(name)),
                Err(_) => {}
            }
        }
        let level = if options.log.is_empty() { LogLevel::REFUSAL } else { options.log };
        let (loaded, log) = load_logged(&load, level);
        match loaded {
            Ok(fd) => Ok(Self { fd, name: name.to_owned(), log: Some(log) }),
            Err(Errno::EPERM) => Err(denied(name)),
            Err(source) if log.trim().is_empty() => Err(Error::Load { name: name.to_owned(), source }),
            Err(source) => Err(Error::Refused(Box::new(Refusal::new(name, source, log)))),
        }
    }

    /// Opens a pinned program.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`], [`Error::NotAProg`].
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn from_pin(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let fd = pin::open(path, pin::Kind::Prog)?;
        Self::from_fd(fd).map_err(|source| Error::NotAProg { path: path.to_owned(), source })
    }

    /// Opens the program with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NoId`].
    #[doc(alias = "BPF_PROG_GET_FD_BY_ID")]
    pub fn from_id(id: u32) -> Result<Self, Error> {
        let prog = sys::obj::fd_by_id(sys::obj::Kind::Prog, id).and_then(Self::from_fd);
        prog.map_err(|source| Error::NoId { id, source })
    }

    /// Takes a program's descriptor that came from elsewhere.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no BPF object.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let info = sys::info::prog(fd.as_fd())?;
        Ok(Self { fd, name: sys::name_text(&info.name), log: None })
    }

    /// The name it was loaded with, or the kernel's shorter one for a program opened by pin or id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the verifier said although it accepted the program, if it was asked to.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Gives the program a name on bpffs, which keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`].
    #[doc(alias = "BPF_OBJ_PIN")]
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(pin::pin(self.fd.as_fd(), path.as_ref())?)
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<Info, Error> {
        let fail = |errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno);
        let info = sys::info::prog(self.fd.as_fd()).map_err(fail)?;
        Ok(Info {
            id: info.id,
            prog_type: ProgType(info.prog_type),
            name: sys::name_text(&info.name),
            tag: info.tag.iter().map(|byte| format!("{byte:02x}")).collect(),
            xlated_insns: info.xlated_prog_len / 8,
            jited_bytes: info.jited_prog_len,
            verified_insns: info.verified_insns,
            load_time: Duration::from_nanos(info.load_time),
            created_by_uid: info.created_by_uid,
            run_count: info.run_cnt,
            run_time: Duration::from_nanos(info.run_time_ns),
            recursion_misses: info.recursion_misses,
            btf_id: info.btf_id,
            gpl_compatible: info.gpl_compatible & 1 != 0,
            map_ids: sys::info::prog_map_ids(self.fd.as_fd()).map_err(fail)?,
        })
    }

    /// The id.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn id(&self) -> Result<u32, Error> {
        let info = sys::info::prog(self.fd.as_fd());
        info.map(|info| info.id).map_err(|errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno))
    }

    /// The instructions as they run, 8 bytes each; empty where the kernel does not show them.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn xlated(&self) -> Result<Vec<u8>, Error> {
        sys::info::prog_xlated(self.fd.as_fd()).map_err(|errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno))
    }

    /// The machine code; empty without JIT or where the kernel does not show it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn jited(&self) -> Result<Vec<u8>, Error> {
        sys::info::prog_jited(self.fd.as_fd()).map_err(|errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno))
    }

    /// Runs the program on a packet, `repeat` times.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run(&self, data_in: &[u8], repeat: u32) -> Result<TestRun, Error> {
        // A program may grow the packet by what its type allows; a page is more than any does.
        let mut out = vec![0; data_in.len() + 4096];
        let mut run = sys::prog::TestRun { data_in, data_out: &mut out, repeat, ..Default::default() };
        let done = loop {
            match sys::prog::test_run(self.fd.as_fd(), &mut run) {
                Err(Errno::EINTR) => {}
                other => break other.map_err(|errno| self.error(Cmd::PROG_TEST_RUN, errno))?,
            }
        };
        out.truncate(done.data_size as usize);
        let duration = Duration::from_nanos(u64::from(done.duration));
        Ok(TestRun { retval: done.retval, data_out: out, duration })
    }

    /// Keeps a map alive as long as the program, though no instruction names it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    #[doc(alias = "BPF_PROG_BIND_MAP")]
    pub fn bind_map(&self, map: BorrowedFd<'_>) -> Result<(), Error> {
        sys::prog::bind_map(self.fd.as_fd(), map).map_err(|errno| self.error(Cmd::PROG_BIND_MAP, errno))
    }

    fn error(&self, cmd: Cmd, source: Errno) -> Error {
        Error::Command { cmd, name: self.name.clone(), source }
    }
}

impl AsFd for Prog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// All programs count runs and time until the returned descriptor is closed.
///
/// # Errors
///
/// The kernel's `EPERM` without `CAP_SYS_ADMIN`.
#[doc(alias = "BPF_ENABLE_STATS")]
pub fn enable_stats() -> Result<OwnedFd, Errno> {
    sys::prog::enable_stats()
}

fn denied(name: &str) -> Error {
    let denied = Box::new(Denied::look(Cmd::PROG_LOAD));
    Error::Denied { name: name.to_owned(), denied, source: Errno::EPERM }
}

/// Without a log; once more if it was the limit of locked memory.
pub(crate) fn load_plain(load: &Load<'_>) -> sys::Result<OwnedFd> {
    match sys::prog::load(load, None) {
        Err(LoadFailed { errno: Errno::EPERM, .. }) if raise_memlock() => sys::prog::load(load, None),
        loaded => loaded,
    }
    .map_err(|failed| failed.errno)
}

/// With a log, in a buffer that grows until the log fits.
fn load_logged(load: &Load<'_>, level: LogLevel) -> (sys::Result<OwnedFd>, String) {
    let mut size = LOG_START;
    let mut raised = false;
    loop {
        let mut buf = vec![0; size];
        let loaded = sys::prog::load(load, Some(Log { level, buf: &mut buf }));
        match loaded {
            Err(failed) if failed.errno == Errno::EPERM && !raised && raise_memlock() => raised = true,
            Err(failed) if failed.errno == Errno::ENOSPC && size < LOG_MAX => {
                let wanted = (failed.log_true_size as usize).max(size * 8);
                size = wanted.min(LOG_MAX);
            }
            loaded => return (loaded.map_err(|failed| failed.errno), sys::name_text(&buf)),
        }
    }
}

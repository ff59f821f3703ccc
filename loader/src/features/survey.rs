//! Stage: what this kernel can do, all of it. Input: the kernel. Output: a [`Survey`]: program types with the helpers each may
//! call, map types, links, the JIT, the kernel's types. Tried out; where a trial needs things of its own (BTF, a structure of
//! the kernel), the kernel's own enumerations answer. Nothing stays behind. Read next: `iface.rs`, for the drivers.

use asm::btf::Kind;
use asm::insn::{Insn, Since, helper};
use asm::object::{AttachType, MapType, ProgType};
use serde::Serialize;
use zerocopy::IntoBytes;

use super::{EXIT, FEATURES, ZERO, load, map_type, of};
use crate::btf::KernelBtf;
use crate::check::target::Target;
use crate::map::{self, Map};
use crate::permission::Denied;
use crate::prog::{Options, Prog};
use crate::sys::prog::{Load, Log};
use crate::sys::uapi::{Cmd, LogLevel, MapFlags};
use crate::sys::{self, Errno};

/// What a kernel can do.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// `uname -r`.
    pub release: String,
    /// Whether programs become machine code.
    pub jit: Option<bool>,
    /// Whether the kernel shows its types.
    pub btf: bool,
    /// Modules that show theirs.
    pub btf_modules: usize,
    /// Features by name; see [`FEATURES`].
    pub features: Vec<Known>,
    /// Program types.
    pub prog_types: Vec<ProgTypeRow>,
    /// Map types.
    pub map_types: Vec<Known>,
    /// Kinds of links; `None` where the kernel does not show its types.
    pub links: Option<Vec<String>>,
}

/// Something that a kernel may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Whether this kernel has it; `None` if that cannot be told.
    pub here: Option<bool>,
    /// The first mainline kernel that has it.
    pub since: &'static str,
    /// What it is good for, where there is more to say than the name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub what: &'static str,
}

/// A program type.
#[derive(Debug, Serialize)]
pub struct ProgTypeRow {
    /// The type itself.
    #[serde(flatten)]
    pub known: Known,
    /// Helpers that such programs may call under the GPL; `None` if that cannot be tried out.
    pub helpers: Option<Vec<&'static str>>,
}

impl Survey {
    /// Asks the running kernel. With a type, only that program type, and nothing of maps and features.
    ///
    /// # Errors
    /// This process may not load programs: why.
    pub fn take(only: Option<ProgType>) -> Result<Self, Box<Denied>> {
        let prog = Prog::load(
            "probe",
            &Options { prog_type: ProgType::XDP, insns: &PASS, license: c"GPL", ..Options::default() },
        );
        let prog = prog.map_err(|_| Box::new(Denied::look(Cmd::PROG_LOAD)))?;
        let kernel = KernelBtf::running().ok();
        let btf_modules = kernel.as_ref().map_or(0, |kernel| kernel.modules().len());
        let target = kernel.map(Target::new);
        let types = ProgType::ALL.iter().filter(|ty| **ty != ProgType::UNSPEC && only.is_none_or(|only| only == **ty));
        let all = only.is_none();
        Ok(Self {
            release: nix::sys::utsname::uname()
                .map(|uts| uts.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            jit: prog.info().ok().map(|info| info.jited_bytes > 0),
            btf: target.is_some(),
            btf_modules,
            features: if all { features() } else { Vec::new() },
            prog_types: types.map(|&prog_type| prog_type_row(prog_type, target.as_ref())).collect(),
            map_types: if all { map_types(target.as_ref()) } else { Vec::new() },
            links: target.as_ref().and_then(Target::links),
        })
    }
}

/// `r0 = 2; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

fn features() -> Vec<Known> {
    let row = |feature: &super::Feature| {
        let super::Feature { name, what, since, .. } = *feature;
        Known { name, here: feature.probe().ok(), since, what }
    };
    FEATURES.iter().map(row).collect()
}

/// Which map types the kernel has; `target` is the kernel as its types describe it, for those that cannot be tried.
#[must_use]
pub fn map_types(target: Option<&Target>) -> Vec<Known> {
    let types = MapType::ALL.iter().filter(|map_type| **map_type != MapType::UNSPEC);
    let row = |&map_type: &MapType| Known {
        name: map_type.name().unwrap_or("?"),
        here: has_map_type(map_type, target),
        since: map_type.since().unwrap_or("?"),
        what: "",
    };
    types.map(row).collect()
}

/// Whether maps of a type can be made here.
fn has_map_type(wanted: MapType, target: Option<&Target>) -> Option<bool> {
    match wanted {
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
            let inner = of(MapType::ARRAY, MapFlags::empty()).ok().flatten()?;
            let inner = Some(std::os::fd::AsFd::as_fd(&inner));
            let options = map::Options {
                map_type: wanted,
                key_size: 4,
                value_size: 4,
                max_entries: 1,
                inner,
                ..map::Options::default()
            };
            Some(Map::create("probe", &options).is_ok())
        }
        // They need types or flags of their own.
        MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE
        | MapType::STRUCT_OPS
        | MapType::INSN_ARRAY
        | MapType::RHASH => target?.has("bpf_map_type", wanted.0),
        wanted => map_type(wanted).ok(),
    }
}

/// What a program of a type has to be for, to be verified at all.
fn attach(prog_type: ProgType) -> (AttachType, Option<&'static str>) {
    match prog_type {
        ProgType::CGROUP_SOCK => (AttachType::CGROUP_INET_SOCK_CREATE, None),
        ProgType::CGROUP_SOCK_ADDR => (AttachType::CGROUP_INET4_CONNECT, None),
        ProgType::CGROUP_SOCKOPT => (AttachType::CGROUP_SETSOCKOPT, None),
        ProgType::SK_LOOKUP => (AttachType::SK_LOOKUP, None),
        ProgType::NETFILTER => (AttachType::NETFILTER, None),
        ProgType::TRACING => (AttachType::TRACE_FENTRY, Some("bpf_fentry_test1")),
        ProgType::LSM => (AttachType::LSM_MAC, Some("bpf_lsm_file_open")),
        _ => (AttachType(0), None),
    }
}

fn prog_type_row(prog_type: ProgType, target: Option<&Target>) -> ProgTypeRow {
    let (attach_type, hook) = attach(prog_type);
    let hook_id = hook.map(|name| target.and_then(|target| target.find(name, Kind::FUNC)).map_or(0, |id| id.0));
    let ask = |insns: &[Insn]| {
        let load = load(prog_type, attach_type, insns.as_bytes());
        said(&Load { attach_btf_id: hook_id.unwrap_or(0), ..load })
    };
    let call = |id: i32| ask(&[Insn::new(0x85, 0, 0, 0, id), ZERO, EXIT]);
    // Programs that replace others, or are parts of a structure, need that to be tried.
    let can_be_tried = !matches!(prog_type, ProgType::EXT | ProgType::STRUCT_OPS) && hook_id != Some(0);
    let by_types = || target.and_then(|target| target.has("bpf_prog_type", prog_type.0));
    let here = match can_be_tried.then(|| ask(&[ZERO, EXIT])) {
        Some(Said::Nothing) => Some(false),
        Some(Said::Fine | Said::NoHelper) => Some(true),
        Some(Said::Denied) | None => by_types(),
    };
    // Where a helper that nobody has is not refused as such, nothing is learnt from the others.
    let helpers = (can_be_tried && call(i32::MAX) == Said::NoHelper).then(|| {
        let known = helper::ALL.iter().filter(|helper| helper.since != Since::Never);
        known.filter(|helper| call(helper.id.0) != Said::NoHelper).map(|helper| helper.name).collect()
    });
    let known =
        Known { name: prog_type.name().unwrap_or("?"), here, since: prog_type.since().unwrap_or("?"), what: "" };
    ProgTypeRow { known, helpers }
}

/// What the kernel says to the smallest program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It takes it, or finds fault with the arguments only.
    Fine,
    /// There is no such helper, or not for this type.
    NoHelper,
    /// The verifier was not even asked.
    Nothing,
    /// This process may not load it, though the verifier may have taken it.
    Denied,
}

fn said(load: &Load<'_>) -> Said {
    let mut buf = [0; 4096];
    let done = sys::prog::load(load, Some(Log { level: LogLevel::REFUSAL, buf: &mut buf }));
    let log = sys::name_text(&buf);
    let no_helper = ["unknown func", "cannot use helper", "invalid func"];
    match done.map_err(|failed| failed.errno) {
        // A log that was too small was one.
        Ok(_) | Err(Errno::ENOSPC) => Said::Fine,
        Err(_) if no_helper.iter().any(|words| log.contains(words)) => Said::NoHelper,
        Err(Errno::EPERM) => Said::Denied,
        Err(_) if log.is_empty() => Said::Nothing,
        Err(_) => Said::Fine,
    }
}

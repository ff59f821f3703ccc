//! Stage: spec → verified, last step: programs. Input: prepared programs and the maps' descriptors. Output: verified
//! programs. Next file: `../link/mod.rs`, where they are attached.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use asm::btf::wire;
use asm::object::section::{ProgType, SectionFlags};
use zerocopy::IntoBytes;

use super::maps::Made;
use super::prepare::ReadyProg;
use super::{Error, LoadOptions, Prepared};
use crate::prog::{self, Options, Prog, Records};
use crate::reloc::Answers;
use crate::spec::{Line, ProgSpec, Spec};
use crate::sys::Errno;
use crate::sys::uapi::{LogLevel, ProgFlags};
use crate::verifier::Place;

/// Fills in descriptors and symbols, and gives each program to the verifier.
///
/// # Errors
/// The verifier's words.
pub(super) fn load(
    prepared: &mut Prepared,
    options: &LoadOptions,
    btf: Option<&OwnedFd>,
    maps: &[Made],
) -> Result<Vec<Prog>, Error> {
    let Prepared { spec, progs, left_out, found } = prepared;
    let license = CString::new(spec.license.as_str()).map_err(|_| Error::License { license: spec.license.clone() })?;
    let answers = Answers {
        maps: maps.iter().map(|made| made.map.as_fd().as_raw_fd()).collect(),
        externs: found.answers.clone(),
    };
    let mut loaded = Vec::with_capacity(progs.len());
    for mut ready in std::mem::take(progs) {
        ready.linked.fill(spec, &answers)?;
        let Some(prog) = spec.progs.get(ready.index) else { continue };
        let (funcs, lines) = (ready.linked.func_info(), ready.linked.line_info());
        let mut load = Options {
            prog_type: prog.prog_type.unwrap_or(ProgType::UNSPEC),
            expected_attach_type: prog.attach_type,
            insns: ready.linked.insns.as_bytes(),
            license: &license,
            flags: flags(prog) | options.flags.get(&prog.name).copied().unwrap_or(ProgFlags::empty()),
            attach_btf_id: ready.target.btf_id,
            attach_fd: ready.target.fd.as_ref().map(AsFd::as_fd),
            fd_array: &found.fd_array,
            log: options.log.unwrap_or(LogLevel::empty()),
            ..Options::default()
        };
        if let Some(btf) = btf {
            load.btf = Some(btf.as_fd());
            load.func_info = records(size_of::<wire::FuncInfo>(), funcs.as_bytes());
            load.line_info = records(size_of::<wire::LineInfo>(), lines.as_bytes());
        }
        match verify(spec, prog, &ready, load) {
            Ok(prog) => {
                loaded.push(prog);
                progs.push(ready);
            }
            Err(error) if options.optional.contains(&ready.name) => left_out.push((ready.name, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

/// Loads one program. A kernel that does not know an attach type which only helps may do without.
fn verify(spec: &Spec, prog: &ProgSpec, ready: &ReadyProg, mut options: Options<'_>) -> Result<Prog, Error> {
    let located = |source| match source {
        prog::Error::Refused(refusal) => {
            prog::Error::Refused(Box::new(refusal.locate(|insn| place(spec, &ready.linked.lines, insn))))
        }
        other => other,
    };
    let refused = |source| Error::Prog {
        missing: ready.linked.poisoned.iter().map(|poisoned| poisoned.what.clone()).collect(),
        source: Box::new(located(source)),
    };
    match Prog::load(&prog.name, &options) {
        Err(prog::Error::Load { source: Errno::EINVAL, .. })
            if prog.flags.contains(SectionFlags::ATTACH_OPTIONAL) && options.expected_attach_type.is_some() =>
        {
            options.expected_attach_type = None;
            Prog::load(&prog.name, &options).map_err(refused)
        }
        done => done.map_err(refused),
    }
}

/// Where an instruction comes from: the last line record that starts at it or before.
pub(crate) fn place(spec: &Spec, lines: &[Line], insn: u32) -> Option<Place> {
    let line = lines.iter().filter(|line| line.at <= insn as usize).max_by_key(|line| line.at)?;
    let text = |at| spec.btf.as_ref().and_then(|btf| Some(btf.string(at).ok()?.trim().to_owned()));
    Some(Place { file: text(line.file)?, line: line.line, column: line.col, text: text(line.text).unwrap_or_default() })
}

fn records(size: usize, bytes: &[u8]) -> Records<'_> {
    Records { size: u32::try_from(size).unwrap_or(0), bytes }
}

/// What the section name says, in the kernel's bits.
fn flags(prog: &ProgSpec) -> ProgFlags {
    let mut flags = ProgFlags::empty();
    flags.set(ProgFlags::SLEEPABLE, prog.flags.contains(SectionFlags::SLEEPABLE));
    flags.set(ProgFlags::XDP_HAS_FRAGS, prog.flags.contains(SectionFlags::FRAGS));
    flags
}

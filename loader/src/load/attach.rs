//! Stage: spec → verified. What a program is for, in the kernel's numbers. Input: programs and the kernel's types, or the
//! types of the program to extend. Output: [`Target`]s. Next file: `externs.rs`.

use std::os::fd::{AsFd, OwnedFd};

use asm::btf::{Kind, TypeId};
use asm::object::section::{AttachType, ProgType, SectionFlags};

use super::prepare::Kernel;
use super::{Error, LoadOptions, externs};
use crate::prog::Prog;
use crate::spec::{ProgSpec, Spec};

/// Where a program of a BTF-described hook is going to be.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// The function's, tracepoint's or hook's type; 0 where there is none.
    pub(super) btf_id: u32,
    /// The module's types, or the program to extend.
    pub(super) fd: Option<OwnedFd>,
}

/// The symbol that stands in the kernel's types for what a program is for.
pub(crate) fn symbol(prog: &ProgSpec, target: &str) -> (String, Kind) {
    match prog.attach_type {
        Some(AttachType::TRACE_RAW_TP) => (format!("btf_trace_{target}"), Kind::TYPEDEF),
        Some(AttachType::LSM_MAC | AttachType::LSM_CGROUP) => (format!("bpf_lsm_{target}"), Kind::FUNC),
        Some(AttachType::TRACE_ITER) => (format!("bpf_iter_{target}"), Kind::FUNC),
        _ => (target.to_owned(), Kind::FUNC),
    }
}

/// The targets of the programs with these positions, in one walk over the kernel's types.
pub(super) fn targets(
    spec: &Spec,
    indexes: impl Iterator<Item = usize>,
    options: &LoadOptions,
    kernel: &Kernel<'_>,
) -> Result<Vec<Target>, Error> {
    let mut wanted: Vec<(usize, String, Kind)> = Vec::new();
    let mut targets = Vec::new();
    for (number, index) in indexes.enumerate() {
        let prog = &spec.progs[index];
        targets.push(Target::default());
        match prog.prog_type {
            None => return Err(Error::NoType { prog: prog.name.clone(), section: prog.section.clone() }),
            Some(ProgType::STRUCT_OPS) => {
                return Err(Error::Unsupported {
                    what: format!("program `{}`", prog.name),
                    feature: "struct_ops",
                    since: "5.6",
                });
            }
            Some(_) => {}
        }
        if !prog.flags.contains(SectionFlags::ATTACH_BTF) {
            continue;
        }
        let target = prog.attach_to.as_deref().filter(|target| !target.is_empty());
        let missing = || Error::NoTarget { prog: prog.name.clone(), section: prog.section.clone() };
        let target = target.ok_or_else(missing)?;
        match options.attach_prog.get(&prog.name) {
            Some(other) => targets[number] = in_prog(prog, target, other)?,
            None if prog.prog_type == Some(ProgType::EXT) => return Err(missing()),
            None => {
                let (symbol, kind) = symbol(prog, target);
                wanted.push((number, symbol, kind));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(targets);
    }
    let btf = kernel.btf()?;
    let names: Vec<(&str, Kind)> = wanted.iter().map(|(_, symbol, kind)| (symbol.as_str(), *kind)).collect();
    let found = btf.find_all(&names);
    let numbers: Vec<usize> = wanted.iter().map(|(number, ..)| *number).collect();
    for (number, key) in numbers.into_iter().zip(names) {
        let (module, id) = found.get(&key).copied().ok_or_else(|| not_there(spec, &wanted, number))?;
        let fd = if module == 0 { None } else { externs::module_fd(btf, module) };
        targets[number] = Target { btf_id: id.0, fd };
    }
    Ok(targets)
}

fn not_there(spec: &Spec, wanted: &[(usize, String, Kind)], number: usize) -> Error {
    let (_, symbol, kind) = &wanted[wanted.iter().position(|row| row.0 == number).unwrap_or(0)];
    let mut loaded = spec.progs.iter().filter(|prog| prog.autoload);
    let prog = loaded.nth(number);
    Error::TargetMissing {
        prog: prog.map_or_else(String::new, |prog| prog.name.clone()),
        target: prog.and_then(|prog| prog.attach_to.clone()).unwrap_or_default(),
        symbol: format!("{kind} `{symbol}`"),
    }
}

/// A function of a program that is loaded already.
fn in_prog(prog: &ProgSpec, target: &str, other: &Prog) -> Result<Target, Error> {
    let missing = || Error::TargetMissing {
        prog: prog.name.clone(),
        target: target.to_owned(),
        symbol: format!("function `{target}` of program `{}`", other.name()),
    };
    let id = function_of(other, target).ok_or_else(missing)?;
    let fd = other.as_fd().try_clone_to_owned().map_err(|_| missing())?;
    Ok(Target { btf_id: id.0, fd: Some(fd) })
}

fn function_of(prog: &Prog, name: &str) -> Option<TypeId> {
    crate::btf::loaded(prog.info().ok()?.btf_id).ok()?.find(name, Kind::FUNC)
}

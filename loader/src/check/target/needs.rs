//! Stage: will it load, on a kernel that is not here? Input: a program, the other kernel's types. Output: which kinds,
//! helpers, maps and symbols that the program names are not there. Read next: `../../reloc/core.rs`, for the types.

use asm::btf::Kind;
use asm::insn::{Since, helper};
use asm::object::section::{MapType, ProgType, SectionFlags};

use super::{Findings, Target};
use crate::btf::matching::{Pair, essential_name};
use crate::load::{same_type, symbol};
use crate::spec::{Extern, ExternKind, MapSpec, ProgSpec, RelocKind};

/// A call instruction.
const CALL: u8 = 0x85;

/// The type of the program, its place of attachment, and what it is for.
pub(super) fn kinds(found: &mut Findings<'_>, prog: &ProgSpec, target: &Target) {
    let Some(prog_type) = prog.prog_type else {
        return found.lacks(format!("a type: the section name `{}` says none", prog.section), None);
    };
    let since = |since: Option<&str>| since.map_or_else(String::new, |since| format!(" (Linux {since})"));
    match target.has("bpf_prog_type", prog_type.0) {
        Some(true) => {}
        Some(false) => found.lacks(format!("program type {prog_type}{}", since(prog_type.since())), None),
        None => found.doubts("the kernel's types do not tell which program types it knows".to_owned(), None),
    }
    if let Some(attach) = prog.attach_type
        && target.has("bpf_attach_type", attach.0) == Some(false)
        && !prog.flags.contains(SectionFlags::ATTACH_OPTIONAL)
    {
        found.lacks(format!("attach type {attach}{}", since(attach.since())), None);
    }
    if prog.flags.contains(SectionFlags::ATTACH_BTF) && prog_type != ProgType::EXT {
        let Some(name) = prog.attach_to.as_deref().filter(|name| !name.is_empty()) else {
            return found.doubts(format!("what `{}` is for is only said when it is loaded", prog.section), None);
        };
        let (symbol, kind) = symbol(prog, name);
        if target.btf.find_all(&[(symbol.as_str(), kind)]).is_empty() {
            found.lacks(
                format!("`{name}`, which the program is for: no {kind} `{symbol}` (a module may have it)"),
                None,
            );
        }
    }
}

/// The helpers that the program calls.
pub(super) fn helpers(found: &mut Findings<'_>, target: &Target) {
    let calls = found.linked.insns.iter().enumerate().filter(|(_, insn)| insn.code() == CALL && insn.src() == 0);
    let kfuncs: Vec<usize> = found.linked.relocs.iter().map(|reloc| reloc.at).collect();
    let calls: Vec<(usize, i32)> =
        calls.filter(|(at, _)| !kfuncs.contains(at)).map(|(at, insn)| (at, insn.imm())).collect();
    for (at, number) in calls {
        let id = helper::Id(number);
        match u32::try_from(number).ok().map_or(Some(false), |number| target.has("bpf_func_id", number)) {
            Some(true) => {}
            Some(false) => {
                let since = match id.helper().map(|helper| helper.since) {
                    Some(Since::Kernel(major, minor)) => format!(" (Linux {major}.{minor})"),
                    _ => String::new(),
                };
                found.lacks(format!("helper {id}{since}"), Some(at));
            }
            None => return found.doubts("the kernel's types do not tell which helpers it has".to_owned(), None),
        }
    }
}

/// The maps that the program uses, and those inside of them.
pub(super) fn maps(found: &mut Findings<'_>, target: &Target) {
    let uses = found.linked.relocs.iter().filter_map(|reloc| match reloc.kind {
        RelocKind::Map(map) | RelocKind::MapValue { map, .. } => Some((reloc.at, map)),
        _ => None,
    });
    let spec = found.spec;
    for (at, index) in uses.collect::<Vec<_>>() {
        let mut map = spec.maps.get(index);
        while let Some(MapSpec { name, map_type, inner, .. }) = map {
            if target.has("bpf_map_type", map_type.0) == Some(false) {
                found.lacks(format!("map type {map_type}{}, of map `{name}`", since_of(*map_type)), Some(at));
            }
            map = inner.as_deref();
        }
    }
}

fn since_of(map_type: MapType) -> String {
    map_type.since().map_or_else(String::new, |since| format!(" (Linux {since})"))
}

/// The symbols that somebody else defines.
pub(super) fn symbols(found: &mut Findings<'_>, target: &Target) {
    let uses = found.linked.relocs.iter().filter_map(|reloc| match reloc.kind {
        RelocKind::Extern(index) | RelocKind::ExternCall(index) => Some((reloc.at, index)),
        _ => None,
    });
    let spec = found.spec;
    for (at, index) in uses.collect::<Vec<_>>() {
        let Some(ext) = spec.externs.get(index) else { continue };
        match ext.kind {
            ExternKind::Kconfig { .. } => {
                found.doubts(
                    format!("`{}` is of the kernel's configuration, which its types do not tell", ext.name),
                    Some(at),
                );
            }
            ExternKind::Ksym => {
                found.doubts(format!("`{}` has no type, so the kernel's types do not tell of it", ext.name), Some(at));
            }
            ExternKind::TypedKsym(_) => typed(found, target, ext, (at, Kind::VAR)),
            ExternKind::Kfunc(_) => typed(found, target, ext, (at, Kind::FUNC)),
        }
    }
}

/// A variable or function of the kernel's, by name and type.
fn typed(found: &mut Findings<'_>, target: &Target, ext: &Extern, (at, kind): (usize, Kind)) {
    let (ExternKind::TypedKsym(ours) | ExternKind::Kfunc(ours)) = ext.kind else { return };
    let what = if kind == Kind::FUNC { "kernel function" } else { "kernel variable" };
    let name = essential_name(&ext.name);
    let problem = match (target.btf.find_all(&[(name, kind)]).get(&(name, kind)), &found.spec.btf) {
        (Some(&(_, id)), Some(local)) => {
            let fits = same_type(Pair { local, target: target.btf.vmlinux() }, ours, id);
            if !matches!(fits, Ok(true)) {
                " is of another type there"
            } else if kind == Kind::FUNC && !target.kfuncs().is_empty() && !target.kfuncs().contains(&id) {
                " is there, but not for programs to call"
            } else {
                return;
            }
        }
        _ => " is not there (a module may have it)",
    };
    match ext.weak {
        true => found.doubts(format!("{what} `{name}`{problem}; the program says that it does without"), Some(at)),
        false => found.lacks(format!("{what} `{name}`{problem}"), Some(at)),
    }
}

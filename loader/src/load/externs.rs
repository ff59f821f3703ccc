//! Stage: spec → verified. What the external symbols are in this kernel. Input: the symbols that the programs use, the
//! kernel's types, `/proc/kallsyms`, its configuration. Output: [`Found`]. Next file: `kconfig.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use asm::btf::{Btf, Kind, Type, TypeId};

use super::Error;
use super::kconfig::{Config, Probe};
use super::prepare::Kernel;
use crate::btf::matching::{Pair, essential_name};
use crate::btf::{KernelBtf, MatchError};
use crate::reloc::{ExternAnswer, Linked, RelocError};
use crate::spec::{Extern, ExternKind, MapOrigin, RelocKind, Spec};
use crate::sys;

/// The answers, and the descriptors that they name.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One for each symbol of the spec.
    pub(super) answers: Vec<ExternAnswer>,
    /// Descriptors for `BPF_PROG_LOAD`'s array: index 0 is the kernel itself and unused.
    pub(super) fd_array: Vec<i32>,
    /// Keeps them open.
    _modules: Vec<OwnedFd>,
}

/// Answers for every symbol that a program uses; the others are left absent.
///
/// # Errors
/// The kernel does not have a symbol that is not weak.
pub(super) fn find<'l>(
    spec: &mut Spec,
    linked: impl Iterator<Item = &'l Linked>,
    kernel: &Kernel<'_>,
) -> Result<Found, Error> {
    let used = used(linked);
    let mut found = Found { answers: vec![ExternAnswer::Absent; spec.externs.len()], ..Found::default() };
    if used.is_empty() {
        return Ok(found);
    }
    config_values(spec, &used, kernel, &mut found)?;
    addresses(spec, &used, &mut found)?;
    typed(spec, &used, kernel, &mut found)?;
    Ok(found)
}

/// Which symbols are used, and by which function.
fn used<'l>(linked: impl Iterator<Item = &'l Linked>) -> BTreeMap<usize, usize> {
    let mut used = BTreeMap::new();
    for linked in linked {
        for reloc in &linked.relocs {
            if let RelocKind::Extern(index) | RelocKind::ExternCall(index) = reloc.kind {
                used.insert(index, linked.place(reloc.at).map_or(0, |(func, _)| func));
            }
        }
    }
    used
}

fn missing(spec: &Spec, index: usize, func: usize, kind: &'static str) -> Error {
    let name = |name: Option<&String>| name.cloned().unwrap_or_default();
    Error::Reloc(RelocError::NoSymbol {
        kind,
        name: name(spec.externs.get(index).map(|ext| &ext.name)),
        func: name(spec.funcs.get(func).map(|func| &func.name)),
    })
}

/// Writes the configuration's values into the map that the programs read them from.
fn config_values(
    spec: &mut Spec,
    used: &BTreeMap<usize, usize>,
    kernel: &Kernel<'_>,
    found: &mut Found,
) -> Result<(), Error> {
    let Some(map) = spec.maps.iter().position(|map| map.origin == MapOrigin::Kconfig) else { return Ok(()) };
    let mut config = Config::running();
    for (index, ext) in spec.externs.iter().enumerate() {
        let ExternKind::Kconfig { off, size, value } = ext.kind else { continue };
        found.answers[index] = ExternAnswer::Config { map, off };
        let bytes = config.value(&ext.name, value, size as usize, &|probe| has(kernel, probe));
        let bytes = bytes.map_err(|source| Error::Config { name: ext.name.clone(), source })?;
        let Some(bytes) = bytes else {
            match used.get(&index) {
                Some(&func) if !ext.weak => return Err(missing(spec, index, func, "configuration value")),
                _ => continue,
            }
        };
        let off = off as usize;
        if let Some(place) = spec.maps[map].contents.as_mut().and_then(|data| data.get_mut(off..off + bytes.len())) {
            place.copy_from_slice(&bytes);
        }
    }
    Ok(())
}

/// Whether the kernel has something, by its types.
fn has(kernel: &Kernel<'_>, probe: Probe) -> bool {
    let Ok(btf) = kernel.btf() else { return false };
    match probe {
        Probe::Function(name) => btf.find_all(&[(name, Kind::FUNC)]).contains_key(&(name, Kind::FUNC)),
        Probe::Helper(name) => {
            let found = btf.find_all(&[("bpf_func_id", Kind::ENUM)]);
            let id = found.get(&("bpf_func_id", Kind::ENUM)).map(|&(_, id)| id);
            let ty = id.and_then(|id| btf.vmlinux().get(id).ok());
            matches!(ty, Some(Type::Enum { values, .. }) if values.iter().any(|(value, _)| *value == name))
        }
    }
}

/// Symbols without a type, from `/proc/kallsyms`.
fn addresses(spec: &Spec, used: &BTreeMap<usize, usize>, found: &mut Found) -> Result<(), Error> {
    let wanted =
        used.iter().filter(|(index, _)| spec.externs.get(**index).is_some_and(|ext| ext.kind == ExternKind::Ksym));
    let wanted: Vec<(usize, usize)> = wanted.map(|(&index, &func)| (index, func)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<&str> = wanted.iter().map(|&(index, _)| spec.externs[index].name.as_str()).collect();
    let text = std::fs::read("/proc/kallsyms").unwrap_or_default();
    let table = symbols(&text, &names);
    for (index, func) in wanted {
        let ext = &spec.externs[index];
        match table.get(ext.name.as_str()) {
            Some(&address) => found.answers[index] = ExternAnswer::Address(address),
            None if ext.weak => {}
            None => return Err(missing(spec, index, func, "symbol")),
        }
    }
    Ok(())
}

/// Addresses of the wanted symbols: lines such as `ffffffff81000000 T _stext`.
fn symbols<'n>(text: &[u8], names: &BTreeSet<&'n str>) -> HashMap<&'n str, u64> {
    let mut table = HashMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        if let (Some(&name), Ok(address)) = (names.get(name), u64::from_str_radix(address, 16)) {
            table.entry(name).or_insert(address);
        }
    }
    table
}

/// Variables and functions by type, in one walk over the kernel's types.
fn typed(spec: &Spec, used: &BTreeMap<usize, usize>, kernel: &Kernel<'_>, found: &mut Found) -> Result<(), Error> {
    let mut wanted: Vec<(usize, usize, &Extern, Kind, TypeId)> = Vec::new();
    for (&index, &func) in used {
        let Some(ext) = spec.externs.get(index) else { continue };
        match ext.kind {
            ExternKind::TypedKsym(ty) => wanted.push((index, func, ext, Kind::VAR, ty)),
            ExternKind::Kfunc(ty) => wanted.push((index, func, ext, Kind::FUNC, ty)),
            _ => {}
        }
    }
    let (false, Some(local)) = (wanted.is_empty(), &spec.btf) else { return Ok(()) };
    let btf = kernel.btf()?;
    let names: Vec<(&str, Kind)> = wanted.iter().map(|(.., ext, kind, _)| (essential_name(&ext.name), *kind)).collect();
    let table = btf.find_all(&names);
    for ((index, func, ext, kind, ty), key) in wanted.iter().zip(&names) {
        let what = if *kind == Kind::FUNC { "function" } else { "variable" };
        let Some(&(module, id)) = table.get(key) else {
            if ext.weak {
                continue;
            }
            return Err(missing(spec, *index, *func, what));
        };
        let Some(target) = btf.get(module) else { continue };
        if !same_type(Pair { local, target }, *ty, id)? {
            if ext.weak {
                continue;
            }
            return Err(Error::OtherType { name: ext.name.clone() });
        }
        let fd_index = found.module(btf, module);
        let btf_fd = usize::try_from(fd_index).ok().and_then(|at| found.fd_array.get(at)).copied().unwrap_or(0);
        found.answers[*index] = match kind {
            &Kind::FUNC => ExternAnswer::Function { id: id.0, fd_index },
            _ => ExternAnswer::Variable { id: id.0, btf_fd },
        };
    }
    Ok(())
}

/// Whether a symbol is declared as it is defined: variables by their types, functions by their prototypes.
pub(crate) fn same_type(pair: Pair<'_>, ours: TypeId, theirs: TypeId) -> Result<bool, MatchError> {
    let inner = |btf: &Btf<'_>, id, wrap: fn(asm::btf::Error) -> MatchError| {
        Ok::<_, MatchError>(match btf.get(id).map_err(wrap)? {
            Type::Func { proto, .. } => proto,
            Type::Var { ty, .. } => ty,
            _ => id,
        })
    };
    let ours = pair.local.resolve(inner(pair.local, ours, MatchError::Local)?).map_err(MatchError::Local)?;
    let theirs = pair.target.resolve(inner(pair.target, theirs, MatchError::Target)?).map_err(MatchError::Target)?;
    pair.types_fit(ours, theirs)
}

impl Found {
    /// The place of a module's types in the array of descriptors; 0 for the kernel itself.
    fn module(&mut self, kernel: &KernelBtf, module: usize) -> i16 {
        if module == 0 {
            return 0;
        }
        let Some(fd) = module_fd(kernel, module) else { return 0 };
        if self.fd_array.is_empty() {
            self.fd_array.push(0);
        }
        self.fd_array.push(fd.as_raw_fd());
        self._modules.push(fd);
        i16::try_from(self.fd_array.len() - 1).unwrap_or(0)
    }
}

/// The kernel's own descriptor of a module's types (Linux 5.11).
pub(super) fn module_fd(kernel: &KernelBtf, module: usize) -> Option<OwnedFd> {
    let name = &kernel.modules().get(module.checked_sub(1)?)?.name;
    sys::obj::ids(sys::obj::Kind::Btf).ok()?.into_iter().find_map(|id| {
        let fd = sys::obj::fd_by_id(sys::obj::Kind::Btf, id).ok()?;
        (sys::info::btf_name(fd.as_fd()).ok()? == *name).then_some(fd)
    })
}

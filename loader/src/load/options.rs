//! Stage: spec → verified, first step. Input: a spec and what whoever loads wants otherwise. Output: the spec with that in
//! it. Pure. Next file: `prepare.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use asm::btf::{Type, TypeId};
use asm::object::section::{AttachType, ProgType};

use super::Error;
use crate::btf::KernelBtf;
use crate::map::Map;
use crate::prog::Prog;
use crate::spec::Spec;
use crate::sys::uapi::{LogLevel, ProgFlags};

/// How an object is loaded. The default loads it as it is, everything new.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// Elements (bytes for ring buffers), by map.
    pub max_entries: BTreeMap<String, u32>,
    /// Values of global variables, by name, in this machine's byte order; the size has to be the variable's.
    pub variables: BTreeMap<String, Vec<u8>>,
    /// Whole global data sections, by name (`.rodata`).
    pub data: BTreeMap<String, Vec<u8>>,
    /// Maps to use in place of new ones, by name. They have to be compatible, and are not filled.
    pub reuse: BTreeMap<String, Map>,
    /// The directory on bpffs where maps that the object pins by name are found, or pinned once all is loaded.
    pub map_pins: Option<PathBuf>,
    /// Programs to load, by name; `None`: all that the object does not leave to choice.
    pub only: Option<BTreeSet<String>>,
    /// Programs that may be left out, by name, where the kernel refuses them.
    pub optional: BTreeSet<String>,
    /// Types of programs whose section name does not say one, by program.
    pub kinds: BTreeMap<String, ProgKind>,
    /// What programs are for, by program, where it is not what the section name says.
    pub attach_to: BTreeMap<String, String>,
    /// Loaded programs to extend or to trace, by the name of the program that does it.
    pub attach_prog: BTreeMap<String, Prog>,
    /// The kernel's types, read once for many objects or from a file; read from the running kernel if `None`.
    pub kernel_btf: Option<Arc<KernelBtf>>,
    /// What the kernel is asked for beyond what the section name says, by program.
    pub flags: BTreeMap<String, ProgFlags>,
    /// Put before the kernel's name of global data maps (`lb.rodata`), so that they can be told apart.
    pub object_name: String,
    /// What the verifier logs of programs that it accepts; nothing by default.
    pub log: Option<LogLevel>,
}

/// What a program is, where its section name does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgKind {
    /// Its type.
    pub prog_type: ProgType,
    /// Where it will be attached, for the types that want to know.
    pub attach_type: Option<AttachType>,
}

/// A copy of the spec with the options in it.
///
/// # Errors
/// An option names something that the object does not have, or has another size.
pub(super) fn apply(spec: &Spec, options: &LoadOptions) -> Result<Spec, Error> {
    let mut spec = spec.clone();
    for (name, &max_entries) in &options.max_entries {
        known_map(&mut spec, name)?.max_entries = max_entries;
    }
    for (name, data) in &options.data {
        let map = known_map(&mut spec, name)?;
        let want = map.value_size as usize;
        if data.len() != want || !map.origin.is_data() {
            return Err(Error::Size { name: name.clone(), want, got: data.len() });
        }
        map.contents = Some(data.clone());
    }
    for (name, value) in &options.variables {
        set_variable(&mut spec, name, value)?;
    }
    for (name, kind) in &options.kinds {
        let prog = known_prog(&mut spec, name)?;
        (prog.prog_type, prog.attach_type) = (Some(kind.prog_type), kind.attach_type);
    }
    for name in options.flags.keys().chain(&options.optional) {
        known_prog(&mut spec, name)?;
    }
    for (name, target) in &options.attach_to {
        known_prog(&mut spec, name)?.attach_to = Some(target.clone());
    }
    if let Some(only) = &options.only {
        for name in only {
            known_prog(&mut spec, name)?;
        }
        spec.progs.iter_mut().for_each(|prog| prog.autoload = only.contains(&prog.name));
    }
    Ok(spec)
}

fn known_map<'s>(spec: &'s mut Spec, name: &str) -> Result<&'s mut crate::spec::MapSpec, Error> {
    let at = spec.maps.iter().position(|map| map.name == name);
    match at.and_then(|at| spec.maps.get(at)) {
        Some(_) => Ok(&mut spec.maps[at.unwrap_or(0)]),
        None => Err(Error::NoMap {
            name: name.to_owned(),
            known: spec.maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn known_prog<'s>(spec: &'s mut Spec, name: &str) -> Result<&'s mut crate::spec::ProgSpec, Error> {
    match spec.progs.iter().position(|prog| prog.name == name) {
        Some(at) => Ok(&mut spec.progs[at]),
        None => Err(Error::NoProg {
            name: name.to_owned(),
            known: spec.progs.iter().map(|prog| prog.name.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Puts a value into the bytes of the section that the variable is in.
fn set_variable(spec: &mut Spec, name: &str, value: &[u8]) -> Result<(), Error> {
    let found = variable(spec, name).ok_or_else(|| Error::NoVariable { name: name.to_owned() })?;
    let (off, size) = (found.offset, found.size);
    let Some(map) = spec.maps.get_mut(found.map) else { return Err(Error::NoVariable { name: name.to_owned() }) };
    let section = map.value_size as usize;
    let data = map.contents.get_or_insert_with(|| vec![0; section]);
    let place = off.checked_add(size).and_then(|end| data.get_mut(off..end));
    match place.filter(|place| place.len() == value.len()) {
        Some(place) => place.copy_from_slice(value),
        None => return Err(Error::Size { name: name.to_owned(), want: size, got: value.len() }),
    }
    Ok(())
}

/// A global variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    /// The section's position in [`Spec::maps`].
    pub(crate) map: usize,
    /// Bytes from the section's start.
    pub(crate) offset: usize,
    /// Bytes.
    pub(crate) size: usize,
    /// The `VAR`.
    pub(crate) ty: TypeId,
}

/// A global variable by its name, by the object's types.
pub(crate) fn variable(spec: &Spec, name: &str) -> Option<Variable> {
    let btf = spec.btf.as_ref()?;
    spec.maps.iter().enumerate().filter(|(_, map)| map.origin.is_data()).find_map(|(index, map)| {
        let Ok(Type::DataSec { vars, .. }) = btf.get(map.value_type?) else { return None };
        let var = vars.iter().find(|var| btf.name(var.ty) == Ok(name))?;
        let (offset, size) = (usize::try_from(var.offset).ok()?, usize::try_from(var.size).ok()?);
        Some(Variable { map: index, offset, size, ty: var.ty })
    })
}

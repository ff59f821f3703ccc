//! Stage: spec → relocated, second step ("compile once, run everywhere"). Input: a linked program, the object's types, the
//! kernel's. Output: offsets, sizes and values of this kernel in the instructions; what is not there becomes an
//! instruction that only dead code may hold. The rules are libbpf's. Next files: `value.rs`, `patch.rs`, then `maps.rs`.

mod patch;
mod value;

use std::collections::{HashMap, HashSet};

use asm::btf::{Btf, CoreReloKind, Kind, TypeId};
use asm::insn::Insn;

use super::{Linked, Poisoned, RelocError};
use crate::btf::matching::{Pair, essential_name, kinds_fit};
use crate::btf::path::Path;
use crate::btf::{KernelBtf, MatchError};
use crate::spec::{CoreReloc, Spec};
use value::Outcome;

/// A type of the kernel: position of its BTF in `KernelBtf`, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which BTF.
    pub btf: usize,
    /// Which type.
    pub id: TypeId,
}

/// The kernel's types that may be meant by the object's, and which of them the relocations so far left over. All programs
/// of an object share it: what one relocation rules out stays ruled out, so that a type means one thing.
#[derive(Debug)]
pub struct Candidates<'k> {
    kernel: &'k KernelBtf,
    by_root: HashMap<TypeId, Vec<Candidate>>,
}

impl<'k> Candidates<'k> {
    /// Looks up every type that the programs' relocations are about, in one walk over the kernel's types. Modules are
    /// asked only for what the kernel itself does not have.
    ///
    /// # Errors
    /// A relocation names a type that the object does not have.
    pub fn find<'s>(
        spec: &'s Spec,
        linked: impl IntoIterator<Item = &'s Linked>,
        kernel: &'k KernelBtf,
    ) -> Result<Self, MatchError> {
        let mut by_root = HashMap::new();
        let Some(local) = &spec.btf else { return Ok(Self { kernel, by_root }) };
        let parts: HashSet<usize> =
            linked.into_iter().flat_map(|linked| linked.parts.iter().map(|part| part.func)).collect();
        let relos = parts.iter().filter_map(|&func| spec.funcs.get(func)).flat_map(|func| &func.core);
        let roots: HashSet<TypeId> =
            relos.filter(|relo| relo.kind != CoreReloKind::TYPE_ID_LOCAL).map(|relo| relo.type_id).collect();
        let mut wanted: HashMap<&str, Vec<(TypeId, Kind)>> = HashMap::new();
        for root in roots {
            let name = essential_name(local.name(root).map_err(MatchError::Local)?);
            let kind = local.kind(root).map_err(MatchError::Local)?;
            if !name.is_empty() {
                wanted.entry(name).or_default().push((root, kind));
            }
        }
        collect(&wanted, 0, kernel, &mut by_root);
        wanted.values_mut().for_each(|roots| roots.retain(|(root, _)| !by_root.contains_key(root)));
        wanted.retain(|_, roots| !roots.is_empty());
        if !wanted.is_empty() {
            for index in 1..=kernel.modules().len() {
                collect(&wanted, index, kernel, &mut by_root);
            }
        }
        Ok(Self { kernel, by_root })
    }
}

/// Adds the types of the BTF of that number that bear a wanted name.
fn collect(
    wanted: &HashMap<&str, Vec<(TypeId, Kind)>>,
    index: usize,
    kernel: &KernelBtf,
    by_root: &mut HashMap<TypeId, Vec<Candidate>>,
) {
    let Some(btf) = kernel.get(index).filter(|_| !wanted.is_empty()) else { return };
    let names: Vec<&str> = wanted.keys().copied().collect();
    kernel.find_each(index, &names, |name, id| {
        let (Ok(found), Ok(kind), Some(roots)) = (btf.name(id), btf.kind(id), wanted.get(name)) else { return };
        if essential_name(found) != name {
            return;
        }
        for (root, _) in roots.iter().filter(|(_, wanted)| kinds_fit(*wanted, kind)) {
            by_root.entry(*root).or_default().push(Candidate { btf: index, id });
        }
    });
}

/// Whether any function of the program asks something that only the kernel's types can answer.
#[must_use]
pub fn is_needed(spec: &Spec, linked: &Linked) -> bool {
    let mut funcs = linked.parts.iter().filter_map(|part| spec.funcs.get(part.func));
    funcs.any(|func| func.core.iter().any(|relo| relo.kind != CoreReloKind::TYPE_ID_LOCAL))
}

/// Carries out the CO-RE relocations of a program. `candidates` may be `None` where [`is_needed`] says so.
///
/// # Errors
/// What is wrong, with function, instruction, type and path.
pub fn apply(spec: &Spec, linked: &mut Linked, mut candidates: Option<&mut Candidates<'_>>) -> Result<(), RelocError> {
    let Some(local) = &spec.btf else { return Ok(()) };
    for part in linked.parts.clone() {
        let Some(func) = spec.funcs.get(part.func) else { continue };
        for relo in &func.core {
            if candidates.is_none() && relo.kind != CoreReloKind::TYPE_ID_LOCAL {
                return Err(RelocError::NoKernelBtf { func: func.name.clone() });
            }
            one(local, linked, part.start, relo, candidates.as_deref_mut()).map_err(|source| RelocError::Core {
                func: func.name.clone(),
                at: relo.at,
                relo: describe(local, relo),
                source: Box::new(source),
            })?;
        }
    }
    Ok(())
}

/// What became of a relocation in a dry run.
#[derive(Debug)]
pub struct Fitted {
    /// The instruction, counted in the whole program.
    pub at: usize,
    /// Kind, type and path.
    pub what: String,
    /// Whether it asks if something is there, rather than where.
    pub asks: bool,
    /// Whether the kernel has it, or why that cannot be told.
    pub found: Result<bool, MatchError>,
}

/// Carries out what can be carried out, and tells of each relocation.
#[must_use]
pub fn dry_run(spec: &Spec, linked: &mut Linked, candidates: &mut Candidates<'_>) -> Vec<Fitted> {
    let Some(local) = &spec.btf else { return Vec::new() };
    let mut fitted = Vec::new();
    for part in linked.parts.clone() {
        for relo in spec.funcs.get(part.func).map_or(&[][..], |func| &func.core) {
            let at = part.start + relo.at;
            let asks = asks_existence(relo.kind);
            let done = one(local, linked, part.start, relo, Some(candidates));
            // An answer of no is a zero in the instruction.
            let refused = |insn: &Insn| asks && insn.imm() == 0;
            let there = |poisoned: bool| !(poisoned || linked.insns.get(at).is_some_and(refused));
            fitted.push(Fitted { at, what: describe(local, relo), asks, found: done.map(there) });
        }
    }
    fitted
}

fn asks_existence(kind: CoreReloKind) -> bool {
    matches!(
        kind,
        CoreReloKind::FIELD_EXISTS
            | CoreReloKind::TYPE_EXISTS
            | CoreReloKind::TYPE_MATCHES
            | CoreReloKind::ENUMVAL_EXISTS
    )
}

/// Carries out one relocation of the function that begins at `start`; true if the instruction was made invalid.
fn one(
    local: &Btf<'_>,
    linked: &mut Linked,
    start: usize,
    relo: &CoreReloc,
    candidates: Option<&mut Candidates<'_>>,
) -> Result<bool, MatchError> {
    let outcome = match candidates {
        Some(candidates) if relo.kind != CoreReloKind::TYPE_ID_LOCAL => answer(local, relo, candidates)?,
        _ => Outcome::local_id(relo.type_id),
    };
    let at = start + relo.at;
    let poisoned = patch::apply(&mut linked.insns, at, &outcome)?;
    if poisoned {
        linked.poisoned.push(Poisoned { at, what: describe(local, relo) });
    }
    Ok(poisoned)
}

/// `byte_off of struct task_struct (0:1:2)`, for messages.
fn describe(local: &Btf<'_>, relo: &CoreReloc) -> String {
    let name = local.name(relo.type_id).unwrap_or_default();
    let path = Path::parse(local, relo.type_id, &relo.access, relo.kind);
    let steps: Vec<String> = path
        .map(|path| path.steps.into_iter().skip(usize::from(relo.kind.0 < 6)).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .map(|step| if step.name.is_empty() { format!("[{}]", step.index) } else { step.name })
        .collect();
    format!("{} of `{name}{}{}` ({})", relo.kind, if steps.is_empty() { "" } else { "." }, steps.join("."), relo.access)
}

/// Asks every candidate; those that fit have to agree, and are what remains of the candidates.
fn answer(local: &Btf<'_>, relo: &CoreReloc, candidates: &mut Candidates<'_>) -> Result<Outcome, MatchError> {
    if relo.kind.0 > CoreReloKind::TYPE_MATCHES.0 {
        return Err(MatchError::UnknownKind(relo.kind.0));
    }
    let path = Path::parse(local, relo.type_id, &relo.access, relo.kind)?;
    if local.name(relo.type_id).map_err(MatchError::Local)?.is_empty() {
        return Err(MatchError::Anonymous);
    }
    let all = candidates.by_root.get(&relo.type_id).map_or(&[][..], Vec::as_slice);
    let mut fitting: Vec<Candidate> = Vec::new();
    let mut first: Option<(Path, Outcome)> = None;
    for &candidate in all {
        let Some(target) = candidates.kernel.get(candidate.btf) else { continue };
        let Some(found) = path.find_in(Pair { local, target }, candidate.id, relo.kind)? else { continue };
        let outcome = value::of(relo.kind, local, &path, Some((target, &found)))?;
        match (&first, fitting.first()) {
            (Some((first_path, first_outcome)), Some(first)) => {
                let differ = first_path.bit_offset != found.bit_offset || !first_outcome.agrees(&outcome);
                if differ {
                    return Err(MatchError::Ambiguous {
                        first: candidates.kernel.describe(first.btf, first.id),
                        second: candidates.kernel.describe(candidate.btf, candidate.id),
                        first_value: format!("{first_outcome} (bit {})", first_path.bit_offset),
                        second_value: format!("{outcome} (bit {})", found.bit_offset),
                    });
                }
            }
            _ => first = Some((found, outcome)),
        }
        fitting.push(candidate);
    }
    match first {
        Some((_, outcome)) => {
            candidates.by_root.insert(relo.type_id, fitting);
            Ok(outcome)
        }
        None => value::of(relo.kind, local, &path, None),
    }
}

//! Stage: apply. A deployment of the manifest → its objects read, checked against it, and digested.
//!
//! Input: a [`Deployment`] and the known systems. Output: a [`Prepared`], whose [`Wanted`] goes to the plan. Reads the
//! object files; asks no kernel. Read next: `observe.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use asm::btf::Btf;
use asm::object::{AttachType, MapType};
use sha2::{Digest, Sha256};

use super::contents;
use crate::elf::ElfError;
use crate::manifest::{Attach, Deployment, Diagnostic, Hook, OnMismatch, Place, Program};
use crate::map;
use crate::plan::{Wanted, WantedLink, WantedMap, WantedObject, hook_name};
use crate::spec::{MapSpec, ProgSpec, Spec};
use crate::system::{System, SystemError};

/// Why a deployment cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The manifest asks for something its objects do not have.
    #[error(transparent)]
    Manifest(#[from] Diagnostic),
    /// A built-in object cannot be generated.
    #[error("the built-in object `{name}` cannot be generated")]
    Generate {
        /// The system.
        name: String,
        /// Why.
        #[source]
        source: SystemError,
    },
    /// A file is not an object that can be loaded.
    #[error("{place}: {} is no object that can be loaded", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Where the manifest names it.
        place: Place,
        /// What is wrong with it.
        #[source]
        source: Box<ElfError>,
    },
    /// A file with assembly text makes no object.
    #[error("{place}: {} makes no object", path.display())]
    Assemble {
        /// The file.
        path: PathBuf,
        /// Where the manifest names it.
        place: Place,
        /// What is wrong with it: every mistake of the text, with its line.
        #[source]
        source: SystemError,
    },
    /// A built-in object cannot be read back: a defect of this program.
    #[error("the built-in object `{name}` does not read back")]
    ReadBack {
        /// The system.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<ElfError>,
    },
}

/// A deployment with its objects, ready to be planned and applied.
pub struct Prepared<'s> {
    /// What it comes to, for the plan.
    pub wanted: Wanted,
    /// The manifest's path, made absolute.
    pub manifest: PathBuf,
    /// The objects, in the order of `wanted.objects`.
    pub objects: Vec<PreparedObject<'s>>,
}

/// One object, read.
pub struct PreparedObject<'s> {
    /// What the file says, with unwanted programs switched off.
    pub spec: Spec,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Entries of maps that differ from the object's own.
    pub max_entries: BTreeMap<String, u32>,
    /// Values of global variables that the manifest gives, by name.
    pub variables: BTreeMap<String, Vec<u8>>,
    /// The system it belongs to.
    pub system: Option<&'s dyn System>,
}

/// Reads a deployment's objects and works out what it wants.
///
/// # Errors
/// The first thing that does not fit; places in the manifest where there are any.
pub fn prepare<'s>(deployment: &Deployment, systems: &[&'s dyn System]) -> Result<Prepared<'s>, Error> {
    let mut names: Vec<&Program> = Vec::new();
    for program in &deployment.programs {
        if !names.iter().any(|seen| seen.object == program.object) {
            names.push(program);
        }
    }
    let mut objects = Vec::new();
    let mut wanted = Vec::new();
    for first in names {
        let (object, want) = prepare_object(deployment, first, systems)?;
        objects.push(object);
        wanted.push(want);
    }
    name_pins(&mut wanted, deployment);
    check_maps(deployment, &objects)?;
    check_shared(deployment, &wanted)?;
    contents::check_names(deployment, objects.iter().map(|object| &object.spec))?;
    let links = links(deployment, &wanted, &objects)?;
    let lab_digest = deployment.lab.as_ref().map_or_else(String::new, |lab| {
        let trials_aside = (&lab.mtu, &lab.features, &lab.hosts);
        digest(serde_json::to_string(&trials_aside).unwrap_or_default().as_bytes())
    });
    let wanted =
        Wanted { name: deployment.name.clone(), objects: wanted, links, lab: deployment.lab.clone(), lab_digest };
    let manifest = std::path::absolute(&deployment.path).unwrap_or_else(|_| deployment.path.clone());
    Ok(Prepared { wanted, manifest, objects })
}

fn prepare_object<'s>(
    deployment: &Deployment,
    first: &Program,
    systems: &[&'s dyn System],
) -> Result<(PreparedObject<'s>, WantedObject), Error> {
    let system = systems.iter().find(|system| system.name() == first.object).copied();
    let bytes = match system {
        Some(system) => system.object().map_err(|source| Error::Generate { name: first.object.clone(), source })?,
        None => read_object(deployment, first, systems)?,
    };
    let mut spec = Spec::parse(&bytes).map_err(|source| match system {
        Some(_) => Error::ReadBack { name: first.object.clone(), source: Box::new(source) },
        None => Error::Object {
            path: object_path(deployment, first),
            place: first.object_place.clone(),
            source: Box::new(source),
        },
    })?;
    select(deployment, first, &mut spec)?;
    let given = contents::read(deployment, &spec)?;
    let name = system.and_then(|system| system.section());
    let section = deployment.sections.iter().find(|section| Some(section.name.as_str()) == name);
    let wants = system.map(|system| system.wants(section)).transpose()?.unwrap_or_default();
    let mut max_entries = wants.max_entries;
    for (name, (options, _)) in &deployment.maps {
        max_entries.extend(options.max_entries.filter(|_| spec.map(name).is_some()).map(|n| (name.clone(), n)));
    }
    let sha256 = digest(&bytes);
    let at = MapContext { types: spec.btf.as_ref(), max_entries: &max_entries, is_system: system.is_some() };
    let want = WantedObject {
        name: first.object.clone(),
        digest: digest(
            format!("{sha256} {max_entries:?} {:?} {:?}", programs_of(deployment, first), given.constants).as_bytes(),
        ),
        progs: programs_of(deployment, first).into_iter().map(|name| (name.to_owned(), name.to_owned())).collect(),
        maps: spec.maps.iter().map(|map| (map.name.clone(), wanted_map(deployment, first, map, &at))).collect(),
        maps_together: system.is_some(),
        optional: optional(deployment, first),
        contents: given.live,
        contents_words: given.words,
        drains: system.is_some_and(System::drains),
        config: wants.config,
        words: wants.words,
    };
    Ok((PreparedObject { spec, sha256, max_entries, variables: given.variables, system }, want))
}

/// What all maps of one object have in common.
struct MapContext<'o> {
    types: Option<&'o Btf<'static>>,
    max_entries: &'o BTreeMap<String, u32>,
    is_system: bool,
}

fn wanted_map(deployment: &Deployment, first: &Program, spec: &MapSpec, at: &MapContext<'_>) -> WantedMap {
    let mut definition = map::Wanted::of(spec, at.types);
    definition.max_entries = at.max_entries.get(&spec.name).copied().unwrap_or(definition.max_entries);
    let options = deployment.maps.get(&spec.name);
    let is_filled = spec.origin.is_data() || at.is_system;
    let default = if is_filled { OnMismatch::Replace } else { OnMismatch::Fail };
    WantedMap {
        name: spec.name.clone(),
        definition,
        may_be_kept: !spec.origin.is_read_only() && spec.init.is_empty() && spec.map_type != MapType::PROG_ARRAY,
        initial: spec.origin.is_data().then(|| digest(spec.contents.as_deref().unwrap_or_default())),
        on_mismatch: options.and_then(|(options, _)| options.on_mismatch).unwrap_or(default),
        place: options.map_or_else(|| first.object_place.to_string(), |(_, place)| place.to_string()),
    }
}

/// A path is relative to the manifest that names it.
fn object_path(deployment: &Deployment, program: &Program) -> PathBuf {
    deployment.path.parent().unwrap_or(Path::new("")).join(&program.object)
}

fn read_object(deployment: &Deployment, program: &Program, systems: &[&dyn System]) -> Result<Vec<u8>, Error> {
    let path = object_path(deployment, program);
    let bytes = std::fs::read(&path).map_err(|source| {
        let error = program.object_place.error(format!("cannot read the object {}: {source}", path.display()));
        let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
        error.help(format!("a path is relative to the manifest; built in are {}", names.join(", ")))
    })?;
    if path.extension().is_none_or(|end| end != "s") {
        return Ok(bytes);
    }
    let failed = |source| Error::Assemble { path: path.clone(), place: program.object_place.clone(), source };
    let text = String::from_utf8(bytes).map_err(|error| failed(error.into()))?;
    let program = asm::text::parse(&path.to_string_lossy(), &text).map_err(|errors| failed(errors.into()))?;
    program.object().write().map_err(|error| failed(error.into()))
}

fn programs_of<'d>(deployment: &'d Deployment, first: &Program) -> BTreeSet<&'d str> {
    let same = deployment.programs.iter().filter(|program| program.object == first.object);
    same.map(|program| program.name.as_str()).collect()
}

fn optional(deployment: &Deployment, first: &Program) -> BTreeSet<String> {
    let same = deployment.programs.iter().filter(|program| program.object == first.object && program.optional);
    same.map(|program| program.name.clone()).collect()
}

/// Switches off what the manifest does not name; refuses names that the object does not have.
fn select(deployment: &Deployment, first: &Program, spec: &mut Spec) -> Result<(), Diagnostic> {
    for program in deployment.programs.iter().filter(|program| program.object == first.object) {
        if spec.prog(&program.name).is_none() {
            let all: Vec<_> = spec.progs.iter().map(|prog| prog.name.as_str()).collect();
            let message = format!("`{}` has no program `{}`", program.object, program.name);
            return Err(program.name_place.error(message).help(format!("it has {}", all.join(", "))));
        }
    }
    let wanted = programs_of(deployment, first);
    for prog in &mut spec.progs {
        prog.autoload = wanted.contains(prog.name.as_str());
    }
    Ok(())
}

/// `[map.NAME]` must mean a map of some object.
fn check_maps(deployment: &Deployment, objects: &[PreparedObject<'_>]) -> Result<(), Diagnostic> {
    for (name, (_, place)) in &deployment.maps {
        if objects.iter().all(|object| object.spec.map(name).is_none()) {
            let all: Vec<_> = objects.iter().flat_map(|o| &o.spec.maps).map(|map| map.name.as_str()).collect();
            let error = place.error(format!("no object of this deployment has a map `{name}`"));
            return Err(error.help(format!("they have {}", all.join(", "))));
        }
    }
    Ok(())
}

/// A map that objects share must be the same in all of them.
fn check_shared(deployment: &Deployment, objects: &[WantedObject]) -> Result<(), Diagnostic> {
    for (name, (options, place)) in &deployment.maps {
        let mut all = objects.iter().flat_map(|object| object.maps.values().map(move |map| (object, map)));
        let mut same = all.by_ref().filter(|(_, map)| map.name == *name);
        let (true, Some((first, map))) = (options.shared, same.next()) else { continue };
        if let Some((other, _)) = same.find(|(_, other)| other.definition != map.definition) {
            let message = format!("`{name}` of {} is not the `{name}` of {}", other.name, first.name);
            return Err(place.error(message).help("a shared map has the same type, sizes and fields in all objects"));
        }
    }
    Ok(())
}

/// Pins carry the programs' and maps' own names; where two objects share a name, the object's comes before it. Dots are
/// not for bpffs, slashes not for file names.
fn name_pins(objects: &mut [WantedObject], deployment: &Deployment) {
    let is_shared = |name: &str| deployment.maps.get(name).is_some_and(|(options, _)| options.shared);
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for object in objects.iter() {
        for name in object.progs.values().map(|n| format!("p{}", pin_name(n))) {
            *uses.entry(name).or_default() += 1;
        }
        for name in object.maps.values().map(|map| format!("m{}", pin_name(&map.name))) {
            *uses.entry(name).or_default() += 1;
        }
    }
    for object in objects {
        let stem =
            Path::new(&object.name).file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
        let pin = |kind: char, name: &str| match uses.get(&format!("{kind}{}", pin_name(name))) {
            Some(1) => pin_name(name),
            _ if kind == 'm' && is_shared(name) => pin_name(name),
            _ => pin_name(&format!("{stem}:{name}")),
        };
        object.optional = object.optional.iter().map(|name| pin('p', name)).collect();
        object.progs = object.progs.values().map(|name| (pin('p', name), name.clone())).collect();
        object.maps = object.maps.values().map(|map| (pin('m', &map.name), map.clone())).collect();
    }
}

/// A name that bpffs takes.
fn pin_name(name: &str) -> String {
    name.replace(['.', '/'], "_")
}

fn links(
    deployment: &Deployment,
    objects: &[WantedObject],
    read: &[PreparedObject<'_>],
) -> Result<Vec<WantedLink>, Diagnostic> {
    let mut links: Vec<WantedLink> = Vec::new();
    for program in &deployment.programs {
        let object = objects.iter().zip(read).find(|(object, _)| object.name == program.object);
        let Some((object, read)) = object else { continue };
        let pin = object.progs.iter().find(|(_, name)| **name == program.name);
        let (Some((prog_pin, _)), Some(spec)) = (pin, read.spec.prog(&program.name)) else { continue };
        for attach in &program.attach {
            let hook = resolve_hook(attach, object, objects)?;
            let link = WantedLink { optional: program.optional, ..wanted_link(attach, hook, prog_pin, spec)? };
            if deployment.lab.is_some() && link.host.is_none() && link.attach_type == AttachType::SK_LOOKUP {
                let error =
                    attach.place.error("sk_lookup is of a network namespace: with a `[lab]`, say of which host");
                return Err(error.help("add `netns = \"HOST\"`"));
            }
            if let Some(other) = links.iter().find(|other| exclude(other, &link)) {
                let at = hook_name(link.host.as_deref(), &link.hook);
                let message = format!("{at} has two programs: `{}` and `{}`", other.program, program.name);
                return Err(attach.place.error(message).help("an interface takes one XDP program"));
            }
            links.push(link);
        }
    }
    Ok(links)
}

/// The hook with the pin of the map whose sockets it is on: one of the program's own object, else of another.
fn resolve_hook(attach: &Attach, object: &WantedObject, objects: &[WantedObject]) -> Result<Hook, Diagnostic> {
    let Hook::Sockmap { map: name } = &attach.hook else { return Ok(attach.hook.clone()) };
    let all = || std::iter::once(object).chain(objects).flat_map(|object| &object.maps);
    let Some((pin, map)) = all().find(|(_, map)| map.name == *name) else {
        let error = attach.place.error(format!("no object of this deployment has a map `{name}`"));
        let names: BTreeSet<&str> = all().map(|(_, map)| map.name.as_str()).collect();
        return Err(error.help(format!("they have {}", names.into_iter().collect::<Vec<_>>().join(", "))));
    };
    let map_type = map.definition.map_type;
    if !matches!(map_type, MapType::SOCKMAP | MapType::SOCKHASH) {
        let error = attach.place.error(format!("`{name}` is of type {map_type}: it holds no sockets"));
        return Err(error.help("name a map of type sockmap or sockhash"));
    }
    Ok(Hook::Sockmap { map: pin.clone() })
}

/// One attachment of a program that the hook takes.
fn wanted_link(attach: &Attach, hook: Hook, prog_pin: &str, spec: &ProgSpec) -> Result<WantedLink, Diagnostic> {
    let prog_type = spec.prog_type.unwrap_or_default();
    let attach_type = hook.attach_type(prog_type, spec.attach_type).map_err(|takes| {
        let error = attach.place.error(format!("`{}` is of section {}", spec.name, spec.section));
        error.help(takes)
    })?;
    let at = hook_name(attach.host.as_deref(), &hook);
    Ok(WantedLink {
        // Dots are not for bpffs, slashes not for file names.
        pin: format!("{prog_pin}@{}", at.replace('.', ",").replace(['/', ' '], ":")),
        program: prog_pin.to_owned(),
        host: attach.host.clone(),
        hook,
        attach_type,
        target: spec.attach_to.clone(),
        displace: attach.displace,
        optional: false,
        place: attach.place.to_string(),
    })
}

/// Whether two attachments cannot both be: on a hook that takes one program, or the same twice.
fn exclude(one: &WantedLink, other: &WantedLink) -> bool {
    let name = |link: &WantedLink| hook_name(link.host.as_deref(), &link.hook);
    one.pin == other.pin || matches!(one.hook, Hook::Xdp { .. }) && name(one) == name(other)
}

/// SHA-256 in hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

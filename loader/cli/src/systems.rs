//! The systems that are built in, as the loader sees them: objects from `progs`, and their control planes.
//!
//! Input: tables of the manifest, maps of the kernel. Output: implementations of [`System`]. Read next: `progs::lb::control`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use asm::codegen::Profile;
use asm::dsl::Module;
use loader::manifest::{Diagnostic, Section};
use loader::system::{Counters, MapSet, Share, Site, System, SystemError, Wants};
use progs::BuiltIn;
use progs::bypass::share::share;
use progs::bypass::types::Inbox;
use progs::bypass::{
    self,
    drain::{self, Maps},
};
use progs::lb::control::config::{ConfigError, Vip};
use progs::lb::control::{self, Config, DecapTables, KernelMaps, Sizes, Tables, Write, routes};
use serde_json::Value;

/// A built-in object and what is done with its maps.
pub(crate) struct BuiltInSystem {
    built_in: &'static BuiltIn,
    kind: Kind,
}

/// Which control plane an object has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `lb`, at the balancer.
    Balancer,
    /// `lb-decap`, at the real servers.
    RealServer,
    /// `bypass`.
    Bypass,
    /// None.
    Plain,
}

/// All of them.
pub(crate) fn all() -> Vec<BuiltInSystem> {
    let kind = |name| match name {
        "lb" => Kind::Balancer,
        "lb-decap" => Kind::RealServer,
        "bypass" => Kind::Bypass,
        _ => Kind::Plain,
    };
    progs::built_in().iter().map(|built_in| BuiltInSystem { built_in, kind: kind(built_in.name) }).collect()
}

/// The same as the loader takes them.
pub(crate) fn refs(systems: &[BuiltInSystem]) -> Vec<&dyn System> {
    systems.iter().map(|system| system as &dyn System).collect()
}

/// The tables of the manifest that belong to systems.
pub(crate) fn sections() -> Vec<&'static str> {
    vec!["lb"]
}

/// The bytes of the object file at `path` or, where there is no such file, of the built-in object or example of that name.
pub(crate) fn read_object(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    match path.to_str().filter(|_| !path.exists()) {
        Some(known) if is_built_in(known) => built_in(known, &Profile::linux_5_10()),
        _ => std::fs::read(path).with_context(|| format!("cannot read the object {name}")),
    }
}

fn is_built_in(name: &str) -> bool {
    progs::by_name(name).is_some() || progs::examples::NAMES.contains(&name)
}

/// The module of the built-in object or example of that name.
pub(crate) fn module(name: &str) -> anyhow::Result<Module> {
    let built_in = progs::by_name(name).map(BuiltIn::module);
    built_in.or_else(|| progs::examples::by_name(name)).with_context(|| {
        let known: Vec<_> = progs::built_in().iter().map(|built_in| built_in.name).collect();
        let examples = progs::examples::NAMES.join(", ");
        format!("no program {name} is built in; there are {} and {examples}", known.join(", "))
    })
}

/// Its bytes, compiled for the kernels of the profile.
pub(crate) fn built_in(name: &str, profile: &Profile) -> anyhow::Result<Vec<u8>> {
    let context = || format!("the built-in object {name} cannot be generated");
    module(name)?.object(profile).with_context(context)?.write().with_context(context)
}

/// Ends of the names of files with assembly text.
const TEXTS: [&str; 2] = ["s", "bpf"];

/// The same, and of a file with assembly text the object that it makes.
pub(crate) fn read_source(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_none_or(|end| TEXTS.iter().all(|text| end != *text)) {
        return read_object(path);
    }
    assemble(path)?.object().write().with_context(|| format!("{} makes no object", path.display()))
}

/// The program that a file of assembly text is.
pub(crate) fn assemble(path: &Path) -> anyhow::Result<asm::text::Program> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    // The errors of the text are a page of their own, with carets: not one of a chain of causes.
    asm::text::parse(&name, &text).map_err(|errors| anyhow!("{name} does not assemble\n{errors}"))
}

impl System for BuiltInSystem {
    fn name(&self) -> &str {
        self.built_in.name
    }

    fn section(&self) -> Option<&str> {
        matches!(self.kind, Kind::Balancer | Kind::RealServer).then_some("lb")
    }

    fn object(&self) -> Result<Vec<u8>, SystemError> {
        match self.kind {
            // Its self-probe has written it before.
            Kind::Bypass => Ok(bypass::control::object()?.to_vec()),
            _ => Ok(self.built_in.object()?),
        }
    }

    fn wants(&self, section: Option<&Section>) -> Result<Wants, Diagnostic> {
        let Some(section) = section else { return Ok(Wants::default()) };
        let config: Config = section.read()?;
        config.validate().map_err(|errors| place(section, &config, &errors))?;
        let mut wants = Wants { words: config.vip.iter().map(words).collect(), ..Wants::default() };
        wants.config = serde_json::to_value(&config).map_err(|error| section.place().error(error.to_string()))?;
        if self.kind == Kind::Balancer {
            let sizes = Sizes::of(&config).by_name();
            wants.max_entries = sizes.into_iter().map(|(map, entries)| (map.to_owned(), entries)).collect();
        }
        Ok(wants)
    }

    fn configure(&self, config: &Value, site: &Site<'_>) -> Result<Vec<String>, SystemError> {
        if config.is_null() {
            return Ok(Vec::new());
        }
        let config: Config = serde_json::from_value(config.clone())?;
        let maps = kernel_maps(site.maps);
        let writes = match self.kind {
            Kind::Balancer => balancer_writes(&config, site, &maps)?,
            _ => real_server_writes(&config, site, &maps)?,
        };
        control::apply(&writes, &maps)?;
        Ok(vec![format!("{} writes", writes.len())])
    }

    fn counters(&self, _config: &Value, maps: &MapSet) -> Result<Counters, SystemError> {
        let maps = kernel_maps(maps);
        match self.kind {
            Kind::Balancer => {
                let counters = control::Counters::read(&maps, &Tables::read(&maps)?)?;
                Ok(Counters { values: serde_json::to_value(&counters)?, text: counters.to_string() })
            }
            Kind::RealServer => {
                let counters = control::DecapCounters::read(&maps)?;
                Ok(Counters { values: serde_json::to_value(&counters)?, text: counters.to_string() })
            }
            Kind::Bypass | Kind::Plain => Ok(Counters::default()),
        }
    }

    fn drains(&self) -> bool {
        self.kind == Kind::Bypass
    }

    fn drain(&self, maps: &MapSet, patience: Duration) -> Result<Option<(Value, String)>, SystemError> {
        // Pins, and so maps opened by them, have no dots in their names. What an interrupted run left may lack some.
        let (Some(open), Some(inboxes), Some(peers)) = (maps.get("_data"), maps.get("inboxes"), maps.get("peers"))
        else {
            return Ok(None);
        };
        let drained = drain::drain(&Maps { open, inboxes, peers, ends: maps.get("ends") }, patience)?;
        Ok(Some((drained.was_open.into(), drained.to_string())))
    }

    fn resume(&self, maps: &MapSet, before: &Value) -> Result<(), SystemError> {
        let Some(data) = maps.get("_data").or_else(|| maps.get(".data")) else { return Ok(()) };
        Ok(drain::open(data, before.as_bool().unwrap_or(true)).map(drop)?)
    }

    fn share(&self, maps: &MapSet) -> Result<Option<Share>, SystemError> {
        let Some(inboxes) = maps.get("inboxes").filter(|_| self.kind == Kind::Bypass) else { return Ok(None) };
        Ok(Some(share(&inboxes.typed::<u64, Inbox>()?.entries()?)))
    }
}

/// The balancer asks for its routes where it works: the answer is another in each network namespace.
fn balancer_writes(config: &Config, site: &Site<'_>, maps: &KernelMaps<'_>) -> Result<Vec<Write>, SystemError> {
    let reals = config.reals();
    let ask = || {
        routes::prime(&reals);
        routes::ask(&reals, config.source)
    };
    let ways = match site.hooks.first() {
        Some(hook) => site.at(hook, ask)?,
        None => ask(),
    }?;
    let current = Tables::read(maps)?;
    let wanted = Tables::plan(config, &ways, &current, Sizes::read(maps)?)?;
    Ok(wanted.diff(&current))
}

/// One object may serve several real servers: in a lab, each in its namespace. Every address of theirs is ours.
fn real_server_writes(config: &Config, site: &Site<'_>, maps: &KernelMaps<'_>) -> Result<Vec<Write>, SystemError> {
    let reals = config.reals();
    let mut local = BTreeSet::new();
    for hook in site.hooks {
        local.extend(site.at(hook, || routes::local(&reals))?);
    }
    Ok(DecapTables::plan(config, &local)?.diff(&DecapTables::read(maps)?))
}

/// The first error with its place in the manifest; the others are told after it.
fn place(section: &Section, config: &Config, errors: &[ConfigError]) -> Diagnostic {
    let Some(first) = errors.first() else { return section.place().error("the table is not valid") };
    let at = first.vip().and_then(|key| config.vip.iter().position(|vip| vip.key() == key));
    let path = match (first, at) {
        (ConfigError::DuplicateVip { second, .. }, _) => format!("vip.{second}"),
        (ConfigError::NoReals { .. } | ConfigError::NoWeight { .. }, Some(at)) => format!("vip.{at}.reals"),
        (_, Some(at)) => format!("vip.{at}"),
        (_, None) => String::new(),
    };
    let error = section.locate(&path).error(first.to_string());
    let rest: Vec<_> = errors.iter().skip(1).map(ToString::to_string).collect();
    if rest.is_empty() { error } else { error.help(format!("also: {}", rest.join("\n          "))) }
}

/// A VIP in words.
fn words(vip: &Vip) -> String {
    let reals: Vec<_> = vip.reals.iter().map(|real| format!("{} ({})", real.address, real.weight)).collect();
    format!("VIP {} to {}", vip.key(), reals.join(", "))
}

/// The loader's maps as the balancer's control plane asks for them.
fn kernel_maps(maps: &MapSet) -> KernelMaps<'_> {
    // Pins, and so maps opened by them, have no dots in their names.
    KernelMaps::new(|name| maps.get(name).or_else(|| maps.get(&name.replace('.', "_"))))
}

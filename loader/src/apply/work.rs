//! Stage: apply. The steps themselves, and the way back from each.
//!
//! Input: one [`Step`] of the plan. Output: the kernel changed by it, and an entry in the list of what to undo. Read next:
//! `attach.rs` (those that change hooks), `undo.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use asm::object::AttachType;
use serde_json::Value;

use super::contents::{self, Contents};
use super::down;
use super::drain::Drained;
use super::error::Error;
use super::event::{Event, Tell};
use super::job::Job;
use super::store;
use super::undo::{Pinned, SetMap, Undo};
use crate::lab::trial;
use crate::link::{Link, sockmap};
use crate::load::{self, LoadOptions};
use crate::manifest::lab::SWITCH;
use crate::map::{Found, Map, Migrated, Migration};
use crate::pin::Kind;
use crate::plan::{Step, WantedLink, WantedObject};
use crate::prog::{self, Prog};
use crate::system::{Hook, MapSet, Share, Site, SystemError, Work};

impl Job<'_, '_> {
    /// Does one step that is neither loading nor a trial.
    pub(super) fn work(&mut self, step: &Step, tell: &mut Tell<'_>) -> Result<(), Error> {
        match step {
            Step::Clear { .. } => {
                let record = self.observed.record.as_ref();
                down::clear(&self.prepared.wanted.name, self.dir(), record, self.draining).map(drop)
            }
            Step::Drain { object } => self.drain(object, tell),
            Step::Hold { object } => self.hold(object),
            Step::Resume { object } => self.resume(object),
            Step::MakeHost { host, .. } => self.make_host(host),
            Step::Renew { map, migrate, .. } => {
                if *migrate {
                    self.migrate(map, tell)
                } else {
                    Ok(())
                }
            }
            Step::Set { object, .. } => self.set_contents(object),
            Step::Configure { object, .. } => self.configure_step(object, tell),
            Step::Pin { object, .. } => self.pin_object(object),
            Step::Attach { link, .. } => self.attach(link, tell),
            Step::Replace { link, .. } => self.replace(link, tell),
            Step::Detach { link } => self.detach(link),
            Step::Unpin { pin } => store::forget(&self.dir().join(pin)),
            Step::Load { .. } | Step::Try { .. } => Ok(()),
        }
    }

    /// Has the system of an object let go of what it holds; if something fails later, it goes on as before.
    fn drain(&mut self, object: &str, tell: &mut Tell<'_>) -> Result<(), Error> {
        let mut told = Vec::new();
        let drained = self.draining.drain(self.dir(), object, &mut told)?;
        told.into_iter().for_each(|words| tell(Event::Note(format!("  {words}"))));
        if let Some(drained) = drained {
            self.remember(Undo::Resume(drained));
        }
        Ok(())
    }

    /// Has a new one take on nothing.
    fn hold(&self, name: &str) -> Result<(), Error> {
        let Some((at, _)) = self.object(name) else { return Ok(()) };
        let failed =
            |source| Error::System { object: name.to_owned(), step: "waiting until all of it is there", source };
        match self.prepared.objects[at].system {
            Some(system) => system.resume(&self.map_set(at)?, &false.into()).map_err(failed),
            None => Ok(()),
        }
    }

    /// Has it work, as the manifest says: what it switched off to let go may be in a map that was kept.
    fn resume(&mut self, name: &str) -> Result<(), Error> {
        self.draining.resume(self.dir(), &Drained::forgotten(name))?;
        let Some((at, object)) = self.object(name) else { return Ok(()) };
        let maps = self.map_set(at)?;
        for spec in self.prepared.objects[at]
            .spec
            .maps
            .iter()
            .filter(|spec| spec.origin.is_data() && !spec.origin.is_read_only())
        {
            if let Some(map) = maps.get(&spec.name) {
                contents::change(map, spec, &Contents::default(), &object.contents)?;
            }
        }
        Ok(())
    }

    fn object(&self, name: &str) -> Option<(usize, &WantedObject)> {
        self.prepared.wanted.objects.iter().enumerate().find(|(_, object)| object.name == name)
    }

    /// Loads an object; the maps in `kept` are those that are pinned.
    pub(super) fn load_object(&mut self, name: &str, kept: &[String], tell: &mut Tell<'_>) -> Result<(), Error> {
        let Some((at, wanted)) = self.object(name) else { return Ok(()) };
        let object = &self.prepared.objects[at];
        let mut reuse = BTreeMap::new();
        for (pin, map) in wanted.maps.iter().filter(|(_, map)| kept.contains(&map.name)) {
            reuse.insert(map.name.clone(), Map::from_pin(self.pin(Kind::Map, pin))?);
        }
        // A map that objects share was made with the first of them.
        for (pin, map) in wanted.maps.iter().filter(|(_, map)| !kept.contains(&map.name)) {
            if let Some(made) = self.loaded_map(pin)? {
                reuse.insert(map.name.clone(), made);
            }
        }
        let optional = wanted.optional.iter().filter_map(|pin| wanted.progs.get(pin).cloned()).collect();
        let stem = Path::new(name).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let options = LoadOptions {
            max_entries: object.max_entries.clone(),
            object_name: stem,
            reuse,
            optional,
            variables: object.variables.clone(),
            ..LoadOptions::default()
        };
        let loaded = load::load(&object.spec, &options)
            .map_err(|source| Error::Load { object: name.to_owned(), source: Box::new(source) })?;
        for note in loaded.notes() {
            tell(Event::Note(format!("  {note}")));
        }
        for (pin, name) in wanted.progs.clone() {
            self.left_out.remove(&pin);
            if let Some((_, why)) = loaded.left_out().iter().find(|(left, _)| *left == name) {
                self.leave_out(pin, why, tell);
            }
        }
        self.loaded.insert(at, loaded);
        Ok(())
    }

    /// Goes on without something that is optional.
    pub(super) fn leave_out(&mut self, pin: String, why: &dyn std::error::Error, tell: &mut Tell<'_>) {
        let causes = std::iter::successors(why.source(), |error| error.source());
        let words = causes.fold(why.to_string(), |words, cause| format!("{words}: {cause}"));
        tell(Event::Note(format!("  without {pin}: {words}")));
        self.left_out.insert(pin, words);
    }

    /// The map of that pin name, if this run has loaded an object with it.
    pub(super) fn loaded_map(&self, pin: &str) -> Result<Option<Map>, Error> {
        for (&at, loaded) in &self.loaded {
            if let Some(map) = self.prepared.wanted.objects[at].maps.get(pin) {
                let map = loaded.map(&map.name).map_err(|source| self.load_error(at, source))?;
                return Ok(Some(map.try_clone()?));
            }
        }
        Ok(None)
    }

    fn make_host(&mut self, host: &str) -> Result<(), Error> {
        let wanted = &self.prepared.wanted;
        let Some(lab) = &wanted.lab else { return Ok(()) };
        if host == SWITCH {
            self.hosts.make_switch(&wanted.name, lab)?;
        } else {
            self.hosts.make_host(&wanted.name, lab, host)?;
        }
        Ok(())
    }

    /// Puts into each map what the manifest says. A map in use is given the difference to what the last manifest said, and
    /// gets that back if something fails later.
    fn set_contents(&mut self, name: &str) -> Result<(), Error> {
        let Some((at, object)) = self.object(name) else { return Ok(()) };
        let record = self.observed.record.iter().flat_map(|record| &record.objects).find(|old| old.name == name);
        let before = record.filter(|_| !self.fresh).map(|old| old.contents.clone()).unwrap_or_default();
        let (prepared, contents) = (self.prepared, object.contents.clone());
        let (mut in_use, mut all) = (Vec::new(), Vec::new());
        let mut maps = self.map_set(at)?;
        for (pin, wanted) in &object.maps {
            let spec = prepared.objects[at].spec.map(&wanted.name).filter(|spec| !spec.origin.is_read_only());
            let (Some(map), Some(spec)) = (maps.remove(&wanted.name), spec) else { continue };
            let is_in_use = self.is_in_use(at, &wanted.name);
            if is_in_use {
                in_use.push(SetMap { map: map.try_clone()?, at, name: wanted.name.clone() });
            }
            let holds_old = is_in_use || self.migrated.iter().any(|migrated| migrated.pin == *pin);
            all.push((map, spec, if holds_old { before.clone() } else { Contents::default() }));
        }
        self.remember(Undo::Contents(in_use, before));
        for (map, spec, before) in all {
            contents::change(&map, spec, &before, &contents)?;
        }
        Ok(())
    }

    /// Whether programs that run now look into the map of that name: it was not made by this run.
    fn is_in_use(&self, at: usize, map: &str) -> bool {
        let name = &self.prepared.wanted.objects[at].name;
        let load = self.plan.steps.iter().find_map(|step| match step {
            Step::Load { object, kept, .. } if object == name => Some(kept),
            _ => None,
        });
        load.is_none_or(|kept| kept.iter().any(|one| one == map))
    }

    /// Fills new maps, or changes those in use; the latter can be taken back.
    fn configure_step(&mut self, name: &str, tell: &mut Tell<'_>) -> Result<(), Error> {
        let Some((at, object)) = self.object(name) else { return Ok(()) };
        let config = object.config.clone();
        if self.has_maps_in_use(at) {
            let old = self.observed.record.iter().flat_map(|record| &record.objects).find(|old| old.name == name);
            if let Some(old) = old.map(|old| old.config.clone()) {
                self.done.push(Undo::Reconfigure(at, old));
            }
        }
        for line in self.configure(at, &config)? {
            tell(Event::Note(format!("  {line}")));
        }
        Ok(())
    }

    /// Whether programs that run now look into maps of the object.
    fn has_maps_in_use(&self, at: usize) -> bool {
        self.prepared.wanted.objects[at].maps.values().any(|map| self.is_in_use(at, &map.name))
    }

    /// Copies the entries of a pinned map into the new one that will have its name.
    fn migrate(&mut self, pin: &str, tell: &mut Tell<'_>) -> Result<(), Error> {
        let objects = self.prepared.wanted.objects.iter().enumerate();
        let Some((at, wanted)) = objects.filter_map(|(at, object)| Some((at, object.maps.get(pin)?))).next() else {
            return Ok(());
        };
        let Some(loaded) = self.loaded.get(&at) else { return Ok(()) };
        let new = loaded.map(&wanted.name).map_err(|source| self.load_error(at, source))?;
        let old = Map::from_pin(self.pin(Kind::Map, pin))?;
        // The plan has made sure that there is a way.
        let Ok(migration) = Migration::new(&wanted.definition, &Found::of(&old)?) else { return Ok(()) };
        let migrated = Migrated { pin: pin.to_owned(), ..migration.run(&old, new)? };
        tell(Event::Note(format!("  {migrated}")));
        self.migrated.push(migrated);
        Ok(())
    }

    fn configure(&self, at: usize, config: &Value) -> Result<Vec<String>, Error> {
        let object = &self.prepared.wanted.objects[at];
        let Some(system) = self.prepared.objects[at].system else { return Ok(Vec::new()) };
        let maps = self.map_set(at)?;
        let wanted = self.prepared.wanted.links.iter();
        let hooks: Vec<Hook> = wanted
            .filter_map(|link| {
                let program = object.progs.get(&link.program)?.clone();
                Some(Hook { program, host: link.host.clone(), hook: link.hook.clone() })
            })
            .collect();
        let enter = |host: Option<&str>, work: &mut Work<'_>| self.enter(host, work);
        let site = Site { maps: &maps, hooks: &hooks, enter: &enter };
        let failed = |source| Error::System { object: object.name.clone(), step: "configuring its maps", source };
        system.configure(config, &site).map_err(failed)
    }

    fn enter(&self, host: Option<&str>, work: &mut Work<'_>) -> Result<(), SystemError> {
        match host {
            None => work(),
            Some(host) => self.hosts.get(host)?.run(work)?,
        }
        Ok(())
    }

    /// The maps of an object: those just made, or those pinned.
    fn map_set(&self, at: usize) -> Result<MapSet, Error> {
        let mut set = MapSet::default();
        for (pin, wanted) in &self.prepared.wanted.objects[at].maps {
            let name = &wanted.name;
            let map = match self.loaded.get(&at) {
                Some(loaded) => loaded.map(name).map_err(|source| self.load_error(at, source))?.try_clone()?,
                None => Map::from_pin(self.pin(Kind::Map, pin))?,
            };
            set.insert(name.clone(), map);
        }
        Ok(set)
    }

    fn load_error(&self, at: usize, source: load::Error) -> Error {
        Error::Load { object: self.prepared.wanted.objects[at].name.clone(), source: Box::new(source) }
    }

    /// Runs something with the program of that pin name: the one just loaded, or the one pinned.
    pub(super) fn with_prog<T>(&self, pin: &str, f: impl FnOnce(&Prog) -> Result<T, Error>) -> Result<T, Error> {
        for (&at, loaded) in &self.loaded {
            if let Some(name) = self.prepared.wanted.objects[at].progs.get(pin) {
                return f(loaded.prog(name).map_err(|source| self.load_error(at, source))?);
            }
        }
        f(&Prog::from_pin(self.pin(Kind::Prog, pin))?)
    }

    fn pin_object(&mut self, name: &str) -> Result<(), Error> {
        let Some((at, object)) = self.object(name) else { return Ok(()) };
        let (progs, maps) = (object.progs.clone(), object.maps.clone());
        let mut set = self.map_set(at)?;
        for (pin, wanted) in maps {
            if let Some(map) = set.remove(&wanted.name) {
                self.pin_map(&pin, map)?;
            }
        }
        for (pin, name) in progs {
            let path = self.pin(Kind::Prog, &pin);
            let Some(loaded) = self.loaded.get(&at) else { continue };
            if self.left_out.contains_key(&pin) {
                if let Some(old) = Pinned::open(Kind::Prog, &path) {
                    store::forget(&path)?;
                    self.remember(Undo::Repin(path, Some(old)));
                }
                continue;
            }
            let prog = loaded.prog(&name).map_err(|source| self.load_error(at, source))?;
            let old = Pinned::open(Kind::Prog, &path);
            super::undo::pin_over(&path, |path| Ok(prog.pin(path)?))?;
            self.remember(Undo::Repin(path, old));
        }
        Ok(())
    }

    /// Gives a map its name; one that was kept has it already.
    fn pin_map(&mut self, pin: &str, new: Map) -> Result<(), Error> {
        let path = self.pin(Kind::Map, pin);
        let old = Pinned::open(Kind::Map, &path);
        if let Some(Pinned::Map(old)) = &old
            && old.info()?.id == new.info()?.id
        {
            return Ok(());
        }
        Pinned::Map(new).pin_over(&path)?;
        self.remember(Undo::Repin(path, old));
        Ok(())
    }

    /// Where nothing was before, everything goes at once; the single steps need not be taken back.
    pub(super) fn remember(&mut self, undo: Undo) {
        if !self.fresh {
            self.done.push(undo);
        }
    }

    /// What asks the systems of the deployment what they have taken over.
    fn shares(&self) -> Result<impl Fn() -> Result<Vec<Share>, SystemError> + Sync, Error> {
        let mut all = Vec::new();
        for (at, object) in self.prepared.objects.iter().enumerate() {
            if let Some(system) = object.system {
                all.push((system, self.map_set(at)?));
            }
        }
        Ok(move || {
            let shares = all.iter().map(|(system, maps)| system.share(maps));
            shares.filter_map(Result::transpose).collect()
        })
    }

    /// Runs one of the lab's trials; one exchange that fails, fails it.
    pub(super) fn try_out(&mut self, at: usize, cancel: &AtomicBool, tell: &mut Tell<'_>) -> Result<(), Error> {
        let Some(lab) = &self.prepared.wanted.lab else { return Ok(()) };
        let Some(trial) = lab.trials.get(at) else { return Ok(()) };
        let _counting = prog::enable_stats(); // for `status`; where the kernel will not count, there are no run times
        let report = trial::run(trial, lab, &self.hosts, &self.shares()?, cancel)?;
        tell(Event::Tried(&report));
        if cancel.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if !report.passed() {
            return Err(Error::TrialFailed {
                protocol: trial.protocol.to_string(),
                to: trial.to,
                succeeded: report.succeeded,
                wanted: trial.exchanges,
                failures: report.failures,
            });
        }
        self.trials.push(report);
        Ok(())
    }

    /// Takes back one step.
    pub(super) fn take_back(&mut self, step: Undo) -> Result<(), Error> {
        match step {
            Undo::Clear => {
                let mut record = store::read(self.dir(), &self.prepared.wanted.name)?;
                // Only what this run has made: a name that was taken meanwhile is somebody else's.
                if let Some(lab) = record.as_mut().and_then(|record| record.lab.as_mut()) {
                    lab.namespaces.retain(|host, _| self.hosts.all().contains_key(host));
                }
                down::clear(&self.prepared.wanted.name, self.dir(), record.as_ref(), self.draining).map(drop)
            }
            Undo::Resume(drained) => self.draining.resume(self.dir(), &drained),
            Undo::Detach(path) => down::detach(&path).map(drop),
            Undo::DetachBare(prog, map, kind) => Ok(sockmap::detach(&prog, &map, kind)?),
            Undo::PutBackBare(prog, map, kind) => Ok(sockmap::replace(&prog, &map, kind)?),
            Undo::PutBack(path, prog) => Ok(Link::from_pin(&path)?.update(&prog, None)?),
            Undo::Reattach(pin, prog, record) => {
                let wanted = WantedLink {
                    pin: pin.clone(),
                    program: record.program.clone(),
                    host: record.host.clone(),
                    hook: record.hook.in_mode(record.got),
                    attach_type: AttachType(record.attach_type),
                    target: record.target.clone(),
                    displace: false,
                    optional: false,
                    place: "before".to_owned(),
                };
                self.attach_as(&pin, &wanted, Some(&prog), &mut |_| {})
            }
            Undo::Restore(host, displaced) => self.at(host.as_deref(), || displaced.put_back()),
            Undo::Repin(path, Some(old)) => old.pin_over(&path),
            Undo::Repin(path, None) => store::forget(&path),
            Undo::Contents(maps, before) => {
                for SetMap { map, at, name } in maps {
                    let now = &self.prepared.wanted.objects[at].contents;
                    if let Some(spec) = self.prepared.objects[at].spec.map(&name) {
                        contents::change(&map, spec, now, &before)?;
                    }
                }
                Ok(())
            }
            Undo::Reconfigure(at, config) => self.configure(at, &config).map(drop),
            Undo::Record(record) => store::write(self.dir(), &record),
        }
    }
}

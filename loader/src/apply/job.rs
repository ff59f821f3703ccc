//! Stage: apply. One deployment's plan, done step by step.
//!
//! Input: a [`Prepared`] deployment under its lock. Output: its [`Report`], or everything taken back. Read next: `work.rs`,
//! which has the steps themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::drain::Draining;
use super::error::Error;
use super::event::{Event, Report, Tell, Took};
use super::prepare::Prepared;
use super::record::{LabRecord, LinkRecord, ObjectRecord, ProgRecord, Record, Stage, VERSION};
use super::undo::Undo;
use super::{hook, observe, store};
use crate::lab::build::{self, Hosts};
use crate::lab::{cgroup, netns, trial};
use crate::load::Loaded;
use crate::manifest::lab::{Lab, SWITCH};
use crate::map::Migrated;
use crate::pin::{self, Bpffs};
use crate::plan::{Observed, Plan, Step, Wanted, netns_name};

/// A deployment being brought up.
pub(super) struct Job<'p, 's> {
    pub(super) prepared: &'p Prepared<'s>,
    pub(super) draining: Draining<'s>,
    lock: pin::Deployment,
    pub(super) observed: Observed,
    pub(super) plan: Plan,
    /// The objects loaded by this run, by their place in the deployment.
    pub(super) loaded: BTreeMap<usize, Loaded>,
    pub(super) hosts: Hosts,
    /// The attachments as they are now.
    pub(super) links: BTreeMap<String, LinkRecord>,
    /// What is optional and was refused, by pin name, in the kernel's words.
    pub(super) left_out: BTreeMap<String, String>,
    pub(super) done: Vec<Undo>,
    /// Whether there was nothing before, or nothing that was kept.
    pub(super) fresh: bool,
    written_down: bool,
    pub(super) trials: Vec<trial::Report>,
    pub(super) migrated: Vec<Migrated>,
    pub(super) took: Took,
}

impl<'p, 's> Job<'p, 's> {
    /// Locks, looks, plans; changes nothing but the lock's directory.
    pub(super) fn begin(prepared: &'p Prepared<'s>, draining: Draining<'s>, bpffs: &Bpffs) -> Result<Self, Error> {
        let wanted = &prepared.wanted;
        let lock = bpffs.lock(&wanted.name)?;
        match Self::look(prepared, draining, &lock) {
            Ok((observed, plan)) => {
                let clears = plan.steps.iter().any(|step| matches!(step, Step::Clear { .. }));
                let fresh = clears || observed.record.is_none();
                let mut links = BTreeMap::new();
                let mut left_out = BTreeMap::new();
                let mut hosts = Hosts::default();
                if fresh {
                    hosts = hosts.with_cgroup(new_cgroup(wanted)?);
                } else if let Some(record) = &observed.record {
                    (links, left_out) = (record.links.clone(), record.left_out.clone());
                    let cgroup = record.lab.as_ref().and_then(|lab| lab.cgroup.clone());
                    hosts = Hosts::open(&wanted.name, prepared.lab_hosts())?.with_cgroup(cgroup);
                }
                let (loaded, done, trials, took) = (BTreeMap::new(), Vec::new(), Vec::new(), Took::default());
                let (written_down, migrated) = (false, Vec::new());
                Ok(Self {
                    prepared,
                    draining,
                    lock,
                    observed,
                    plan,
                    loaded,
                    hosts,
                    links,
                    left_out,
                    done,
                    fresh,
                    written_down,
                    trials,
                    migrated,
                    took,
                })
            }
            Err(error) => {
                leave(lock);
                Err(error)
            }
        }
    }

    /// What is there, the plan, and whether the hooks outside of labs can be had: better refused now than half way.
    fn look(
        prepared: &Prepared<'_>,
        draining: Draining<'_>,
        lock: &pin::Deployment,
    ) -> Result<(Observed, Plan), Error> {
        let wanted = &prepared.wanted;
        let observed = observe::observe(&wanted.name, wanted.lab.as_ref(), draining.systems)?;
        debug_assert_eq!(observed.directory, lock.path().is_dir());
        let plan = Plan::new(wanted, &observed)?;
        if let Some(name) = foreign_netns(prepared, &observed) {
            return Err(build::Error::from(netns::Error::Exists { name }).into());
        }
        let ours: Vec<u32> = observed.links.values().map(|link| link.prog_id).collect();
        for link in wanted.links.iter().filter(|link| link.host.is_none() && !link.hook.is_labs_cgroup()) {
            hook::check(link, &ours)?;
        }
        Ok((observed, plan))
    }

    /// The deployment's directory.
    pub(super) fn dir(&self) -> &Path {
        self.lock.path()
    }

    /// Where something of it is pinned; pin names are made fit when the deployment is prepared.
    pub(super) fn pin(&self, kind: pin::Kind, name: &str) -> PathBuf {
        observe::pin_in(self.dir(), kind, name)
    }

    /// Has every object verified that the plan loads. Nothing of it is visible yet.
    pub(super) fn load(&mut self, cancel: &AtomicBool, tell: &mut Tell<'_>) -> Result<(), Error> {
        let begin = Instant::now();
        for step in self.plan.steps.clone() {
            if let Step::Load { object, kept, .. } = &step {
                self.begin_step(&step, cancel, tell)?;
                self.load_object(object, kept, tell)?;
            }
        }
        self.took.load_ms = ms(begin);
        Ok(())
    }

    /// Does everything else.
    pub(super) fn apply(&mut self, cancel: &AtomicBool, tell: &mut Tell<'_>) -> Result<(), Error> {
        let mut trials = 0;
        for step in self.plan.steps.clone() {
            if matches!(step, Step::Load { .. }) {
                continue;
            }
            self.begin_step(&step, cancel, tell)?;
            if !matches!(step, Step::Clear { .. }) {
                self.write_down()?;
            }
            let begin = Instant::now();
            match &step {
                Step::Try { .. } => {
                    self.try_out(trials, cancel, tell)?;
                    trials += 1;
                }
                step => self.work(step, tell)?,
            }
            self.count(&step, ms(begin));
        }
        if !self.plan.is_empty() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            store::write(self.dir(), &self.record(Stage::Up)?)?;
        }
        Ok(())
    }

    fn begin_step(&self, step: &Step, cancel: &AtomicBool, tell: &mut Tell<'_>) -> Result<(), Error> {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        tell(Event::Begin { deployment: &self.prepared.wanted.name, step });
        Ok(())
    }

    fn count(&mut self, step: &Step, ms: f64) {
        let took = match step {
            Step::MakeHost { .. } | Step::Clear { .. } => &mut self.took.lab_ms,
            Step::Configure { .. } | Step::Set { .. } | Step::Renew { .. } => &mut self.took.configure_ms,
            Step::Try { .. } => &mut self.took.trial_ms,
            _ => &mut self.took.attach_ms,
        };
        *took += ms;
    }

    /// Before the first change that outlives this process: what it will be, so that whoever finds it half done knows.
    fn write_down(&mut self) -> Result<(), Error> {
        if self.written_down {
            return Ok(());
        }
        self.written_down = true;
        match (&self.observed.record, self.fresh) {
            (Some(old), false) => {
                self.done.push(Undo::Record(Box::new(old.clone())));
                store::write(self.dir(), &Record { stage: Stage::Changing, ..old.clone() })
            }
            _ => {
                self.done.push(Undo::Clear);
                store::write(self.dir(), &self.record(Stage::Changing)?)
            }
        }
    }

    /// The record of what this run makes.
    pub(super) fn record(&self, stage: Stage) -> Result<Record, Error> {
        let wanted = &self.prepared.wanted;
        let mut progs = BTreeMap::new();
        let mut maps = Vec::new();
        for object in &wanted.objects {
            for (pin, name) in object.progs.iter().filter(|(pin, _)| !self.left_out.contains_key(*pin)) {
                let tag = self.with_prog(pin, |prog| Ok(prog.info()?.tag))?;
                progs.insert(pin.clone(), ProgRecord { object: object.name.clone(), name: name.clone(), tag });
            }
            maps.extend(object.maps.keys().cloned());
        }
        let objects = wanted.objects.iter().zip(&self.prepared.objects).map(|(want, object)| ObjectRecord {
            name: want.name.clone(),
            sha256: object.sha256.clone(),
            digest: want.digest.clone(),
            initial: want.maps.values().filter_map(|map| Some((map.name.clone(), map.initial.clone()?))).collect(),
            contents: want.contents.clone(),
            config: want.config.clone(),
        });
        let namespaces = self.prepared.lab_hosts().map(|host| (host.clone(), netns_name(&wanted.name, &host)));
        Ok(Record {
            version: VERSION,
            stage,
            name: wanted.name.clone(),
            manifest: self.prepared.manifest.clone(),
            objects: objects.collect(),
            progs,
            maps,
            links: self.links.clone(),
            left_out: self.left_out.clone(),
            lab: wanted.lab.as_ref().map(|_| LabRecord {
                digest: wanted.lab_digest.clone(),
                namespaces: namespaces.collect(),
                cgroup: self.hosts.cgroup(None),
            }),
        })
    }

    /// Takes back what was done, newest first; what cannot be taken back is told, and the rest goes on.
    pub(super) fn abort(mut self, tell: &mut Tell<'_>) {
        self.loaded.clear(); // or what is to go would be held here
        for step in std::mem::take(&mut self.done).into_iter().rev() {
            tell(Event::Undo(step.to_string()));
            if let Err(error) = self.take_back(step) {
                let name = &self.prepared.wanted.name;
                tell(Event::Note(format!("that failed: {error}; `loader down {name}` clears what is left")));
            }
        }
        leave(self.lock);
    }

    /// Lets go of the lock and reports.
    pub(super) fn finish(self) -> Report {
        Report {
            name: self.prepared.wanted.name.clone(),
            changed: !self.plan.is_empty(),
            plan: self.plan,
            links: self.links.into_values().collect(),
            left_out: self.left_out,
            cgroup: self.hosts.cgroup(None),
            trials: self.trials,
            migrated: self.migrated,
            took: self.took,
        }
    }
}

impl Prepared<'_> {
    /// The lab's hosts and its switch; none without a lab.
    pub(super) fn lab_hosts(&self) -> impl Iterator<Item = String> {
        let lab = self.wanted.lab.as_ref();
        lab.into_iter().flat_map(|lab| lab.hosts.keys().cloned().chain([SWITCH.to_owned()]))
    }
}

/// A namespace that has the name of one of ours, and is not: whoever clears up after us must not take it away.
fn foreign_netns(prepared: &Prepared<'_>, observed: &Observed) -> Option<String> {
    let lab = observed.record.as_ref().and_then(|record| record.lab.as_ref());
    let ours = |name: &String| lab.is_some_and(|lab| lab.namespaces.values().any(|own| own == name));
    let mut names = prepared.lab_hosts().map(|host| netns_name(&prepared.wanted.name, &host));
    names.find(|name| !ours(name) && Path::new(netns::DIR).join(name).exists())
}

/// The cgroup that a new lab would have, if it has one.
fn new_cgroup(wanted: &Wanted) -> Result<Option<PathBuf>, Error> {
    let has = wanted.lab.as_ref().is_some_and(Lab::has_cgroups);
    Ok(has.then(|| cgroup::free_path(&wanted.name)).transpose().map_err(build::Error::from)?)
}

/// Removes the lock's directory if it holds nothing.
fn leave(lock: pin::Deployment) {
    if !store::exists(&store::path(lock.path())) {
        // An empty directory is no state: the next `up` or `down` takes it over.
        let _ = lock.remove_if_empty();
    }
}

/// Milliseconds since then.
fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

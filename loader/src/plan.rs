//! Stage: plan. What is wanted and what is there → the steps from one to the other, as a value that prints.
//!
//! Input: a [`Wanted`] (from the manifest and its objects) and an [`Observed`] (from the kernel and bpffs). Output: a
//! [`Plan`]. Nothing here asks or changes anything, so `--dry-run` prints exactly what `up` would do. Read next:
//! `plan/state.rs` (the two sides), `plan/maps.rs` (maps that outlive their programs), `plan/step.rs`, then `apply/mod.rs`.

mod maps;
mod state;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::apply::record::{LinkRecord, Stage};
use crate::manifest::Hook;
use crate::manifest::lab::{Protocol, SWITCH, Trial};
use maps::Fate;
pub use maps::{Conflict, Mismatch};
pub use state::{Observed, SeenLink, SeenProg, Wanted, WantedLink, WantedMap, WantedObject};
pub use step::Step;

/// The steps from what is there to what is wanted; none when both are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The deployment.
    pub deployment: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return writeln!(f, "{}: as wanted, nothing to change", self.deployment);
        }
        writeln!(f, "{}: {} steps", self.deployment, self.steps.len())?;
        for (at, step) in (1..).zip(&self.steps) {
            writeln!(f, "{at:>3}. {step}")?;
        }
        Ok(())
    }
}

/// The name of a host's namespace: the deployment's name keeps those of two deployments apart.
#[must_use]
pub fn netns_name(deployment: &str, host: &str) -> String {
    format!("{deployment}-{host}")
}

/// A hook in words: `client:eth0`, or the hook alone where `loader` runs.
#[must_use]
pub fn hook_name(host: Option<&str>, hook: impl fmt::Display) -> String {
    host.map_or_else(|| hook.to_string(), |host| format!("{host}:{hook}"))
}

impl Plan {
    /// Compares and plans.
    ///
    /// # Errors
    /// Maps that are there already, are not the wanted ones, and hold what the manifest does not allow to be lost.
    pub fn new(wanted: &Wanted, observed: &Observed) -> Result<Self, Mismatch> {
        let mut planner = Planner { wanted, observed, fates: BTreeMap::new(), steps: Vec::new() };
        planner.run()?;
        Ok(Self { deployment: wanted.name.clone(), steps: planner.steps })
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

struct Planner<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    /// What becomes of the maps, by pin name.
    fates: BTreeMap<String, Fate>,
    steps: Vec<Step>,
}

impl Planner<'_> {
    /// Load everything; only then touch what is there; then the lab, the maps' contents, the hooks, the left-overs, the trials.
    fn run(&mut self) -> Result<(), Mismatch> {
        let clear = self.must_clear();
        let mut reload: BTreeSet<usize> =
            (0..self.wanted.objects.len()).filter(|&at| clear.is_some() || !self.is_loaded(at)).collect();
        if clear.is_none() {
            self.fates = maps::fates(self.wanted, self.observed, &mut reload)?;
        }
        for &at in &reload {
            self.load(&self.wanted.objects[at]);
        }
        let fresh = clear.is_some() || self.observed.record.is_none();
        if let Some(why) = clear {
            self.steps.push(Step::Clear { why });
        }
        if fresh {
            self.make_lab();
        }
        let drained = if fresh { Vec::new() } else { self.drained(&reload) };
        self.steps.extend(drained.iter().map(|object| Step::Drain { object: object.clone() }));
        self.renew_maps();
        for at in 0..self.wanted.objects.len() {
            if self.sets(at) {
                let WantedObject { name, contents_words, .. } = &self.wanted.objects[at];
                self.steps.push(Step::Set { object: name.clone(), contents: contents_words.clone() });
            }
            if reload.contains(&at) || !self.is_configured(at) {
                self.configure(&self.wanted.objects[at]);
            }
        }
        // Pins first where there is nothing yet: what is attached must not outlive an interrupted run without a name.
        // Pins last where something runs: until every hook has the new program, the names stand for the old ones.
        if fresh {
            self.pins(&reload);
        }
        // A hook that is attached is gone with an interrupted run until it has its name, and what it has begun would stay.
        let wanted = self.wanted.objects.iter().enumerate();
        let held = |(at, object): &(usize, &WantedObject)| object.drains && reload.contains(at);
        self.steps.extend(wanted.clone().filter(held).map(|(_, object)| Step::Hold { object: object.name.clone() }));
        self.links(fresh, &reload);
        if !fresh {
            self.pins(&reload);
        }
        let resumed = wanted.filter(|one| held(one) || drained.contains(&one.1.name));
        self.steps.extend(resumed.map(|(_, object)| Step::Resume { object: object.name.clone() }));
        if !self.steps.is_empty() {
            self.trials();
        }
        if !fresh {
            self.left_overs();
        }
        Ok(())
    }

    /// The objects there are that hold something for others, and of which a program, map or attachment goes or becomes another.
    fn drained(&self, reload: &BTreeSet<usize>) -> Vec<String> {
        let changes = |object: &String| match self.wanted.objects.iter().position(|one| one.name == *object) {
            None => true,
            Some(at) => reload.contains(&at) || self.loses_link(object),
        };
        self.observed.holders.iter().filter(|object| changes(object)).cloned().collect()
    }

    /// Whether a program of the object is taken off something.
    fn loses_link(&self, object: &str) -> bool {
        let Some(record) = &self.observed.record else { return false };
        let of_object = |link: &LinkRecord| record.progs.get(&link.program).is_some_and(|prog| prog.object == object);
        let gone = |pin: &String| self.wanted.links.iter().all(|link| link.pin != *pin);
        record.links.iter().any(|(pin, link)| of_object(link) && gone(pin))
    }

    fn renew_maps(&mut self) {
        for (map, fate) in &self.fates {
            if let Fate::Renewed { why, migrate } = fate {
                let differences = why.iter().map(ToString::to_string).collect();
                self.steps.push(Step::Renew { map: map.clone(), differences, migrate: *migrate });
            }
        }
    }

    fn pins(&mut self, reload: &BTreeSet<usize>) {
        for &at in reload {
            let object = &self.wanted.objects[at];
            let count = object.progs.len() + object.maps.len();
            self.steps.push(Step::Pin { object: object.name.clone(), count });
        }
    }

    /// Why what is there cannot be changed in place, if so.
    fn must_clear(&self) -> Option<String> {
        let seen = self.observed;
        let Some(record) = &seen.record else {
            let any = !seen.progs.is_empty() || !seen.maps.is_empty() || !seen.links.is_empty();
            return any.then(|| "it has no record of what it is".to_owned());
        };
        if record.lab.is_none() && self.wanted.lab.is_none() {
            return None; // production: what an interrupted run left is changed in place, without a gap
        }
        if record.stage == Stage::Changing {
            return Some("an earlier run was interrupted".to_owned());
        }
        let digest = record.lab.as_ref().map_or("", |lab| lab.digest.as_str());
        if digest != self.wanted.lab_digest {
            return Some("the lab is described differently".to_owned());
        }
        seen.lab_damage.clone()
    }

    /// Whether the kernel holds this object as it is wanted: same digest, each pin there, each program with its tag.
    fn is_loaded(&self, at: usize) -> bool {
        let Some(record) = &self.observed.record else { return false };
        let object = &self.wanted.objects[at];
        let same = record.objects.iter().any(|o| o.name == object.name && o.digest == object.digest);
        let progs = object.progs.keys().all(|pin| match (self.observed.progs.get(pin), record.progs.get(pin)) {
            (Some(seen), Some(written)) => seen.tag == written.tag && written.object == object.name,
            _ => record.left_out.contains_key(pin),
        });
        let maps = object.maps.keys().all(|pin| self.observed.maps.contains_key(pin));
        same && progs && maps && record.stage == Stage::Up
    }

    /// Whether the maps hold this object's configuration.
    fn is_configured(&self, at: usize) -> bool {
        let object = &self.wanted.objects[at];
        let record = self.observed.record.as_ref();
        record.is_some_and(|record| record.objects.iter().any(|o| o.name == object.name && o.config == object.config))
    }

    /// Whether some map does not hold what the manifest puts into it. New ones hold nothing.
    fn sets(&self, at: usize) -> bool {
        let object = &self.wanted.objects[at];
        let record = self.observed.record.iter().flat_map(|record| &record.objects).find(|old| old.name == object.name);
        object.maps.iter().any(|(pin, map)| match (self.fates.get(pin), record) {
            (Some(Fate::New | Fate::Renewed { migrate: false, .. }), _) | (_, None) => {
                !object.contents.is_empty_for(&map.name)
            }
            (_, Some(old)) => !object.contents.is_same_for(&map.name, &old.contents),
        })
    }

    fn load(&mut self, object: &WantedObject) {
        let is_kept = |(pin, _): &(&String, &WantedMap)| self.fates.get(*pin) == Some(&Fate::Kept);
        let (kept, maps): (Vec<_>, Vec<_>) = object.maps.iter().partition(is_kept);
        let names = |maps: Vec<(&String, &WantedMap)>| maps.into_iter().map(|(_, map)| map.name.clone()).collect();
        self.steps.push(Step::Load {
            object: object.name.clone(),
            progs: object.progs.values().cloned().collect(),
            maps: names(maps),
            kept: names(kept),
        });
    }

    fn configure(&mut self, object: &WantedObject) {
        if !object.config.is_null() {
            self.steps.push(Step::Configure { object: object.name.clone(), config: object.words.clone() });
        }
    }

    fn make_lab(&mut self) {
        let Some(lab) = &self.wanted.lab else { return };
        let netns = |host: &str| netns_name(&self.wanted.name, host);
        let at_switch = lab.hosts.values().filter(|host| host.behind.is_none()).count();
        let ports = vec![format!("a bridge of {at_switch} ports")];
        self.steps.push(Step::MakeHost { host: SWITCH.to_owned(), netns: netns(SWITCH), addresses: ports });
        for (name, host) in lab.in_order() {
            let mut addresses: Vec<_> = host.address.iter().map(|address| format!("eth0 {address}")).collect();
            addresses.extend(host.loopback.iter().map(|address| format!("lo {address}")));
            addresses.extend(host.behind.iter().map(|behind| format!("behind {}", behind.host)));
            addresses.extend(host.dnat.iter().map(|one| format!("{} {} goes to {}", one.protocol, one.from, one.to)));
            addresses.extend(host.cgroup.then(|| "a cgroup of its own".to_owned()));
            self.steps.push(Step::MakeHost { host: name.clone(), netns: netns(name), addresses });
        }
    }

    fn links(&mut self, fresh: bool, reload: &BTreeSet<usize>) {
        for link in &self.wanted.links {
            let at = hook_name(link.host.as_deref(), &link.hook);
            let (pin, program) = (link.pin.clone(), link.program.clone());
            let seen = self.observed.links.get(&link.pin).filter(|seen| !fresh && seen.attached);
            let new = reload.iter().any(|&at| self.wanted.objects[at].progs.contains_key(&link.program));
            if !new && self.is_left_out(link) {
                continue;
            }
            let running = self.observed.progs.get(&link.program).map(|prog| prog.id);
            let stays = self.same_modes(link) && !self.changes_map(link);
            match seen {
                Some(seen) if !new && Some(seen.prog_id) == running && stays => {}
                Some(_) if stays => self.steps.push(Step::Replace { link: pin, program, at }),
                Some(_) => {
                    self.steps.push(Step::Detach { link: pin.clone() });
                    self.steps.push(Step::Attach { link: pin, program, at, modes: link.hook.modes().to_vec() });
                }
                None => {
                    if !fresh && self.observed.links.contains_key(&link.pin) {
                        self.steps.push(Step::Detach { link: pin.clone() });
                    }
                    self.steps.push(Step::Attach { link: pin, program, at, modes: link.hook.modes().to_vec() });
                }
            }
        }
    }

    /// Whether the kernel refused it before; the manifest allows to go without.
    fn is_left_out(&self, link: &WantedLink) -> bool {
        let left_out = self.observed.record.as_ref().map(|record| &record.left_out);
        left_out.is_some_and(|all| all.contains_key(&link.program) || all.contains_key(&link.pin))
    }

    /// Whether its sockets will be those of another map.
    fn changes_map(&self, link: &WantedLink) -> bool {
        let Hook::Sockmap { map } = &link.hook else { return false };
        self.fates.get(map).is_some_and(|fate| *fate != Fate::Kept)
    }

    /// Whether the mode that was got is one that is still wished for. An interrupted run did not write down what it got.
    fn same_modes(&self, link: &WantedLink) -> bool {
        let written = self.observed.record.as_ref().and_then(|record| record.links.get(&link.pin));
        written.and_then(|written| written.got).is_none_or(|got| link.hook.modes().contains(&got))
    }

    /// Pins that the manifest no longer speaks of: the links first, then what they ran.
    fn left_overs(&mut self) {
        let wanted_links: BTreeSet<_> = self.wanted.links.iter().map(|link| &link.pin).collect();
        for pin in self.observed.links.keys().filter(|pin| !wanted_links.contains(pin)) {
            self.steps.push(Step::Detach { link: pin.clone() });
        }
        let progs: BTreeSet<_> = self.wanted.objects.iter().flat_map(|object| object.progs.keys()).collect();
        for pin in self.observed.progs.keys().filter(|pin| !progs.contains(pin)) {
            self.steps.push(Step::Unpin { pin: format!("progs/{pin}") });
        }
        let maps: BTreeSet<_> = self.wanted.objects.iter().flat_map(|object| object.maps.keys()).collect();
        for pin in self.observed.maps.keys().filter(|pin| !maps.contains(pin)) {
            self.steps.push(Step::Unpin { pin: format!("maps/{pin}") });
        }
    }

    fn trials(&mut self) {
        for trial in self.wanted.lab.iter().flat_map(|lab| &lab.trials) {
            self.steps.push(Step::Try { trial: words(trial) });
        }
    }
}

/// A trial in words.
fn words(trial: &Trial) -> String {
    let kind = if trial.protocol == Protocol::Tcp { "connections" } else { "exchanges" };
    let name = trial.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    let rounds = if trial.rounds > 1 { format!(" with {} requests each", trial.rounds) } else { String::new() };
    let (count, protocol) = (trial.exchanges, trial.protocol);
    format!("{name}{count} {protocol} {kind}{rounds} from {} to {}", trial.from, trial.to)
}

#[cfg(test)]
mod tests;

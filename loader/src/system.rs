//! Stage: apply. What a system built on the loader tells it: its object, its configuration, its counters.
//!
//! Input: implementations by whoever brings programs (this crate brings none). Output: the trait [`System`] and what is
//! passed through it. Read next: `apply/prepare.rs`, which asks the first questions.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde::Serialize;

use crate::manifest::{Diagnostic, Section};
use crate::map::Map;

/// An error of a system: the loader passes it on, with what it was doing.
pub type SystemError = Box<dyn Error + Send + Sync>;

/// A system: kernel programs with a name, and the control plane that fills their maps.
///
/// Everything up to [`System::wants`] is pure; [`System::configure`] and [`System::counters`] meet real maps.
pub trait System: Sync {
    /// The name of its object in `object = "…"`.
    fn name(&self) -> &str;

    /// The name of its table in the manifest, which several systems may share; `None` when it has none.
    fn section(&self) -> Option<&str>;

    /// Its object file.
    ///
    /// # Errors
    /// When the object cannot be generated.
    fn object(&self) -> Result<Vec<u8>, SystemError>;

    /// What its table of the manifest asks for; `None` when the manifest has no such table.
    ///
    /// # Errors
    /// What is wrong with the table, with its place.
    fn wants(&self, section: Option<&Section>) -> Result<Wants, Diagnostic>;

    /// Makes the maps hold the configuration, whatever they held before; maps in use change without a gap.
    ///
    /// Returns what was done, a line each.
    ///
    /// # Errors
    /// When the kernel refuses, or the network is not what the configuration takes for granted.
    fn configure(&self, config: &serde_json::Value, site: &Site<'_>) -> Result<Vec<String>, SystemError>;

    /// What its maps have counted.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn counters(&self, config: &serde_json::Value, maps: &MapSet) -> Result<Counters, SystemError>;

    /// Whether it holds something for others, such as what lies in queues of connections, so that it has to be drained.
    fn drains(&self) -> bool {
        false
    }

    /// Lets go of what it holds, before its programs go or are replaced: nothing new comes to it, and what there is is waited for, so
    /// long at most. Returns how it was before, for [`System::resume`], and what was done in words; `None` where there is nothing to do.
    ///
    /// # Errors
    /// When others do not take what is theirs in time: who, and how much. Then it works as before.
    fn drain(&self, _maps: &MapSet, _patience: Duration) -> Result<Option<(serde_json::Value, String)>, SystemError> {
        Ok(None)
    }

    /// Works again: as it did before [`System::drain`]; after `null` as it does when it is new; after `false` not yet.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn resume(&self, _maps: &MapSet, _before: &serde_json::Value) -> Result<(), SystemError> {
        Ok(())
    }

    /// How much it has taken over of what the connections carry that stand now; `None` for systems that take over nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn share(&self, _maps: &MapSet) -> Result<Option<Share>, SystemError> {
        Ok(None)
    }
}

/// What a system has taken over of the connections that stand now, of what its programs have seen of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Ends of connections that it knows.
    pub ends: u64,
    /// Messages taken over.
    pub messages: u64,
    /// Messages in all.
    pub of_messages: u64,
    /// Bytes taken over.
    pub bytes: u64,
    /// Bytes in all.
    pub of_bytes: u64,
    /// Why something was not, in words, most often first.
    pub because: Vec<String>,
}

/// What a system's table asks for.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    /// The table as plain data, kept in the deployment's record; `null` when there is nothing to configure.
    pub config: serde_json::Value,
    /// Entries of maps, by name, instead of the object's own numbers.
    pub max_entries: BTreeMap<String, u32>,
    /// The configuration in words, a line each, for the plan.
    pub words: Vec<String>,
}

/// The maps of one object by their names in it.
#[derive(Debug, Default)]
pub struct MapSet {
    maps: BTreeMap<String, Map>,
}

impl MapSet {
    /// The map of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    /// Adds one.
    pub fn insert(&mut self, name: String, map: Map) {
        self.maps.insert(name, map);
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.maps.iter().map(|(name, map)| (name.as_str(), map))
    }
}

/// Runs work in the network namespace of a lab's host, or of `loader` itself (`None`).
pub type Enter<'a> = dyn Fn(Option<&str>, &mut Work<'_>) -> Result<(), SystemError> + 'a;

/// Work for another thread; called once.
pub type Work<'a> = dyn FnMut() + Send + 'a;

/// Where an object's programs are about to work.
pub struct Site<'a> {
    /// Its maps.
    pub maps: &'a MapSet,
    /// Where its programs are attached.
    pub hooks: &'a [Hook],
    /// Runs work in the network namespace of a lab's host, or of `loader` itself (`None`).
    pub enter: &'a Enter<'a>,
}

impl Site<'_> {
    /// Runs `work` in the network namespace that a hook is in, and returns what it returns.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn at<T: Send>(&self, hook: &Hook, work: impl FnOnce() -> T + Send) -> Result<T, SystemError> {
        let mut work = Some(work);
        let mut result = None;
        (self.enter)(hook.host.as_deref(), &mut || result = work.take().map(|work| work()))?;
        result.ok_or_else(|| "the work in the namespace was not done".into())
    }
}

/// One attachment of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program's name in the object.
    pub program: String,
    /// The lab's host; `None`: where `loader` runs.
    pub host: Option<String>,
    /// What it is attached to.
    pub hook: crate::manifest::Hook,
}

/// What a system has counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counters {
    /// For programs.
    pub values: serde_json::Value,
    /// For people: lines of a table.
    pub text: String,
}

//! Stage: apply. Systems let go of what they hold for others, connections above all, before their programs go or are others: nothing may
//! be lost with them.
//!
//! Input: a deployment's record and its pins. Output: systems that hold nothing any more, or an error with everything working as before.
//! There is one such road, for `down`, for an `up` that changes programs, and for what an interrupted run left. Read next: `down.rs`.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::error::Error;
use super::observe::pin_in;
use super::record::Record;
use crate::map::Map;
use crate::pin::{self, Kind};
use crate::system::{MapSet, System};

/// Who can be asked to let go, and how long that may take.
#[derive(Clone, Copy)]
pub struct Draining<'s> {
    /// The systems there are.
    pub systems: &'s [&'s dyn System],
    /// How long to wait for each of them.
    pub patience: Duration,
}

/// How long systems are waited for where nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// An object whose system has let go.
pub(super) struct Drained {
    pub(super) object: String,
    /// How it was before, in the system's own words.
    state: Value,
}

/// The maps of an object, as they are pinned.
pub(super) fn pinned_maps(dir: &Path, object: &str) -> Result<MapSet, Error> {
    let mut maps = MapSet::default();
    for pin in pin::list(dir, Kind::Map)? {
        let map = Map::from_pin(pin_in(dir, Kind::Map, &pin))?;
        // A pin that had to differ from the map's name carries the object's before it.
        let name = pin.strip_prefix(&format!("{object}:")).unwrap_or(&pin);
        maps.insert(name.to_owned(), map);
    }
    Ok(maps)
}

/// The objects of a deployment whose systems hold something.
pub(super) fn holders(systems: &[&dyn System], record: Option<&Record>) -> Vec<String> {
    let objects = record.into_iter().flat_map(|record| &record.objects);
    objects.map(|object| object.name.clone()).filter(|name| system(systems, name).is_some()).collect()
}

fn system<'s>(systems: &[&'s dyn System], object: &str) -> Option<&'s dyn System> {
    systems.iter().copied().find(|system| system.name() == object && system.drains())
}

impl<'s> Draining<'s> {
    fn system(&self, object: &str) -> Option<&'s dyn System> {
        system(self.systems, object)
    }

    /// Has the system of one object let go; what it did, in words, goes to `told`.
    pub(super) fn drain(&self, dir: &Path, object: &str, told: &mut Vec<String>) -> Result<Option<Drained>, Error> {
        let Some(system) = self.system(object) else { return Ok(None) };
        let failed =
            |source| Error::System { object: object.to_owned(), step: "leaving its connections to TCP", source };
        let Some((state, words)) = system.drain(&pinned_maps(dir, object)?, self.patience).map_err(failed)? else {
            return Ok(None);
        };
        told.push(words);
        Ok(Some(Drained { object: object.to_owned(), state }))
    }

    /// Has all of a deployment let go; none, if one cannot.
    pub(super) fn drain_all(&self, dir: &Path, record: Option<&Record>) -> Result<Vec<String>, Error> {
        let (mut told, mut drained) = (Vec::new(), Vec::new());
        for object in holders(self.systems, record) {
            match self.drain(dir, &object, &mut told) {
                Ok(one) => drained.extend(one),
                Err(error) => {
                    drained.iter().try_for_each(|one| self.resume(dir, one))?;
                    return Err(error);
                }
            }
        }
        Ok(told)
    }

    /// The way back: the system works as before.
    pub(super) fn resume(&self, dir: &Path, drained: &Drained) -> Result<(), Error> {
        let Some(system) = self.system(&drained.object) else { return Ok(()) };
        let failed = |source| Error::System { object: drained.object.clone(), step: "going on", source };
        system.resume(&pinned_maps(dir, &drained.object)?, &drained.state).map_err(failed)
    }
}

impl Drained {
    /// An object that is to work from now on, however it was before.
    pub(super) fn forgotten(object: &str) -> Self {
        Self { object: object.to_owned(), state: Value::Null }
    }
}

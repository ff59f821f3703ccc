//! Stage: plan. What becomes of the maps that are pinned already when their object is loaded anew.
//!
//! Input: both sides, and which objects are loaded. Output: a [`Fate`] for each map, or every reason why the maps that are
//! there cannot go on. Pure. Read next: `step.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::state::{Observed, Wanted, WantedMap, WantedObject};
use crate::manifest::OnMismatch;
use crate::map::{Difference, Migration, differences};

/// What becomes of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is made: there is none, or its object fills it.
    New,
    /// The one that is there is used again, with what is in it.
    Kept,
    /// Another one takes its place.
    Renewed { why: Vec<Difference>, migrate: bool },
}

/// Maps that are there already, are not the wanted ones, and must not be replaced just so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "deployment {deployment}: maps that are there already are not the wanted ones; nothing was changed{}",
    lines(conflicts)
)]
pub struct Mismatch {
    /// The deployment.
    pub deployment: String,
    /// The maps.
    pub conflicts: Vec<Conflict>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its pin name.
    pub map: String,
    /// Its name in the manifest.
    pub name: String,
    /// Everything in which it differs.
    pub differences: Vec<Difference>,
    /// Why its entries cannot be copied, if that was asked for.
    pub obstacle: Option<String>,
    /// Where the manifest has the say.
    pub place: String,
}

fn lines(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(|conflict| format!("\n  {conflict}")).collect()
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map {} ({})", self.map, self.place)?;
        for difference in &self.differences {
            write!(f, "\n    {difference}")?;
        }
        let ways = match &self.obstacle {
            None => "on_mismatch = \"migrate\" copies its entries as far as they fit, \"replace\" begins without them",
            Some(obstacle) => {
                write!(f, "\n    it cannot be migrated: {obstacle}")?;
                "on_mismatch = \"replace\" begins without its entries"
            }
        };
        // Only plain names are bare keys of TOML.
        let plain = self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let name = if plain { self.name.clone() } else { format!("{:?}", self.name) };
        write!(f, "\n    in [map.{name}], {ways}")
    }
}

/// The fate of every map of the objects in `reload`, which grows by those that share a map with one of them.
pub(super) fn fates(
    wanted: &Wanted,
    observed: &Observed,
    reload: &mut BTreeSet<usize>,
) -> Result<BTreeMap<String, Fate>, Mismatch> {
    loop {
        let mut fates = BTreeMap::new();
        let mut conflicts = Vec::new();
        for object in reload.iter().filter_map(|&at| wanted.objects.get(at)) {
            of_object(object, observed, &mut fates, &mut conflicts);
        }
        let renewed = |pin: &String| matches!(fates.get(pin), Some(Fate::Renewed { .. }));
        let sharing = wanted.objects.iter().enumerate().filter(|(_, object)| object.maps.keys().any(renewed));
        let before = reload.len();
        reload.extend(sharing.map(|(at, _)| at));
        if reload.len() > before {
            continue;
        }
        if conflicts.is_empty() {
            return Ok(fates);
        }
        return Err(Mismatch { deployment: wanted.name.clone(), conflicts });
    }
}

fn of_object(
    object: &WantedObject,
    observed: &Observed,
    fates: &mut BTreeMap<String, Fate>,
    conflicts: &mut Vec<Conflict>,
) {
    let there = object.maps.iter().filter(|(_, map)| map.may_be_kept);
    let there: Vec<_> = there
        .filter_map(|(pin, map)| Some((pin, map, observed.maps.get(pin)?)))
        .map(|(pin, map, found)| {
            let mut why = differences(&map.definition, found);
            why.extend(initial(object, map, observed));
            (pin, map, found, why)
        })
        .collect();
    let one_differs = there.iter().any(|(_, map, _, why)| map.initial.is_none() && !why.is_empty());
    for (pin, map, found, mut why) in there {
        let with_others = object.maps_together && one_differs;
        if why.is_empty() && !with_others {
            fates.insert(pin.clone(), Fate::Kept);
            continue;
        }
        if why.is_empty() {
            why.push(Difference {
                what: "its object".to_owned(),
                wanted: "all maps of one make".to_owned(),
                found: "others that differ".to_owned(),
            });
        }
        let migration = (map.on_mismatch == OnMismatch::Migrate).then(|| Migration::new(&map.definition, found));
        let obstacle = migration.as_ref().and_then(|migration| migration.as_ref().err().cloned());
        if map.on_mismatch == OnMismatch::Fail || obstacle.is_some() {
            let (name, place) = (map.name.clone(), map.place.clone());
            conflicts.push(Conflict { map: pin.clone(), name, differences: why.clone(), obstacle, place });
        }
        fates.insert(pin.clone(), Fate::Renewed { why, migrate: migration.is_some() });
    }
    for pin in object.maps.keys() {
        fates.entry(pin.clone()).or_insert(Fate::New);
    }
}

/// Variables whose object gives them other values now.
fn initial(object: &WantedObject, map: &WantedMap, observed: &Observed) -> Option<Difference> {
    let wanted = map.initial.as_ref()?;
    let record = observed.record.iter().flat_map(|record| &record.objects).find(|old| old.name == object.name);
    let same = record.and_then(|old| old.initial.get(&map.name)).is_some_and(|old| old == wanted);
    (!same).then(|| Difference {
        what: "initial values".to_owned(),
        wanted: "the new object's".to_owned(),
        found: "the old one's".to_owned(),
    })
}

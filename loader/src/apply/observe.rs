//! Stage: apply. The kernel and bpffs → what there is of a deployment.
//!
//! Input: a deployment's name. Output: an [`Observed`] for the plan. Changes nothing. Read next: `../plan.rs`, `up.rs`.

use std::path::Path;

use asm::object::AttachType;

use super::drain::holders;
use super::error::Error;
use super::record::{LinkRecord, Stage};
use super::store;
use crate::lab::build;
use crate::link::{Link, sockmap};
use crate::manifest::{Hook, Lab};
use crate::map::{Found, Map};
use crate::pin::{self, Bpffs, Kind};
use crate::plan::{Observed, SeenLink, SeenProg};
use crate::prog::Prog;
use crate::system::System;

/// Looks at a deployment; `lab` is what its lab should be, if it should have one, `systems` those there are.
///
/// # Errors
/// What cannot be read; a deployment that is not there is no error.
pub fn observe(name: &str, lab: Option<&Lab>, systems: &[&dyn System]) -> Result<Observed, Error> {
    let Some(bpffs) = Bpffs::find()? else { return Ok(Observed::default()) };
    let dir = bpffs.deployment_path(name)?;
    let mut seen = Observed { bpffs: true, directory: dir.is_dir(), ..Observed::default() };
    if !seen.directory {
        return Ok(seen);
    }
    seen.record = store::read(&dir, name)?;
    seen.holders = holders(systems, seen.record.as_ref());
    for pin in pin::list(&dir, Kind::Prog)? {
        let info = Prog::from_pin(pin_in(&dir, Kind::Prog, &pin))?.info()?;
        seen.progs.insert(pin, SeenProg { id: info.id, tag: info.tag });
    }
    for pin in pin::list(&dir, Kind::Map)? {
        let found = Found::of(&Map::from_pin(pin_in(&dir, Kind::Map, &pin))?)?;
        seen.maps.insert(pin, found);
    }
    for pin in pin::list(&dir, Kind::Link)? {
        let info = Link::from_pin(pin_in(&dir, Kind::Link, &pin))?.info()?;
        seen.links.insert(pin, SeenLink { id: Some(info.id), prog_id: info.prog_id, attached: info.is_attached() });
    }
    let bare = seen.record.iter().flat_map(|record| &record.links).filter(|(_, link)| link.bare);
    let bare: Vec<_> = bare.filter_map(|(pin, link)| Some((pin.clone(), bare_link(&dir, &seen, link)?))).collect();
    seen.links.extend(bare);
    if let (Some(lab), Some(record)) = (lab, &seen.record) {
        let cgroup = record.lab.as_ref().and_then(|lab| lab.cgroup.as_deref());
        seen.lab_damage = build::damage(name, lab, cgroup)?;
    }
    Ok(seen)
}

/// An attachment to a sockmap without a link: what the map says is on it. A kernel that cannot tell (before 5.18) is taken at
/// the word of the record, if that was finished.
fn bare_link(dir: &Path, seen: &Observed, link: &LinkRecord) -> Option<SeenLink> {
    let Hook::Sockmap { map } = &link.hook else { return None };
    let map = Map::from_pin(pin_in(dir, Kind::Map, map)).ok()?;
    let prog_id = match sockmap::progs(&map, AttachType(link.attach_type)) {
        Ok(there) => *there.first()?,
        Err(_) => {
            seen.record.as_ref().filter(|record| record.stage == Stage::Up)?;
            seen.progs.get(&link.program)?.id
        }
    };
    Some(SeenLink { id: None, prog_id, attached: true })
}

/// A pin by the name it has in the directory, which is a fit name already.
pub(super) fn pin_in(dir: &Path, kind: Kind, name: &str) -> std::path::PathBuf {
    dir.join(kind.dir()).join(name)
}

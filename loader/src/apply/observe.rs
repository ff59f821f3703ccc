//! Stage: apply. The kernel and bpffs → what there is of a deployment.
//!
//! Input: a deployment's name. Output: an [`Observed`] for the plan. Changes nothing. Read next: `../plan.rs`, `up.rs`.

use std::path::Path;

use super::error::Error;
use super::store;
use crate::lab::build;
use crate::link::Link;
use crate::manifest::Lab;
use crate::map::{Found, Map};
use crate::pin::{self, Bpffs, Kind};
use crate::plan::{Observed, SeenLink, SeenProg};
use crate::prog::Prog;

/// Looks at a deployment; `lab` is what its lab should be, if it should have one.
///
/// # Errors
/// What cannot be read; a deployment that is not there is no error.
pub fn observe(name: &str, lab: Option<&Lab>) -> Result<Observed, Error> {
    let Some(bpffs) = Bpffs::find()? else { return Ok(Observed::default()) };
    let dir = bpffs.deployment_path(name)?;
    let mut seen = Observed { bpffs: true, directory: dir.is_dir(), ..Observed::default() };
    if !seen.directory {
        return Ok(seen);
    }
    seen.record = store::read(&dir, name)?;
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
        seen.links.insert(pin, SeenLink { id: info.id, prog_id: info.prog_id, attached: info.is_attached() });
    }
    if let (Some(lab), Some(_)) = (lab, &seen.record) {
        seen.lab_damage = build::damage(name, lab)?;
    }
    Ok(seen)
}

/// A pin by the name it has in the directory, which is a fit name already.
pub(super) fn pin_in(dir: &Path, kind: Kind, name: &str) -> std::path::PathBuf {
    dir.join(kind.dir()).join(name)
}

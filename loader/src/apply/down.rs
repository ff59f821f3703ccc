//! Stage: apply. Takes a deployment away, and proves it.
//!
//! Input: a name. Output: a [`Removed`] with the ids of everything that is gone. What is there is read from bpffs, so this
//! also clears what a killed run left, whatever instant it was killed at. Read next: `status.rs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use asm::object::{AttachType, MapType, ProgType};
use serde::Serialize;

use super::drain::{Draining, holders};
use super::error::Error;
use super::observe::pin_in;
use super::record::{Record, Stage};
use super::{owner, privilege, store};
use crate::lab::{self, netns::Netns};
use crate::link::{Link, sockmap};
use crate::map::Map;
use crate::pin::{self, Bpffs, Kind};
use crate::prog::Prog;
use crate::sys::{self, Errno};

/// How long programs and maps may take to go, all together: the kernel frees them in the background.
const PATIENCE: Duration = Duration::from_secs(2);

/// After that long it is looked who holds them: there is nothing to wait for if a process does.
const SOON: Duration = Duration::from_millis(200);

/// What was taken away. Each id was looked for afterwards, and the kernel no longer knew it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The deployment.
    pub name: String,
    /// What systems did before, to lose nothing, in words.
    pub drained: Vec<String>,
    /// Links, by id.
    pub links: Vec<u32>,
    /// What was taken off the sockets of a map that had it without a link, in words.
    pub bare: Vec<String>,
    /// Programs, by id.
    pub progs: Vec<u32>,
    /// Maps, by id.
    pub maps: Vec<u32>,
    /// Namespaces, by name.
    pub namespaces: Vec<String>,
    /// The lab's cgroup, with those in it.
    pub cgroup: Option<PathBuf>,
    /// Processes that were in it and are elsewhere now, in words.
    pub moved: Vec<String>,
    /// What is left and why, in words: programs and maps that somebody else holds.
    pub left: Vec<String>,
}

/// The names of the deployments that have pins.
///
/// # Errors
/// When bpffs cannot be read.
pub fn deployments() -> Result<Vec<String>, Error> {
    match Bpffs::find()? {
        Some(bpffs) => Ok(bpffs.deployments()?),
        None => Ok(Vec::new()),
    }
}

/// Takes a deployment away, after its systems have let go of what they hold for others.
///
/// # Errors
/// [`Error::NoDeployment`], a lock that somebody else holds, a system that cannot let go (then all is as before), and what the kernel
/// refuses; then another `down` goes on where this one stopped.
pub fn down(name: &str, draining: Draining<'_>) -> Result<Removed, Error> {
    privilege::check("loader down", false)?;
    let there = deployments()?;
    let bpffs = Bpffs::find()?.filter(|_| there.iter().any(|other| other == name));
    let Some(bpffs) = bpffs else { return Err(Error::NoDeployment { name: name.to_owned(), there }) };
    let lock = bpffs.lock(name)?;
    let (record, unread) = match store::read(lock.path(), name) {
        Ok(record) => (record, None),
        // It must not keep its pins alive; only the names of the lab's namespaces are lost with it.
        Err(error) => (None, Some(format!("{error}: namespaces of a lab, if there was one, are left (`ip netns`)"))),
    };
    let mut removed = clear(name, lock.path(), record.as_ref(), draining)?;
    removed.left.extend(unread);
    lock.remove_if_empty()?;
    Ok(removed)
}

/// Takes away everything below a locked directory, the lab included; the directory itself stays.
pub(super) fn clear(name: &str, dir: &Path, record: Option<&Record>, draining: Draining<'_>) -> Result<Removed, Error> {
    let mut removed = Removed { name: name.to_owned(), drained: drain(dir, record, draining)?, ..Removed::default() };
    for pin in pin::list(dir, Kind::Link)? {
        removed.links.extend(detach(&pin_in(dir, Kind::Link, &pin))?);
    }
    removed.bare = detach_bare(dir)?;
    let namespaces = record.and_then(|record| record.lab.as_ref()).map(|lab| &lab.namespaces);
    for netns in namespaces.into_iter().flat_map(|all| all.values()) {
        if Netns::delete(netns).map_err(lab::build::Error::from)? {
            removed.namespaces.push(netns.clone());
        }
    }
    if let Some(cgroup) = record.and_then(|record| record.lab.as_ref()?.cgroup.as_ref()).filter(|path| path.exists()) {
        removed.moved = lab::cgroup::remove(cgroup).map_err(lab::build::Error::from)?;
        removed.cgroup = Some(cgroup.clone());
    }
    let progs = unpin_all(dir, Kind::Prog, |path| Prog::from_pin(path).and_then(|prog| prog.id()).ok())?;
    let maps =
        unpin_all(dir, Kind::Map, |path| Map::from_pin(path).and_then(|map| map.info()).map(|info| info.id).ok())?;
    let of = |kind| move |id: &u32| (kind, *id);
    let all: Vec<Object> =
        progs.iter().map(of(sys::obj::Kind::Prog)).chain(maps.iter().map(of(sys::obj::Kind::Map))).collect();
    let left = forgotten(&all)?;
    let gone = |kind, ids: Vec<u32>| ids.into_iter().filter(|id| !left.contains(&(kind, *id))).collect();
    removed.progs = gone(sys::obj::Kind::Prog, progs);
    removed.maps = gone(sys::obj::Kind::Map, maps);
    removed.left = left.into_iter().map(lives_on).collect();
    store::remove(dir)?;
    Ok(removed)
}

/// A program or a map, by its id.
type Object = (sys::obj::Kind, u32);

/// Waits until the kernel has forgotten these; returns those that it does not forget.
fn forgotten(all: &[Object]) -> Result<Vec<Object>, Error> {
    let begin = Instant::now();
    let left = still_there(all, begin + SOON)?;
    // What a process holds may hold the others.
    if left.iter().any(|one| !holders_of(*one).is_empty()) {
        return Ok(left);
    }
    still_there(&left, begin + PATIENCE)
}

fn still_there(all: &[Object], patience: Instant) -> Result<Vec<Object>, Error> {
    let mut left = Vec::new();
    for &(kind, id) in all {
        if !prove_gone(kind, id, patience)? {
            left.push((kind, id));
        }
    }
    Ok(left)
}

/// Has all systems let go. Whoever finds this interrupted must not take it for what `up` has left.
fn drain(dir: &Path, record: Option<&Record>, draining: Draining<'_>) -> Result<Vec<String>, Error> {
    let Some(record) = record.filter(|record| !holders(draining.systems, Some(record)).is_empty()) else {
        return Ok(Vec::new());
    };
    store::write(dir, &Record { stage: Stage::Changing, ..record.clone() })?;
    let drained = draining.drain_all(dir, Some(record));
    if drained.is_err() {
        store::write(dir, record)?;
    }
    drained
}

/// Removes a link's pin, closes it, and makes sure that the kernel no longer knows it; returns its id.
pub(super) fn detach(path: &Path) -> Result<Option<u32>, Error> {
    let Ok(link) = Link::from_pin(path) else {
        store::forget(path)?; // no link: nothing to detach
        return Ok(None);
    };
    store::forget(path)?;
    Ok(Some(link.close_proven()?))
}

/// Takes programs off the sockets of our maps where they are without a link. A map names no pin, so every program that could
/// be there is tried: the kernel takes off only the very one. The second refusal is the proof that it is gone.
fn detach_bare(dir: &Path) -> Result<Vec<String>, Error> {
    let open = |kind| pin::list(dir, kind).map(move |pins| pins.into_iter().map(move |pin| pin_in(dir, kind, &pin)));
    let maps: Vec<Map> = open(Kind::Map)?.filter_map(|path| Map::from_pin(path).ok()).collect();
    let mut gone = Vec::new();
    for prog in open(Kind::Prog)?.filter_map(|path| Prog::from_pin(path).ok()) {
        let kinds = match prog.info()?.prog_type {
            ProgType::SK_MSG => &[AttachType::SK_MSG_VERDICT][..],
            ProgType::SK_SKB => {
                &[AttachType::SK_SKB_STREAM_PARSER, AttachType::SK_SKB_STREAM_VERDICT, AttachType::SK_SKB_VERDICT]
            }
            _ => continue,
        };
        for map in maps.iter().filter(|map| matches!(map.map_type(), MapType::SOCKMAP | MapType::SOCKHASH)) {
            for kind in kinds {
                if sockmap::detach(&prog, map, *kind).is_ok() && sockmap::detach(&prog, map, *kind).is_err() {
                    gone.push(format!("{} off the sockets of {}", prog.name(), map.name()));
                }
            }
        }
    }
    Ok(gone)
}

fn unpin_all(dir: &Path, kind: Kind, id: impl Fn(&Path) -> Option<u32>) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    for pin in pin::list(dir, kind)? {
        let path = pin_in(dir, kind, &pin);
        ids.extend(id(&path));
        store::forget(&path)?;
    }
    Ok(ids)
}

/// Waits for the kernel to forget an id; `false` when it does not.
fn prove_gone(kind: sys::obj::Kind, id: u32, patience: Instant) -> Result<bool, Error> {
    loop {
        match sys::obj::fd_by_id(kind, id) {
            Err(Errno::ENOENT) => return Ok(true),
            Err(errno) if errno != Errno::EAGAIN => return Err(pin_error(kind, id, errno)),
            _ if Instant::now() > patience => return Ok(false),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn pin_error(kind: sys::obj::Kind, id: u32, source: Errno) -> Error {
    match kind {
        sys::obj::Kind::Map => Error::Map(crate::map::Error::NoId { id, source }),
        _ => Error::Prog(crate::prog::Error::NoId { id, source }),
    }
}

/// The processes that have it open.
fn holders_of((kind, id): Object) -> Vec<(u32, String)> {
    let key = if let sys::obj::Kind::Map = kind { "map_id" } else { "prog_id" };
    owner::processes(&format!("{key}:\t{id}"))
}

fn lives_on((kind, id): Object) -> String {
    let what = if let sys::obj::Kind::Map = kind { "map" } else { "program" };
    let by: Vec<_> = holders_of((kind, id)).iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
    let by = if by.is_empty() {
        "somebody: another pin or program".to_owned()
    } else {
        format!("process {}", by.join(", "))
    };
    format!("{what} {id} lives on, held by {by}")
}

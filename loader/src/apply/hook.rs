//! Stage: apply. One hook: an interface in a namespace and who is on it, a cgroup, a place that the program itself names.
//!
//! Input: a [`WantedLink`] and the thread's own namespace. Output: a link with the mode that was negotiated, or the reason.
//! All of it works in the network namespace of the calling thread. Read next: `undo.rs`.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use asm::object::{AttachType, ProgType};
use netlink::route::{Link as NetLink, Mode as NetMode, Replace, Socket, Xdp};

use super::error::Error;
use super::owner::Owner;
use super::record::{LinkRecord, Refusal};
use crate::link::cgroup::Cgroup;
use crate::link::sockmap::{self, Attachment};
use crate::link::xdp::{self, Attempt, Mode, XdpOptions};
use crate::link::{self, Link, netns, occupants, tcx, tracing};
use crate::manifest::Hook;
use crate::map::Map;
use crate::plan::{WantedLink, hook_name};
use crate::prog::Prog;

/// Finds an interface by its name.
fn find(rt: &mut Socket, wanted: &WantedLink, iface: &str) -> Result<NetLink, Error> {
    let at = hook_name(wanted.host.as_deref(), iface);
    let links = rt.links().map_err(|source| net("list the interfaces", source))?;
    let there = links.iter().map(|link| link.name.clone()).collect();
    let found = links.into_iter().find(|link| link.name == iface);
    found.ok_or_else(|| Error::NoInterface { place: wanted.place.clone(), at, there })
}

/// Looks whether the hook can be had: what it is on is there, and no program of somebody else is in the way.
pub(super) fn check(wanted: &WantedLink, ours: &[u32]) -> Result<(), Error> {
    match &wanted.hook {
        Hook::Xdp { iface, .. } => {
            let mut rt = open()?;
            let iface = find(&mut rt, wanted, iface)?;
            match foreign(&iface.xdp, ours) {
                Some(id) if !wanted.displace => Err(is_foreign(&mut rt, wanted, iface.ifindex, id)),
                _ => Ok(()),
            }
        }
        Hook::Tcx { iface, .. } => find(&mut open()?, wanted, iface).map(drop),
        Hook::Cgroup { path } => Cgroup::open(path).map(drop).map_err(|source| refused(wanted, source)),
        Hook::Sockmap { .. } | Hook::Auto => Ok(()),
    }
}

/// A program now on its hook.
pub(super) struct Attached {
    /// What keeps it there; `None` where the kernel has no link for it, and the map does.
    pub(super) link: Option<Link>,
    /// What to write down about it.
    pub(super) record: LinkRecord,
    /// Whose place it took, if the manifest allowed that.
    pub(super) displaced: Vec<Displaced>,
}

/// Somebody else's program that was taken off, held so that it can be put back.
pub(super) struct Displaced {
    ifindex: u32,
    prog: Prog,
    mode: NetMode,
    words: String,
}

/// What a hook is on that only the deployment knows.
#[derive(Default)]
pub(super) struct On {
    /// The map whose sockets.
    pub(super) map: Option<Map>,
    /// The lab's cgroup.
    pub(super) cgroup: Option<PathBuf>,
}

/// Attaches a program; to a hook with modes in the first one that is granted.
pub(super) fn attach(prog: &Prog, wanted: &WantedLink, on: &On) -> Result<Attached, Error> {
    let link = match &wanted.hook {
        Hook::Xdp { iface, modes } => return attach_xdp(prog, wanted, iface, modes),
        Hook::Tcx { iface, .. } => {
            let iface = find(&mut open()?, wanted, iface)?;
            tcx::attach(prog, iface.ifindex, wanted.attach_type)
        }
        Hook::Cgroup { path } => {
            let path = on.cgroup.as_ref().unwrap_or(path);
            Cgroup::open(path).and_then(|cgroup| cgroup.attach(prog, wanted.attach_type))
        }
        Hook::Sockmap { map: name } => {
            let Some(map) = &on.map else { return Err(refused(wanted, NoMap { name: name.clone() })) };
            let attached = sockmap::attach(prog, map, wanted.attach_type).map_err(|source| refused(wanted, source))?;
            let (link, bare) = match attached {
                Attachment::Link(link) => (Some(link), false),
                Attachment::Bare => (None, true),
            };
            let record = LinkRecord { bare, ..record(wanted, None, Vec::new()) };
            return Ok(Attached { link, record, displaced: Vec::new() });
        }
        Hook::Auto => attach_auto(prog, wanted),
    };
    let link = link.map_err(|source| refused(wanted, source))?;
    Ok(Attached { link: Some(link), record: record(wanted, None, Vec::new()), displaced: Vec::new() })
}

/// The map that an attachment names is not among those of the deployment.
#[derive(Debug, thiserror::Error)]
#[error("there is no map {name}")]
struct NoMap {
    name: String,
}

/// To the place that the program's section names.
fn attach_auto(prog: &Prog, wanted: &WantedLink) -> Result<Link, link::Error> {
    let info = prog.info().map(|info| info.prog_type);
    match (info, &wanted.target) {
        (Ok(ProgType::SK_LOOKUP), _) => netns::attach_here(prog, wanted.attach_type),
        (Ok(ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE), Some(name)) => {
            tracing::attach_raw_tracepoint(prog, &CString::new(name.as_str()).unwrap_or_default())
        }
        _ if wanted.attach_type == AttachType::TRACE_ITER => tracing::attach_iter(prog),
        _ => tracing::attach(prog),
    }
}

fn attach_xdp(prog: &Prog, wanted: &WantedLink, iface: &str, modes: &[Mode]) -> Result<Attached, Error> {
    let mut rt = open()?;
    let iface = find(&mut rt, wanted, iface)?;
    let there = match foreign(&iface.xdp, &[]) {
        Some(id) if !wanted.displace => return Err(is_foreign(&mut rt, wanted, iface.ifindex, id)),
        Some(_) => hold(&mut rt, iface.ifindex)?,
        None => Vec::new(),
    };
    let options = XdpOptions { modes: modes.to_vec(), displace: wanted.displace };
    let negotiated = xdp::attach(prog, iface.ifindex, &options).map_err(|source| refused(wanted, source))?;
    let refused = negotiated.attempts.iter().filter_map(refusal).collect();
    let record = record(wanted, Some(negotiated.mode), refused);
    let gone = |one: &Displaced| negotiated.displaced.iter().any(|o| one.prog.id().is_ok_and(|id| id == o.prog_id));
    let displaced = there.into_iter().filter(gone).collect();
    Ok(Attached { link: Some(negotiated.link), record, displaced })
}

fn refused(wanted: &WantedLink, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Attach {
        place: wanted.place.clone(),
        program: wanted.program.clone(),
        at: hook_name(wanted.host.as_deref(), &wanted.hook),
        source: Box::new(source),
    }
}

/// The record of a link that is there already, with the mode that the interface says.
pub(super) fn look(wanted: &WantedLink, prog_id: u32, before: Option<&LinkRecord>) -> Result<LinkRecord, Error> {
    let got = match &wanted.hook {
        Hook::Xdp { iface, .. } => {
            let iface = find(&mut open()?, wanted, iface)?;
            modes(&iface.xdp).into_iter().find(|(id, _)| *id == prog_id).map(|(_, mode)| mode)
        }
        _ => None,
    };
    let refused = before.map(|before| before.refused.clone()).unwrap_or_default();
    let bare = before.is_some_and(|before| before.bare);
    Ok(LinkRecord { bare, ..record(wanted, got, refused) })
}

fn record(wanted: &WantedLink, got: Option<Mode>, refused: Vec<Refusal>) -> LinkRecord {
    LinkRecord {
        program: wanted.program.clone(),
        host: wanted.host.clone(),
        hook: wanted.hook.clone(),
        attach_type: wanted.attach_type.0,
        target: wanted.target.clone(),
        got,
        refused,
        bare: false,
    }
}

fn refusal(attempt: &Attempt) -> Option<Refusal> {
    let errno = attempt.refused?;
    let words = attempt.words.as_ref().map_or_else(|| errno.to_string(), |words| format!("{words} ({})", errno.name()));
    Some(Refusal { mode: attempt.mode, words })
}

const MODES: [(NetMode, Mode); 3] =
    [(NetMode::Offload, Mode::Offload), (NetMode::Native, Mode::Native), (NetMode::Generic, Mode::Generic)];

/// The programs on an interface with their modes.
pub(super) fn modes(xdp: &Xdp) -> Vec<(u32, Mode)> {
    MODES.into_iter().filter_map(|(asked, mode)| Some((xdp.prog_in(asked)?, mode))).collect()
}

/// A program on the interface that is none of `ours`. A program in the device shares no hook with the others.
pub(super) fn foreign(xdp: &Xdp, ours: &[u32]) -> Option<u32> {
    let other = |(id, mode): &(u32, Mode)| *mode != Mode::Offload && !ours.contains(id);
    modes(xdp).into_iter().find(other).map(|(id, _)| id)
}

fn is_foreign(rt: &mut Socket, wanted: &WantedLink, ifindex: u32, prog_id: u32) -> Error {
    match Owner::find(rt, ifindex, prog_id) {
        Ok(owner) => Error::Foreign {
            at: hook_name(wanted.host.as_deref(), &wanted.hook),
            owner: Box::new(owner),
            place: wanted.place.clone(),
        },
        Err(error) => error,
    }
}

/// Holds the programs that are about to be displaced: a program that was attached over netlink lives by its hook alone.
fn hold(rt: &mut Socket, ifindex: u32) -> Result<Vec<Displaced>, Error> {
    let there = occupants(rt, ifindex).map_err(|source| net("look at the other program", source))?;
    let mut held = Vec::new();
    for occupant in there {
        let Some((mode, _)) = MODES.into_iter().find(|(_, mode)| *mode == occupant.mode) else { continue };
        let prog = Prog::from_id(occupant.prog_id)?;
        held.push(Displaced { ifindex, prog, mode, words: format!("took off {occupant}, as `displace = true` says") });
    }
    Ok(held)
}

impl Displaced {
    /// Puts the program back on its hook, in the network namespace of the calling thread.
    pub(super) fn put_back(&self) -> Result<(), Error> {
        let back = open()?.xdp_attach(self.ifindex, self.prog.as_fd(), self.mode, Replace::IfNone);
        back.map_err(|source| net("put the other program back", source))
    }

    /// What was taken off, in words.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

fn open() -> Result<Socket, Error> {
    Socket::open().map_err(|source| net("open netlink", source))
}

pub(super) fn net(what: &str, source: netlink::Error) -> Error {
    Error::Net { what: format!("cannot {what}"), source: Box::new(source) }
}

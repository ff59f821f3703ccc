//! Stage: apply. One hook: an interface in a namespace, and who is on it.
//!
//! Input: a [`WantedLink`] and the thread's own namespace. Output: a link with the mode that was negotiated, or the reason.
//! All of it works in the network namespace of the calling thread. Read next: `undo.rs`.

use std::os::fd::AsFd;

use netlink::route::{Link as NetLink, Mode as NetMode, Replace, Socket, Xdp};

use super::error::Error;
use super::owner::Owner;
use super::record::{LinkRecord, Refusal};
use crate::link::occupants;
use crate::link::xdp::{self, Attempt, Mode, Negotiated, XdpOptions};
use crate::plan::{WantedLink, hook_name};
use crate::prog::Prog;

/// Finds the interface of a hook.
fn find(rt: &mut Socket, wanted: &WantedLink) -> Result<NetLink, Error> {
    let at = hook_name(wanted.host.as_deref(), &wanted.iface);
    let links = rt.links().map_err(|source| net("list the interfaces", source))?;
    let there = links.iter().map(|link| link.name.clone()).collect();
    let found = links.into_iter().find(|link| link.name == wanted.iface);
    found.ok_or_else(|| Error::NoInterface { place: wanted.place.clone(), at, there })
}

/// Looks whether the hook can be had: the interface is there, and no program of somebody else is on it.
pub(super) fn check(wanted: &WantedLink, ours: &[u32]) -> Result<(), Error> {
    let mut rt = open()?;
    let iface = find(&mut rt, wanted)?;
    match foreign(&iface.xdp, ours) {
        Some(id) if !wanted.displace => Err(is_foreign(&mut rt, wanted, iface.ifindex, id)),
        _ => Ok(()),
    }
}

/// A program now on its hook.
pub(super) struct Attached {
    /// The link, and each mode that was tried.
    pub(super) negotiated: Negotiated,
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

/// Attaches a program in the first mode that is granted.
pub(super) fn attach(prog: &Prog, wanted: &WantedLink) -> Result<Attached, Error> {
    let mut rt = open()?;
    let iface = find(&mut rt, wanted)?;
    let there = match foreign(&iface.xdp, &[]) {
        Some(id) if !wanted.displace => return Err(is_foreign(&mut rt, wanted, iface.ifindex, id)),
        Some(_) => hold(&mut rt, iface.ifindex)?,
        None => Vec::new(),
    };
    let options = XdpOptions { modes: wanted.modes.clone(), displace: wanted.displace };
    let negotiated = xdp::attach(prog, iface.ifindex, &options).map_err(|source| Error::Attach {
        place: wanted.place.clone(),
        program: wanted.program.clone(),
        at: hook_name(wanted.host.as_deref(), &wanted.iface),
        source: Box::new(source),
    })?;
    let refused = negotiated.attempts.iter().filter_map(refusal).collect();
    let record = record(wanted, iface.ifindex, Some(negotiated.mode), refused);
    let gone = |one: &Displaced| negotiated.displaced.iter().any(|o| one.prog.id().is_ok_and(|id| id == o.prog_id));
    let displaced = there.into_iter().filter(gone).collect();
    Ok(Attached { negotiated, record, displaced })
}

/// The record of a link that is there already, with the mode that the interface says.
pub(super) fn look(wanted: &WantedLink, prog_id: u32, before: Option<&LinkRecord>) -> Result<LinkRecord, Error> {
    let iface = find(&mut open()?, wanted)?;
    let got = modes(&iface.xdp).into_iter().find(|(id, _)| *id == prog_id).map(|(_, mode)| mode);
    let refused = before.map(|before| before.refused.clone()).unwrap_or_default();
    Ok(record(wanted, iface.ifindex, got, refused))
}

fn record(wanted: &WantedLink, ifindex: u32, got: Option<Mode>, refused: Vec<Refusal>) -> LinkRecord {
    LinkRecord {
        program: wanted.program.clone(),
        host: wanted.host.clone(),
        iface: wanted.iface.clone(),
        ifindex,
        wanted: wanted.modes.clone(),
        got,
        refused,
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
            at: hook_name(wanted.host.as_deref(), &wanted.iface),
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

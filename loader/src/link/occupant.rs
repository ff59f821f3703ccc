//! Stage: attachment. Input: an interface. Output: whose XDP programs are on it, and how to make way for another.
//! Read next: `xdp.rs`.

use std::fmt;
use std::os::fd::AsFd;

use netlink::route::{Replace, Socket};

use super::xdp::{Error, Mode};
use super::{Info, Link};
use crate::prog::Prog;
use crate::sys::obj::{Kind, ids};
use crate::sys::uapi::LinkType;

/// A program that is on an interface.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Occupant {
    /// The interface.
    pub ifindex: u32,
    /// The mode it is attached in.
    pub mode: Mode,
    /// Its id.
    pub prog_id: u32,
    /// Its name, if the kernel told.
    pub name: Option<String>,
    /// The links that attach this program to an interface of this index. One, unless the same program is on
    /// interfaces of this index in several network namespaces; none if it was attached by netlink.
    pub links: Vec<u32>,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {}", self.prog_id)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        write!(f, " in {} mode", self.mode)?;
        match self.links.as_slice() {
            [] => f.write_str(", attached by netlink"),
            [link] => write!(f, ", attached by link {link}"),
            links => write!(f, ", attached by one of the links {links:?}"),
        }
    }
}

/// The programs on an interface of the socket's network namespace, in all modes.
///
/// # Errors
///
/// What the kernel says if the interface is not there.
pub fn occupants(rt: &mut Socket, ifindex: u32) -> Result<Vec<Occupant>, netlink::Error> {
    let xdp = rt.link_by_index(ifindex)?.xdp;
    let there = Mode::ALL.into_iter().filter_map(|mode| Some((mode, xdp.prog_in(mode.netlink())?)));
    Ok(there
        .map(|(mode, prog_id)| Occupant {
            ifindex,
            mode,
            prog_id,
            name: Prog::from_id(prog_id).ok().map(|prog| prog.name().to_owned()),
            links: links_of(prog_id, ifindex),
        })
        .collect())
}

/// The XDP links of a program on interfaces of this index.
fn links_of(prog_id: u32, ifindex: u32) -> Vec<u32> {
    let infos = ids(Kind::Link).unwrap_or_default().into_iter().filter_map(|id| Link::from_id(id).ok()?.info().ok());
    let here =
        |info: &Info| info.link_type == LinkType::XDP && info.prog_id == prog_id && info.ifindex == Some(ifindex);
    infos.filter(here).map(|info| info.id).collect()
}

impl Occupant {
    /// Takes the program off: by detaching its link, or over netlink if it has none. Then the program is returned, so
    /// that it lives on and can be put back.
    pub(super) fn remove(&self, rt: &mut Socket) -> Result<Option<Prog>, Error> {
        let failed = |source| Error::Displace { occupant: self.clone(), source };
        match self.links.as_slice() {
            [] => {
                let prog = Prog::from_id(self.prog_id).map_err(|source| failed(Box::new(source)))?;
                rt.xdp_detach(self.ifindex, self.mode.netlink(), Some(prog.as_fd()))
                    .map_err(|source| failed(Box::new(source)))?;
                Ok(Some(prog))
            }
            [link] => {
                let link = Link::from_id(*link).map_err(|source| failed(Box::new(source)))?;
                // The owner may keep the empty link; what counts is that the hook is free.
                link.detach().map_err(|source| failed(Box::new(source)))?;
                Ok(None)
            }
            _ => Err(failed("several links could be the one, in different network namespaces".into())),
        }
    }

    /// Puts a program back that netlink had attached. A link that was detached is its owner's to make again.
    pub(super) fn restore(&self, rt: &mut Socket, prog: &Prog) {
        drop(rt.xdp_attach(self.ifindex, prog.as_fd(), self.mode.netlink(), Replace::IfNone));
    }
}

//! Stage: apply. Whose program is on a hook: its name, who holds it, where it is pinned.
//!
//! Input: a program's id and its interface. Output: an [`Owner`], which prints as a sentence for an error message. Read next: `up.rs`.

use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use netlink::route::Socket;
use serde::Serialize;

use super::error::Error;
use super::hook::net;
use crate::link::xdp::Mode;
use crate::link::{Link, Occupant, occupants};
use crate::pin::{self, BPFFS, Kind};
use crate::prog::Prog;
use crate::sys;

/// How deep bpffs is searched for the program's pin.
const DEPTH: usize = 8;

/// What can be found out about a program that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The program and how it is attached.
    pub occupant: Occupant,
    /// The user who loaded it.
    pub uid: Option<u32>,
    /// The processes that hold it, with their names.
    pub processes: Vec<(u32, String)>,
    /// Where it, or its link, is pinned.
    pub pins: Vec<PathBuf>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.occupant)?;
        if let Some(uid) = self.uid {
            write!(f, ", loaded by user {uid}")?;
        }
        for (pid, name) in &self.processes {
            write!(f, ", held by process {pid} ({name})")?;
        }
        for pin in &self.pins {
            write!(f, ", pinned at {}", pin.display())?;
        }
        Ok(())
    }
}

impl Owner {
    /// Finds out what there is to know about a program on an interface of the socket's namespace; what cannot be read is
    /// left out.
    pub(super) fn find(rt: &mut Socket, ifindex: u32, prog_id: u32) -> Result<Self, Error> {
        let there = occupants(rt, ifindex).map_err(|source| net("look whose program is there", source))?;
        let none = Occupant { ifindex, mode: Mode::Native, prog_id, name: None, links: Vec::new() };
        let occupant = there.into_iter().find(|occupant| occupant.prog_id == prog_id).unwrap_or(none);
        let mut pins = Vec::new();
        search_pins(Path::new(BPFFS), DEPTH, prog_id, &mut pins);
        let uid = Prog::from_id(prog_id).and_then(|prog| prog.info()).map(|info| info.created_by_uid).ok();
        Ok(Self { occupant, uid, processes: processes(&format!("prog_id:\t{prog_id}")), pins })
    }
}

/// The other processes that have a descriptor whose `fdinfo` has this line.
pub(super) fn processes(line: &str) -> Vec<(u32, String)> {
    let own = std::process::id();
    let pids = list(Path::new("/proc")).filter_map(|path| path.file_name()?.to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        list(Path::new(&format!("/proc/{pid}/fdinfo")))
            .any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|seen| seen == line)))
    };
    let name = |pid: u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        (pid, comm.trim_end().to_owned())
    };
    pids.filter(|pid| *pid != own).filter(holds).map(name).collect()
}

fn search_pins(dir: &Path, depth: usize, prog_id: u32, found: &mut Vec<PathBuf>) {
    for path in list(dir) {
        if path.is_dir() {
            if depth > 0 {
                search_pins(&path, depth - 1, prog_id, found);
            }
        } else if is_pin_of(&path, prog_id) {
            found.push(path);
        }
    }
}

fn is_pin_of(path: &Path, prog_id: u32) -> bool {
    let id = match pin::open(path, Kind::Prog) {
        Ok(fd) => sys::info::prog(fd.as_fd()).map(|info| info.id).ok(),
        Err(_) => Link::from_pin(path).and_then(|link| link.info()).map(|info| info.prog_id).ok(),
    };
    id == Some(prog_id)
}

/// The paths in a directory; none when it cannot be read.
fn list(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

//! Stage: apply. What a deployment wanted, what the kernel has, what belongs to others, and where they differ.
//!
//! Input: a name. Output: a [`Status`]. Changes nothing and takes no lock. Read next: `observe.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use netlink::route::{Link as NetLink, Socket};
use serde::Serialize;

use super::error::Error;
use super::observe::{observe, pin_in};
use super::owner::Owner;
use super::record::{LinkRecord, Record, Refusal, Stage};
use super::{drain, hook, privilege};
use crate::lab::build;
use crate::lab::netns::Netns;
use crate::link::xdp::Mode;
use crate::manifest::Hook;
use crate::map::Map;
use crate::pin::{Bpffs, Kind};
use crate::plan::{Observed, hook_name};
use crate::prog::Prog;
use crate::system::{Counters, System};

/// A deployment as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Whether its last change was finished; `None` without a record.
    pub stage: Option<Stage>,
    /// The manifest it came from.
    pub manifest: Option<PathBuf>,
    /// Its programs.
    pub programs: Vec<ProgStatus>,
    /// Its maps.
    pub maps: Vec<MapStatus>,
    /// Its attachments.
    pub links: Vec<LinkStatus>,
    /// The namespaces of its lab, by host.
    pub namespaces: BTreeMap<String, String>,
    /// What its systems count, by system.
    pub counters: BTreeMap<String, Counters>,
    /// Optional programs and attachments that the kernel refused, by pin name, in its words.
    pub left_out: BTreeMap<String, String>,
    /// Where the kernel is not as the deployment left it, in words.
    pub drift: Vec<String>,
    /// Programs of others on its interfaces, in words.
    pub foreign: Vec<String>,
}

/// A pinned program.
#[derive(Debug, Clone, Serialize)]
pub struct ProgStatus {
    /// Its pin's name.
    pub pin: String,
    /// The object it came from.
    pub object: Option<String>,
    /// The kernel's id.
    pub id: u32,
    /// The kernel's tag in hex.
    pub tag: String,
    /// Instructions, of 8 bytes, after relocation.
    pub insns: u32,
    /// Machine code, in bytes; 0 when it is interpreted.
    pub jited_bytes: u32,
    /// How often it ran while statistics were on.
    pub run_count: u64,
    /// How long that took, in nanoseconds.
    pub run_time_ns: u64,
}

/// A pinned map.
#[derive(Debug, Clone, Serialize)]
pub struct MapStatus {
    /// Its pin's name.
    pub pin: String,
    /// The kernel's id.
    pub id: u32,
    /// Its type, such as `hash`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
}

/// An attachment.
#[derive(Debug, Clone, Serialize)]
pub struct LinkStatus {
    /// Its pin's name.
    pub pin: String,
    /// The interface, with the lab's host before it.
    pub at: String,
    /// The program's pin.
    pub program: String,
    /// The link's id; `None` when it is gone, or was never one.
    pub id: Option<u32>,
    /// Whether the program is on its hook.
    pub attached: bool,
    /// The modes that were wished for, in order.
    pub wanted: Vec<Mode>,
    /// The mode it runs in now; `None` when it does not.
    pub mode: Option<Mode>,
    /// What was refused when it was attached, in the driver's words.
    pub refused: Vec<Refusal>,
}

/// Looks at a deployment.
///
/// # Errors
/// [`Error::NoDeployment`], and what cannot be read.
pub fn status(name: &str, systems: &[&dyn System]) -> Result<Status, Error> {
    privilege::check("loader status", false)?;
    let there = super::deployments()?;
    let bpffs = Bpffs::find()?.filter(|_| there.iter().any(|other| other == name));
    let Some(bpffs) = bpffs else { return Err(Error::NoDeployment { name: name.to_owned(), there }) };
    let dir = bpffs.deployment_path(name)?;
    let observed = observe(name, None, systems)?;
    let record = observed.record.clone();
    let mut drift = drift(record.as_ref(), &observed);
    let ours: Vec<u32> = observed.links.values().map(|link| link.prog_id).collect();
    let (mut links, mut foreign) = (Vec::new(), Vec::new());
    if let Some(record) = &record {
        for ground in grounds(record, &ours, &mut drift)? {
            foreign.extend(ground.foreign);
            let here = record.links.iter().filter(|(_, link)| link.host == ground.host);
            links.extend(here.map(|(pin, link)| link_status(pin, link, &observed, &ground.links)));
        }
        drift.extend(links.iter().filter_map(|link| mode_drift(link, record)));
    }
    Ok(Status {
        name: name.to_owned(),
        stage: record.as_ref().map(|record| record.stage),
        manifest: record.as_ref().map(|record| record.manifest.clone()),
        programs: programs(&dir, record.as_ref(), &observed)?,
        maps: maps(&dir, &observed)?,
        links,
        namespaces: record.as_ref().and_then(|r| r.lab.clone()).map(|lab| lab.namespaces).unwrap_or_default(),
        counters: counters(&dir, record.as_ref(), systems)?,
        left_out: record.as_ref().map(|record| record.left_out.clone()).unwrap_or_default(),
        drift,
        foreign,
    })
}

fn programs(dir: &Path, record: Option<&Record>, observed: &Observed) -> Result<Vec<ProgStatus>, Error> {
    let each = observed.progs.keys().map(|pin| {
        let info = Prog::from_pin(pin_in(dir, Kind::Prog, pin))?.info()?;
        Ok(ProgStatus {
            pin: pin.clone(),
            object: record.and_then(|record| record.progs.get(pin)).map(|prog| prog.object.clone()),
            id: info.id,
            tag: info.tag,
            insns: info.xlated_insns,
            jited_bytes: info.jited_bytes,
            run_count: info.run_count,
            run_time_ns: u64::try_from(info.run_time.as_nanos()).unwrap_or(u64::MAX),
        })
    });
    each.collect()
}

fn maps(dir: &Path, observed: &Observed) -> Result<Vec<MapStatus>, Error> {
    let each = observed.maps.keys().map(|pin| {
        let info = Map::from_pin(pin_in(dir, Kind::Map, pin))?.info()?;
        Ok(MapStatus {
            pin: pin.clone(),
            id: info.id,
            kind: info.map_type.to_string(),
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
        })
    });
    each.collect()
}

/// The interfaces of one namespace that the deployment works in, and the programs of others on them.
struct Ground {
    host: Option<String>,
    links: Vec<NetLink>,
    foreign: Vec<String>,
}

fn grounds(record: &Record, ours: &[u32], drift: &mut Vec<String>) -> Result<Vec<Ground>, Error> {
    let Some(lab) = &record.lab else { return Ok(vec![look(None, ours)?]) };
    // What is in no host: cgroups, sockets, tracepoints. The machine's own interfaces are no business of a lab.
    let mut all = vec![Ground { host: None, links: Vec::new(), foreign: Vec::new() }];
    for (host, name) in &lab.namespaces {
        match Netns::open(name).map_err(build::Error::from)? {
            Some(netns) => all.push(netns.run(|| look(Some(host), ours)).map_err(build::Error::from)??),
            None => {
                drift.push(format!("namespace {name} is gone"));
                all.push(Ground { host: Some(host.clone()), links: Vec::new(), foreign: Vec::new() });
            }
        }
    }
    Ok(all)
}

/// Looks around in the network namespace of the calling thread.
fn look(host: Option<&str>, ours: &[u32]) -> Result<Ground, Error> {
    let mut rt = Socket::open().map_err(|source| hook::net("open netlink", source))?;
    let links = rt.links().map_err(|source| hook::net("list the interfaces", source))?;
    let mut foreign = Vec::new();
    for link in &links {
        if let Some(id) = hook::foreign(&link.xdp, ours) {
            let owner = Owner::find(&mut rt, link.ifindex, id)?;
            foreign.push(format!("{}: {owner}", hook_name(host, &link.name)));
        }
    }
    Ok(Ground { host: host.map(str::to_owned), links, foreign })
}

fn link_status(pin: &str, link: &LinkRecord, observed: &Observed, ifaces: &[NetLink]) -> LinkStatus {
    let seen = observed.links.get(pin);
    let iface = ifaces.iter().find(|iface| matches!(&link.hook, Hook::Xdp { iface: name, .. } if *name == iface.name));
    let running = iface.map(|iface| hook::modes(&iface.xdp)).unwrap_or_default();
    LinkStatus {
        pin: pin.to_owned(),
        at: link.at(),
        program: link.program.clone(),
        id: seen.and_then(|seen| seen.id),
        attached: seen.is_some_and(|seen| seen.attached),
        wanted: link.hook.modes().to_vec(),
        mode: running.into_iter().find(|(id, _)| seen.is_some_and(|seen| seen.prog_id == *id)).map(|(_, mode)| mode),
        refused: link.refused.clone(),
    }
}

/// The differences that need no look at the interfaces.
fn drift(record: Option<&Record>, observed: &Observed) -> Vec<String> {
    let Some(record) = record else { return vec!["there are pins, but no record of what they are".to_owned()] };
    let mut drift = Vec::new();
    if record.stage == Stage::Changing {
        drift.push("the last `up` was interrupted, or is at work".to_owned());
    }
    for (pin, prog) in &record.progs {
        match observed.progs.get(pin) {
            None => drift.push(format!("progs/{pin} is gone")),
            Some(seen) if seen.tag != prog.tag => drift.push(format!("progs/{pin} has other instructions")),
            Some(_) => {}
        }
    }
    drift.extend(
        record.maps.iter().filter(|pin| !observed.maps.contains_key(*pin)).map(|pin| format!("maps/{pin} is gone")),
    );
    for (pin, link) in &record.links {
        let at = link.at();
        let pinned = observed.progs.get(&link.program).map(|prog| prog.id);
        match observed.links.get(pin) {
            None => drift.push(format!("{at}: {} is not attached, its link is gone", link.program)),
            Some(seen) if !seen.attached => drift.push(format!("{at} is gone, or the link was detached")),
            Some(seen) if Some(seen.prog_id) != pinned => {
                drift.push(format!("{at} runs program {}, not {}", seen.prog_id, link.program));
            }
            Some(_) => {}
        }
    }
    let known = |kind: &str, pin: &String| match kind {
        "progs" => record.progs.contains_key(pin),
        "maps" => record.maps.contains(pin),
        _ => record.links.contains_key(pin),
    };
    let seen = observed.progs.keys().map(|pin| ("progs", pin));
    let seen = seen.chain(observed.maps.keys().map(|pin| ("maps", pin)));
    let seen = seen.chain(observed.links.keys().map(|pin| ("links", pin)));
    drift.extend(seen.filter(|(kind, pin)| !known(kind, pin)).map(|(kind, pin)| format!("{kind}/{pin} is not ours")));
    drift
}

fn mode_drift(link: &LinkStatus, record: &Record) -> Option<String> {
    let got = record.links.get(&link.pin)?.got?;
    let now = link.mode?;
    (got != now).then(|| format!("{} runs in {now} mode, it was attached in {got}", link.at))
}

fn counters(dir: &Path, record: Option<&Record>, systems: &[&dyn System]) -> Result<BTreeMap<String, Counters>, Error> {
    let mut all = BTreeMap::new();
    for object in record.iter().flat_map(|record| &record.objects) {
        let Some(system) = systems.iter().find(|system| system.name() == object.name) else { continue };
        let maps = drain::pinned_maps(dir, &object.name)?;
        let failed = |source| Error::System { object: object.name.clone(), step: "reading its counters", source };
        let counters = system.counters(&object.config, &maps).map_err(failed)?;
        if !counters.values.is_null() {
            all.insert(object.name.clone(), counters);
        }
    }
    Ok(all)
}

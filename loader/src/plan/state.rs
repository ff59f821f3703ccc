//! Stage: plan. The two sides that are compared: what the manifest wants, and what the kernel has. Plain data.
//!
//! Input: `apply/prepare.rs` makes the one, `apply/observe.rs` the other. Output: to `../plan.rs`. Read next: `step.rs`.

use std::collections::{BTreeMap, BTreeSet};

use asm::object::AttachType;

use crate::apply::contents::Contents;
use crate::apply::record::Record;
use crate::manifest::lab::Lab;
use crate::manifest::{Hook, OnMismatch};
use crate::map;

/// A deployment as the manifest wants it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its objects, in the order of the manifest.
    pub objects: Vec<WantedObject>,
    /// Its attachments, in the order of the manifest.
    pub links: Vec<WantedLink>,
    /// Its lab.
    pub lab: Option<Lab>,
    /// SHA-256 of the lab's description without its trials, in hex; empty without a lab.
    pub lab_digest: String,
}

/// One object as it is wanted.
#[derive(Debug, Clone)]
pub struct WantedObject {
    /// Its name in the manifest.
    pub name: String,
    /// SHA-256 over its bytes and the sizes of its maps, in hex.
    pub digest: String,
    /// Its programs: pin name → name in the object.
    pub progs: BTreeMap<String, String>,
    /// Its maps by pin name.
    pub maps: BTreeMap<String, WantedMap>,
    /// Whether its maps refer to each other, so that all of them are kept or none: those of a system.
    pub maps_together: bool,
    /// The pin names of the programs that may be left out where the kernel refuses them.
    pub optional: BTreeSet<String>,
    /// What the manifest puts into its maps, beside its constants.
    pub contents: Contents,
    /// The same in words.
    pub contents_words: Vec<String>,
    /// Whether its system holds something for others, and so begins only when all of it is there.
    pub drains: bool,
    /// The configuration of its system, which goes into its maps; `null` for objects without a system.
    pub config: serde_json::Value,
    /// The same in words.
    pub words: Vec<String>,
}

/// One map as it is wanted.
#[derive(Debug, Clone)]
pub struct WantedMap {
    /// Its name in the object.
    pub name: String,
    /// What it has to be.
    pub definition: map::Wanted,
    /// Whether one that is pinned already may be used again. Not, if the object itself fills it: constants, program arrays.
    pub may_be_kept: bool,
    /// SHA-256 of the values that the object gives its variables, in hex; `None` for other maps.
    pub initial: Option<String>,
    /// What becomes of one that is pinned already and is another.
    pub on_mismatch: OnMismatch,
    /// Where the manifest says so, or would: file, line, column.
    pub place: String,
}

/// One attachment as it is wanted.
#[derive(Debug, Clone)]
pub struct WantedLink {
    /// Its pin name.
    pub pin: String,
    /// The program's pin name.
    pub program: String,
    /// The lab's host.
    pub host: Option<String>,
    /// What it is attached to.
    pub hook: Hook,
    /// The attach type that goes with the program and the hook.
    pub attach_type: AttachType,
    /// The tracepoint or function that the program's section names.
    pub target: Option<String>,
    /// Whether somebody else's program may be taken off.
    pub displace: bool,
    /// Whether it may be left out where the kernel refuses it.
    pub optional: bool,
    /// Where the manifest says so: file, line, column.
    pub place: String,
}

/// What there is of a deployment now.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Whether bpffs is mounted.
    pub bpffs: bool,
    /// Whether the deployment has a directory, however empty.
    pub directory: bool,
    /// What the deployment wrote down; `None` when it never was, or when `up` died before it wrote anything.
    pub record: Option<Record>,
    /// Pinned programs: pin name → what the kernel says.
    pub progs: BTreeMap<String, SeenProg>,
    /// Pinned maps: pin name → what the kernel says.
    pub maps: BTreeMap<String, map::Found>,
    /// Pinned links: pin name → what the kernel says.
    pub links: BTreeMap<String, SeenLink>,
    /// What is wrong with the lab, in words; `None` when all of it stands.
    pub lab_damage: Option<String>,
    /// The objects whose systems hold something for others, and let go of it before their programs change.
    pub holders: Vec<String>,
}

/// A pinned program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenProg {
    /// The kernel's id.
    pub id: u32,
    /// The kernel's tag in hex.
    pub tag: String,
}

/// A pinned link, or an attachment without one that the record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLink {
    /// The kernel's id; `None` for an attachment without a link, which has none.
    pub id: Option<u32>,
    /// The program it runs.
    pub prog_id: u32,
    /// Whether it is attached; not, when the interface or cgroup is gone or somebody detached it.
    pub attached: bool,
}

//! Stage: apply. What a deployment writes down about itself, in a small frozen map beside its pins.
//!
//! Input: what `up` is about to make, or has made. Output: a [`Record`], as JSON in the map's only value. Programs and
//! links are looked up in the kernel, never believed from here; the record holds what the kernel does not know: the
//! manifest's digests, the namespaces' names, what was negotiated. Read next: `observe.rs`, which compares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use crate::manifest::{Hook, Mode};
use crate::plan::hook_name;

/// The version of the record's form; a newer `loader` reads older ones, an older one refuses newer ones.
pub const VERSION: u32 = 3;

/// Where a deployment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// `up` or `down` is at work, or was interrupted: what is there may be any part of what is named here.
    Changing,
    /// `up` finished.
    Up,
}

/// What a deployment knows about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Whether the last change was finished.
    pub stage: Stage,
    /// The deployment's name.
    pub name: String,
    /// The manifest it came from, as an absolute path.
    pub manifest: PathBuf,
    /// The objects in the order of the manifest.
    pub objects: Vec<ObjectRecord>,
    /// The programs by pin name.
    pub progs: BTreeMap<String, ProgRecord>,
    /// The pin names of the maps.
    pub maps: Vec<String>,
    /// The attachments by pin name.
    pub links: BTreeMap<String, LinkRecord>,
    /// Optional programs and attachments that the kernel refused, by pin name, in its words.
    #[serde(default)]
    pub left_out: BTreeMap<String, String>,
    /// The lab, if there is one.
    pub lab: Option<LabRecord>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Its name in the manifest: a built-in system or a path.
    pub name: String,
    /// SHA-256 of the object's bytes, in hex.
    pub sha256: String,
    /// SHA-256 over the bytes and the sizes of its maps, in hex.
    pub digest: String,
    /// SHA-256 of the values that the object gives its variables, in hex, by the name of their section.
    #[serde(default)]
    pub initial: BTreeMap<String, String>,
    /// What the manifest put into its maps.
    #[serde(default)]
    pub contents: Contents,
    /// The system's configuration, for `status` to name what it counts; `null` for objects without a system.
    pub config: serde_json::Value,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgRecord {
    /// The object's name in the manifest.
    pub object: String,
    /// The program's name in the object.
    pub name: String,
    /// The kernel's tag: eight bytes in hex, a hash of the instructions.
    pub tag: String,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// The program's pin name.
    pub program: String,
    /// The lab's host; `None`: the namespace where `loader` ran.
    pub host: Option<String>,
    /// What it is attached to, with the modes that were wished for.
    pub hook: Hook,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
    /// The tracepoint or function that the program's section names.
    pub target: Option<String>,
    /// The mode that it became; `None` while `up` is at work, and for a hook without modes.
    pub got: Option<Mode>,
    /// Every mode that was refused, with the reason.
    pub refused: Vec<Refusal>,
    /// Whether it is there without a link, as this kernel has none for it: nothing is pinned then.
    #[serde(default)]
    pub bare: bool,
}

impl LinkRecord {
    /// The hook in words: `client:eth0`.
    #[must_use]
    pub fn at(&self) -> String {
        hook_name(self.host.as_deref(), &self.hook)
    }
}

/// One refused attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The mode.
    pub mode: Mode,
    /// Why, in the driver's own words where it has some.
    pub words: String,
}

/// The lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabRecord {
    /// SHA-256 of the lab's description, in hex.
    pub digest: String,
    /// Host (or `switch`) → the name of its namespace under `/run/netns`.
    pub namespaces: BTreeMap<String, String>,
    /// The directory of its cgroup, if hosts of it have some.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not the JSON that is written here.
    #[error("the deployment's record is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It was written by a newer `loader`.
    #[error("the deployment was made by a newer loader (record version {found}, this one knows {VERSION})")]
    Newer {
        /// Its version.
        found: u32,
    },
}

impl Record {
    /// The record as the bytes of the map's value: JSON, padded with zeros to a multiple of eight.
    ///
    /// # Errors
    /// Paths that are not UTF-8.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec(self).map_err(Error::Damaged)?;
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }

    /// The other direction.
    ///
    /// # Errors
    /// Anything that [`Record::to_bytes`] does not write, and records of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let text = &bytes[..end];
        let Version { version } = serde_json::from_slice(text).map_err(Error::Damaged)?;
        if version > VERSION {
            return Err(Error::Newer { found: version });
        }
        serde_json::from_slice(text).map_err(Error::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record() -> Record {
        Record {
            version: VERSION,
            stage: Stage::Changing,
            name: "lb".to_owned(),
            manifest: "/x/lb.toml".into(),
            objects: Vec::new(),
            progs: BTreeMap::new(),
            maps: vec!["vips".to_owned()],
            links: BTreeMap::new(),
            left_out: BTreeMap::new(),
            lab: None,
        }
    }

    #[test]
    fn bytes_and_back() {
        let record = record();
        let bytes = record.to_bytes().unwrap();
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record);
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let bytes = record().to_bytes().unwrap();
        for (name, bytes) in [("empty", &[][..]), ("zeros", &[0; 8][..]), ("truncated", &bytes[..20])] {
            assert!(matches!(Record::from_bytes(bytes), Err(Error::Damaged(_))), "{name}");
        }
        let newer = br#"{"version":4,"anything":"else"}"#;
        assert!(matches!(Record::from_bytes(newer), Err(Error::Newer { found: 4 })));
    }
}

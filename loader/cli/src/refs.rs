//! How a person names a program or a map: its id, where it is pinned, or its name.
//!
//! Input: a word of the command line. Output: the object. Read next: `prog.rs`, `map.rs`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use loader::map::Map;
use loader::prog::Prog;
use loader::sys::obj::{self, Kind};

/// The most bytes of a name that the kernel keeps.
const NAME: usize = 15;

/// What stands on the command line.
#[derive(Debug, Clone)]
pub(crate) enum Ref {
    Id(u32),
    Pin(PathBuf),
    Name(String),
}

impl FromStr for Ref {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word.parse() {
            Ok(id) => Self::Id(id),
            Err(_) if word.contains('/') => Self::Pin(word.into()),
            Err(_) => Self::Name(word.to_owned()),
        })
    }
}

impl Ref {
    /// The program that is meant.
    pub(crate) fn prog(&self) -> Result<Prog> {
        match self {
            Self::Id(id) => Ok(Prog::from_id(*id)?),
            Self::Pin(path) => Ok(Prog::from_pin(path)?),
            Self::Name(name) => one("program", name, all(Kind::Prog, |id| Prog::from_id(id).ok())?, Prog::name),
        }
    }

    /// The map that is meant.
    pub(crate) fn map(&self) -> Result<Map> {
        match self {
            Self::Id(id) => Ok(Map::from_id(*id)?),
            Self::Pin(path) => Ok(Map::from_pin(path)?),
            Self::Name(name) => one("map", name, all(Kind::Map, |id| Map::from_id(id).ok())?, Map::name),
        }
    }
}

/// Every object of a kind, with its id; one that goes meanwhile is left out.
pub(crate) fn all<T>(kind: Kind, open: impl Fn(u32) -> Option<T>) -> Result<Vec<(u32, T)>> {
    let ids = obj::ids(kind).context("the kernel does not list them: that needs CAP_SYS_ADMIN, or root")?;
    Ok(ids.into_iter().filter_map(|id| Some((id, open(id)?))).collect())
}

/// The only one of that name; the kernel keeps the beginning of a long one.
fn one<T>(what: &str, wanted: &str, all: Vec<(u32, T)>, name: impl Fn(&T) -> &str) -> Result<T> {
    let kept = wanted.get(..NAME.min(wanted.len())).unwrap_or(wanted);
    let mut found: Vec<(u32, T)> = all.into_iter().filter(|(_, one)| name(one) == kept).collect();
    match (found.pop(), found.as_slice()) {
        (Some((_, one)), []) => Ok(one),
        (None, _) => bail!(
            "the kernel has no {what} named `{wanted}`; see `loader {} list`",
            if what == "map" { "map" } else { "prog" }
        ),
        (Some((last, _)), others) => {
            let ids: Vec<String> = others.iter().map(|(id, _)| *id).chain([last]).map(|id| id.to_string()).collect();
            bail!("several {what}s are named `{wanted}`: give one of the ids {}", ids.join(", "))
        }
    }
}

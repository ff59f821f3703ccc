//! `loader map watch`: the records of a ring buffer as they come, by their type.
//!
//! Input: a map and the name of a type. Output: a line a record: JSON with `--json`, else its members as text. The type is
//! looked for in the types of the programs that use the map. Read next: `map.rs`, `loader::map::RingBuf`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use asm::btf::{Btf, Kind, TypeId};
use loader::btf::{self, value};
use loader::map::{Map, RingBuf};
use loader::prog::Prog;
use loader::sys::obj;
use serde_json::Value;

use crate::interrupt;
use crate::refs::{self, Ref};
use crate::render::Out;

/// How long to wait at most before looking whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// What `loader map watch` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The ring buffer: its id, pin or name
    #[arg(value_name = "MAP")]
    map: Ref,
    /// The struct that its records are, as the programs call it; without it, bytes
    #[arg(long = "type", value_name = "NAME")]
    record: Option<String>,
    /// End after so many records; without it, at ^C
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &mut Out) -> Result<()> {
    let map = args.map.map()?;
    let types = args.record.as_ref().map(|name| find(&map, name)).transpose()?;
    let mut ring = RingBuf::new(&map).with_context(|| format!("map `{}` is no ring buffer", map.name()))?;
    let stop = interrupt::watch()?;
    let mut left = args.count.unwrap_or(usize::MAX);
    while left > 0 && !stop.load(Ordering::Relaxed) {
        if !ring.wait(Some(PATIENCE))? {
            continue;
        }
        let mut records = Vec::new();
        ring.read(|record| records.push(record.to_vec()))?;
        for record in records.iter().take(left) {
            let value = match &types {
                Some((btf, id)) => value::decode(btf, *id, record),
                None => Value::String(value::hex(record)),
            };
            out.line(&value, text)?;
        }
        left = left.saturating_sub(records.len());
    }
    Ok(())
}

/// `ns=5 from=10.0.0.1`: the members of a struct, one after the other.
fn text(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}={}", bare(value))).collect::<Vec<_>>().join(" ")
        }
        value => bare(value),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The type of that name in the types of a program that uses the map.
fn find(map: &Map, name: &str) -> Result<(Btf<'static>, TypeId)> {
    let id = map.info()?.id;
    let users: Vec<_> = refs::all(obj::Kind::Prog, |prog| Prog::from_id(prog).ok()?.info().ok())?;
    let users: Vec<_> = users.into_iter().filter(|(_, info)| info.map_ids.contains(&id)).collect();
    for (_, info) in users.iter().filter(|(_, info)| info.btf_id != 0) {
        let Ok(types) = btf::loaded(info.btf_id) else { continue };
        if let Some(found) = types.find(name, Kind::STRUCT).or_else(|| types.find(name, Kind::TYPEDEF)) {
            return Ok((types, found));
        }
    }
    let users: Vec<_> = users.into_iter().map(|(_, info)| info.name).collect();
    bail!("no program that uses the map has a type `{name}`; it is used by: {}", users.join(", "))
}

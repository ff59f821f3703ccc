//! `loader map`: maps in the kernel, whoever made them, and what is in them.
//!
//! Input: [`Args`]. Output: tables and elements; keys and values by the types that the map was made with, as JSON. Read next:
//! `loader::btf::value`, which makes bytes of JSON and JSON of bytes.

use anyhow::{Context, Result, bail};
use asm::btf::{Btf, TypeId};
use loader::btf::{self, value};
use loader::map::{Info, Map};
use loader::sys::obj::Kind;
use loader::sys::uapi::UpdateFlags;
use serde::Serialize;
use serde_json::{Value, json};

use crate::hex;
use crate::refs::{self, Ref};
use crate::render::{Out, number, table};
use crate::watch;

/// What `loader map` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every map in the kernel
    List,
    /// All that the kernel says of one map
    Show {
        /// Its id, pin or name
        #[arg(value_name = "MAP")]
        map: Ref,
    },
    /// Every element
    Dump {
        /// Its id, pin or name
        #[arg(value_name = "MAP")]
        map: Ref,
    },
    /// The value of one key
    Get {
        /// Its id, pin or name
        #[arg(value_name = "MAP")]
        map: Ref,
        /// JSON by the key's type, a number, or hex:…
        key: String,
    },
    /// Insert an element, or replace its value; in per-CPU maps for all CPUs
    Set {
        /// Its id, pin or name
        #[arg(value_name = "MAP")]
        map: Ref,
        /// JSON by the key's type, a number, or hex:…
        key: String,
        /// The same by the value's type
        value: String,
    },
    /// The records of a ring buffer as they come; they are taken out of it
    Watch(watch::Args),
    /// Delete an element
    Delete {
        /// Its id, pin or name
        #[arg(value_name = "MAP")]
        map: Ref,
        /// JSON by the key's type, a number, or hex:…
        key: String,
    },
}

/// An element.
#[derive(Serialize)]
struct Element {
    key: Value,
    /// For a per-CPU map a list, one a CPU.
    value: Value,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    match args.command {
        Command::List => {
            let all = refs::all(Kind::Map, |id| Map::from_id(id).ok()?.info().ok())?;
            out.result(&all.into_iter().map(|(_, info)| info).collect::<Vec<_>>(), |all| list(all))
        }
        Command::Show { map } => out.result(&map.map()?.info()?, |info| list(std::slice::from_ref(info))),
        Command::Dump { map } => {
            let map = Typed::open(&map)?;
            let elements = map.map.entries()?.into_iter().map(|(key, value)| map.element(&key, &value));
            let elements: Vec<Element> = elements.collect();
            out.result(&elements, |all| all.iter().map(|one| format!("{}: {}\n", one.key, one.value)).collect())
        }
        Command::Get { map, key } => {
            let map = Typed::open(&map)?;
            let key = map.key(&key)?;
            let Some(value) = map.map.lookup(&key)? else { bail!("the map has no such key") };
            out.result(&map.element(&key, &value), |element| format!("{}\n", element.value))
        }
        Command::Set { map, key, value } => {
            let map = Typed::open(&map)?;
            let (key, value) = (map.key(&key)?, map.value(&value)?);
            match map.map.is_per_cpu() {
                true => map.map.update_per_cpu(&key, &[&value], UpdateFlags::ANY)?,
                false => map.map.update(&key, &value, UpdateFlags::ANY)?,
            }
            let now = map.map.lookup(&key)?.unwrap_or_default();
            out.result(&map.element(&key, &now), |element| format!("{}: {}\n", element.key, element.value))
        }
        Command::Watch(args) => watch::run(&args, out),
        Command::Delete { map, key } => {
            let map = Typed::open(&map)?;
            let key = map.key(&key)?;
            let Some(value) = map.map.lookup(&key)? else { bail!("the map has no such key") };
            map.map.delete(&key)?;
            out.result(&map.element(&key, &value), |element| format!("deleted {}: {}\n", element.key, element.value))
        }
    }
}

fn list(all: &[Info]) -> String {
    table(
        ["id", "name", "type", "key", "value", "entries", "flags", "btf"],
        all.iter().map(|info| {
            [
                info.id.to_string(),
                info.name.clone(),
                info.map_type.to_string(),
                info.key_size.to_string(),
                info.value_size.to_string(),
                number(info.max_entries.into()),
                format!("{:#x}", info.flags),
                info.btf_id.to_string(),
            ]
        }),
    )
}

/// A map and the types it was made with.
struct Typed {
    map: Map,
    info: Info,
    btf: Option<Btf<'static>>,
}

impl Typed {
    fn open(map: &Ref) -> Result<Self> {
        let map = map.map()?;
        let info = map.info()?;
        let btf = (info.btf_id != 0).then(|| btf::loaded(info.btf_id).ok()).flatten();
        Ok(Self { map, info, btf })
    }

    fn element(&self, key: &[u8], value: &[u8]) -> Element {
        let size = self.map.value_size();
        let value = if self.map.is_per_cpu() {
            let stride = size.next_multiple_of(8).max(8);
            let one = |bytes: &[u8]| self.shown(self.info.btf_value_type_id, bytes.get(..size).unwrap_or(bytes));
            value.chunks(stride).map(one).collect()
        } else {
            self.shown(self.info.btf_value_type_id, value)
        };
        Element { key: self.shown(self.info.btf_key_type_id, key), value }
    }

    /// By its type; without one as a number where it is as large as one, else as hex.
    fn shown(&self, id: u32, bytes: &[u8]) -> Value {
        match (&self.btf, bytes) {
            (Some(btf), _) if id != 0 => value::decode(btf, TypeId(id), bytes),
            (_, &[a, b, c, d]) => json!(u32::from_ne_bytes([a, b, c, d])),
            _ => json!(value::hex(bytes)),
        }
    }

    fn key(&self, text: &str) -> Result<Vec<u8>> {
        self.bytes(self.info.btf_key_type_id, text, self.map.key_size()).with_context(|| format!("the key {text}"))
    }

    fn value(&self, text: &str) -> Result<Vec<u8>> {
        self.bytes(self.info.btf_value_type_id, text, self.map.value_size())
            .with_context(|| format!("the value {text}"))
    }

    /// What somebody typed, as bytes.
    fn bytes(&self, id: u32, text: &str, size: usize) -> Result<Vec<u8>> {
        if let Some(digits) = text.strip_prefix("hex:") {
            let bytes = hex::bytes(digits)?;
            if bytes.len() != size {
                bail!("{} bytes were given, {size} are wanted", bytes.len());
            }
            return Ok(bytes);
        }
        // A bare word is a text: an enumerator, an address.
        let value: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        if let (Some(btf), true) = (&self.btf, id != 0) {
            return Ok(value::encode(btf, TypeId(id), &value, size)?);
        }
        let number =
            value.as_u64().with_context(|| format!("the map has no types: give a number, or {size} bytes as hex:…"))?;
        Ok(match size {
            1 => u8::try_from(number)?.to_ne_bytes().to_vec(),
            2 => u16::try_from(number)?.to_ne_bytes().to_vec(),
            4 => u32::try_from(number)?.to_ne_bytes().to_vec(),
            8 => number.to_ne_bytes().to_vec(),
            _ => bail!("the map has no types: give {size} bytes as hex:…"),
        })
    }
}

//! Stage: manifest. The `[[program]]` and `[map.NAME]` tables: which programs, from which object, attached where.
//!
//! Input: sections of a document. Output: [`Program`] and [`MapOptions`], with the place of everything that can turn out
//! wrong later. Read next: `lab.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::diagnostic::{Diagnostic, Place};
use super::document::Section;
use super::hook::{Direction, Hook, Mode};

/// One program of one object, and where it goes.
#[derive(Debug, Clone)]
pub struct Program {
    /// A built-in object's name, or the path of an ELF object.
    pub object: String,
    /// The program's function name in the object.
    pub name: String,
    /// The hooks, in the order of the manifest; empty: loaded and pinned only.
    pub attach: Vec<Attach>,
    /// Whether the rest comes up without it where the kernel refuses it.
    pub optional: bool,
    /// Where `object` is written.
    pub object_place: Place,
    /// Where `name` is written.
    pub name_place: Place,
}

/// One attachment: a program on one hook of one network namespace.
#[derive(Debug, Clone)]
pub struct Attach {
    /// What it is attached to.
    pub hook: Hook,
    /// The lab's host whose namespace it is in; `None`: the namespace `loader` runs in.
    pub host: Option<String>,
    /// Whether somebody else's program may be taken off the hook.
    pub displace: bool,
    /// Where it is written.
    pub place: Place,
}

/// `[map.NAME]`: what the manifest changes about a map of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MapOptions {
    /// Entries, instead of the object's own number.
    pub max_entries: Option<u32>,
    /// Whether all objects of the deployment that have a map of this name use the same one.
    #[serde(default)]
    pub shared: bool,
    /// What is in it, whoever else puts something there.
    #[serde(default)]
    pub entry: Vec<Entry>,
    /// What becomes of a map that is there already and is another one; `None`: [`OnMismatch::Fail`] for maps that hold what
    /// only they know, [`OnMismatch::Replace`] for those that the object or its system fills.
    pub on_mismatch: Option<OnMismatch>,
}

/// `[[map.NAME.entry]]`: an element, in the words of the map's types.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its key.
    pub key: serde_json::Value,
    /// Its value; of a per-CPU map, of every CPU.
    pub value: serde_json::Value,
}

/// What `up` does with a pinned map whose definition is not the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMismatch {
    /// Changes nothing and says every difference.
    Fail,
    /// Makes a new map; what was in the old one is lost.
    Replace,
    /// Makes a new map, and copies every entry that fits.
    Migrate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    object: Spanned<String>,
    name: Spanned<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    attach: OneOrMany<RawAttach>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttach {
    xdp: Option<Spanned<String>>,
    mode: Option<Spanned<OneOrMany<Mode>>>,
    tcx: Option<Spanned<String>>,
    direction: Option<Spanned<Direction>>,
    cgroup: Option<Spanned<OneOrMany<PathBuf>>>,
    sockmap: Option<Spanned<String>>,
    auto: Option<Spanned<bool>>,
    netns: Option<Spanned<OneOrMany<String>>>,
    #[serde(default)]
    displace: bool,
}

/// Reads `[[program]]`.
pub(super) fn read(section: &Section) -> Result<Vec<Program>, Diagnostic> {
    let raw: Vec<RawProgram> = section.read()?;
    raw.into_iter().map(|program| resolve(section, program)).collect()
}

fn resolve(section: &Section, raw: RawProgram) -> Result<Program, Diagnostic> {
    let mut attach = Vec::new();
    for one in raw.attach.0.clone() {
        attach.extend(resolve_attach(section, &raw.name.span(), one)?);
    }
    Ok(Program {
        object_place: section.at(raw.object.span()),
        name_place: section.at(raw.name.span()),
        object: raw.object.into_inner(),
        name: raw.name.into_inner(),
        optional: raw.optional,
        attach,
    })
}

/// `netns = [a, b]` is one attachment in each, `cgroup = [c, d]` one on each; an attachment without `netns` is one where
/// `loader` runs.
fn resolve_attach(section: &Section, program: &Range<usize>, raw: RawAttach) -> Result<Vec<Attach>, Diagnostic> {
    let (displace, netns) = (raw.displace, raw.netns.clone());
    let (hooks, span) = resolve_hook(section, program, raw)?;
    let place = section.at(span);
    let hosts = netns.map_or_else(|| vec![None], |hosts| hosts.into_inner().0.into_iter().map(Some).collect());
    let on = |hook: Hook| {
        let place = &place;
        hosts.iter().map(move |host| Attach { hook: hook.clone(), host: host.clone(), displace, place: place.clone() })
    };
    Ok(hooks.into_iter().flat_map(on).collect())
}

/// A hook, or several of one kind, and where they are written.
type Hooks = (Vec<Hook>, Range<usize>);

/// The one kind of hook that an attachment names.
fn resolve_hook(section: &Section, program: &Range<usize>, raw: RawAttach) -> Result<Hooks, Diagnostic> {
    let mut hooks: Vec<Hooks> = Vec::new();
    if let Some(iface) = raw.xdp {
        let span = iface.span();
        let hook = Hook::Xdp { iface: interface(section, iface)?, modes: modes(section, raw.mode.clone())? };
        hooks.push((vec![hook], span));
    }
    if let Some(iface) = raw.tcx {
        let span = iface.span();
        let Some(direction) = raw.direction.clone() else {
            return Err(section.at(span).error("which packets?").help("add `direction = \"ingress\"` or \"egress\""));
        };
        let hook = Hook::Tcx { iface: interface(section, iface)?, direction: direction.into_inner() };
        hooks.push((vec![hook], span));
    }
    if let Some(paths) = raw.cgroup {
        let span = paths.span();
        if paths.get_ref().0.is_empty() {
            return Err(section.at(span).error("no cgroup at all"));
        }
        hooks.push((paths.into_inner().0.into_iter().map(|path| Hook::Cgroup { path }).collect(), span));
    }
    if let Some(map) = raw.sockmap {
        hooks.push((vec![Hook::Sockmap { map: map.get_ref().clone() }], map.span()));
    }
    if let Some(auto) = raw.auto.filter(|auto| *auto.get_ref()) {
        hooks.push((vec![Hook::Auto], auto.span()));
    }
    let last = hooks.pop();
    let Some((hooks, span)) = last.filter(|_| hooks.is_empty()) else {
        let error = section.at(program.clone()).error("each attachment names one hook");
        return Err(error.help(
            "`xdp = \"eth0\"`, `tcx = \"eth0\"`, `cgroup = \"/sys/fs/cgroup/…\"`, `sockmap = \"MAP\"` or `auto = true`",
        ));
    };
    let is = |kind: fn(&Hook) -> bool| hooks.first().is_some_and(kind);
    let only = [
        (raw.mode.map(|mode| mode.span()), "mode", is(|hook| matches!(hook, Hook::Xdp { .. }))),
        (raw.direction.map(|direction| direction.span()), "direction", is(|hook| matches!(hook, Hook::Tcx { .. }))),
    ];
    match only.into_iter().find_map(|(span, key, fits)| span.filter(|_| !fits).map(|span| (span, key))) {
        Some((span, key)) => Err(section.at(span).error(format!("`{key}` is not for this hook"))),
        None => Ok((hooks, span)),
    }
}

fn interface(section: &Section, iface: Spanned<String>) -> Result<String, Diagnostic> {
    let place = section.at(iface.span());
    let iface = iface.into_inner();
    check_interface_name(&iface).map_err(|why| place.error(format!("`{iface}` is no interface name: {why}")))?;
    Ok(iface)
}

fn modes(section: &Section, mode: Option<Spanned<OneOrMany<Mode>>>) -> Result<Vec<Mode>, Diagnostic> {
    match mode {
        None => Ok(vec![Mode::Native, Mode::Generic]),
        Some(modes) if modes.get_ref().0.is_empty() => {
            Err(section.at(modes.span()).error("no mode at all").help("leave `mode` out for native, then generic"))
        }
        Some(modes) => Ok(modes.into_inner().0),
    }
}

/// What the kernel's `dev_valid_name` asks of a name.
fn check_interface_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty"),
        "." | ".." => Err("it is a directory"),
        _ if name.len() > 15 => Err("it is longer than 15 bytes"),
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) => {
            Err("it has a `/`, a `:` or a blank")
        }
        _ => Ok(()),
    }
}

/// A value that may be written alone or in a list.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(OneOrMany(vec![T::deserialize(StrDeserializer::new(text))?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(OneOrMany(all))
    }
}

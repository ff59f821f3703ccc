//! Stage: manifest. A TOML file (and those it includes) → the deployments it wants, as plain values.
//!
//! Input: a path and the variables of `--set`. Output: a [`Manifest`]; nothing here asks the kernel anything. Every
//! error names the file, the line and the column. Read next: `document.rs` (text and places), `hook.rs`, `program.rs`, `lab.rs`
//! (the tables), then `../plan.rs`.

mod diagnostic;
mod document;
mod hook;
pub mod lab;
mod program;
pub(crate) mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use diagnostic::{Diagnostic, Place, Source};
pub use document::Section;
pub use hook::{Direction, Hook, Mode};
pub use lab::Lab;
pub use program::{Attach, Entry, MapOptions, OnMismatch, Program};

use document::{Document, Variables};
use toml::Spanned;

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file itself cannot be read.
    #[error("cannot read the manifest {}{}", path.display(), included(by.as_ref()))]
    Read {
        /// The file.
        path: PathBuf,
        /// The place of the `include` that names it, if one does.
        by: Option<Place>,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is wrong somewhere.
    #[error(transparent)]
    At(#[from] Diagnostic),
    /// A variable was set on the command line that no file asks for.
    #[error("--set {name}=…: nothing in {} uses ${{{name}}}", path.display())]
    UnusedVariable {
        /// The variable.
        name: String,
        /// The manifest.
        path: PathBuf,
    },
}

fn included(by: Option<&Place>) -> String {
    by.map_or_else(String::new, |place| format!(", included at {place}"))
}

/// What a manifest file wants: its own deployment and those of the files it includes, in order.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file named on the command line.
    pub path: PathBuf,
    /// At least one.
    pub deployments: Vec<Deployment>,
}

/// One named deployment: programs, where they go, and perhaps a lab to try them in.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its name: the directory of its pins, and the first part of its namespaces' names.
    pub name: String,
    /// The file it is written in.
    pub path: PathBuf,
    /// Where the name is written.
    pub place: Place,
    /// The programs, in the order of the file.
    pub programs: Vec<Program>,
    /// Changes to maps of the objects, by map name, with the place of each.
    pub maps: BTreeMap<String, (MapOptions, Place)>,
    /// `[map]`, for the places of what is in it.
    pub map_section: Option<Section>,
    /// `[data]`: values of global variables.
    pub data: Option<Section>,
    /// Values that were found out, in the place of what the manifest says: by variable.
    pub settled: BTreeMap<String, serde_json::Value>,
    /// The lab, if the deployment is only to be tried.
    pub lab: Option<Lab>,
    /// The tables of the systems, such as `[lb]`.
    pub sections: Vec<Section>,
}

/// The keys that the loader itself knows; all others belong to systems.
const OWN_KEYS: [&str; 7] = ["name", "include", "vars", "lab", "program", "map", "data"];

/// Reads a manifest and everything it includes.
///
/// `systems` are the names of the tables that systems understand (`lb`); `set` holds the variables of `--set`.
///
/// ```
/// use std::{collections::BTreeMap, path::Path};
/// let error = loader::manifest::read(Path::new("no-such.toml"), &["lb"], &BTreeMap::new()).unwrap_err();
/// assert_eq!(error.to_string(), "cannot read the manifest no-such.toml");
/// ```
///
/// # Errors
/// A file that cannot be read, and anything in one that does not fit, with its place.
pub fn read(path: &Path, systems: &[&str], set: &BTreeMap<String, String>) -> Result<Manifest, Error> {
    let mut reader = Reader { systems, open: Vec::new(), found: Vec::new(), text: String::new() };
    reader.file(path, set, None)?;
    if let Some(name) = set.keys().find(|name| !reader.text.contains(&format!("${{{name}}}"))) {
        return Err(Error::UnusedVariable { name: name.clone(), path: path.to_owned() });
    }
    let mut names = BTreeSet::new();
    for deployment in &reader.found {
        if !names.insert(deployment.name.as_str()) {
            return Err(deployment.place.error(format!("a second deployment named `{}`", deployment.name)).into());
        }
    }
    Ok(Manifest { path: path.to_owned(), deployments: reader.found })
}

/// The names of the deployments of a manifest and of those it includes, in order, without reading the rest of it: enough
/// to take them away, whatever variables the rest asks for.
///
/// # Errors
/// As [`read`], for the files, their names and includes.
pub fn names(path: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    collect_names(path, None, &mut Vec::new(), &mut names)?;
    Ok(names)
}

fn collect_names(
    path: &Path,
    by: Option<Place>,
    open: &mut Vec<PathBuf>,
    names: &mut Vec<String>,
) -> Result<(), Error> {
    let (whole, document) = open_file(path, by.as_ref(), open)?;
    open.push(whole);
    for (file, place) in include_paths(path, &document)? {
        collect_names(&file, Some(place), open, names)?;
    }
    open.pop();
    names.extend(document.section("name").map(|section| section.read::<String>()).transpose()?);
    Ok(())
}

/// Reads one file; it must not be one of those that are `open`, which include it.
fn open_file(path: &Path, by: Option<&Place>, open: &[PathBuf]) -> Result<(PathBuf, Document), Error> {
    let read = |source| Error::Read { path: path.to_owned(), by: by.cloned(), source };
    let whole = path.canonicalize().map_err(read)?;
    if let (true, Some(place)) = (open.contains(&whole), by) {
        return Err(place.error(format!("{} includes itself", path.display())).into());
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    Ok((whole, Document::parse(Source { path: path.to_owned(), text })?))
}

/// The files that a document includes; their paths are relative to its own.
fn include_paths(path: &Path, document: &Document) -> Result<Vec<(PathBuf, Place)>, Diagnostic> {
    let Some(section) = document.section("include") else { return Ok(Vec::new()) };
    let base = path.parent().unwrap_or(Path::new(""));
    let files = section.read::<Vec<Spanned<String>>>()?;
    Ok(files.into_iter().map(|file| (base.join(file.get_ref()), section.at(file.span()))).collect())
}

/// The state of reading: which files are open (an include must not come back to one), and what was found.
struct Reader<'a> {
    systems: &'a [&'a str],
    open: Vec<PathBuf>,
    found: Vec<Deployment>,
    text: String,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, set: &Variables, by: Option<Place>) -> Result<(), Error> {
        let (whole, mut document) = open_file(path, by.as_ref(), &self.open)?;
        self.text.push_str(document.text());
        self.check_keys(&document)?;
        let mut variables: Variables = document.read_or_default("vars")?;
        variables.extend(set.clone());
        document.variables = Arc::new(variables);
        self.open.push(whole);
        for (file, place) in include_paths(path, &document)? {
            self.file(&file, &document.variables, Some(place))?;
        }
        self.open.pop();
        self.deployment(path, &document)
    }

    /// An unknown key, with the nearest known one as advice.
    fn check_keys(&self, document: &Document) -> Result<(), Diagnostic> {
        for (key, place) in document.keys() {
            let mut known = OWN_KEYS.iter().chain(self.systems);
            if known.clone().any(|name| *name == key) {
                continue;
            }
            let error = place.error(format!("unknown key `{key}`"));
            let near = known.find(|name| near(name, key));
            return Err(match near {
                Some(name) => error.help(format!("did you mean `{name}`?")),
                None => {
                    let all: Vec<_> = OWN_KEYS.iter().chain(self.systems).copied().collect();
                    error.help(format!("a manifest has {}", all.join(", ")))
                }
            });
        }
        Ok(())
    }

    fn deployment(&mut self, path: &Path, document: &Document) -> Result<(), Error> {
        let Some(section) = document.section("name") else {
            if document.section("include").is_some() && document.section("program").is_none() {
                return Ok(());
            }
            let error = document.start().error("the manifest has no name");
            return Err(error.help("begin with `name = \"…\"`; it names the pins and the namespaces").into());
        };
        let name: String = section.read()?;
        let place = section.locate("");
        check_name(&name, &place)?;
        let programs = match document.section("program") {
            Some(section) => program::read(&section)?,
            None => return Err(place.error("a deployment without programs").help("add a table `[[program]]`").into()),
        };
        let lab =
            document.section("lab").map(|section| lab::read(&section, &document.variables)).transpose()?.flatten();
        check_hosts(&programs, lab.as_ref())?;
        let sections = self.systems.iter().filter_map(|name| document.section(name)).collect();
        let maps = map_options(document)?;
        let (map_section, data) = (document.section("map"), document.section("data"));
        let path = path.to_owned();
        let settled = BTreeMap::new();
        self.found.push(Deployment { name, path, place, programs, maps, map_section, data, settled, lab, sections });
        Ok(())
    }
}

fn map_options(document: &Document) -> Result<BTreeMap<String, (MapOptions, Place)>, Diagnostic> {
    let Some(section) = document.section("map") else { return Ok(BTreeMap::new()) };
    let raw: BTreeMap<String, MapOptions> = section.read()?;
    let placed = raw.into_iter().map(|(name, options)| {
        let place = section.locate(&name);
        (name, (options, place))
    });
    Ok(placed.collect())
}

/// The name becomes a directory of bpffs, which refuses dots, and part of a namespace's name.
fn check_name(name: &str, place: &Place) -> Result<(), Diagnostic> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fine) {
        return Err(place
            .error(format!("`{name}` cannot be a deployment's name"))
            .help("1 to 32 of a-z, 0-9, `-` and `_`"));
    }
    Ok(())
}

/// `netns` names hosts of the lab, and in a lab every attachment has one: a lab never touches the machine's own interfaces.
fn check_hosts(programs: &[Program], lab: Option<&Lab>) -> Result<(), Diagnostic> {
    for attach in programs.iter().flat_map(|program| &program.attach) {
        check_cgroup(attach, lab)?;
        match (&attach.host, lab) {
            (None, None) => {}
            (Some(host), Some(lab)) if host == lab::SWITCH || lab.hosts.contains_key(host) => {}
            (Some(host), Some(lab)) => {
                let all: Vec<_> = lab.hosts.keys().map(String::as_str).chain([lab::SWITCH]).collect();
                let error = attach.place.error(format!("no host `{host}` in this lab"));
                return Err(error.help(format!("it has {}", all.join(", "))));
            }
            (Some(host), None) => {
                let error = attach.place.error(format!("`netns = \"{host}\"`, but the manifest has no `[lab]`"));
                return Err(error.help("leave `netns` out: the program goes where `loader` runs"));
            }
            (None, Some(_)) if !attach.hook.needs_host() => {}
            (None, Some(_)) => {
                let error = attach.place.error(
                    "with a `[lab]`, an attachment says in which host: the machine's own interfaces are left alone",
                );
                return Err(error.help("add `netns = \"HOST\"`"));
            }
        }
    }
    Ok(())
}

/// `cgroup = "lab"` are the lab's cgroups, or with `netns` that of one host; a lab never touches the machine's own.
fn check_cgroup(attach: &Attach, lab: Option<&Lab>) -> Result<(), Diagnostic> {
    let Hook::Cgroup { path } = &attach.hook else { return Ok(()) };
    let is_labs = attach.hook.is_labs_cgroup();
    let Some(lab) = lab else {
        let error =
            attach.place.error("`cgroup = \"lab\"`, but the manifest has no `[lab]`, or none with these variables");
        return if is_labs { Err(error.help("name a directory of the cgroup v2 hierarchy")) } else { Ok(()) };
    };
    if !is_labs {
        let error =
            attach.place.error(format!("with a `[lab]`, {} is left alone: it is the machine's", path.display()));
        return Err(error.help("`cgroup = \"lab\"` are the lab's own"));
    }
    let has = |host: &String| lab.hosts.get(host).is_some_and(|host| host.cgroup);
    match &attach.host {
        Some(host) if !has(host) => {
            Err(attach.place.error(format!("host `{host}` has no cgroup")).help("add `cgroup = true` to it"))
        }
        None if !lab.has_cgroups() => {
            Err(attach.place.error("no host of this lab has a cgroup").help("add `cgroup = true` to some"))
        }
        _ => Ok(()),
    }
}

/// Whether two keys differ by one slip: a letter more, less, other or swapped, or a plural.
fn near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    match (a, b) {
        ([], [_]) | ([_], []) | ([_], [_]) => true,
        ([w, x], [y, z]) => w == z && x == y,
        _ => false,
    }
}

#[cfg(test)]
mod tests;

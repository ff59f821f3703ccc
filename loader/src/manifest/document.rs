//! Stage: manifest. One TOML file → its top-level tables, each of which knows its place, with `${variables}` filled in.
//!
//! Input: the text of one file and the variables set. Output: a [`Document`], from which typed [`Section`]s are read.
//! Read next: `mod.rs`, which asks for them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::diagnostic::{Diagnostic, Place, Source};

/// Values for `${name}`.
pub(super) type Variables = BTreeMap<String, String>;

/// A file that parses, and the variables for it.
#[derive(Debug)]
pub(super) struct Document {
    source: Arc<Source>,
    keys: Vec<(String, Range<usize>)>,
    pub(super) variables: Arc<Variables>,
}

impl Document {
    /// Parses the text; no variable is filled in yet.
    pub(super) fn parse(source: Source) -> Result<Self, Diagnostic> {
        let source = Arc::new(source);
        let root = parse(&source)?;
        let mut keys: Vec<_> = root.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
        keys.sort_by_key(|(_, span)| span.start);
        Ok(Self { source, keys, variables: Arc::default() })
    }

    /// One top-level key, if the file has it.
    pub(super) fn section(&self, name: &str) -> Option<Section> {
        let (name, key) = self.keys.iter().find(|(key, _)| key == name)?;
        Some(Section {
            name: name.clone(),
            key: key.clone(),
            source: Arc::clone(&self.source),
            variables: Arc::clone(&self.variables),
        })
    }

    /// One top-level value, or its default when the file does not have it.
    pub(super) fn read_or_default<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Diagnostic> {
        self.section(name).map_or_else(|| Ok(T::default()), |section| section.read())
    }

    /// Every top-level key with its place, in the order of the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Place)> {
        self.keys.iter().map(|(name, span)| (name.as_str(), self.place(span.clone())))
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.source.text
    }

    /// The first line, for errors about the file as a whole.
    pub(super) fn start(&self) -> Place {
        self.place(0..0)
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(&self.source), span }
    }
}

/// A top-level table of the manifest, for whoever knows its type: the loader's own, or a system's such as `[lb]`.
///
/// Holds the text rather than the values, and parses again on each question: manifests are small, and this way the
/// values may borrow from the text while they are read and nothing else has to carry that lifetime.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its key.
    pub name: String,
    key: Range<usize>,
    source: Arc<Source>,
    variables: Arc<Variables>,
}

impl Section {
    /// Where the section's name stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.at(self.key.clone())
    }

    /// The place of a span that [`Section::read`] has put into a `toml::Spanned`.
    #[must_use]
    pub fn at(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(&self.source), span }
    }

    /// The section as a value of its type.
    ///
    /// # Errors
    /// The first thing that does not fit, or a variable that is not set, with its place.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        let deserializer = ValueDeserializer::from(self.value()?);
        T::deserialize(deserializer).map_err(|error| from_toml(&self.source, &self.key, &error))
    }

    /// The place of a value inside the section, by its path (`vip.0.reals`), or of the nearest value around it.
    #[must_use]
    pub fn locate(&self, path: &str) -> Place {
        let mut span = self.key.clone();
        let Ok(root) = self.value() else { return self.at(span) };
        let mut here = &root;
        for part in path.split('.') {
            let next = match here.get_ref() {
                DeValue::Table(table) => table.get(part),
                DeValue::Array(array) => part.parse::<usize>().ok().and_then(|at| array.get(at)),
                _ => None,
            };
            let Some(next) = next else { break };
            here = next;
            span = next.span();
        }
        self.at(span)
    }

    /// The section's values as text that is equal when, and only when, it says the same: comments and layout left out.
    ///
    /// # Errors
    /// A variable that is not set.
    pub fn canonical(&self) -> Result<String, Diagnostic> {
        Ok(canonical(self.value()?.get_ref()))
    }

    fn value(&self) -> Result<Spanned<DeValue<'_>>, Diagnostic> {
        let root = parse(&self.source)?;
        let found = root.into_iter().find(|(key, _)| *key.get_ref() == self.name);
        let Some((_, mut value)) = found else {
            return Err(self.place().error("the key is gone"));
        };
        substitute(&self.source, &mut value, &self.variables)?;
        Ok(value)
    }
}

/// Of several syntax errors the first in the text is told: the later ones are often its consequences.
fn parse(source: &Source) -> Result<DeTable<'_>, Diagnostic> {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    match errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) {
        Some(error) => Err(from_toml(source, &(0..0), error)),
        None => Ok(root.into_inner()),
    }
}

fn from_toml(source: &Source, around: &Range<usize>, error: &toml::de::Error) -> Diagnostic {
    Diagnostic::new(source, error.span().unwrap_or_else(|| around.clone()), error.message())
}

fn canonical(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| canonical(item.get_ref())).collect();
            format!("[{}]", items.join(","))
        }
        DeValue::Table(table) => {
            let sorted: BTreeMap<_, _> = table.iter().map(|(k, v)| (k.get_ref().as_ref(), v)).collect();
            let items: Vec<_> = sorted.iter().map(|(k, v)| format!("{k:?}={}", canonical(v.get_ref()))).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

/// Fills every `${name}` in every string below `value`; keys are left alone.
fn substitute(source: &Source, value: &mut Spanned<DeValue<'_>>, variables: &Variables) -> Result<(), Diagnostic> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains('$') => {
            let filled = fill(text, variables).map_err(|fault| fault.diagnostic(source, span))?;
            *text = filled.into();
        }
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                substitute(source, item, variables)?;
            }
        }
        DeValue::Table(table) => {
            for (_, item) in table.iter_mut() {
                substitute(source, item, variables)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Why a string's variables cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
enum FillFault {
    NotSet(String),
    NotClosed,
}

impl FillFault {
    fn diagnostic(self, source: &Source, span: Range<usize>) -> Diagnostic {
        match self {
            Self::NotSet(name) => Diagnostic::new(source, span, format!("variable `{name}` is not set"))
                .help(format!("pass `--set {name}=VALUE`, or give it a default in a table `[vars]`")),
            Self::NotClosed => {
                Diagnostic::new(source, span, "`${` without its `}`").help("write `$${` for a literal `${`")
            }
        }
    }
}

/// `a-${x}` with x = 1 becomes `a-1`; `$${` stands for a literal `${`; values are not looked into again.
fn fill(text: &str, variables: &Variables) -> Result<String, FillFault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = from[2..].split_once('}') else { return Err(FillFault::NotClosed) };
        let Some(value) = variables.get(name) else { return Err(FillFault::NotSet(name.to_owned())) };
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str, variables: &[(&str, &str)]) -> Document {
        let mut document = Document::parse(Source { path: "t.toml".into(), text: text.to_owned() }).unwrap();
        document.variables = Arc::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        document
    }

    #[test]
    fn variables_are_filled_in() {
        let variables: Variables = [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "${x}".to_owned())].into();
        let table = [
            ("plain", "plain", Ok("plain".to_owned())),
            ("one", "a-${x}-b", Ok("a-1-b".to_owned())),
            ("two", "${x}${x}", Ok("11".to_owned())),
            ("not again", "${y}", Ok("${x}".to_owned())),
            ("escaped", "$${x} ${x}", Ok("${x} 1".to_owned())),
            ("dollar", "5 $ and $x", Ok("5 $ and $x".to_owned())),
            ("not set", "${z}", Err(FillFault::NotSet("z".to_owned()))),
            ("open", "${x", Err(FillFault::NotClosed)),
        ];
        for (name, text, want) in table {
            assert_eq!(fill(text, &variables), want, "{name}");
        }
    }

    #[test]
    fn a_missing_variable_points_at_its_string() {
        let document = document("a = 1\n[b]\nc = [\"x\", \"${iface}\"]\n", &[]);
        let section = document.section("b").unwrap();
        let error = section.read::<BTreeMap<String, Vec<String>>>().unwrap_err();
        assert_eq!((error.line, error.column), (3, 11), "{error}");
        assert!(error.to_string().contains("--set iface=VALUE"), "{error}");
    }

    #[test]
    fn values_are_found_by_path() {
        let document = document("[lb]\n[[lb.vip]]\nport = 1\n[[lb.vip]]\nport = 2\nreals = []\n", &[]);
        let section = document.section("lb").unwrap();
        for (path, want) in [("vip.1.reals", "t.toml:6:9"), ("vip.1.port", "t.toml:5:8"), ("vip.7.port", "t.toml:2:1")]
        {
            assert_eq!(section.locate(path).to_string(), want, "{path}");
        }
    }

    #[test]
    fn the_canonical_text_leaves_layout_out() {
        let one = document("[lb]\nb = 2 # two\na = \"${x}\"\n", &[("x", "y")]);
        let two = document("lb = { a = 'y', b = 2 }", &[]);
        let text = |d: &Document| d.section("lb").unwrap().canonical().unwrap();
        assert_eq!(text(&one), text(&two));
        assert_eq!(text(&one), r#"{"a"="y","b"=2}"#);
    }
}

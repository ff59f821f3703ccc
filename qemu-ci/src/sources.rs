//! The mirror this machine's apt is configured with.
//!
//! In: `/etc/apt/sources.list` and the files beside it, in both of apt's formats. Out: a [`Mirror`]. No mirror's name is
//! written in this workspace: whoever runs it has chosen one already. Next to read: `apt.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Debian's keyring, under its old and its new name.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// Suites that only Debian has, by which its mirror is told from others.
const SUITES: [&str; 9] = ["buster", "bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];

/// Where packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Base of the main archive.
    main: String,
    /// Base of the security archive.
    security: Option<String>,
    /// Keys that sign the indexes.
    pub keyring: PathBuf,
}

impl Mirror {
    /// Reads the machine's configuration.
    ///
    /// # Errors
    /// apt is not configured with a Debian mirror here, or Debian's keyring is missing.
    pub fn of_machine() -> Result<Self> {
        let mut sources = Vec::new();
        let beside = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<_> = beside.chain([PathBuf::from("/etc/apt/sources.list")]).collect();
        files.sort();
        for path in files {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources.extend(one_line_sources(&text)),
                Some("sources") => sources.extend(stanza_sources(&text)),
                _ => {}
            }
        }
        let keyring = KEYRINGS.iter().map(Path::new).find(|path| path.is_file());
        let keyring = keyring.context("Debian's keyring is missing: apt-get install debian-archive-keyring")?;
        Self::of_sources(&sources, keyring)
    }

    /// Picks Debian's bases among configured sources.
    fn of_sources(sources: &[Source], keyring: &Path) -> Result<Self> {
        let base = |wanted: fn(&str) -> bool| {
            let source = sources.iter().find(|source| source.suites.iter().any(|suite| wanted(suite)));
            source.map(|source| source.uri.trim_end_matches('/').to_owned())
        };
        let Some(main) = base(|suite| SUITES.contains(&suite.trim_end_matches("-updates"))) else {
            bail!("this machine's apt has no Debian mirror in /etc/apt/sources.list or sources.list.d");
        };
        let security = base(|suite| suite.strip_suffix("-security").is_some_and(|suite| SUITES.contains(&suite)));
        Ok(Self { main, security, keyring: keyring.to_owned() })
    }

    /// The base that a suite is under.
    ///
    /// # Errors
    /// A security suite, and the machine has no mirror of the security archive.
    pub fn base_of(&self, suite: &str) -> Result<&str> {
        if !suite.ends_with("-security") {
            return Ok(&self.main);
        }
        let missing = || format!("{suite}: this machine's apt has no mirror of the security archive");
        self.security.as_deref().with_context(missing)
    }
}

/// One place that apt takes packages from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
}

/// `deb [options] URI suite component…`
fn one_line_sources(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        Some(Source { uri: words.next()?.to_owned(), suites: vec![words.next()?.to_owned()] })
    };
    text.lines().filter_map(parse).collect()
}

/// Stanzas of `Field: value` with `Types`, `URIs`, `Suites`; a field may go on in indented lines.
fn stanza_sources(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let field = |name: &str| {
            let at = stanza.iter().position(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            let mut words: Vec<String> = Vec::new();
            for (index, line) in stanza.iter().enumerate().skip(at.unwrap_or(stanza.len())) {
                let first = Some(index) == at;
                if !first && !line.starts_with([' ', '\t']) {
                    break;
                }
                let value = if first { line.split_once(':').map_or("", |(_, value)| value) } else { line };
                words.extend(value.split_whitespace().map(str::to_owned));
            }
            words
        };
        if field("enabled").first().is_some_and(|word| word == "no") || !field("types").iter().any(|word| word == "deb")
        {
            continue;
        }
        let suites = field("suites");
        found.extend(field("uris").into_iter().map(|uri| Source { uri, suites: suites.clone() }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_give_the_same_mirror() {
        let stanzas = "Types: deb deb-src\n# a note\nURIs: http://mirror.example/debian/\nSuites: bookworm\n \
                       bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: http://mirror.example/sec\nSuites: \
                       bookworm-security\n\nTypes: deb\nURIs: http://other.example\nSuites: nodistro\n\n\
                       Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: sid\n";
        let lines = "deb http://other.example stuff main\n# deb http://off.example sid main\n\
                     deb [signed-by=/k arch=amd64] http://mirror.example/debian trixie main contrib\n\
                     deb-src http://src.example sid main\ndeb http://mirror.example/sec trixie-security main\n";
        let keyring = Path::new("/k");
        for sources in [stanza_sources(stanzas), one_line_sources(lines)] {
            let mirror = Mirror::of_sources(&sources, keyring).unwrap();
            assert_eq!(mirror.base_of("sid").unwrap(), "http://mirror.example/debian");
            assert_eq!(mirror.base_of("bullseye-security").unwrap(), "http://mirror.example/sec");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = Mirror::of_sources(&one_line_sources("deb http://x.example noble main"), Path::new("/k"));
        assert!(none.unwrap_err().to_string().contains("no Debian mirror"));
        let main = Mirror::of_sources(&one_line_sources("deb http://x.example sid main"), Path::new("/k")).unwrap();
        assert!(main.base_of("trixie-security").unwrap_err().to_string().contains("security archive"));
    }
}

//! Stage: manifest. Errors of a manifest: the file, the line, the column, and the line itself with a caret under it.
//!
//! Input: a [`Source`] and a byte range of it. Output: a [`Diagnostic`]. Read next: `document.rs`, which makes most of them.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// The text of one manifest file, kept so that every later error can show the line it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it (or as the including file did, joined to its directory).
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Line and column, both counted from 1, of a byte offset; the column counts characters.
    #[must_use]
    pub fn line_col(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// A byte range of one source file: where a value of the manifest was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// The bytes of it.
    pub span: Range<usize>,
}

impl Place {
    /// An error that points at this place.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.source, self.span.clone(), message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.line_col(self.span.start);
        write!(f, "{}:{line}:{column}", self.source.path.display())
    }
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, when there is something to say.
    pub help: Option<String>,
    /// The excerpt: the line with a caret under the place.
    excerpt: String,
}

impl Diagnostic {
    /// Points at `span` of `source`.
    #[must_use]
    pub fn new(source: &Source, span: Range<usize>, message: impl Into<String>) -> Self {
        let span = clamp(&source.text, span);
        let (line, column) = source.line_col(span.start);
        Self {
            path: source.path.clone(),
            line,
            column,
            message: message.into(),
            help: None,
            excerpt: excerpt(&source.path, &source.text, span),
        }
    }

    /// The same error with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.message, self.excerpt)?;
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// A span that lies in the text, on character boundaries, and ends on the line it begins: a caret under ten lines helps nobody.
fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |n| start + n);
    start..floor(span.end).clamp(start, line_end)
}

fn excerpt(path: &Path, text: &str, span: Range<usize>) -> String {
    let name = path.display().to_string();
    let snippet = Snippet::source(text).path(name).annotation(AnnotationKind::Primary.span(span));
    let group = Group::with_level(Level::ERROR).element(snippet);
    Renderer::plain().render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "a.toml".into(), text: text.to_owned() }
    }

    #[test]
    fn an_error_shows_its_line_and_a_caret() {
        let source = source("name = \"lb\"\nport = eighty\n");
        let error = Diagnostic::new(&source, 19..25, "not a number").help("write 80");
        assert_eq!((error.line, error.column), (2, 8));
        let text = error.to_string();
        assert!(text.starts_with("not a number\n"), "{text}");
        assert!(text.contains("--> a.toml:2:8"), "{text}");
        assert!(text.contains("2 | port = eighty"), "{text}");
        assert!(text.contains("^^^^^^"), "{text}");
        assert!(text.ends_with("= help: write 80"), "{text}");
    }

    #[test]
    fn spans_outside_the_text_or_inside_a_character_do_not_panic() {
        for (text, span) in [("", 0..9), ("é", 1..1), ("ab\ncd", 1..5), ("ab", 7..9), ("\n", 1..1)] {
            let _ = Diagnostic::new(&source(text), span, "x").to_string();
        }
    }
}

//! Stage: text in. Mistakes in a text, all of them, each with its line, a caret and advice.
//!
//! Input: what went wrong and where. Output: [`Diagnostics`], an error whose text is ready to be read. Next: `parse/mod.rs`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One mistake in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub col: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// All mistakes of one text. Its `Display` shows each with its line, a caret and advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics {
    /// Name of the file, as it was given.
    pub file: Arc<str>,
    /// The mistakes, in the order of the text; at most [`MAX_SHOWN`].
    pub list: Vec<Diagnostic>,
    /// How many more there were.
    pub more: usize,
    /// For each mistake the lines it touches, so that it can be shown without the file.
    lines: Vec<String>,
}

/// So many mistakes are kept; a file with more is most likely not assembly.
pub const MAX_SHOWN: usize = 100;

/// Collects mistakes while a text is read.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: Vec<(Range<usize>, String, Option<String>)>,
    more: usize,
}

impl Collector {
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>, advice: Option<String>) {
        if self.found.len() < MAX_SHOWN {
            self.found.push((span, message.into(), advice));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn finish(mut self, file: Arc<str>, text: &str) -> Diagnostics {
        self.found.sort_by_key(|(span, ..)| span.start);
        let mut list = Vec::with_capacity(self.found.len());
        let mut lines = Vec::with_capacity(self.found.len());
        let (mut line, mut line_start, mut counted) = (1, 0, 0);
        for (span, message, advice) in self.found {
            let start = span.start.min(text.len());
            for (i, _) in text.as_bytes()[counted..start].iter().enumerate().filter(|(_, b)| **b == b'\n') {
                line += 1;
                line_start = counted + i + 1;
            }
            counted = start;
            let shown = text[line_start..].lines().next().unwrap_or("");
            let col = text[line_start..start].chars().count() + 1;
            let end = span.end.clamp(start, line_start + shown.len().max(start - line_start));
            lines.push(shown.to_owned());
            list.push(Diagnostic { span: start..end, line, col, message, advice });
        }
        Diagnostics { file, list, more: self.more, lines }
    }
}

/// A line longer than this is shown only around the mistake.
const MAX_LINE: usize = 400;

/// The part of a line that is worth showing, and where in it `at` is.
fn window(line: &str, at: usize) -> (&str, usize) {
    if line.len() <= MAX_LINE {
        return (line, at);
    }
    let mut start = at.saturating_sub(MAX_LINE / 2).min(line.len());
    while !line.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (start + MAX_LINE).min(line.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    (&line[start..end], at - start)
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for (i, (d, line)) in self.list.iter().zip(&self.lines).enumerate() {
            let before: usize = line.chars().take(d.col - 1).map(char::len_utf8).sum();
            let (shown, at) = window(line, before);
            let end = (at + d.span.len()).min(shown.len());
            let caret = AnnotationKind::Primary.span(at.min(end)..end);
            let snippet = Snippet::source(shown).path(&*self.file).line_start(d.line).fold(false).annotation(caret);
            let mut group = Group::with_title(Level::ERROR.primary_title(&*d.message)).element(snippet);
            if let Some(advice) = &d.advice {
                group = group.element(Level::HELP.message(&**advice));
            }
            if i > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&renderer.render(&[group]))?;
        }
        if self.more > 0 {
            write!(f, "\n\n… and {} more", self.more)?;
        }
        Ok(())
    }
}

/// The candidate that looks most like `name`, if one is close: for "did you mean".
pub(super) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > 64 {
        return None;
    }
    let limit = 1 + name.len() / 4;
    candidates.into_iter().map(|c| (distance(name, c), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

/// Edits that turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_line_caret_and_advice() {
        let text = "r0 = 2\nr1 = w2\nexit\n";
        let mut found = Collector::default();
        found.add(12..14, "widths differ", Some("write r2".into()));
        let d = found.finish("a.s".into(), text);
        assert_eq!((d.list[0].line, d.list[0].col), (2, 6));
        let want = "error: widths differ\n --> a.s:2:6\n  |\n2 | r1 = w2\n  |      ^^\n  |\n  = help: write r2";
        assert_eq!(d.to_string(), want);
    }

    #[test]
    fn positions_anywhere_are_harmless() {
        for text in ["", "x", "é\n\nü", &"y".repeat(5000)] {
            for start in (0..=text.len() + 2).filter(|s| *s > text.len() || text.is_char_boundary(*s)) {
                let mut found = Collector::default();
                found.add(start..start + 3, "m", None);
                assert!(found.finish("f".into(), text).to_string().starts_with("error: m"));
            }
        }
    }

    #[test]
    fn too_many_mistakes_are_counted() {
        let mut found = Collector::default();
        for _ in 0..MAX_SHOWN + 5 {
            found.add(0..1, "m", None);
        }
        let d = found.finish("f".into(), "x");
        assert_eq!((d.list.len(), d.more), (MAX_SHOWN, 5));
        assert!(d.to_string().ends_with("… and 5 more"));
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("map_lokup_elem", ["map_lookup_elem", "map_update_elem"]), Some("map_lookup_elem"));
        assert_eq!(nearest("foo", ["quite_different"]), None);
    }
}

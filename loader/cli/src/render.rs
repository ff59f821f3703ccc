//! What is written: results on standard output as text or JSON, progress and errors on standard error.
//!
//! Input: values of the commands. Output: bytes. No other file of this binary prints. Read next: `up.rs`.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use anyhow::{Error, Result};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use loader::apply::PrepareError;
use loader::manifest::{self, Diagnostic};
use serde::Serialize;
use serde_json::json;

/// Where everything goes.
pub(crate) struct Out {
    json: bool,
}

const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line about what is going on.
    pub(crate) fn progress(&mut self, line: impl Display) {
        // Nobody reads it any more: not a reason to stop half way.
        let _ = writeln!(anstream::stderr().lock(), "{DIM}{line}{DIM:#}");
    }

    /// The result: JSON for programs, else the text.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn result<T: Serialize>(&mut self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let mut stdout = anstream::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from)?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", text(value))?;
        }
        Ok(stdout.flush()?)
    }

    /// One of many results, as soon as it is there: a line of JSON, or of text.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn line<T: Serialize>(&mut self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let mut stdout = anstream::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut stdout, value).map_err(io::Error::from)?;
            writeln!(stdout)?;
        } else {
            writeln!(stdout, "{}", text(value))?;
        }
        Ok(stdout.flush()?)
    }

    /// Why the command failed: what was tried, and the chain of causes; as JSON also on standard output.
    pub(crate) fn error(&mut self, error: &Error) {
        let causes: Vec<String> = causes(error);
        if self.json {
            let place = error.chain().find_map(diagnostic);
            let mut value = json!({ "error": causes.first(), "causes": causes.get(1..) });
            if let Some(at) = place {
                value["error"] = json!(at.message);
                value["at"] = json!({ "file": at.path, "line": at.line, "column": at.column });
                value["help"] = json!(at.help);
            }
            let _ = writeln!(anstream::stdout().lock(), "{value:#}"); // standard error below says the same
        }
        let mut stderr = anstream::stderr().lock();
        for (at, cause) in causes.iter().enumerate() {
            let label = if at == 0 { format!("{RED}error:{RED:#} ") } else { "  because: ".to_owned() };
            let _ = writeln!(stderr, "{label}{cause}"); // there is nowhere left to complain to
        }
    }
}

/// The place in a manifest that an error is about; errors that pass it on unchanged do not show it as their cause.
fn diagnostic<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Diagnostic> {
    if let Some(manifest::Error::At(at)) = error.downcast_ref() {
        return Some(at);
    }
    match error.downcast_ref() {
        Some(PrepareError::Manifest(at)) => Some(at),
        _ => error.downcast_ref(),
    }
}

/// The messages of an error and its causes; one that its parent has quoted already is left out.
fn causes(error: &Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !causes.last().is_some_and(|last| last.contains(&text)) {
            causes.push(text);
        }
    }
    causes
}

/// Whether the reader of standard output went away, as `head` does: no failure.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// A table without lines: columns aligned, the head in capitals, columns in which nothing stands left out; empty when there are no
/// rows.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    if rows.is_empty() {
        return String::new();
    }
    let used: Vec<usize> = (0..N).filter(|at| rows.iter().any(|row| !row[*at].is_empty())).collect();
    let row = |cells: &[String; N]| used.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
    columns(&row(&head.map(str::to_uppercase)), &rows.iter().map(row).collect::<Vec<_>>())
}

/// The same for as many columns as there are, the head as it is.
pub(crate) fn columns(head: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head).add_rows(rows);
    let lines = table.lines().map(|line| format!("  {}\n", line.trim_end()));
    lines.collect()
}

/// A number with its thousands apart.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn numbers_are_grouped() {
        for (n, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), want);
        }
    }

    #[test]
    fn a_cause_that_was_quoted_is_not_repeated() {
        let error = anyhow::anyhow!("no such file").context("open x: no such file").context("read");
        assert_eq!(causes(&error), ["read", "open x: no such file"]);
    }

    #[test]
    fn tables_are_aligned_and_may_be_empty() {
        let text = table(["a", "b"], [["1".to_owned(), "22".to_owned()], ["333".to_owned(), "4".to_owned()]]);
        assert_eq!(text, "   A    B\n   1    22\n   333  4\n");
        let text = table(["a", "b", "c"], [["1".to_owned(), String::new(), "2".to_owned()]]);
        assert_eq!(text, "   A  C\n   1  2\n", "nothing stands in b");
        assert_eq!(table(["a"], []), "");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("write").unwrap_err();
        assert!(is_closed_pipe(&error));
    }
}

//! The rules of the workspace that no compiler knows.
//!
//! In: the source files that git knows. Out: one line for each broken rule, as `file:line: rule`. The rules are about
//! text, so they read text: no syntax tree. Next to read: `steps.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::repo::Repo;

/// The longest a source file may be.
const FILE_LINES: usize = 600;

/// The longest a function may be; nine in ten are under half of it.
const FUNCTION_LINES: usize = 80;

/// Words that promise later work, or hide a warning. In halves, so that this file does not break its own rule.
const FORBIDDEN: &[(&str, &str)] = &[("todo", "!("), ("unimplemented", "!("), ("#[ig", "nore]"), ("#[all", "ow(")];

/// Checks every Rust file of the workspace.
///
/// # Errors
/// git could not list the files, or one could not be read.
pub fn workspace(repo: &Repo) -> Result<Vec<String>> {
    let listed = repo.command("git").args(["ls-files", "-z", "*.rs"]).output().context("start git")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let mut broken = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()) {
        let path = repo.path(name);
        if path.is_file() {
            let text = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
            broken.extend(file(Path::new(name), &text));
        }
    }
    Ok(broken)
}

/// Checks one file.
pub fn file(name: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut complain = |line: usize, what: String| broken.push(format!("{}:{line}: {what}", name.display()));
    // Expected outputs of compile-fail tests show what not to do.
    if name.components().any(|part| part.as_os_str() == "ui") {
        return broken;
    }
    if !text.starts_with("//!") {
        complain(1, "begins without `//!`: stage, input, output, next file to read".to_owned());
    }
    let lines = text.lines().count();
    if lines > FILE_LINES {
        complain(1, format!("has {lines} lines; more than {FILE_LINES} is more than one subject"));
    }
    let in_sys = name.starts_with("loader/src/sys");
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (first, second) in FORBIDDEN {
            if code.contains(&format!("{first}{second}")) {
                complain(index + 1, format!("`{first}{second}` does not belong here"));
            }
        }
        let starts = ["{", "fn", "impl", "extern"];
        if !in_sys && !code.contains('"') && starts.iter().any(|word| code.contains(&["unsafe", word].join(" "))) {
            complain(index + 1, "`unsafe` outside of loader/src/sys".to_owned());
        }
    }
    for (line, name, length) in long_functions(text) {
        complain(line, format!("fn {name} has {length} lines, more than {FUNCTION_LINES}"));
    }
    broken
}

/// Functions over [`FUNCTION_LINES`], as line, name and length. Relies on rustfmt: a function ends at the closing brace
/// that stands as far in as its `fn`.
fn long_functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = lines.iter().skip(at).position(|l| l.trim_end() == format!("{}}}", " ".repeat(indent)));
        if let Some(length) = end.map(|end| end + 1).filter(|&length| length > FUNCTION_LINES) {
            found.push((at + 1, name, length));
        }
    }
    found
}

/// The name of the function that a line declares; `None` when it declares none, or one without a body.
fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    while let Some(word) = ["pub ", "pub(crate) ", "pub(super) ", "const ", "unsafe ", "async "]
        .iter()
        .find_map(|word| rest.strip_prefix(word))
    {
        rest = word;
    }
    let rest = rest.strip_prefix("fn ")?;
    if line.trim_end().ends_with(';') {
        return None;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_noticed() {
        let long = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(90));
        for (name, text, want) in [
            ("a/src/a.rs", "//! fine\nfn a() {}\n".to_owned(), None),
            ("a/src/a.rs", "fn a() {}\n".to_owned(), Some("begins without")),
            ("a/src/a.rs", format!("//! x\nfn a() {{ {}{}) }}\n", "todo", "!("), Some("does not belong")),
            ("a/src/a.rs", format!("//! x\n{} impl A for B {{\n}}\n", "unsafe"), Some("outside of loader/src/sys")),
            ("loader/src/sys/a.rs", format!("//! x\n{} impl A for B {{\n}}\n", "unsafe"), None),
            ("a/src/a.rs", long, Some("fn f has 92 lines")),
            ("a/src/a.rs", format!("//! x\n{}", "// y\n".repeat(700)), Some("has 701 lines")),
            ("a/tests/ui/a.rs", "fn a() {}\n".to_owned(), None),
        ] {
            let broken = file(Path::new(name), &text);
            match want {
                None => assert_eq!(broken, Vec::<String>::new(), "{text}"),
                Some(words) => assert!(broken.len() == 1 && broken[0].contains(words), "{want:?}: {broken:?}"),
            }
        }
    }
}

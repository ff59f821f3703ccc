//! The list of all cases, for people: what each shows, and which kernels refuse it.
//!
//! Input: the directory of the cases. Output: `cases/README.md`, which `cargo run -p verifier-tests --example index` writes
//! and a test compares. Read next: `case.rs`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::{Case, Mark, Version};

/// What stands above the list.
const HEAD: &str = "# The cases\n\nWritten by `cargo run -p verifier-tests --example index`. One file a case: its first lines say what \
it shows and why, its marks what each kernel must say. How to read and write one: [kernel-tests.md](../../docs/kernel-tests.md).\n";

/// The list, a table a subject.
///
/// # Errors
/// A directory or file cannot be read, or a file is no case.
pub fn index(cases: &Path) -> io::Result<String> {
    let mut text = HEAD.to_owned();
    for subject in entries(cases)?.into_iter().filter(|path| path.is_dir()) {
        let name = subject.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = write!(text, "\n## {name}\n\n| case | shows | refused |\n|---|---|---|\n");
        for file in entries(&subject)? {
            text.push_str(&row(&name, &file)?);
        }
    }
    Ok(text)
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn row(subject: &str, file: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let case = Case::parse(&name, &text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(format!("| [{name}]({subject}/{name}.bpf) | {} | {} |\n", shown(&text), refused(&case)))
}

/// The first sentence of the comment.
fn shown(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with("# "));
    let whole = lines.map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" ");
    let first = whole.split_once(". ").map_or(whole.as_str(), |(first, _)| first);
    first.trim_end_matches('.').replace('|', "\\|")
}

/// Which kernels refuse it: the ranges of all marks together.
fn refused(case: &Case) -> String {
    let Some(first) = case.marks.iter().map(|mark| mark.since).min() else { return String::new() };
    let everywhere = |mark: &Mark| mark.before.is_none();
    let last = case.marks.iter().map(|mark| mark.before).max().flatten().filter(|_| !case.marks.iter().any(everywhere));
    let first = first.or(case.needs.as_ref().map(|(_, first)| *first));
    match (first, last) {
        (None, None) => "always".to_owned(),
        (Some(since), None) => format!("since {}", shown_version(since)),
        (None, Some(before)) => format!("before {}", shown_version(before)),
        (Some(since), Some(before)) => format!("since {}, before {}", shown_version(since), shown_version(before)),
    }
}

fn shown_version((major, minor, patch): Version) -> String {
    if patch == 0 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_as_the_cases_are() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let written = std::fs::read_to_string(cases.join("README.md")).expect("cases/README.md");
        let again = "run `cargo run -p verifier-tests --example index`";
        assert!(written == index(&cases).expect("an index"), "cases/README.md is not what the cases say: {again}");
    }

    #[test]
    fn ranges_of_marks_are_joined() {
        let refused = |text: &str| refused(&Case::parse("c", text).expect(text));
        assert_eq!(refused("case:\n  exit\n"), "");
        assert_eq!(refused("case:\n  exit #! x\n"), "always");
        assert_eq!(refused("case:\n  exit #! before 6.1: x\n  #! since 6.1: y\n"), "always");
        assert_eq!(refused("case:\n  exit #! before 6.18.44: x\n"), "before 6.18.44");
        assert_eq!(refused("#@ needs f 5.17\ncase:\n  exit #! x\n"), "since 5.17");
    }
}

//! What failed, in the last lines of a run: whoever sees only those must learn the cause from them.
//!
//! In: lines of `cargo test`, or a report's red rows. Out: for each failed test its name and the beginning and the end of what
//! it said, within a bound for all together. Next to read: `steps.rs`, which prints it last.

/// A failed test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Red {
    /// Its name, and where and how it failed.
    pub what: String,
    /// What it said.
    pub detail: String,
}

/// Lines for all failed tests together.
const ALL: usize = 48;
/// Lines for one at most.
const MOST: usize = 40;
/// Lines for one at least; who then has no place is only named.
const LEAST: usize = 8;

/// The closing words about failed tests; empty when there are none.
pub fn closing(red: &[Red]) -> String {
    let shown = red.len().min(ALL / LEAST);
    let each = (ALL / shown.max(1)).min(MOST);
    let mut out = String::new();
    for Red { what, detail } in &red[..shown] {
        out.push_str(&format!("---- {what}\n"));
        for line in ends(detail, each) {
            out.push_str(&format!("     {line}\n"));
        }
    }
    let rest: Vec<_> = red[shown..].iter().map(|red| red.what.as_str()).collect();
    if !rest.is_empty() {
        out.push_str(&format!("---- and {} more: {}\n", rest.len(), rest.join("; ")));
    }
    out
}

/// The beginning and the end of a text, in so many lines; empty lines do not count, long ones are cut.
pub fn ends(text: &str, limit: usize) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let left_out = lines.len().saturating_sub(limit);
    let note = format!("[… {} lines left out …]", left_out + 1);
    if left_out > 0 {
        let head = limit / 2;
        lines.splice(head..=head + left_out, [note.as_str()]);
    }
    lines.into_iter().map(|line| guest_init::shorten(line, 400).replace('\n', " ")).collect()
}

/// Finds the failed tests in what `cargo test` prints.
#[derive(Debug, Default)]
pub struct Collector {
    red: Vec<Red>,
    open: bool,
}

impl Collector {
    /// Takes a line in.
    pub fn line(&mut self, line: &str) {
        let heading = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = heading {
            self.red.push(Red { what: name.to_owned(), detail: String::new() });
            self.open = true;
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.open = false;
        } else if let Some(red) = self.red.last_mut().filter(|_| self.open) {
            red.detail.push_str(line);
            red.detail.push('\n');
        }
    }

    /// Those found.
    pub fn finish(self) -> Vec<Red> {
        self.red
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_found_in_the_output_of_cargo() {
        let text = "running 3 tests\ntest a::b ... FAILED\ntest c ... ok\n\nfailures:\n\n---- a::b stdout ----\n\nthread 'a::b' \
                    panicked at x.rs:1:\nleft: 1\n\n---- d stdout ----\nno\n\n\nfailures:\n    a::b\n    d\n\ntest result: \
                    FAILED. 1 passed; 2 failed\nmore\n";
        let mut collector = Collector::default();
        text.lines().for_each(|line| collector.line(line));
        let red = collector.finish();
        let short: Vec<_> = red.iter().map(|red| (red.what.as_str(), red.detail.trim())).collect();
        assert_eq!(short, [("a::b", "thread 'a::b' panicked at x.rs:1:\nleft: 1"), ("d", "no")]);
    }

    #[test]
    fn the_cause_is_within_the_last_lines_however_much_was_said() {
        let long: String = (0..500).map(|n| format!("line {n}\n\n")).collect();
        let one = |n: usize| Red { what: format!("t{n}: failed"), detail: long.clone() };
        for count in [1, 2, 3, 6, 40] {
            let red: Vec<_> = (0..count).map(one).collect();
            let text = closing(&red);
            assert!(text.lines().count() <= 56, "{count}: {}", text.lines().count());
            assert!(
                text.contains("line 0\n") && text.contains("line 499\n") && text.contains("lines left out"),
                "{text}"
            );
            assert!((0..count).all(|n| text.contains(&format!("t{n}: failed"))), "{text}");
        }
        assert_eq!(closing(&[]), "");
    }

    #[test]
    fn both_ends_are_kept() {
        let text = "1\n2\n3\n4\n5\n6\n7\n";
        assert_eq!(ends(text, 7).len(), 7);
        assert_eq!(ends(text, 4), ["1", "2", "[… 4 lines left out …]", "7"]);
    }
}

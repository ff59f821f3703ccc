//! Counting tests: reads the closing lines of Rust's test runner, and writes them for tests that ran elsewhere.
//!
//! In: lines of `cargo test`. Out: a [`Tally`]. Next to read: `steps.rs`.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// How many tests passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Did what they should.
    pub passed: usize,
    /// Did not, or ended without a word.
    pub failed: usize,
    /// Could not run here, for a reason that was accepted.
    pub skipped: usize,
}

impl Tally {
    /// One failure, for a step that broke before it could count.
    pub const BROKEN: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`; `None` for any other line.
    pub fn of_line(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("test result: ")?;
        let (_, counts) = rest.split_once(". ")?;
        let mut tally = Self::default();
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse() else { continue };
            match what {
                "passed" => tally.passed = number,
                "failed" => tally.failed = number,
                "ignored" => tally.skipped = number,
                _ => {}
            }
        }
        Some(tally)
    }

    /// The closing line of Rust's test runner for these counts.
    pub fn closing_line(&self, time: Duration) -> String {
        let word = if self.failed == 0 { "ok" } else { "FAILED" };
        let Self { passed, failed, skipped } = self;
        let seconds = time.as_secs_f64();
        format!(
            "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out; \
             finished in {seconds:.2}s"
        )
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read_and_written() {
        for (line, want) in [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                (3, 0, 1),
            ),
            (
                "test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.5s",
                (0, 2, 0),
            ),
        ] {
            let (passed, failed, skipped) = want;
            let tally = Tally::of_line(line).expect(line);
            assert_eq!(tally, Tally { passed, failed, skipped }, "{line}");
            assert_eq!(Tally::of_line(&tally.closing_line(Duration::from_millis(1500))), Some(tally), "{line}");
        }
        assert_eq!(Tally::of_line("test foo ... ok"), None);
    }
}

//! What an item's end is worth on a kernel.
//!
//! In: how it ended, the kernel's version, and `verdicts.toml`. Out: a [`Verdict`]. A skip has to name a feature that the
//! running kernel is too old for; an expected failure that passes is red. Next to read: `report.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use guest_init::Status;
use serde::Deserialize;

use crate::console::Ended;
use crate::tally::Tally;
use crate::version::Kernel;

/// What a test printed to be skipped: `skip: tcx needs Linux 6.6`.
const SKIP: &str = "skip: ";

/// What a result is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It could not run on a kernel this old.
    Skip(String),
    /// It failed, and `verdicts.toml` says why it must here.
    Expected(String),
    /// Anything else, in words.
    Red(String),
}

/// `verdicts.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// First kernel of each feature.
    #[serde(default)]
    feature: BTreeMap<String, Kernel>,
    #[serde(default)]
    expect: Vec<Expect>,
    #[serde(default)]
    lacks: Vec<Lacks>,
    #[serde(default)]
    known_splat: Vec<KnownSplat>,
}

/// What kernels lack though they are young enough for it: of another architecture, or built without it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lacks {
    /// Names of kernels as the report shows them.
    on: Vec<String>,
    feature: String,
    #[serde(rename = "reason")]
    _reason: String,
}

/// A complaint of the kernel about a mistake of its own, which a test may meet on its way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownSplat {
    text: String,
    kernels: Range,
    #[serde(rename = "reason")]
    _reason: String,
}

/// What is known not to pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    tests: Vec<String>,
    /// Without it all versions.
    kernels: Option<Range>,
    /// Names of kernels as the report shows them; without any, all.
    #[serde(default)]
    on: Vec<String>,
    status: Wanted,
    reason: String,
}

impl Expect {
    /// True when the row is about this test on this kernel.
    fn is_about(&self, test: &str, name: &str, version: Kernel) -> bool {
        self.tests.iter().any(|pattern| matches(pattern, test))
            && (self.on.is_empty() || self.on.iter().any(|one| one == name))
            && self.kernels.as_ref().is_none_or(|range| range.contains(version))
    }
}

/// What an expected result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wanted {
    Skip,
    Fail,
}

/// Kernels: `<6.6`, `>=6.12`, `5.10`, or several with commas.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Range(Vec<Bound>);

#[derive(Clone, Copy, Debug)]
enum Bound {
    Below(Kernel),
    From(Kernel),
    Is(Kernel),
}

impl TryFrom<String> for Range {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let bound = |word: &str| {
            Ok(if let Some(version) = word.strip_prefix('<') {
                Bound::Below(version.parse()?)
            } else if let Some(version) = word.strip_prefix(">=") {
                Bound::From(version.parse()?)
            } else {
                Bound::Is(word.parse()?)
            })
        };
        text.split(',').map(|word| bound(word.trim())).collect::<Result<_>>().map(Self)
    }
}

impl Range {
    fn contains(&self, kernel: Kernel) -> bool {
        self.0.iter().any(|bound| match bound {
            Bound::Below(version) => kernel < *version,
            Bound::From(version) => kernel >= *version,
            Bound::Is(version) => kernel == *version,
        })
    }
}

impl Table {
    /// Reads `verdicts.toml`.
    ///
    /// # Errors
    /// It is missing or has a mistake.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Judges a test on the kernel with this name in the report. `of_runner`: its output ends with the closing line of Rust's
    /// test runner.
    pub fn judge(&self, test: &str, name: &str, kernel: Kernel, ended: &Ended, of_runner: bool) -> Verdict {
        let (status, detail) = match ended {
            Ended::Reported { splat, .. } if !self.is_known(kernel, splat) => {
                return Verdict::Red("the kernel complained while it ran".to_owned());
            }
            Ended::Reported { status, detail, .. } => (*status, detail),
            Ended::Lost => return Verdict::Red("no result: the guest ended while it ran".to_owned()),
            Ended::NotRun => return Verdict::Red("not run: the guest ended before".to_owned()),
        };
        let expected = self.expect.iter().find(|row| row.is_about(test, name, kernel));
        let got = match status {
            Status::Timeout => return Verdict::Red("its time was over".to_owned()),
            Status::Fail => match expected {
                Some(row) if row.status == Wanted::Fail => return Verdict::Expected(row.reason.clone()),
                _ => return Verdict::Red("failed".to_owned()),
            },
            Status::Pass if of_runner && !ran_one(detail) => {
                return Verdict::Red("the test runner did not run it".to_owned());
            }
            Status::Pass => self.skip(name, kernel, detail, expected.is_some_and(|row| row.status == Wanted::Skip)),
        };
        match (got, expected) {
            (Verdict::Pass, Some(row)) => Verdict::Red(format!("passed, but verdicts.toml says: {}", row.reason)),
            (got, _) => got,
        }
    }

    /// True when there is no complaint, or each one is known on this kernel.
    fn is_known(&self, kernel: Kernel, splat: &str) -> bool {
        let known =
            |line: &str| self.known_splat.iter().any(|row| line.contains(&row.text) && row.kernels.contains(kernel));
        splat.lines().filter(|line| guest_init::is_splat(line)).all(known)
    }

    /// What a test that returned without a failure printed about being skipped. `may`: a row says that it is, though the kernel
    /// is new enough; so does one about what this kernel lacks.
    fn skip(&self, name: &str, kernel: Kernel, detail: &str, may: bool) -> Verdict {
        let Some(line) = detail.lines().find_map(skip_reason) else { return Verdict::Pass };
        let Some((feature, first)) = line.split_once(" needs Linux ") else {
            return Verdict::Red(format!("skipped without a reason that can be checked: {line}"));
        };
        let Ok(first) = first.parse::<Kernel>() else {
            return Verdict::Red(format!("skipped, but names no version: {line}"));
        };
        let lacked = self.lacks.iter().any(|row| row.feature == feature && row.on.iter().any(|one| one == name));
        match self.feature.get(feature) {
            Some(known) if *known != first => {
                Verdict::Red(format!("skipped: {line}; verdicts.toml says that {feature} came with {known}"))
            }
            _ if kernel >= first && !may && !lacked => Verdict::Red(format!("skipped: {line}; but this is {kernel}")),
            _ => Verdict::Skip(line.to_owned()),
        }
    }
}

/// What follows `skip: ` at the beginning of a line, or after the `test NAME ... ` that the test runner leaves unfinished.
fn skip_reason(line: &str) -> Option<&str> {
    let (before, reason) = line.split_once(SKIP)?;
    (before.trim().is_empty() || before.ends_with(" ... ")).then(|| reason.trim())
}

/// True when a pattern, with one `*` at its end or none, means this test.
fn matches(pattern: &str, test: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => test.starts_with(begin),
        None => pattern == test,
    }
}

/// True when the test runner says that it ran exactly one test: by its closing line, or, where it ran others too, by the line that
/// begins with the test's name and the word that ends it.
fn ran_one(detail: &str) -> bool {
    let alone = detail.lines().rev().find_map(Tally::of_line);
    alone == Some(Tally { passed: 1, failed: 0, skipped: 0 })
        || alone.is_none() && detail.starts_with("test ") && detail.ends_with("ok\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.0s\n";

    fn table() -> Table {
        let expect = "[[expect]]\ntests = [\"l bond::*\"]\nkernels = \"<5.15, 7.0\"\nstatus = \"fail\"\nreason = \"no native\"\n\
                      [[expect]]\ntests = [\"l b\", \"l jit::*\"]\non = [\"um-6.1\"]\nstatus = \"fail\"\nreason = \"no JIT\"\n\
                      [[expect]]\ntests = [\"l poor\"]\nkernels = \"6.6\"\nstatus = \"skip\"\nreason = \"built without\"\n";
        let lacks = "[[lacks]]\non = [\"um-6.1\"]\nfeature = \"lsm\"\nreason = \"r\"\n";
        let known = "[[known_splat]]\ntext = \"check+\"\nkernels = \"6.18\"\nreason = \"r\"\n";
        toml::from_str(&format!("[feature]\ntcx = \"6.6\"\nring = \"5.8\"\n{expect}{lacks}{known}")).unwrap()
    }

    fn reported(status: Status, detail: &str) -> Ended {
        Ended::Reported { status, ms: 1, detail: detail.to_owned(), splat: String::new() }
    }

    fn complained(splat: &str) -> Ended {
        Ended::Reported { status: Status::Pass, ms: 1, detail: ONE.to_owned(), splat: splat.to_owned() }
    }

    #[test]
    fn results_are_judged() {
        let red = |words: &str| Err(words.to_owned());
        let none = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.0s\n";
        let skip = |line: &str| format!("skip: {line}\n{ONE}");
        for (test, kernel, ended, want) in [
            ("l a", "6.1", reported(Status::Pass, ONE), Ok("pass")),
            ("l a", "6.1", reported(Status::Pass, none), red("did not run it")),
            ("l a", "6.1", reported(Status::Pass, ""), red("did not run it")),
            ("l a", "6.1", reported(Status::Pass, "test a ... said\nok\n"), Ok("pass")),
            ("l a", "6.1", reported(Status::Pass, "test a ... said\n"), red("did not run it")),
            ("l a", "6.1", reported(Status::Fail, ONE), red("failed")),
            ("l a", "6.1", reported(Status::Timeout, ""), red("time was over")),
            ("l a", "6.1", complained("WARNING: CPU: 0 at x.c:1 check+0x1\n trace\n"), red("complained")),
            ("l a", "6.18", complained("WARNING: CPU: 0 at x.c:1 check+0x1\n trace\n"), Ok("pass")),
            ("l a", "6.18", complained("WARNING: CPU: 0 at x.c:1 check+0x1\nBUG: other\n"), red("complained")),
            ("l a", "6.1", Ended::Lost, red("no result")),
            ("l a", "6.1", Ended::NotRun, red("not run")),
            ("l a", "6.1", reported(Status::Pass, &skip("tcx needs Linux 6.6")), Ok("skip")),
            ("l a", "6.1", reported(Status::Pass, &format!("test a ... {}", skip("tcx needs Linux 6.6"))), Ok("skip")),
            ("l a", "6.1", reported(Status::Pass, &format!("will not {}", skip("tcx needs Linux 6.6"))), Ok("pass")),
            ("l a", "6.6", reported(Status::Pass, &skip("tcx needs Linux 6.6")), red("but this is 6.6")),
            ("l poor", "6.6", reported(Status::Pass, &skip("tcx needs Linux 6.6")), Ok("skip")),
            ("l poor", "6.6", reported(Status::Pass, ONE), red("passed, but verdicts.toml says: built without")),
            ("l a", "6.1", reported(Status::Pass, &skip("tcx needs Linux 6.7")), red("came with 6.6")),
            ("l a", "6.1", reported(Status::Pass, &skip("new thing needs Linux 6.7")), Ok("skip")),
            ("l a", "um-6.6", reported(Status::Pass, &skip("tcx needs Linux 6.6")), red("but this is 6.6")),
            ("l a", "um-6.1", reported(Status::Pass, &skip("ring needs Linux 5.8")), red("but this is 6.1")),
            ("l a", "um-6.1", reported(Status::Pass, &skip("lsm needs Linux 5.7")), Ok("skip")),
            ("l a", "6.1", reported(Status::Pass, &skip("lsm needs Linux 5.7")), red("but this is 6.1")),
            ("l a", "6.1", reported(Status::Pass, &skip("no idea")), red("without a reason")),
            ("l bond::x", "5.10", reported(Status::Fail, ""), Ok("expected")),
            ("l bond::x", "7.0", reported(Status::Fail, ""), Ok("expected")),
            ("l bond::x", "5.10", reported(Status::Pass, ONE), red("passed, but verdicts.toml says: no native")),
            ("l bond::x", "5.15", reported(Status::Fail, ""), red("failed")),
            ("l jit::x", "um-6.1", reported(Status::Fail, ""), Ok("expected")),
            ("l jit::x", "6.1", reported(Status::Fail, ""), red("failed")),
            ("l b", "um-6.1", reported(Status::Pass, ONE), red("passed, but verdicts.toml says: no JIT")),
        ] {
            let version = kernel.trim_start_matches("um-").parse().unwrap();
            let verdict = table().judge(test, kernel, version, &ended, true);
            let got = match verdict {
                Verdict::Pass => Ok("pass"),
                Verdict::Skip(_) => Ok("skip"),
                Verdict::Expected(_) => Ok("expected"),
                Verdict::Red(words) => Err(words),
            };
            let same = match (&got, &want) {
                (Err(got), Err(want)) => got.contains(want),
                (got, want) => got == want,
            };
            assert!(same, "{test} on {kernel}, {ended:?}: {got:?} instead of {want:?}");
        }
    }

    #[test]
    fn the_table_of_the_repository_is_read() {
        let table: Table = toml::from_str(include_str!("../verdicts.toml")).unwrap();
        let kernels = crate::config::parse_wanted(include_str!("../kernels.toml")).unwrap();
        for name in table.expect.iter().flat_map(|row| &row.on).chain(table.lacks.iter().flat_map(|row| &row.on)) {
            assert!(kernels.iter().any(|kernel| kernel.label() == *name), "no kernel is called {name}");
        }
        for row in &table.lacks {
            assert!(table.feature.contains_key(&row.feature), "no feature is called {}", row.feature);
        }
        assert_eq!(table.feature.get("tcx"), Some(&"6.6".parse().unwrap()));
        assert!(toml::from_str::<Table>("[[expect]]\ntests = [\"a\"]\n").is_err());
    }
}

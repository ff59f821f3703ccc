//! The same pass several times: whoever claims that verdicts do not depend on chance has seen it.
//!
//! In: the reports of the passes. Out: the tests whose verdicts were not the same in all. Next to read: `report.rs`.

use std::collections::BTreeMap;

use crate::red::Red;
use crate::report::Report;
use crate::verdicts::Verdict;

/// Tests with different verdicts in different passes, and guests that ended differently.
pub fn differences(passes: &[Report]) -> Vec<Red> {
    let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let endings: Vec<_> = passes.iter().flat_map(|pass| &pass.rows).map(|row| row.ending.to_string()).collect();
    let rows = passes.iter().flat_map(|pass| &pass.rows);
    for (row, ending) in rows.zip(&endings) {
        seen.entry(format!("guest of Linux {}", row.name)).or_default().push(ending);
        for test in &row.tests {
            seen.entry(format!("{} on Linux {}", test.name, row.name)).or_default().push(word(&test.verdict));
        }
    }
    let differs = |words: &Vec<&str>| words.len() != passes.len() || words.iter().any(|word| *word != words[0]);
    let red = |(what, words): (String, Vec<&str>)| Red {
        what: format!("{what}: not the same in {} passes", passes.len()),
        detail: words.join(", "),
    };
    seen.into_iter().filter(|(_, words)| differs(words)).map(red).collect()
}

/// A verdict without its reason, which may hold numbers.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Skip(_) => "skip",
        Verdict::Expected(_) => "expected failure",
        Verdict::Red(_) => "fail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_verdict_that_changes_is_told() {
        let (same, mut other) = (report(), report());
        assert_eq!(differences(&[same.clone(), other.clone()]), []);
        other.rows[0].tests[0].verdict = Verdict::Red("failed".into());
        other.rows[1].tests.clear();
        let told = differences(&[same, other]);
        let told: Vec<_> = told.iter().map(|red| (red.what.as_str(), red.detail.as_str())).collect();
        let want = [
            ("t::0 on Linux 5.10: not the same in 2 passes", "pass, fail"),
            ("t::0 on Linux 6.1: not the same in 2 passes", "fail"),
        ];
        assert_eq!(told, want);
    }
}

//! What people, programs and build servers get to see: a table, JSON, JUnit.
//!
//! In: judged results. Out: text; pure functions. Next to read: the end of the road. `steps.rs` prints the sums.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::{Ended, Ending};
use crate::red::Red;
use crate::tally::Tally;
use crate::verdicts::Verdict;

/// Results of all kernels.
#[derive(Clone, Debug)]
pub struct Report {
    /// One a kernel, in the order of `kernels.toml`.
    pub rows: Vec<Row>,
    /// Building and fetching, before the first boot.
    pub prepared: Duration,
    /// Everything.
    pub total: Duration,
}

/// Results of one kernel.
#[derive(Clone, Debug)]
pub struct Row {
    /// What `--kernel` takes.
    pub name: String,
    /// Whether the run is red without it.
    pub required: bool,
    /// `uname -r`.
    pub release: String,
    /// Debian's version.
    pub version: String,
    /// How it differs from the lock.
    pub drift: Option<String>,
    /// Until process 1 ran.
    pub boot: Option<Duration>,
    /// Until QEMU ended.
    pub total: Duration,
    /// Processor time of QEMU.
    pub cpu: Duration,
    /// Its tests.
    pub tests: Vec<TestRow>,
    /// How the guest ended.
    pub ending: Ending,
    /// What else was wrong.
    pub faults: Vec<String>,
    /// Boots that stalled before this one.
    pub retries: usize,
}

/// One test on one kernel.
#[derive(Clone, Debug)]
pub struct TestRow {
    /// Its name.
    pub name: String,
    /// What its result is worth.
    pub verdict: Verdict,
    /// Guest milliseconds.
    pub ms: u64,
    /// Its output.
    pub detail: String,
}

impl TestRow {
    /// A row from how the test ended.
    pub fn new(name: &str, ended: &Ended, verdict: Verdict) -> Self {
        let (ms, detail) = match ended {
            Ended::Reported { ms, detail, splat, .. } if splat.is_empty() => (*ms, detail.clone()),
            Ended::Reported { ms, detail, splat, .. } => {
                (*ms, format!("{}\nThe kernel complained:\n{splat}", detail.trim_end()))
            }
            Ended::Lost | Ended::NotRun => (0, String::new()),
        };
        Self { name: name.to_owned(), verdict, ms, detail }
    }

    /// Why it is red; `None` when it is not.
    fn red(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Red(why) => Some(why),
            _ => None,
        }
    }
}

impl Row {
    /// Counts its tests. A guest with a fault of its own counts as one more failure.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for test in &self.tests {
            match test.verdict {
                Verdict::Pass | Verdict::Expected(_) => tally.passed += 1,
                Verdict::Skip(_) => tally.skipped += 1,
                Verdict::Red(_) => tally.failed += 1,
            }
        }
        if !self.is_sound() {
            tally.failed += 1;
        }
        tally
    }

    /// True when the guest itself did well, whatever its tests did.
    fn is_sound(&self) -> bool {
        self.ending == Ending::Done && self.faults.is_empty()
    }

    /// True when an optional kernel could not be had; that is not green either, but it does not fail the run.
    pub fn is_left_out(&self) -> bool {
        !self.required && self.version.is_empty() && matches!(self.ending, Ending::Broken(_))
    }

    /// One word for the table.
    fn word(&self) -> &'static str {
        match self.tally().failed {
            0 => "ok",
            _ if self.is_left_out() => "LEFT OUT",
            _ => "FAILED",
        }
    }
}

impl Report {
    /// The sum of all kernels. What was left out is no failure and no success.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows {
            if row.is_left_out() {
                tally.skipped += row.tests.len().max(1);
            } else {
                tally += row.tally();
            }
        }
        tally
    }

    /// The text report: one table. What red tests said is not in it: see [`Report::red`].
    pub fn text(&self) -> String {
        let mut out = String::new();
        table(&mut out, &self.rows);
        let boots: Vec<_> = self.rows.iter().filter_map(|row| row.boot).collect();
        let mean = boots.iter().sum::<Duration>().as_secs_f64() / boots.len().max(1) as f64;
        let prepared = self.prepared.as_secs_f64();
        let guests = self.total.saturating_sub(self.prepared).as_secs_f64();
        let cpu = self.rows.iter().map(|row| row.cpu).sum::<Duration>().as_secs_f64();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{prepared:.1} s building and fetching; guests {guests:.1} s, their processor time {cpu:.1} s, mean boot {mean:.1} s"
        );
        let _ = writeln!(out, "\n{}", self.tally().closing_line(self.total));
        out
    }

    /// What is red: tests, each once with the kernels where it is, and guests that did not end well.
    pub fn red(&self) -> Vec<Red> {
        let guest = |row: &&Row| !row.is_sound() && !row.is_left_out();
        let guests = self.rows.iter().filter(guest).map(|row| Red {
            what: format!("guest of Linux {}: {}", row.name, row.ending),
            detail: row.faults.join("\n"),
        });
        let there: Vec<_> = self.rows.iter().filter(|row| !row.is_left_out()).collect();
        guests.chain(red_tests(&there)).collect()
    }

    /// The whole as JSON.
    pub fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(row_json).collect();
        let Tally { passed, failed, skipped } = self.tally();
        json!({
            "kernels": rows,
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "prepared_s": self.prepared.as_secs_f64(),
            "total_s": self.total.as_secs_f64(),
        })
    }

    /// The whole as JUnit's XML, one suite a kernel.
    pub fn junit(&self) -> String {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
        for row in &self.rows {
            junit_suite(&mut out, row);
        }
        out.push_str("</testsuites>\n");
        out
    }
}

/// The red tests, each once, with their output on the first kernel where they are red.
fn red_tests(rows: &[&Row]) -> Vec<Red> {
    let mut red: Vec<(&TestRow, &str, Vec<&str>)> = Vec::new();
    for row in rows {
        for test in &row.tests {
            let Some(why) = test.red() else { continue };
            match red.iter_mut().find(|(known, because, _)| known.name == test.name && *because == why) {
                Some((_, _, kernels)) => kernels.push(&row.name),
                None => red.push((test, why, vec![&row.name])),
            }
        }
    }
    let what = |name: &str, why: &str, kernels: &[&str]| format!("{name}: {why}, on Linux {}", kernels.join(", "));
    red.into_iter()
        .map(|(test, why, kernels)| Red { what: what(&test.name, why, &kernels), detail: test.detail.clone() })
        .collect()
}

/// The table, and under it what concerns a whole guest.
fn table(out: &mut String, rows: &[Row]) {
    let head =
        ["kernel", "release", "boot", "total", "cpu", "passed", "skipped", "failed", "verdict"].map(str::to_owned);
    let mut cells = vec![head];
    for row in rows {
        let Tally { passed, failed, skipped } = row.tally();
        let boot = row.boot.map_or_else(|| "-".to_owned(), |boot| format!("{:.1} s", boot.as_secs_f64()));
        cells.push([
            row.name.clone(),
            row.release.clone(),
            boot,
            format!("{:.1} s", row.total.as_secs_f64()),
            format!("{:.1} s", row.cpu.as_secs_f64()),
            passed.to_string(),
            skipped.to_string(),
            failed.to_string(),
            row.word().to_owned(),
        ]);
    }
    let width = |column: usize| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..9).map(width).collect();
    out.push('\n');
    for line in &cells {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Numbers stand to the right.
            let _ = match column {
                2..=7 => write!(text, "{cell:>width$}  "),
                _ => write!(text, "{cell:<width$}  "),
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    for row in rows {
        if row.ending != Ending::Done {
            let _ = writeln!(out, "Linux {}: {}", row.name, row.ending);
        }
        for fault in &row.faults {
            let _ = writeln!(out, "Linux {}: {}", row.name, fault.replace('\n', "\n    "));
        }
        if let Some(drift) = &row.drift {
            let _ = writeln!(out, "Linux {}: not what kernels.lock says: {drift}", row.name);
        }
        if row.retries > 0 {
            let _ =
                writeln!(out, "Linux {}: FLAKE: the first boot stalled before any test, the second did not", row.name);
        }
    }
}

/// One kernel as JSON.
fn row_json(row: &Row) -> Value {
    let tests = row.tests.iter().map(|test| {
        let (word, why) = word_of(&test.verdict);
        json!({"name": test.name, "verdict": word, "why": why, "ms": test.ms, "output": test.detail})
    });
    json!({
        "name": row.name,
        "release": row.release,
        "version": row.version,
        "required": row.required,
        "drift": row.drift,
        "boot_s": row.boot.map(|boot| boot.as_secs_f64()),
        "total_s": row.total.as_secs_f64(),
        "cpu_s": row.cpu.as_secs_f64(),
        "ending": row.ending.to_string(),
        "faults": row.faults,
        "stalled_boots": row.retries,
        "tests": tests.collect::<Vec<_>>(),
    })
}

/// A verdict as a word, and the reason where there is one.
fn word_of(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::Skip(why) => ("skip", Some(why)),
        Verdict::Expected(why) => ("expected-failure", Some(why)),
        Verdict::Red(why) => ("fail", Some(why)),
    }
}

/// One kernel as a JUnit suite.
fn junit_suite(out: &mut String, row: &Row) {
    let Tally { passed, failed, skipped } = row.tally();
    let name = escape(&format!("Linux {}", row.name));
    let tests = passed + failed + skipped;
    let time = row.total.as_secs_f64();
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{time:.3}\">"
    );
    for test in &row.tests {
        let time = Duration::from_millis(test.ms).as_secs_f64();
        let _ = write!(out, "    <testcase classname=\"{name}\" name=\"{}\" time=\"{time:.3}\"", escape(&test.name));
        match word_of(&test.verdict) {
            ("fail", why) => {
                let why = escape(why.unwrap_or_default());
                let _ = writeln!(out, "><failure message=\"{why}\">{}</failure></testcase>", escape(&test.detail));
            }
            ("pass", _) => out.push_str("/>\n"),
            (_, why) => {
                let _ = writeln!(out, "><skipped message=\"{}\"/></testcase>", escape(why.unwrap_or_default()));
            }
        }
    }
    if !row.is_sound() {
        let why = escape(&format!("{}; {}", row.ending, row.faults.join("; ")));
        let _ =
            writeln!(out, "    <testcase classname=\"{name}\" name=\"guest\"><failure message=\"{why}\"/></testcase>");
    }
    out.push_str("  </testsuite>\n");
}

/// Text for XML. Control characters have no place in XML 1.0, not even escaped.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn row(name: &str, ending: Ending, verdicts: Vec<Verdict>) -> Row {
        let ended = Ended::Reported {
            status: guest_init::Status::Pass,
            ms: 1500,
            detail: "a < b\n\nlast\n".into(),
            splat: String::new(),
        };
        Row {
            name: name.into(),
            required: true,
            release: format!("{name}.0-cloud"),
            version: format!("{name}.1-1"),
            drift: None,
            boot: Some(Duration::from_millis(1830)),
            total: Duration::from_millis(4040),
            cpu: Duration::from_millis(3970),
            tests: verdicts.into_iter().enumerate().map(|(i, v)| TestRow::new(&format!("t::{i}"), &ended, v)).collect(),
            ending,
            faults: Vec::new(),
            retries: 0,
        }
    }

    pub(crate) fn report() -> Report {
        let broken = Row {
            boot: None,
            faults: vec!["BUG: x".into()],
            drift: Some("6.1.9 of sid instead of 6.1.1-1".into()),
            retries: 1,
            ..row("6.1", Ending::Panicked("no init".into()), vec![Verdict::Red("no result".into())])
        };
        let optional = Row {
            required: false,
            version: String::new(),
            ..row("6.16", Ending::Broken("not to be had".into()), vec![Verdict::Red("not run".into())])
        };
        let good = vec![Verdict::Pass, Verdict::Skip("tcx needs Linux 6.6".into()), Verdict::Expected("known".into())];
        Report {
            rows: vec![row("5.10", Ending::Done, good), broken, optional],
            prepared: Duration::from_millis(300),
            total: Duration::from_secs(9),
        }
    }

    #[test]
    fn text_report() {
        insta::assert_snapshot!(report().text());
    }

    #[test]
    fn what_is_red() {
        let red: Vec<_> = report().red().into_iter().map(|red| (red.what, red.detail)).collect();
        let want = [
            ("guest of Linux 6.1: kernel panic: no init", "BUG: x"),
            ("t::0: no result, on Linux 6.1", "a < b\n\nlast\n"),
        ];
        assert_eq!(red, want.map(|(what, detail)| (what.to_owned(), detail.to_owned())));
    }

    #[test]
    fn junit_report() {
        insta::assert_snapshot!(report().junit());
    }

    #[test]
    fn json_report() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&report().json()).unwrap());
    }

    #[test]
    fn an_optional_kernel_that_is_missing_is_neither_green_nor_red() {
        assert_eq!(report().tally(), Tally { passed: 2, failed: 2, skipped: 2 });
        assert_eq!(report().rows.iter().map(Row::word).collect::<Vec<_>>(), ["ok", "FAILED", "LEFT OUT"]);
        // One that is here and cannot be booted, for example without a module that a test declares, is red.
        let here = row("um-6.1", Ending::Broken("no module x".into()), vec![Verdict::Red("not run".into())]);
        assert_eq!(Row { required: false, ..here }.word(), "FAILED");
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(escape("a<b>&\"\u{1b}[0m"), "a&lt;b&gt;&amp;&quot;\u{fffd}[0m");
    }
}

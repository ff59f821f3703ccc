//! What came out of all rounds: rows, ratios, table.
//!
//! Input: one value a figure, a mode and a round. Output: [`Report`], as text and for programs. Read next: `plot.rs`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cases::Figure;
use crate::bench::median;
use crate::render::table;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// TCP as it is.
    Plain,
    /// The usual pair of programs.
    Naive,
    /// Ours.
    Ours,
}

pub(super) const MODES: [Mode; 3] = [Mode::Plain, Mode::Naive, Mode::Ours];

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Naive => "naive",
            Self::Ours => "ours",
        }
    }
}

/// The values of all rounds: figures in the order in which they came first.
#[derive(Default)]
pub(super) struct Figures {
    names: Vec<(String, &'static str)>,
    values: BTreeMap<(String, Mode), Vec<f64>>,
}

impl Figures {
    /// Notes what a round gave.
    pub(super) fn note(&mut self, mode: Mode, figures: Vec<Figure>) {
        for (name, unit, value) in figures {
            if !self.names.iter().any(|(known, _)| *known == name) {
                self.names.push((name.clone(), unit));
            }
            self.values.entry((name, mode)).or_default().push(value);
        }
    }

    fn of(&self, name: &str, mode: Mode) -> &[f64] {
        self.values.get(&(name.to_owned(), mode)).map_or(&[], Vec::as_slice)
    }

    /// Rows and ratios.
    pub(super) fn report(&self, kernel: String, cpus: usize, left_out: Vec<&'static str>) -> Report {
        let mut rows = Vec::new();
        for (case, unit) in &self.names {
            for mode in MODES {
                let mut values = self.of(case, mode).to_vec();
                values.sort_by(f64::total_cmp);
                let (Some(min), Some(max)) = (values.first(), values.last()) else { continue };
                rows.push(Row { case: case.clone(), mode, unit, min: *min, median: median(&values), max: *max });
            }
        }
        let ratio = |mode| self.names.iter().map(|(case, _)| (case.clone(), self.ratio(case, mode))).collect();
        Report { kernel, cpus, left_out, rows, ratio: ratio(Mode::Ours), ratio_naive: ratio(Mode::Naive) }
    }

    /// A mode / plain: the median of each round's ratio.
    fn ratio(&self, case: &str, mode: Mode) -> f64 {
        let pairs = self.of(case, mode).iter().zip(self.of(case, Mode::Plain));
        let mut ratios: Vec<f64> = pairs.map(|(one, plain)| one / plain).collect();
        ratios.sort_by(f64::total_cmp);
        median(&ratios)
    }
}

/// A figure of a mode.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) mode: Mode,
    unit: &'static str,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

/// What the experiment has shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kernel: String,
    cpus: usize,
    /// What was not measured, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
    /// Ours / plain: medians of the rounds' ratios.
    ratio: BTreeMap<String, f64>,
    /// The usual pair / plain.
    ratio_naive: BTreeMap<String, f64>,
}

/// One line a figure: medians of the three, with the range of ours, and the ratios.
pub(super) fn text(report: &Report) -> String {
    let lines = report.rows.chunk_by(|one, next| one.case == next.case).filter_map(|rows| {
        let of = |mode| rows.iter().find(|row| row.mode == mode);
        let shown = |mode| of(mode).map_or_else(|| "-".to_owned(), |row| short(row.median));
        let range = of(Mode::Ours).map_or_else(String::new, |row| format!("{}-{}", short(row.min), short(row.max)));
        let ratio = |ratios: &BTreeMap<String, f64>, case: &str| {
            ratios
                .get(case)
                .filter(|ratio| ratio.is_finite())
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let (case, unit) = rows.first().map(|row| (row.case.as_str(), row.unit))?;
        let medians = [Mode::Plain, Mode::Naive, Mode::Ours].map(shown);
        let [plain, naive, ours] = medians;
        let ratios = [&report.ratio_naive, &report.ratio].map(|ratios| ratio(ratios, case));
        let [naive_plain, ours_plain] = ratios;
        Some([case.to_owned(), unit.to_owned(), plain, naive, ours, range, naive_plain, ours_plain])
    });
    let head = ["case", "unit", "plain", "naive", "ours", "min-max", "naive/plain", "ours/plain"];
    let mut text = table(head, lines);
    for line in &report.left_out {
        text += &format!("{line}\n");
    }
    text
}

/// A figure with three digits or more.
fn short(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures as they could have come out of three rounds.
    pub(in super::super) fn example() -> Report {
        let mut figures = Figures::default();
        for round in [1.0, 1.25, 2.0] {
            for (mode, latency, rate) in
                [(Mode::Plain, 7.0, 1500.0), (Mode::Naive, 4.0, 3000.0), (Mode::Ours, 4.2, 2850.0)]
            {
                figures.note(mode, vec![("p50_64b".to_owned(), "us", latency * round)]);
                figures.note(mode, vec![("throughput_64k".to_owned(), "MB/s", rate / round)]);
            }
        }
        figures.report("6.18.0".to_owned(), 2, vec!["sockperf is not installed"])
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let mut figures = Figures::default();
        for (plain, ours) in [(1.0, 0.5), (10.0, 6.0), (100.0, 70.0)] {
            figures.note(Mode::Plain, vec![("p50_64b".to_owned(), "us", plain)]);
            figures.note(Mode::Ours, vec![("p50_64b".to_owned(), "us", ours)]);
        }
        assert!((figures.ratio("p50_64b", Mode::Ours) - 0.6).abs() < 1e-12);
        assert!(figures.ratio("p50_64b", Mode::Naive).is_nan());
    }

    #[test]
    fn the_table_has_a_line_a_figure() {
        let lines: Vec<String> =
            text(&example()).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "CASE UNIT PLAIN NAIVE OURS MIN-MAX NAIVE/PLAIN OURS/PLAIN",
            "p50_64b us 8.75 5.00 5.25 4.20-8.40 0.57 0.60",
            "throughput_64k MB/s 1200 2400 2280 1425-2850 2.00 1.90",
            "sockperf is not installed",
        ];
        assert_eq!(lines, expected);
    }
}

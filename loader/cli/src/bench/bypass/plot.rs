//! The figures as plots: `latency.svg` and `throughput.svg`.
//!
//! Input: [`Report`]. Output: SVG text, the same for the same figures. Read next: `mod.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordi32;
use plotters::prelude::{
    Cartesian2d, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor, Ranged,
    Rectangle, SVGBackend, WHITE,
};

use super::cases::{SIZES, bytes};
use super::figures::{MODES, Mode, Report, Row};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Wong's colours, which colour-blind readers can tell apart.
const fn colour(mode: Mode) -> RGBColor {
    match mode {
        Mode::Plain => RGBColor(0, 0, 0),
        Mode::Naive => RGBColor(213, 94, 0),
        Mode::Ours => RGBColor(0, 114, 178),
    }
}

/// Writes the plots of what was measured.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(report: &Report, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    for (name, svg) in [("latency.svg", latency(report)?), ("throughput.svg", throughput(report)?)] {
        let path = dir.join(name);
        fs::write(&path, svg).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Two panels in one picture.
fn panels(draw: impl Fn(usize, &Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (1000, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        for (at, area) in root.split_evenly((1, 2)).iter().enumerate() {
            draw(at, area)?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// Microseconds of a round trip of 64 bytes, on one CPU and free: bars, with the range of the rounds.
fn latency(report: &Report) -> Result<String> {
    const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];
    panels(|at, area| {
        let (free, place) = [("", "both ends on one CPU"), ("_free", "on any CPU")][at];
        let bars: Vec<(i32, &Row)> = PERCENTILES
            .iter()
            .zip(0..)
            .flat_map(|(percentile, x)| of(report, &format!("{percentile}_64b{free}")).map(move |row| (x, row)))
            .collect();
        let top = bars.iter().map(|(_, row)| row.max).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Round trip of 64 bytes, {place}"), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0..30, 0.0..top * 1.1)?;
        let name = |x: &i32| PERCENTILES.get(usize::try_from(*x / 10).unwrap_or(0)).filter(|_| x % 10 == 5);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(30)
            .x_label_formatter(&|x| name(x).map_or_else(String::new, |name| (*name).to_owned()))
            .y_desc("microseconds")
            .draw()?;
        for (mode, beside) in MODES.into_iter().zip([1, 4, 7]) {
            let own: Vec<_> =
                bars.iter().filter(|(_, row)| row.mode == mode).map(|(x, row)| (x * 10 + beside, *row)).collect();
            let rectangles = own
                .iter()
                .map(|(x, row)| Rectangle::new([(*x, 0.0), (x + 2, row.median)], colour(mode).mix(0.8).filled()));
            labelled(chart.draw_series(rectangles)?, mode);
            chart.draw_series(own.iter().map(|(x, row)| range(x + 1, row)))?;
        }
        legend(&mut chart)
    })
}

/// Megabytes a second by size of the message, with Nagle's algorithm and without.
fn throughput(report: &Report) -> Result<String> {
    panels(|at, area| {
        let (nodelay, title) = [("", "Nagle's algorithm on"), ("_nodelay", "TCP_NODELAY")][at];
        let points: Vec<(i32, &Row)> = SIZES
            .iter()
            .zip(0..)
            .flat_map(|(size, x)| of(report, &format!("throughput_{}{nodelay}", bytes(*size))).map(move |row| (x, row)))
            .collect();
        let bottom = points.iter().map(|(_, row)| row.min).fold(10.0, f64::min).max(0.1);
        let top = points.iter().map(|(_, row)| row.max).fold(100.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Stream by size of the message, {title}"), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0..6, (bottom..top * 1.2).log_scale())?;
        let size = |x: &i32| usize::try_from(*x).ok().and_then(|at| SIZES.get(at));
        chart
            .configure_mesh()
            .x_labels(SIZES.len())
            .x_label_formatter(&|x| size(x).map_or_else(String::new, |size| bytes(*size)))
            .y_desc("MB/s")
            .draw()?;
        for mode in MODES {
            let own: Vec<_> = points.iter().filter(|(_, row)| row.mode == mode).collect();
            let line = LineSeries::new(own.iter().map(|(x, row)| (*x, row.median)), colour(mode).stroke_width(2));
            labelled(chart.draw_series(line)?, mode);
            chart.draw_series(own.iter().map(|(x, row)| range(*x, row)))?;
        }
        legend(&mut chart)
    })
}

fn of<'a>(report: &'a Report, case: &str) -> impl Iterator<Item = &'a Row> + use<'a> {
    let case = case.to_owned();
    report.rows.iter().filter(move |row| row.case == case)
}

/// From the least to the greatest of the rounds.
fn range(x: i32, row: &Row) -> PathElement<(i32, f64)> {
    PathElement::new(vec![(x, row.min), (x, row.max)], colour(row.mode).stroke_width(1))
}

fn labelled(series: &mut plotters::chart::SeriesAnno<'_, SVGBackend<'_>>, mode: Mode) {
    let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour(mode).stroke_width(3));
    series.label(mode.name()).legend(legend);
}

fn legend<'a, 's: 'a, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'s>, Cartesian2d<RangedCoordi32, Y>>,
) -> Result<()> {
    let mut labels = chart.configure_series_labels();
    Ok(labels
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(RGBColor(160, 160, 160))
        .draw()?)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::example;
    use super::*;

    #[test]
    fn a_plot_says_whose_figures_it_shows() {
        let report = example();
        for svg in [latency(&report).unwrap(), throughput(&report).unwrap()] {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for mode in MODES {
                let colour = colour(mode);
                let hex = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
                assert!(svg.contains(mode.name()) && svg.contains(&hex), "{}: {svg}", mode.name());
            }
        }
    }

    #[test]
    fn a_plot_without_figures_is_empty_and_no_panic() {
        let none = super::super::figures::Figures::default().report("6.18.0".to_owned(), 2, Vec::new());
        assert!(latency(&none).is_ok() && throughput(&none).is_ok());
    }
}

//! Charts as separate SVG files with title, legend and background, since a Markdown page shows them as images.

use std::fmt::Write;

use crate::measure::FailoverReport;
use crate::report::html::escape;
use crate::report::plot::{Across, Band, Chart, ChartLine, Scale, Unit, colour};
use crate::report::{PercentilePoint, RunReport};

/// Line of a chart over runs: its name, and the value of a run.
pub(super) type Figure<'a> = (&'a str, fn(&RunReport) -> Option<f64>);

const WIDTH: u32 = 640;
const HEAD: u32 = 50;
const CHART: u32 = 240;

/// Returns the whole file.
pub(super) fn standalone(chart: &Chart) -> String {
    let height = HEAD + CHART;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#FCFCFB\"/>\n<text x=\"12\" y=\"20\" font-size=\"15\" font-weight=\"600\" fill=\"#2B2A27\">{}</text>\n",
        escape(chart.title)
    );
    let mut x = 12;
    for (number, line) in chart.lines.iter().enumerate() {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"31\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{}\"/><text x=\"{}\" y=\"40\" font-size=\"12\" fill=\"#6B6A66\">{}</text>",
            colour(number),
            x + 14,
            escape(&line.name)
        );
        // No font metrics are available; 7 px fit the widest letters in the names.
        x += 30 + 7 * line.name.chars().count();
    }
    // Only the outermost element is moved below the legend.
    let inner = chart.svg().replacen("<svg ", &format!("<svg y=\"{HEAD}\" "), 1);
    out + &inner + "</svg>\n"
}

/// Returns a chart with the percentile curves of several runs.
pub(super) fn curves(title: &'static str, lines: Vec<(String, &[PercentilePoint])>) -> Chart {
    let lines: Vec<ChartLine> = lines
        .into_iter()
        .map(|(name, points)| crate::report::charts::curve(&name, points))
        .collect();
    let most = lines.iter().filter_map(|line| line.points.last());
    let most = most.map(|(x, _)| *x).fold(1.0, f64::max);
    Chart {
        title,
        note: "",
        unit: Unit::Milliseconds,
        across: Across::Nines,
        scale: Scale::Logarithmic,
        span: 0.0..(most - 0.01).ceil(),
        lines,
        bands: Vec::new(),
    }
}

/// Returns a chart with the percentiles of the shards' times to the first new ack.
pub(super) fn failovers(title: &'static str, all: &[(&str, &FailoverReport)]) -> Chart {
    let curve = |report: &FailoverReport| {
        let mut waits: Vec<f64> = report
            .rounds
            .iter()
            .flat_map(|round| round.affected_ms.iter().copied())
            .collect();
        waits.sort_by(f64::total_cmp);
        let count = waits.len();
        let point = |(rank, ms): (usize, f64)| PercentilePoint {
            percentile: 100.0 * rank as f64 / count as f64,
            us: (ms * 1000.0) as u64,
        };
        waits.into_iter().enumerate().map(point).collect::<Vec<_>>()
    };
    let waits: Vec<_> = all
        .iter()
        .map(|(name, report)| ((*name).to_owned(), curve(report)))
        .collect();
    let lines = waits
        .iter()
        .map(|(name, points)| (name.clone(), points.as_slice()))
        .collect();
    curves(title, lines)
}

/// Returns a chart of the latencies in each second, with the faults marked.
pub(super) fn over_rounds(title: &'static str, report: &FailoverReport) -> Chart {
    let begin = report
        .rounds
        .first()
        .map_or(0.0, |round| (round.from_s - 3.0).floor());
    let end = report
        .rounds
        .last()
        .map_or(1.0, |round| round.until_s.ceil() + 1.0);
    let line = |name: &str, of: fn(&crate::measure::Second) -> u64| ChartLine {
        name: name.to_owned(),
        points: report
            .seconds
            .iter()
            .filter(|second| (begin..end).contains(&(second.at as f64)))
            // A gap, since a second without acks has no latency.
            .map(|second| match second.acked {
                0 => (second.at as f64, f64::NAN),
                _ => (second.at as f64, of(second) as f64 / 1000.0),
            })
            .collect(),
    };
    Chart {
        title,
        note: "",
        unit: Unit::Milliseconds,
        across: Across::Seconds,
        scale: Scale::Logarithmic,
        span: begin..end,
        lines: vec![
            line("p50", |second| second.ack_p50_us),
            line("max", |second| second.ack_max_us),
        ],
        bands: report
            .rounds
            .iter()
            .map(|round| Band {
                name: String::new(),
                from: round.from_s,
                until: round.until_s,
            })
            .collect(),
    }
}

/// Returns a chart of a run's own report under another title; `None` if the report has none of this name.
pub(super) fn own(run: &RunReport, which: &str, title: &'static str) -> Option<Chart> {
    let chart = run.charts().into_iter().find(|chart| chart.title == which)?;
    Some(Chart { title, ..chart })
}

/// Returns a chart of a value over several runs, by the number in their names.
pub(super) fn over_runs(
    title: &'static str,
    unit: Unit,
    across: Across,
    runs: &[(&str, &RunReport)],
    lines: &[Figure<'_>],
) -> Chart {
    let position = |label: &str| {
        let number: f64 = label.parse().unwrap_or(1.0);
        match across {
            Across::Doublings => number.log2(),
            Across::Tens => number.log10(),
            Across::Seconds | Across::Nines => number,
        }
    };
    let positions: Vec<f64> = runs.iter().map(|(label, _)| position(label)).collect();
    // `min` limits the infinity of an empty list of runs.
    let first = positions.iter().copied().fold(f64::INFINITY, f64::min).min(1e9);
    let last = positions.iter().copied().fold(first, f64::max);
    Chart {
        title,
        note: "",
        unit,
        across,
        scale: Scale::Linear,
        span: first..last.max(first + 1.0),
        lines: lines
            .iter()
            .map(|(name, figure)| ChartLine {
                name: (*name).to_owned(),
                points: runs
                    .iter()
                    .zip(&positions)
                    // NaN draws a gap for an unknown value.
                    .map(|((_, run), position)| (*position, figure(run).unwrap_or(f64::NAN)))
                    .collect(),
            })
            .collect(),
        bands: Vec::new(),
    }
}

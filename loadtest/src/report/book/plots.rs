//! Charts as files of their own: with their title, what the lines are, and a ground, since a page shows them as pictures.

use std::fmt::Write;

use super::super::html::escape;
use super::super::plot::{Across, Band, Chart, Line, Scale, Unit, colour};
use super::super::{Point, Report};
use crate::failover;

/// A line of a chart over runs: its name, and what it shows of a run.
pub(super) type Figure<'a> = (&'a str, fn(&Report) -> Option<f64>);

const WIDTH: u32 = 640;
const HEAD: u32 = 50;
const CHART: u32 = 240;

/// The whole file.
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
        // Wide enough for the widest letters that a name has.
        x += 30 + 7 * line.name.chars().count();
    }
    let inner = chart.svg().replacen("<svg ", &format!("<svg y=\"{HEAD}\" "), 1);
    out + &inner + "</svg>\n"
}

/// Percentile curves of several runs.
pub(super) fn curves(title: &'static str, lines: Vec<(String, &[Point])>) -> Chart {
    let lines: Vec<Line> = lines
        .into_iter()
        .map(|(name, points)| super::super::charts::curve(&name, points))
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

/// How long a shard of a hundred, of a thousand waited for its first new ack.
pub(super) fn failovers(title: &'static str, all: &[(&str, &failover::Report)]) -> Chart {
    let curve = |report: &failover::Report| {
        let mut waits: Vec<f64> = report
            .rounds
            .iter()
            .flat_map(|round| round.affected_ms.iter().copied())
            .collect();
        waits.sort_by(f64::total_cmp);
        let count = waits.len();
        let point = |(rank, ms): (usize, f64)| Point {
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

/// The longest wait in each second, with the faults marked.
pub(super) fn over_rounds(title: &'static str, report: &failover::Report) -> Chart {
    let begin = report
        .rounds
        .first()
        .map_or(0.0, |round| (round.from_s - 3.0).floor());
    let end = report
        .rounds
        .last()
        .map_or(1.0, |round| round.until_s.ceil() + 1.0);
    let line = |name: &str, of: fn(&crate::measure::latency::Second) -> u64| Line {
        name: name.to_owned(),
        points: report
            .seconds
            .iter()
            .filter(|second| (begin..end).contains(&(second.at as f64)))
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

/// One of a report's own charts, by its title, under another one.
pub(super) fn own(run: &Report, which: &str, title: &'static str) -> Option<Chart> {
    let chart = run.charts().into_iter().find(|chart| chart.title == which)?;
    Some(Chart { title, ..chart })
}

/// A figure of several runs over the number in their names.
pub(super) fn over_runs(
    title: &'static str,
    unit: Unit,
    across: Across,
    runs: &[(&str, &Report)],
    lines: &[Figure<'_>],
) -> Chart {
    let place = |label: &str| {
        let number: f64 = label.parse().unwrap_or(1.0);
        match across {
            Across::Doublings => number.log2(),
            Across::Tens => number.log10(),
            Across::Seconds | Across::Nines => number,
        }
    };
    let places: Vec<f64> = runs.iter().map(|(label, _)| place(label)).collect();
    let first = places.iter().copied().fold(f64::INFINITY, f64::min).min(1e9);
    let last = places.iter().copied().fold(first, f64::max);
    Chart {
        title,
        note: "",
        unit,
        across,
        scale: Scale::Linear,
        span: first..last.max(first + 1.0),
        lines: lines
            .iter()
            .map(|(name, figure)| Line {
                name: (*name).to_owned(),
                points: runs
                    .iter()
                    .zip(&places)
                    // A gap where it is not known.
                    .map(|((_, run), place)| (*place, figure(run).unwrap_or(f64::NAN)))
                    .collect(),
            })
            .collect(),
        bands: Vec::new(),
    }
}

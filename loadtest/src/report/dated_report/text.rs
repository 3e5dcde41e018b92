//! Formatting of values, and tables as Markdown.

use std::fmt::Write;

use crate::measure::Percentiles;
use crate::report::html::{known, number};
use crate::report::{PercentilePoint, RunReport};

/// Returns a table; empty without rows.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        return out;
    }
    let _ = writeln!(out, "\n| {} |", head.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// Formats microseconds with a suitable unit; a dash for `None`.
pub(super) fn time_of(us: Option<u64>) -> String {
    known(us, time)
}

/// Formats microseconds with a suitable unit.
pub(super) fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", number(us as f64 / 1e3)),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

pub(super) fn micros(us: Option<f64>) -> String {
    known(us, |us| format!("{} µs", number(us)))
}

pub(super) fn mebibytes(kib: u64) -> String {
    format!("{} MiB", number(kib as f64 / 1024.0))
}

/// Returns the value of a curve at a percentile; `None` for an empty curve.
pub(super) fn at(curve: &[PercentilePoint], percentile: f64) -> Option<u64> {
    // The last point at or below it: the curve ends where it has too few messages.
    let point = curve
        .iter()
        .rev()
        .find(|point| point.percentile <= percentile + 1e-6)?;
    Some(point.us)
}

/// Returns p50 and p99 from send to ack and from send to delivery, over the whole load.
pub(super) fn latencies(run: &RunReport) -> Vec<String> {
    [&run.curves.ack, &run.curves.deliver]
        .into_iter()
        .flat_map(|curve| [50.0, 99.0].map(|percentile| time_of(at(curve, percentile))))
        .collect()
}

pub(super) const LATENCIES: [&str; 4] = ["send to ack p50", "p99", "to delivery p50", "p99"];

pub(super) fn percentiles(figures: &Percentiles) -> Vec<String> {
    let us = [figures.p50_us, figures.p90_us, figures.p99_us, figures.max_us];
    us.map(|us| time_of((figures.count > 0).then_some(us))).to_vec()
}

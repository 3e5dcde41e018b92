//! Figures as words, and tables as markdown.

use std::fmt::Write;

use super::super::html::{known, number};
use super::super::{Point, Report};
use crate::measure::latency::Percentiles;

/// A table, if it has any rows.
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

/// Microseconds, as milliseconds or seconds; a dash where they are not known.
pub(super) fn time_of(us: Option<u64>) -> String {
    known(us, time)
}

/// Microseconds, as milliseconds or seconds.
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

/// The value of a curve at a percentile; `None` of an empty one.
pub(super) fn at(curve: &[Point], percentile: f64) -> Option<u64> {
    let point = curve
        .iter()
        .rev()
        .find(|point| point.percentile <= percentile + 1e-6)?;
    Some(point.us)
}

/// Of the whole load: the median and the 99th percentile of send to ack and of send to delivery.
pub(super) fn latencies(run: &Report) -> Vec<String> {
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

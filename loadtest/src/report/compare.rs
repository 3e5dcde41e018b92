//! Comparison of two runs: a table for the terminal, and a page with both runs in each chart.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::html::{MANY, escape, figures, known, number, page, table};
use super::{PercentilePoint, RunReport};

/// Error of the comparison of two reports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0} is not a report of this harness: {1}")]
    Malformed(PathBuf, serde_json::Error),
    #[error("{0} has schema {1}; this harness reads schema 1")]
    Schema(PathBuf, u32),
    #[error("the comparison could not be written: {0}")]
    Unwritable(std::io::Error),
}

/// Value of both runs.
#[derive(Debug)]
struct CompareRow {
    name: &'static str,
    unit: &'static str,
    /// `None` if the run could not measure it.
    a: Option<f64>,
    b: Option<f64>,
    better: Better,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Better {
    Lower,
    Higher,
}

/// Changes below this are not rated.
const NOISE_PERCENT: f64 = 3.0;
/// Changes from this factor on are shown as a factor instead of percent.
const TIMES: f64 = 10.0;

/// Returns a warning if the acks of the two runs have different guarantees.
fn warning(a: &RunReport, b: &RunReport) -> Option<String> {
    (a.target.guarantee != b.target.guarantee).then(|| {
        format!(
            "The guarantee of an ack differs between A ({}) and B ({}): their latencies cannot be compared.",
            a.target.guarantee, b.target.guarantee
        )
    })
}

/// Prints the comparison, and writes it as a page if `folder` is given.
pub(crate) fn compare(a: &Path, b: &Path, folder: Option<&Path>) -> Result<(), Error> {
    let (a, b) = (read(a)?, read(b)?);
    print!("{}", text(&a, &b));
    if let Some(folder) = folder {
        let write = || {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join("compare.html"), html(&a, &b))
        };
        write().map_err(Error::Unwritable)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<RunReport, Error> {
    let path = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&path).map_err(|error| Error::Unreadable(path.clone(), error))?;
    let report: RunReport =
        serde_json::from_str(&text).map_err(|error| Error::Malformed(path.clone(), error))?;
    // Another schema may parse, too, with fields of a different meaning.
    if report.schema == 1 {
        Ok(report)
    } else {
        Err(Error::Schema(path, report.schema))
    }
}

fn rows(a: &RunReport, b: &RunReport) -> Vec<CompareRow> {
    use Better::{Higher, Lower};
    let row = |name, unit, better, of: fn(&RunReport) -> Option<f64>| CompareRow {
        name,
        unit,
        a: of(a),
        b: of(b),
        better,
    };
    let mut rows = vec![
        row("messages acked", "/s", Higher, |report| Some(report.acks_per_s)),
        row("messages delivered", "/s", Higher, |report| {
            Some(report.deliveries_per_s)
        }),
        row("send to ack p50", "ms", Lower, |report| {
            at(&report.curves.ack, 50.0)
        }),
        row("send to ack p90", "ms", Lower, |report| {
            at(&report.curves.ack, 90.0)
        }),
        row("send to ack p99", "ms", Lower, |report| {
            at(&report.curves.ack, 99.0)
        }),
        row("send to ack p99.9", "ms", Lower, |report| {
            at(&report.curves.ack, 99.9)
        }),
        row("send to delivery p50", "ms", Lower, |report| {
            at(&report.curves.deliver, 50.0)
        }),
        row("send to delivery p99", "ms", Lower, |report| {
            at(&report.curves.deliver, 99.0)
        }),
        row("CPU of the nodes per message", "µs", Lower, |report| {
            report.cost.nodes_us_per_message
        }),
        row("CPU of the nodes per delivery", "µs", Lower, |report| {
            report.cost.nodes_us_per_delivery
        }),
        row("CPU of the harness per message", "µs", Lower, |report| {
            report.cost.harness_us_per_message
        }),
        row("messages per fsync", "", Higher, |report| {
            report.cost.messages_per_fsync
        }),
        row("memory of the nodes per client", "KiB", Lower, |report| {
            report.cost.nodes_kib_per_client
        }),
        row("memory of the harness per connection", "KiB", Lower, |report| {
            // With few connections the base memory of the process dominates.
            let each = report.harness.kib_per_connection;
            each.filter(|_| report.harness.connections >= MANY)
        }),
        row("errors", "", Lower, |report| {
            Some(report.errors.values().sum::<u64>() as f64)
        }),
        row("violations", "", Lower, |report| {
            Some(report.counts.violations as f64)
        }),
    ];
    // Rows without a value in either run are of features that the runs do not use.
    let something = |figure: Option<f64>| figure.is_some_and(|figure| figure != 0.0);
    rows.retain(|row| something(row.a) || something(row.b));
    rows
}

/// Returns the curve's value at a percentile; `None` if the curve ends below it.
fn at(curve: &[PercentilePoint], percentile: f64) -> Option<f64> {
    let reached = curve.iter().find(|point| point.percentile >= percentile - 1e-6)?;
    Some(reached.us as f64 / 1000.0)
}

// === impl CompareRow ===

impl CompareRow {
    fn change(&self) -> String {
        let (Some(a), Some(b)) = (self.a, self.b) else {
            return String::new();
        };
        // No percentage exists for a zero.
        if a == 0.0 || b == 0.0 {
            return String::new();
        }
        let percent = (b / a - 1.0) * 100.0;
        let verdict = match (
            percent.abs() < NOISE_PERCENT,
            (percent > 0.0) == (self.better == Better::Higher),
        ) {
            (true, _) => "",
            (false, true) => " better",
            (false, false) => " worse",
        };
        let ratio = b / a;
        if ratio >= TIMES {
            return format!("\u{d7}{}{verdict}", number(ratio));
        }
        if ratio <= 1.0 / TIMES {
            return format!("\u{f7}{}{verdict}", number(1.0 / ratio));
        }
        format!("{percent:+.1} %{verdict}")
    }

    fn value(&self, value: Option<f64>) -> String {
        known(value, |value| {
            format!("{} {}", number(value), self.unit).trim_end().to_owned()
        })
    }
}

fn text(a: &RunReport, b: &RunReport) -> String {
    let mut out = String::new();
    for (name, report) in [("A", a), ("B", b)] {
        let _ = writeln!(
            out,
            "{name}: {} ({}), seed {}, {}",
            report.title(),
            report.parameters_line(),
            report.seed,
            report.target.guarantee
        );
    }
    if let Some(warning) = warning(a, b) {
        let _ = writeln!(out, "{warning}");
    }
    let _ = writeln!(out, "\n{:<38} {:>14} {:>14}  change", "", "A", "B");
    for row in rows(a, b) {
        let _ = writeln!(
            out,
            "{:<38} {:>14} {:>14}  {}",
            row.name,
            row.value(row.a),
            row.value(row.b),
            row.change()
        );
    }
    out
}

fn html(a: &RunReport, b: &RunReport) -> String {
    let mut body = String::from("<header><h1>Comparison of A and B</h1></header>\n");
    let runs = [("A", a), ("B", b)].map(|(name, report)| {
        vec![
            name.to_owned(),
            report.title(),
            report.parameters_line(),
            report.seed.to_string(),
            report.target.guarantee.clone(),
            report.version.clone(),
        ]
    });
    let head = ["", "run", "parameters", "seed", "an ack means", "version"];
    table(&mut body, "Runs", &head, &runs);
    if let Some(warning) = warning(a, b) {
        let _ = writeln!(body, "<p class=\"bad\">{}</p>", escape(&warning));
    }
    let rows: Vec<_> = rows(a, b)
        .iter()
        .map(|row| {
            vec![
                row.name.to_owned(),
                row.value(row.a),
                row.value(row.b),
                row.change(),
            ]
        })
        .collect();
    table(&mut body, "Figures", &["", "A", "B", "change"], &rows);
    body.push_str("<h2>Charts</h2>\n");
    figures(&mut body, &a.charts_beside(b));
    page("Comparison of A and B", &body)
}

//! Report as one self-contained HTML page: inline SVG charts and styles, no scripts, no requests to other hosts.

use std::fmt::Write;

use super::plot::Chart;
use super::{PhaseReport, RunReport};
use crate::fault::FaultOutcome;
use crate::measure::Percentiles;

const STYLE: &str = include_str!("page.css");

/// Minimum number of connections for a memory value per connection. With fewer, the base memory of the process
/// dominates.
pub(super) const MANY: u64 = 500;

// === impl RunReport ===

impl RunReport {
    /// Returns the whole page.
    pub(crate) fn html(&self) -> String {
        let mut body = String::new();
        self.head(&mut body);
        tiles(&mut body, &self.key_figures());
        figures(&mut body, &self.charts());
        self.violations_part(&mut body);
        self.tables(&mut body);
        page(&self.title(), &body)
    }

    /// Returns the scenario and the number of nodes as the title.
    pub(super) fn title(&self) -> String {
        let nodes = self.target.nodes.len();
        let plural = if nodes == 1 { "" } else { "s" };
        format!("{} on {nodes} node{plural}", self.scenario)
    }

    fn head(&self, out: &mut String) {
        let violations = self.counts.violations;
        // Also without a violation: a node that failed to recover must not look like a success.
        let (class, verdict) = match (violations, self.retained()) {
            (0, true) => ("", "no violations".to_owned()),
            (0, false) => (" broken", "a node did not recover as expected".to_owned()),
            (1, _) => (" broken", "1 violation".to_owned()),
            (more, _) => (" broken", format!("{more} violations")),
        };
        let _ = write!(
            out,
            "<header><h1>{}</h1><span class=\"verdict{class}\">{verdict}</span></header>\n<p>{}, seed {}. An ack means: {}. Rookery {}.</p>\n",
            escape(&self.title()),
            escape(&self.parameters_line()),
            self.seed,
            escape(&self.target.guarantee),
            escape(&self.version)
        );
    }

    pub(super) fn parameters_line(&self) -> String {
        let parameters = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        parameters.collect::<Vec<_>>().join(", ")
    }

    fn key_figures(&self) -> Vec<(String, &'static str)> {
        let cost = &self.cost;
        let at = |percentile: f64| {
            let points = self.curves.ack.iter();
            // A curve with few messages ends early; its last point then stands for higher percentiles.
            let point = points.rev().find(|point| point.percentile <= percentile + 1e-6)?;
            Some(format!("{} ms", number(point.us as f64 / 1000.0)))
        };
        let known = |value: Option<f64>, unit: &str| Some(format!("{} {unit}", number(value?)));
        let figures = [
            (
                Some(format!("{}/s", number(self.acks_per_s))),
                "messages acknowledged",
            ),
            (
                Some(format!("{}/s", number(self.deliveries_per_s))),
                "messages delivered",
            ),
            (at(50.0), "send to ack, half of all"),
            (at(99.0), "send to ack, 99 of 100"),
            (
                known(cost.nodes_us_per_message, "µs"),
                "CPU of the nodes per message",
            ),
            (
                known(cost.nodes_us_per_delivery, "µs"),
                "CPU of the nodes per delivery",
            ),
            (
                known(cost.harness_us_per_message, "µs"),
                "CPU of the harness per message",
            ),
            (known(cost.messages_per_fsync, ""), "messages synced by one fsync"),
            (
                known(cost.nodes_kib_per_client, "KiB"),
                "memory of the nodes per client",
            ),
            (
                known(self.harness.kib_per_connection, "KiB").filter(|_| self.harness.connections >= MANY),
                "memory of the harness per connection",
            ),
        ];
        let known = figures.into_iter();
        known.filter_map(|(figure, name)| Some((figure?, name))).collect()
    }

    fn violations_part(&self, out: &mut String) {
        if self.violations.is_empty() {
            return;
        }
        out.push_str("<h2>Violations</h2>\n");
        for violation in &self.violations {
            let log = violation.log.join("\n");
            let _ = write!(
                out,
                "<p class=\"bad\">{:?} in {} at s={}, client {:?}: {}</p>\n<pre>{}</pre>\n",
                violation.kind,
                escape(&violation.conversation),
                violation.s,
                violation.client,
                escape(&violation.detail),
                escape(&log)
            );
        }
    }

    fn tables(&self, out: &mut String) {
        let phases = self.phases.iter().flat_map(|phase| {
            let row = |what: &str, figures: Percentiles| {
                let PhaseReport { name, from_s, .. } = phase;
                (figures.count > 0).then(|| {
                    let us = [
                        figures.p50_us,
                        figures.p90_us,
                        figures.p99_us,
                        figures.p999_us,
                        figures.max_us,
                    ];
                    let mut row = vec![
                        format!("{name}, send to {what}"),
                        format!("{from_s:.1} s"),
                        figures.count.to_string(),
                    ];
                    row.extend(us.map(|us| number(us as f64 / 1000.0)));
                    row
                })
            };
            [row("ack", phase.ack), row("delivery", phase.deliver)]
        });
        let head = [
            "phase, milliseconds",
            "from",
            "messages",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
        ];
        table(out, "Latency", &head, &phases.flatten().collect::<Vec<_>>());
        self.annotations(out);

        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| match node.usage {
                None => vec![node.node.clone(), "restarted during the load".to_owned()],
                Some(usage) => vec![
                    node.node.clone(),
                    known(usage.cpu(), |us| number(us as f64 / 1e6)),
                    known(node.cpu_percent, |percent| format!("{percent:.1}")),
                    known(usage.rss(), |kib| number(kib as f64 / 1024.0)),
                    known(usage.reported(|usage| usage.fsyncs), |count| count.to_string()),
                    known(usage.reported(|usage| usage.entries), |count| count.to_string()),
                    known(node.messages_per_fsync, number),
                    known(usage.reported(|usage| usage.takeovers), |count| count.to_string()),
                ],
            })
            .collect();
        let head = [
            "node",
            "CPU s",
            "CPU %",
            "RSS MiB",
            "fsyncs",
            "log entries",
            "messages per fsync",
            "takeovers",
        ];
        table(out, "Nodes", &head, &nodes);

        let workers = self.harness.workers.iter().map(|worker| {
            vec![
                worker.worker.clone(),
                worker.clients.to_string(),
                number(worker.cpu_us as f64 / 1e6),
                number(worker.rss_kib as f64 / 1024.0),
                format!("{:.3}", worker.clock_error_us as f64 / 1e3),
            ]
        });
        let head = ["worker", "clients", "CPU s", "RSS MiB", "clock within ms"];
        table(out, "Workers", &head, &workers.collect::<Vec<_>>());

        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|fault| {
                vec![
                    fault.fault.clone(),
                    format!("{:?}", fault.nodes),
                    format!("{:.1} s", fault.from_s),
                    format!("{:.1} s", fault.until_s),
                    match fault.outcome {
                        FaultOutcome::Installed => "installed, healed".to_owned(),
                        outcome => format!("{outcome:?}").to_lowercase(),
                    },
                    fault
                        .problem
                        .clone()
                        .or(fault.evidence.clone())
                        .unwrap_or_default(),
                ]
            })
            .collect();
        let head = ["fault", "nodes", "from", "until", "outcome", ""];
        table(out, "Faults", &head, &faults);

        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|(name, count)| vec![name.clone(), count.to_string()])
            .collect();
        table(out, "Errors", &["name", "count"], &errors);
        let settings: Vec<_> = self
            .target
            .settings
            .iter()
            .map(|setting| vec![setting.clone()])
            .collect();
        table(
            out,
            "Settings of the nodes",
            &["differs from the default"],
            &settings,
        );
    }
}

/// Returns a page around its body.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

pub(super) fn tiles(out: &mut String, tiles: &[(String, &str)]) {
    out.push_str("<div class=\"tiles\">");
    for (figure, name) in tiles {
        let _ = write!(
            out,
            "<div class=\"tile\"><b>{}</b><span>{name}</span></div>",
            escape(figure)
        );
    }
    out.push_str("</div>\n");
}

pub(super) fn figures(out: &mut String, charts: &[Chart]) {
    out.push_str("<div class=\"charts\">\n");
    for chart in charts.iter().filter(|chart| !chart.is_empty()) {
        let _ = write!(out, "<figure><figcaption><b>{}</b>", chart.title);
        for (ix, line) in chart.lines.iter().enumerate() {
            let _ = write!(out, "<i class=\"{}\">{}</i>", Chart::chip(ix), escape(&line.name));
        }
        // Titles and notes are constants of this program, so only names from outside are escaped.
        let _ = write!(
            out,
            "</figcaption>\n{}<p>{}</p></figure>\n",
            chart.svg(),
            chart.note
        );
    }
    out.push_str("</div>\n");
}

/// Adds a table with its heading; nothing without rows.
pub(super) fn table(out: &mut String, title: &str, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<tr>");
    for (column, cell) in head.iter().enumerate() {
        let below = rows.iter().filter_map(|row| row.get(column));
        let mut filled = below.filter(|cell| !cell.is_empty()).peekable();
        let words = filled.peek().is_some() && !filled.any(|cell| is_figure(cell));
        let class = if words { " class=\"text\"" } else { "" };
        let _ = write!(out, "<th{class}>{cell}</th>");
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            // Text is aligned to the left, numbers to the right.
            let class = if is_figure(cell) { "" } else { " class=\"text\"" };
            let _ = write!(out, "<td{class}>{}</td>", escape(cell));
        }
        // The row of a restarted node is short.
        let missing = head.len().saturating_sub(row.len());
        out.push_str(&"<td></td>".repeat(missing));
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn is_figure(cell: &str) -> bool {
    cell.starts_with(|c: char| c.is_ascii_digit() || "+-[−×÷–".contains(c))
}

/// Formats a value; a dash for `None`.
pub(super) fn known<T>(figure: Option<T>, words: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), words)
}

/// Formats a value with about three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

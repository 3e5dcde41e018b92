//! Sections of the dated report, and the runs that each of them shows.

mod breaking;
mod chat;

use super::text::{LATENCIES, at, latencies, mebibytes, micros, table, time_of};
use super::{DatedReport, cpu_of_all, plots};
use crate::measure::Percentiles;
use crate::report::RunReport;
use crate::report::html::{known, number};
use crate::report::plot::{Across, Chart, Unit};

/// Section of the report.
pub(super) struct ReportSection {
    pub(super) title: &'static str,
    /// Text as Markdown; empty without a run.
    pub(super) body: String,
    /// Charts by file name.
    pub(super) plots: Vec<(&'static str, Chart)>,
}

// === impl DatedReport ===

impl DatedReport {
    pub(super) fn sections(&self) -> Vec<ReportSection> {
        vec![
            self.failover(),
            self.faults(),
            self.throughput(),
            self.deliveries(),
            self.shares_of_peak(),
            self.low_load(),
            self.at_rest(),
            self.conversations(),
            self.replicas(),
            self.receipts(),
            self.inbox(),
            self.channel(),
            self.many(),
            self.hostile(),
            self.flapping(),
            self.soak(),
        ]
    }

    fn throughput(&self) -> ReportSection {
        let mut runs = self.of("throughput");
        let rows = self.rows(&runs);
        let mut body = table(&head("window per client"), &rows);
        let peak = self.of("peak");
        // `peak-room` measures deliveries and has its own section.
        let more: Vec<_> = peak
            .iter()
            .filter(|(label, _)| *label != "room")
            .copied()
            .collect();
        body += &table(&head("more clients"), &self.rows(&more));
        if !body.is_empty() {
            body.insert_str(0, "\nClosed loop: each client keeps this number of messages unacknowledged. Each message is acknowledged when durable on a majority, and delivered to its peer.\n");
        }
        // The axis needs numbers. Other runs appear in the table only.
        runs.retain(|(label, _)| label.parse::<u32>().is_ok());
        let plots = if runs.is_empty() {
            Vec::new()
        } else {
            vec![
                (
                    "throughput",
                    plots::over_runs(
                        "Messages a second, by the window per client",
                        Unit::PerSecond,
                        Across::Doublings,
                        &runs,
                        &[("acked", |run| Some(run.acks_per_s))],
                    ),
                ),
                (
                    "group-commit",
                    plots::over_runs(
                        "Group commit: messages that share an fsync, by the window per client",
                        Unit::Count,
                        Across::Doublings,
                        &runs,
                        &[("messages per fsync", |run| run.cost.messages_per_fsync)],
                    ),
                ),
                (
                    "cpu",
                    plots::over_runs(
                        "CPU per message, by the window per client",
                        Unit::Microseconds,
                        Across::Doublings,
                        &runs,
                        &[
                            ("all nodes", |run| run.cost.nodes_us_per_message),
                            ("harness", |run| run.cost.harness_us_per_message),
                        ],
                    ),
                ),
            ]
        };
        ReportSection {
            title: "Throughput, group commit, CPU per message",
            body,
            plots,
        }
    }

    fn deliveries(&self) -> ReportSection {
        let runs: Vec<_> = self
            .run("peak-room")
            .into_iter()
            .map(|run| ("room", run))
            .collect();
        ReportSection {
            title: "Deliveries: few senders, many receivers",
            body: table(&head("run"), &self.rows(&runs)),
            plots: Vec::new(),
        }
    }

    fn shares_of_peak(&self) -> ReportSection {
        let runs = self.of("share");
        let mut body = table(&head("% of the peak"), &self.rows(&runs));
        if !body.is_empty() {
            body.insert_str(
                0,
                "\nOpen loop (Poisson); latency from the scheduled time of a message.\n",
            );
        }
        ReportSection {
            title: "Latency at a quarter, half and three quarters of the peak",
            body,
            plots: curves(&runs, "share", "Send to ack, by the share of the peak", |label| {
                format!("{label} %")
            }),
        }
    }

    fn low_load(&self) -> ReportSection {
        let runs = self.of("low");
        let rows = runs.iter().map(|(label, run)| {
            let mut row = vec![format!("{label}/s")];
            row.extend([50.0, 90.0, 99.0].map(|percentile| time_of(at(&run.curves.ack, percentile))));
            let disk = run.fdatasync.filter(|disk| disk.count > 0);
            let of_disk: [fn(Percentiles) -> u64; 3] =
                [|disk| disk.p50_us, |disk| disk.p90_us, |disk| disk.p99_us];
            row.extend(of_disk.map(|of| time_of(disk.map(of))));
            row.push(ratio(at(&run.curves.ack, 50.0), disk.map(|disk| disk.p50_us)));
            row.push(known(run.cost.messages_per_fsync, number));
            row
        });
        let head = [
            "messages",
            "send to ack p50",
            "p90",
            "p99",
            "fdatasync p50",
            "p90",
            "p99",
            "ack / fdatasync",
            "messages per fsync",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if !body.is_empty() {
            body.insert_str(0, "\nOpen loop, three replicas. The fdatasync of 4 KiB is measured ten times a second in the same run, on the same disk.\n");
        }
        ReportSection {
            title: "Latency at low load, beside the disk",
            body,
            plots: curves(&runs, "low", "Send to ack at low load", |label| {
                format!("{label}/s")
            }),
        }
    }

    fn at_rest(&self) -> ReportSection {
        let mut rows = Vec::new();
        if let Some(run) = self.run("rest-empty") {
            let cpu = run.nodes.iter().map(|node| known(node.cpu_percent, number));
            let cpu: Vec<_> = cpu.collect();
            rows.push(vec![
                format!("CPU of each of {} nodes without clients", run.nodes.len()),
                format!("{} % of a core", cpu.join(", ")),
            ]);
            let rss: Vec<_> = run
                .nodes
                .iter()
                .map(|node| known(node.rss_before_kib, mebibytes))
                .collect();
            rows.push(vec!["memory of an empty node".to_owned(), rss.join(", ")]);
        }
        for (label, run) in self.of("rest") {
            // `rest-empty` has no connections to divide by; its row is above.
            if run.harness.connections == 0 {
                continue;
            }
            rows.push(vec![
                format!("memory of the nodes per idle connection, {label} connections"),
                known(run.cost.nodes_kib_per_client, |kib| {
                    format!("{} KiB", number(kib))
                }),
            ]);
            rows.push(vec![
                format!("memory of the harness per idle connection, {label} connections"),
                known(run.harness.kib_per_connection, |kib| {
                    format!("{} KiB", number(kib))
                }),
            ]);
            rows.push(vec![
                format!("CPU of all nodes with {label} idle connections"),
                known(cpu_of_all(run), |cpu| format!("{} % of a core", number(cpu))),
            ]);
        }
        ReportSection {
            title: "At rest",
            body: table(&["what", "cost"], &rows),
            plots: Vec::new(),
        }
    }

    fn conversations(&self) -> ReportSection {
        let runs = self.of("scale");
        let plots = if runs.is_empty() {
            Vec::new()
        } else {
            let chart = plots::over_runs(
                "CPU of all nodes per message, by the number of conversations",
                Unit::Microseconds,
                Across::Tens,
                &runs,
                &[("all nodes", |run| run.cost.nodes_us_per_message)],
            );
            vec![("scale", chart)]
        };
        ReportSection {
            title: "From 10 to 10,000 conversations at one rate",
            body: table(&head("conversations"), &self.rows(&runs)),
            plots,
        }
    }

    fn replicas(&self) -> ReportSection {
        ReportSection {
            title: "One node and three",
            body: table(&head("nodes"), &self.rows(&self.of("nodes"))),
            plots: Vec::new(),
        }
    }

    /// Returns the table rows of runs that send messages.
    fn rows(&self, runs: &[(&str, &RunReport)]) -> Vec<Vec<String>> {
        let row = |(label, run): &(&str, &RunReport)| {
            let idle = self.idle_us_per_s();
            let cpu = run
                .nodes
                .iter()
                .map(|node| node.usage?.cpu())
                .sum::<Option<u64>>();
            // The idle load was measured on three nodes, so it is subtracted from runs with as many only.
            let idle = idle.filter(|_| run.nodes.len() == 3 && run.counts.acked > 0);
            let above = cpu
                .zip(idle)
                .map(|(cpu, idle)| (cpu as f64 - idle * run.elapsed_s) / run.counts.acked as f64);
            let mut row = vec![
                (*label).to_owned(),
                number(run.acks_per_s),
                number(run.deliveries_per_s),
            ];
            row.extend(latencies(run));
            row.extend([
                micros(run.cost.nodes_us_per_message),
                micros(above),
                micros(run.cost.nodes_us_per_delivery),
                micros(run.cost.harness_us_per_message),
                number(run.harness.busiest_percent),
                known(run.cost.messages_per_fsync, number),
                run.counts.violations.to_string(),
            ]);
            row
        };
        runs.iter().map(row).collect()
    }
}

fn head(first: &str) -> Vec<&str> {
    let mut head = vec![first, "messages/s", "deliveries/s"];
    head.extend(LATENCIES);
    head.extend([
        "nodes' CPU per message",
        "above idle",
        "per delivery",
        "harness's CPU per message",
        "harness busy %",
        "messages per fsync",
        "violations",
    ]);
    head
}

fn curves(
    runs: &[(&str, &RunReport)],
    file: &'static str,
    title: &'static str,
    name: impl Fn(&str) -> String,
) -> Vec<(&'static str, Chart)> {
    if runs.is_empty() {
        return Vec::new();
    }
    let lines = runs
        .iter()
        .map(|(label, run)| (name(label), run.curves.ack.as_slice()));
    vec![(file, plots::curves(title, lines.collect()))]
}

fn ratio(of: Option<u64>, to: Option<u64>) -> String {
    let ratio = of.zip(to.filter(|to| *to > 0));
    known(ratio, |(of, to)| format!("{:.1}", of as f64 / to as f64))
}

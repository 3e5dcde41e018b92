//! What each part of the dated report shows, and from which runs.

use super::Book;
use super::plots;
use super::text::{LATENCIES, at, latencies, mebibytes, micros, percentiles, table, time};
use crate::failover;
use crate::measure::nodes::Usage;
use crate::report::Report;
use crate::report::html::number;
use crate::report::plot::{Across, Chart, Unit};

/// One part.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Markdown; empty if there were no runs for it.
    pub(super) body: String,
    /// Files by name.
    pub(super) plots: Vec<(&'static str, Chart)>,
}

/// What happens to the owner, by the names of the runs and in words.
const HOWS: [(&str, &str); 4] = [
    ("kill", "kill -9"),
    ("cut", "black hole (its links cut)"),
    ("stop", "SIGSTOP"),
    ("drain", "SIGTERM"),
];

// === impl Book ===

impl Book {
    pub(super) fn sections(&self) -> Vec<Section> {
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
            self.flapping(),
            self.soak(),
        ]
    }

    fn failover(&self) -> Section {
        let runs = HOWS.iter().filter_map(|(how, name)| {
            let report = self.failovers.get(&format!("failover-{how}"))?;
            Some((*how, *name, report))
        });
        let runs: Vec<(&str, &str, &failover::Report)> = runs.collect();
        let rows = runs.iter().map(|(_, name, report)| {
            let mut row = vec![
                (*name).to_owned(),
                report.rounds.len().to_string(),
                report.affected.count.to_string(),
            ];
            row.extend(percentiles(&report.affected));
            row.push(match report.unaffected.count {
                0 => "–".to_owned(),
                _ => time(report.unaffected.p50_us),
            });
            row.push(format!("{} of {}", time(report.longest_us), report.acked));
            row.push(report.violations.to_string());
            row
        });
        let head = [
            "fault",
            "times",
            "shards that lost their owner",
            "p50",
            "p90",
            "p99",
            "max",
            "other shards p50",
            "longest send to ack, of messages",
            "broken promises",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if !body.is_empty() {
            let about = "\nA probe on every shard, from clients on nodes that live: the time from the fault to the first ack of a message that was sent after it.\n";
            body.insert_str(0, about);
        }
        let mut drawn = Vec::new();
        if !runs.is_empty() {
            let lines: Vec<_> = runs.iter().map(|(_, name, report)| (*name, *report)).collect();
            drawn.push((
                "failover",
                plots::failovers("Fault to first new ack, percentiles over shards", &lines),
            ));
        }
        for (how, file, title) in [
            (
                "kill",
                "failover-kill",
                "Send to ack in each second, the owner of most shards killed again and again",
            ),
            (
                "drain",
                "failover-drain",
                "Send to ack in each second, the owner of most shards drained again and again",
            ),
        ] {
            let run = runs.iter().find(|(name, _, _)| *name == how);
            drawn.extend(run.map(|(_, _, report)| (file, plots::over_rounds(title, report))));
        }
        Section {
            title: "Failover",
            body,
            plots: drawn,
        }
    }

    fn faults(&self) -> Section {
        let run = self.run("faults-all");
        let phases = run.into_iter().flat_map(|run| &run.phases).skip(1);
        let rows = phases.filter(|phase| phase.ack.count > 0).map(|phase| {
            let mut row = vec![phase.name.clone(), phase.ack.count.to_string()];
            row.extend(percentiles(&phase.ack));
            row.push(time(phase.deliver.p99_us));
            row
        });
        let head = [
            "phase",
            "messages",
            "send to ack p50",
            "p90",
            "p99",
            "max",
            "send to delivery p99",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if let Some(run) = run {
            body.insert_str(
                0,
                "\nClients on all nodes, those that are hit too; a client of a dead node goes on elsewhere. A message counts in the phase in which it was due.\n",
            );
            body += &format!("\n{} broken promises.\n", run.counts.violations);
        }
        let title = "Send to ack with each fault in turn";
        let chart = run.and_then(|run| plots::own(run, "Send to ack", title));
        Section {
            title: "With clients on every node",
            body,
            plots: chart.map(|chart| ("faults", chart)).into_iter().collect(),
        }
    }

    fn throughput(&self) -> Section {
        let mut runs = self.of("throughput");
        let rows = self.rows(&runs);
        let mut body = table(&head("window per client"), &rows);
        let peak = self.of("peak");
        let more: Vec<_> = peak
            .iter()
            .filter(|(label, _)| *label != "room")
            .copied()
            .collect();
        body += &table(&head("more clients"), &self.rows(&more));
        if !body.is_empty() {
            body.insert_str(0, "\nClosed loop: each client has so many messages unanswered, each is acked durable on a majority and delivered to its peer.\n");
        }
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
                        &[("acked", |run| run.acks_per_s)],
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
        Section {
            title: "Throughput, group commit, CPU per message",
            body,
            plots,
        }
    }

    fn deliveries(&self) -> Section {
        let runs: Vec<_> = self
            .run("peak-room")
            .into_iter()
            .map(|run| ("room", run))
            .collect();
        Section {
            title: "Deliveries: few speakers, many receivers",
            body: table(&head("run"), &self.rows(&runs)),
            plots: Vec::new(),
        }
    }

    fn shares_of_peak(&self) -> Section {
        let runs = self.of("share");
        let mut body = table(&head("% of the peak"), &self.rows(&runs));
        if !body.is_empty() {
            body.insert_str(
                0,
                "\nOpen loop (Poisson), latency from the time at which a message was due.\n",
            );
        }
        Section {
            title: "Latency at a quarter, half and three quarters of the peak",
            body,
            plots: curves(&runs, "share", "Send to ack, by the share of the peak", |label| {
                format!("{label} %")
            }),
        }
    }

    fn low_load(&self) -> Section {
        let runs = self.of("low");
        let rows = runs.iter().map(|(label, run)| {
            let mut row = vec![format!("{label}/s")];
            row.extend([50.0, 90.0, 99.0].map(|percentile| time(at(&run.curves.ack, percentile))));
            let disk = run.fdatasync.unwrap_or_default();
            row.extend([disk.p50_us, disk.p90_us, disk.p99_us].map(time));
            row.push(ratio(at(&run.curves.ack, 50.0), disk.p50_us));
            row.push(number(run.cost.messages_per_fsync));
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
            body.insert_str(0, "\nOpen loop, three replicas. The fdatasync of 4 KiB is timed ten times a second in the same run, on the same disk.\n");
        }
        Section {
            title: "Latency at low load, beside the disk",
            body,
            plots: curves(&runs, "low", "Send to ack at low load", |label| {
                format!("{label}/s")
            }),
        }
    }

    fn at_rest(&self) -> Section {
        let mut rows = Vec::new();
        if let Some(run) = self.run("rest-empty") {
            let cpu: Vec<_> = run.nodes.iter().map(|node| number(node.cpu_percent)).collect();
            rows.push(vec![
                format!("CPU of each of {} nodes without clients", run.nodes.len()),
                format!("{} % of a core", cpu.join(", ")),
            ]);
            let rss: Vec<_> = run
                .nodes
                .iter()
                .map(|node| mebibytes(node.rss_before_kib))
                .collect();
            rows.push(vec!["memory of an empty node".to_owned(), rss.join(", ")]);
        }
        for (label, run) in self.of("rest") {
            if run.harness.connections == 0 {
                continue;
            }
            rows.push(vec![
                format!("memory of the nodes per idle connection, {label} connections"),
                format!("{} KiB", number(run.cost.nodes_kib_per_client)),
            ]);
            rows.push(vec![
                format!("memory of the harness per idle connection, {label} connections"),
                format!("{} KiB", number(run.harness.kib_per_connection)),
            ]);
            let cpu: f64 = run.nodes.iter().map(|node| node.cpu_percent).sum();
            rows.push(vec![
                format!("CPU of all nodes with {label} idle connections"),
                format!("{} % of a core", number(cpu)),
            ]);
        }
        Section {
            title: "At rest",
            body: table(&["what", "cost"], &rows),
            plots: Vec::new(),
        }
    }

    fn conversations(&self) -> Section {
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
        Section {
            title: "From 10 to 10,000 conversations at one rate",
            body: table(&head("conversations"), &self.rows(&runs)),
            plots,
        }
    }

    fn replicas(&self) -> Section {
        Section {
            title: "One node and three",
            body: table(&head("nodes"), &self.rows(&self.of("nodes"))),
            plots: Vec::new(),
        }
    }

    fn receipts(&self) -> Section {
        let (Some(with), Some(without)) = (self.run("receipts-marked"), self.run("receipts-unmarked")) else {
            return Section {
                title: "Receipts",
                body: String::new(),
                plots: Vec::new(),
            };
        };
        let marks = |run: &Report| run.operations.get("read").map_or(0, |times| times.count);
        let of_replica = |run: &Report, of: fn(&Usage) -> u64| {
            let nodes = run.nodes.len().max(1) as f64;
            run.nodes
                .iter()
                .filter_map(|node| node.usage.as_ref())
                .map(of)
                .sum::<u64>() as f64
                / nodes
        };
        let sum = |run: &Report, of: fn(&Usage) -> u64| {
            run.nodes
                .iter()
                .filter_map(|node| node.usage.as_ref())
                .map(of)
                .sum::<u64>()
        };
        let row = |name: &str, run: &Report| {
            vec![
                name.to_owned(),
                run.counts.acked.to_string(),
                marks(run).to_string(),
                sum(run, |usage| usage.cursors).to_string(),
                sum(run, |usage| usage.cursor_commands).to_string(),
                number(of_replica(run, |usage| usage.entries)),
                number(of_replica(run, |usage| usage.fsyncs)),
                number(run.nodes.iter().map(|node| node.cpu_percent).sum()),
            ]
        };
        let head = [
            "run",
            "messages",
            "marked as read",
            "cursors moved (read and delivered)",
            "commands after gathering",
            "log entries, each replica",
            "fsyncs, each node",
            "CPU of all nodes, % of a core",
        ];
        let rows = [row("marked", with), row("not marked", without)];
        let mut body = table(&head, &rows);
        let thousands = (marks(with) as f64 / 1000.0).max(1e-9);
        let more =
            |of: fn(&Usage) -> u64| number((of_replica(with, of) - of_replica(without, of)) / thousands);
        body += &format!(
            "\nPer 1,000 messages marked as read: {} log entries and {} fsyncs more than without.\n",
            more(|usage| usage.entries),
            more(|usage| usage.fsyncs)
        );
        Section {
            title: "Receipts",
            body,
            plots: Vec::new(),
        }
    }

    fn inbox(&self) -> Section {
        let rows = self.of("inbox").into_iter().filter_map(|(label, run)| {
            let (whole, page) = (run.operations.get("list")?, run.operations.get("list (page)")?);
            let questions: u64 = run
                .nodes
                .iter()
                .filter_map(|node| node.usage.as_ref())
                .map(|usage| usage.questions)
                .sum();
            Some(vec![
                label.to_owned(),
                number(run.acks_per_s),
                whole.count.to_string(),
                time(page.p50_us),
                time(page.p99_us),
                time(whole.p50_us),
                time(whole.p99_us),
                number(page.count as f64 / whole.count.max(1) as f64),
                number(questions as f64 / page.count.max(1) as f64),
                number(questions as f64 / whole.count.max(1) as f64),
                run.counts.recounted.to_string(),
            ])
        });
        let head = [
            "run",
            "messages/s meanwhile",
            "lists",
            "page p50",
            "p99",
            "whole inbox p50",
            "p99",
            "pages of a list",
            "RPCs a page",
            "RPCs a list",
            "rows recounted",
        ];
        Section {
            title: "An inbox of 500 conversations",
            body: table(&head, &rows.collect::<Vec<_>>()),
            plots: Vec::new(),
        }
    }

    fn channel(&self) -> Section {
        Section {
            title: "A send into a channel, by its members (ten of them connected)",
            body: table(&head("members"), &self.rows(&self.of("channel"))),
            plots: Vec::new(),
        }
    }

    fn flapping(&self) -> Section {
        let runs = self.of("flapping");
        let rows = runs.iter().map(|(label, run)| {
            let back = &run.reconnects;
            vec![
                (*label).to_owned(),
                run.harness.connections.to_string(),
                format!("{:.0} s", run.elapsed_s),
                run.counts.acked.to_string(),
                run.delivered.to_string(),
                back.lost.to_string(),
                back.resumed.to_string(),
                back.synced.to_string(),
                time(back.online.p99_us),
                time(back.level.p99_us),
                run.faults.len().to_string(),
                run.counts.violations.to_string(),
            ]
        });
        let head = [
            "run",
            "clients",
            "load",
            "acked",
            "delivered",
            "connections lost",
            "resumed",
            "caught up by sync",
            "lost to ready p99",
            "lost to level p99",
            "faults",
            "lost, doubled, out of order",
        ];
        let body = table(&head, &rows.collect::<Vec<_>>());
        let faults = self.run("flapping-faults");
        let title = "Flapping with faults: send to ack";
        let chart = faults.and_then(|run| plots::own(run, "Send to ack", title));
        Section {
            title: "Flapping",
            body,
            plots: chart.map(|chart| ("flapping", chart)).into_iter().collect(),
        }
    }

    fn soak(&self) -> Section {
        let runs = self.of("soak");
        let rows = runs.iter().map(|(label, run)| {
            let end = |node: usize| {
                let memory = run.memory.iter().find(|memory| memory.node == node);
                memory.map_or_else(
                    || "restarted at the end".to_owned(),
                    |memory| {
                        format!(
                            "{} ({:+.1} MiB/h over {:.0} s)",
                            mebibytes(memory.last_kib),
                            memory.kib_per_hour / 1024.0,
                            memory.until_s - memory.from_s
                        )
                    },
                )
            };
            let nodes: Vec<_> = (0..run.nodes.len()).map(end).collect();
            let own = |at: usize| run.own.get(at).map_or(0, |own| own.rss_kib);
            vec![
                (*label).to_owned(),
                format!("{:.0} s", run.elapsed_s),
                run.counts.acked.to_string(),
                run.counts.changed.to_string(),
                run.counts.recounted.to_string(),
                run.faults.len().to_string(),
                nodes.join("; "),
                format!(
                    "{} in the middle, {} at the end",
                    mebibytes(own(run.own.len() / 2)),
                    mebibytes(own(run.own.len().saturating_sub(1)))
                ),
                run.counts.violations.to_string(),
            ]
        });
        let head = [
            "run",
            "load",
            "acked",
            "edits, deletions, reactions",
            "inbox rows recounted",
            "faults",
            "memory of each node at the end, and its trend after the last fault",
            "memory of the harness, oracle included",
            "broken promises",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if !body.is_empty() {
            body.insert_str(0, "\nThe faults are drawn from the first minutes; then the load goes on, and the trend is that of processes that nobody restarts any more, a straight line through a sample a second.\n");
        }
        let plots = runs.first().into_iter().flat_map(|(_, run)| {
            let memory = plots::own(run, "Memory of each node", "Soak: memory of each node");
            let latency = plots::own(run, "Send to ack", "Soak: send to ack");
            [("soak-memory", memory), ("soak-latency", latency)]
        });
        Section {
            title: "Soak",
            body,
            plots: plots.filter_map(|(name, chart)| Some((name, chart?))).collect(),
        }
    }

    /// What every run that sends is looked at for.
    fn rows(&self, runs: &[(&str, &Report)]) -> Vec<Vec<String>> {
        let row = |(label, run): &(&str, &Report)| {
            let idle = self.idle_us_per_s();
            let cpu: u64 = run
                .nodes
                .iter()
                .filter_map(|node| node.usage.as_ref())
                .map(|usage| usage.cpu_us)
                .sum();
            let above = idle.filter(|_| run.nodes.len() == 3).map_or_else(
                || "–".to_owned(),
                |idle| micros((cpu as f64 - idle * run.elapsed_s) / run.counts.acked.max(1) as f64),
            );
            let mut row = vec![
                (*label).to_owned(),
                number(run.acks_per_s),
                number(run.deliveries_per_s),
            ];
            row.extend(latencies(run));
            row.extend([
                micros(run.cost.nodes_us_per_message),
                above,
                micros(run.cost.nodes_us_per_delivery),
                micros(run.cost.harness_us_per_message),
                number(run.harness.busiest_percent),
                number(run.cost.messages_per_fsync),
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
        "broken promises",
    ]);
    head
}

fn curves(
    runs: &[(&str, &Report)],
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

fn ratio(of: u64, to: u64) -> String {
    if to == 0 {
        "–".to_owned()
    } else {
        format!("{:.1}", of as f64 / to as f64)
    }
}

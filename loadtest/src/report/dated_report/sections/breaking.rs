//! Sections on faults and their effects: failovers, faults with clients on all nodes, lost connections, and the soak.

use super::ReportSection;
use crate::measure::{FailoverReport, Percentiles};
use crate::report::dated_report::text::{mebibytes, percentiles, table, time, time_of};
use crate::report::dated_report::{DatedReport, plots};
use crate::report::html::known;

/// Faults of the shard owner: part of the run's name, and description.
const HOWS: [(&str, &str); 4] = [
    ("kill", "kill -9"),
    ("cut", "black hole (its connections cut)"),
    ("stop", "SIGSTOP"),
    ("drain", "SIGTERM"),
];

// === impl DatedReport: breaking ===

impl DatedReport {
    pub(super) fn failover(&self) -> ReportSection {
        let runs = HOWS.iter().filter_map(|(how, name)| {
            let report = self.failovers.get(&format!("failover-{how}"))?;
            Some((*how, *name, report))
        });
        let runs: Vec<(&str, &str, &FailoverReport)> = runs.collect();
        let rows = runs.iter().map(|(_, name, report)| {
            let mut row = vec![
                (*name).to_owned(),
                report.rounds.len().to_string(),
                report.affected.count.to_string(),
            ];
            row.extend(percentiles(&report.affected));
            let unaffected = report.unaffected;
            // The percentiles of no shard are zeros, which would look like a measurement.
            row.push(time_of((unaffected.count > 0).then_some(unaffected.p50_us)));
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
            "violations",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if !body.is_empty() {
            let about = "\nOne probe per shard, from clients on unaffected nodes: the time from the fault to the first ack of a message sent after it.\n";
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
                "Send to ack per second, owner of most shards killed repeatedly",
            ),
            (
                "drain",
                "failover-drain",
                "Send to ack per second, owner of most shards drained repeatedly",
            ),
        ] {
            let run = runs.iter().find(|(name, _, _)| *name == how);
            drawn.extend(run.map(|(_, _, report)| (file, plots::over_rounds(title, report))));
        }
        ReportSection {
            title: "Failover",
            body,
            plots: drawn,
        }
    }

    pub(super) fn faults(&self) -> ReportSection {
        let run = self.run("faults-all");
        // The first phase is the set-up.
        let phases = run.into_iter().flat_map(|run| &run.phases).skip(1);
        let rows = phases.filter(|phase| phase.ack.count > 0).map(|phase| {
            let mut row = vec![phase.name.clone(), phase.ack.count.to_string()];
            row.extend(percentiles(&phase.ack));
            row.push(p99(&phase.deliver));
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
                "\nClients on all nodes, including the affected ones; a client of a failed node reconnects to another one. A message counts in the phase of its scheduled time.\n",
            );
            body += &format!("\n{} violations.\n", run.counts.violations);
        }
        let title = "Send to ack with each fault in turn";
        let chart = run.and_then(|run| plots::own(run, "Send to ack", title));
        ReportSection {
            title: "With clients on every node",
            body,
            plots: chart.map(|chart| ("faults", chart)).into_iter().collect(),
        }
    }

    pub(super) fn flapping(&self) -> ReportSection {
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
                p99(&back.online),
                p99(&back.level),
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
            "lost to caught up p99",
            "faults",
            "lost, duplicated, out of order",
        ];
        let body = table(&head, &rows.collect::<Vec<_>>());
        let faults = self.run("flapping-faults");
        let title = "Flapping with faults: send to ack";
        let chart = faults.and_then(|run| plots::own(run, "Send to ack", title));
        ReportSection {
            title: "Flapping",
            body,
            plots: chart.map(|chart| ("flapping", chart)).into_iter().collect(),
        }
    }

    pub(super) fn soak(&self) -> ReportSection {
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
            // By node, not by trend: a node without enough samples has no trend and must not be left out.
            let nodes: Vec<_> = (0..run.nodes.len()).map(end).collect();
            let own = |at: usize| known(run.own.get(at), |own| mebibytes(own.rss_kib));
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
                    own(run.own.len() / 2),
                    own(run.own.len().saturating_sub(1))
                ),
                run.counts.violations.to_string(),
            ]
        });
        let head = [
            "run",
            "load",
            "acked",
            "edits, deletions, reactions",
            "list rows recounted",
            "faults",
            "memory of each node at the end, and its trend after the last fault",
            "memory of the harness, oracle included",
            "violations",
        ];
        let mut body = table(&head, &rows.collect::<Vec<_>>());
        if !body.is_empty() {
            body.insert_str(0, "\nThe faults occur in the first minutes; the load continues after them. The trend is a linear fit of one sample per second, without further restarts.\n");
        }
        let plots = runs.first().into_iter().flat_map(|(_, run)| {
            let memory = plots::own(run, "Memory of each node", "Soak: memory of each node");
            let latency = plots::own(run, "Send to ack", "Soak: send to ack");
            [("soak-memory", memory), ("soak-latency", latency)]
        });
        ReportSection {
            title: "Soak",
            body,
            plots: plots.filter_map(|(name, chart)| Some((name, chart?))).collect(),
        }
    }
}

fn p99(figures: &Percentiles) -> String {
    time_of((figures.count > 0).then_some(figures.p99_us))
}

//! Sections on the cost of chat features: receipts, conversation lists and large channels.

use super::{ReportSection, head};
use crate::measure::Usage;
use crate::report::dated_report::text::{table, time};
use crate::report::dated_report::{DatedReport, cpu_of_all};
use crate::report::html::{known, number};
use crate::report::{RunReport, many};

// === impl DatedReport: chat ===

impl DatedReport {
    pub(super) fn receipts(&self) -> ReportSection {
        let (Some(with), Some(without)) = (self.run("receipts-marked"), self.run("receipts-unmarked")) else {
            return ReportSection {
                title: "Receipts",
                body: String::new(),
                plots: Vec::new(),
            };
        };
        let marks = |run: &RunReport| run.operations.get("read").map_or(0, |times| times.count);
        // Every node holds a replica of every shard in these runs, so the sum counts each entry once per node.
        let of_replica = |run: &RunReport, of: fn(&Usage) -> u64| {
            Some(sum(run, of)? as f64 / run.nodes.len().max(1) as f64)
        };
        let row = |name: &str, run: &RunReport| {
            vec![
                name.to_owned(),
                run.counts.acked.to_string(),
                marks(run).to_string(),
                known(sum(run, |usage| usage.cursors), |count| count.to_string()),
                known(sum(run, |usage| usage.cursor_commands), |count| count.to_string()),
                known(of_replica(run, |usage| usage.entries), number),
                known(of_replica(run, |usage| usage.fsyncs), number),
                known(cpu_of_all(run), number),
            ]
        };
        let head = [
            "run",
            "messages",
            "marked as read",
            "cursors moved (read and delivered)",
            "commands after coalescing",
            "log entries, each replica",
            "fsyncs, each node",
            "CPU of all nodes, % of a core",
        ];
        let rows = [row("marked", with), row("not marked", without)];
        let mut body = table(&head, &rows);
        let thousands = marks(with) as f64 / 1000.0;
        let more = |of: fn(&Usage) -> u64| {
            let both = of_replica(with, of).zip(of_replica(without, of));
            // Without marks there is no cost per mark.
            known(both.filter(|_| thousands > 0.0), |(with, without)| {
                number((with - without) / thousands)
            })
        };
        body += &format!(
            "\nPer 1,000 messages marked as read: {} log entries and {} fsyncs more than without.\n",
            more(|usage| usage.entries),
            more(|usage| usage.fsyncs)
        );
        ReportSection {
            title: "Receipts",
            body,
            plots: Vec::new(),
        }
    }

    pub(super) fn inbox(&self) -> ReportSection {
        let rows = self.of("inbox").into_iter().filter_map(|(label, run)| {
            let (whole, page) = (run.operations.get("list")?, run.operations.get("list (page)")?);
            let questions = sum(run, |usage| usage.questions);
            let each = |of: u64| known(questions, |questions| number(questions as f64 / of.max(1) as f64));
            Some(vec![
                label.to_owned(),
                number(run.acks_per_s),
                whole.count.to_string(),
                time(page.p50_us),
                time(page.p99_us),
                time(whole.p50_us),
                time(whole.p99_us),
                number(page.count as f64 / whole.count.max(1) as f64),
                each(page.count),
                each(whole.count),
                run.counts.recounted.to_string(),
            ])
        });
        let head = [
            "run",
            "messages/s meanwhile",
            "lists",
            "page p50",
            "p99",
            "whole list p50",
            "p99",
            "pages of a list",
            "RPCs a page",
            "RPCs a list",
            "rows recounted",
        ];
        ReportSection {
            title: "A list of 500 conversations",
            body: table(&head, &rows.collect::<Vec<_>>()),
            plots: Vec::new(),
        }
    }

    pub(super) fn many(&self) -> ReportSection {
        let users = self
            .run("conversations")
            .into_iter()
            .flat_map(|run| &run.conversations);
        let rows: Vec<_> = users.map(many::row).collect();
        let mut body = table(&many::HEAD, &rows);
        if !body.is_empty() {
            body.insert_str(0, "\nSessions of one user at a time, on all nodes in turn; the CPU is the sum over all nodes above their idle use.\n");
        }
        ReportSection {
            title: "Users with 10 to 10,000 conversations",
            body,
            plots: Vec::new(),
        }
    }

    pub(super) fn hostile(&self) -> ReportSection {
        let run = self.run("hostile");
        let rows: Vec<_> = run
            .into_iter()
            .filter_map(|run| {
                let (alone, beside) = run.beside_hostile()?;
                let did = run.hostile.iter().map(|(name, count)| format!("{name}: {count}"));
                Some(vec![
                    time(alone),
                    time(beside),
                    number(beside as f64 / alone.max(1) as f64),
                    did.collect::<Vec<_>>().join(", "),
                    run.counts.violations.to_string(),
                ])
            })
            .collect();
        let head = [
            "send to ack p50 alone",
            "beside hostile sessions",
            "times",
            "hostile actions",
            "violations",
        ];
        ReportSection {
            title: "Beside hostile sessions",
            body: table(&head, &rows),
            plots: Vec::new(),
        }
    }

    pub(super) fn channel(&self) -> ReportSection {
        ReportSection {
            title: "A send into a channel, by its members (ten of them connected)",
            body: table(&head("members"), &self.rows(&self.of("channel"))),
            plots: Vec::new(),
        }
    }
}

/// Sum of a value over all nodes; `None` if any node was restarted or sent no metrics.
fn sum(run: &RunReport, of: fn(&Usage) -> u64) -> Option<u64> {
    run.nodes.iter().map(|node| node.usage?.reported(of)).sum()
}

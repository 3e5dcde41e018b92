//! What the chat's own things cost: receipts, inboxes, large channels.

use super::{Section, head};
use crate::measure::nodes::Usage;
use crate::report::Report;
use crate::report::book::Book;
use crate::report::book::text::{table, time};
use crate::report::html::number;

// === impl Book: chat ===

impl Book {
    pub(super) fn receipts(&self) -> Section {
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

    pub(super) fn inbox(&self) -> Section {
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

    pub(super) fn channel(&self) -> Section {
        Section {
            title: "A send into a channel, by its members (ten of them connected)",
            body: table(&head("members"), &self.rows(&self.of("channel"))),
            plots: Vec::new(),
        }
    }
}

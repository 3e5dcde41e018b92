//! Report as a table for the terminal.

use std::fmt::Write;

use super::RunReport;
use super::html::known;
use crate::fault::Injected;
use crate::measure::{Percentiles, Usage};

/// Minimum duration of a load whose memory trend is shown, in seconds. In a shorter one the trend is that of the
/// warm-up.
const TREND_FROM_S: f64 = 300.0;
/// CPU percentage above which the harness affects the measured latency.
const BUSY_PERCENT: f64 = 85.0;

impl RunReport {
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let _ = writeln!(
            out,
            "{} {} seed={}",
            self.scenario,
            parameters.join(" "),
            self.seed
        );
        let _ = writeln!(
            out,
            "{} nodes, acked means: {}",
            self.target.nodes.len(),
            self.target.guarantee
        );
        let counts = &self.counts;
        let _ = writeln!(
            out,
            "sent {}  acked {} ({:.0}/s)  delivered {} ({:.0}/s)  refused {}  read back {}  in {:.1} s",
            counts.sent,
            counts.acked,
            self.acks_per_s,
            self.delivered,
            self.deliveries_per_s,
            counts.refused,
            counts.read_back,
            self.elapsed_s
        );
        if counts.doubled > 0 {
            let _ = writeln!(
                out,
                "duplicate deliveries, permitted by at-least-once: {}",
                counts.doubled
            );
        }
        let _ = writeln!(
            out,
            "\n{:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
        );
        for phase in &self.phases {
            for (what, figures) in [("ack", phase.ack), ("deliver", phase.deliver)] {
                if figures.count > 0 {
                    let name = format!("{} send-{what}", phase.name);
                    let ms = [
                        figures.p50_us,
                        figures.p90_us,
                        figures.p99_us,
                        figures.p999_us,
                        figures.max_us,
                    ]
                    .map(|us| format!("{:>9.2}", us as f64 / 1000.0));
                    let _ = writeln!(out, "{name:<28} {:>9} {}", figures.count, ms.join(" "));
                }
            }
        }
        self.others_table(&mut out);
        self.many_table(&mut out);
        if let Some(disk) = &self.fdatasync {
            let _ = writeln!(
                out,
                "fdatasync of 4 KiB during the run: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
                disk.p50_us as f64 / 1000.0,
                disk.p90_us as f64 / 1000.0,
                disk.p99_us as f64 / 1000.0
            );
        }
        self.nodes_table(&mut out);
        self.harness_table(&mut out);
        for injected in &self.faults {
            let Injected {
                fault,
                nodes,
                from_s,
                until_s,
                outcome,
                problem,
                evidence,
            } = injected;
            let problem = problem
                .as_ref()
                .or(evidence.as_ref())
                .map_or_else(String::new, |why| format!(": {why}"));
            let _ = writeln!(
                out,
                "fault {fault} on nodes {nodes:?}: {from_s:.1} s to {until_s:.1} s, {outcome:?}{problem}"
            );
        }
        if !self.errors.is_empty() {
            let errors: Vec<_> = self
                .errors
                .iter()
                .map(|(name, count)| format!("{name}: {count}"))
                .collect();
            let _ = writeln!(out, "errors: {}", errors.join(", "));
        }
        for violation in &self.violations {
            let _ = writeln!(
                out,
                "VIOLATION {:?} in {} at s={} (client {:?}): {}",
                violation.kind, violation.conversation, violation.s, violation.client, violation.detail
            );
        }
        if let Some(missing) = &self.missing {
            let _ = writeln!(out, "the run is inconclusive: {missing}");
        }
        if let Some(found) = &self.find_max {
            for probe in &found.probes {
                let verdict = probe.why.as_deref().unwrap_or("held");
                let p99 = probe.ack.p99_us as f64 / 1000.0;
                let _ = writeln!(out, "{:>8.0}/s  p99 {p99:>8.2} ms  {verdict}", probe.rate);
            }
            let _ = match found.held {
                Some(held) => writeln!(out, "highest rate within the limits: {held:.0}/s"),
                None => writeln!(out, "no rate was within the limits"),
            };
        }
        let _ = writeln!(out, "{} violations", counts.violations);
        out
    }

    /// Adds the latencies of requests other than sends, and of reconnections.
    fn others_table(&self, out: &mut String) {
        let mut line = |name: &str, figures: &Percentiles| {
            let us = [
                figures.p50_us,
                figures.p90_us,
                figures.p99_us,
                figures.p999_us,
                figures.max_us,
            ];
            let ms = us.map(|us| format!("{:>9.2}", us as f64 / 1000.0));
            if figures.count > 0 {
                let _ = writeln!(out, "{name:<28} {:>9} {}", figures.count, ms.join(" "));
            }
        };
        for (name, figures) in &self.operations {
            line(name, figures);
        }
        let back = &self.reconnects;
        line("reconnect to ready", &back.online);
        line("reconnect to caught up", &back.level);
        if back.lost > 0 {
            let _ = writeln!(
                out,
                "{} connections lost, {} sessions resumed, {} caught up by sync",
                back.lost, back.resumed, back.synced
            );
        }
        for storm in &back.storms {
            let _ = writeln!(
                out,
                "storm at {:.1} s: {} clients disconnected, all caught up after {:.2} s",
                storm.at_s, storm.clients, storm.level_after_s
            );
        }
        let counts = &self.counts;
        if counts.recounted > 0 {
            let _ = writeln!(
                out,
                "{} conversation list rows recounted, {} receipts in order, {} changes acked",
                counts.recounted, counts.receipts, counts.changed
            );
        }
        for memory in self.memory.iter().filter(|_| self.elapsed_s >= TREND_FROM_S) {
            let _ = writeln!(
                out,
                "memory of node {}: {:.1} MiB, {:+.1} MiB an hour over the last {:.0} s",
                memory.node + 1,
                memory.last_kib as f64 / 1024.0,
                memory.kib_per_hour / 1024.0,
                memory.until_s - memory.from_s
            );
        }
    }

    fn harness_table(&self, out: &mut String) {
        let harness = &self.harness;
        let _ = writeln!(
            out,
            "harness: {} connections, RSS {:.1} MiB ({} KiB per connection), CPU {:.1} s ({} us per message)",
            harness.connections,
            harness.rss_kib as f64 / 1024.0,
            known(harness.kib_per_connection, tenths),
            harness.cpu_us as f64 / 1e6,
            known(self.cost.harness_us_per_message, tenths)
        );
        // A saturated harness sends and reads late, which counts as latency of the nodes.
        if harness.busiest_percent > BUSY_PERCENT {
            let _ = writeln!(
                out,
                "NOTE: the harness used {:.0} % of its core and adds to the latency (use more workers)",
                harness.busiest_percent
            );
        }
        if harness.workers.is_empty() {
            return;
        }
        let head = ["clients", "CPU s", "RSS MiB", "clock ms"].map(|head| format!("{head:>9}"));
        let _ = writeln!(out, "{:<28} {}", "worker", head.join(" "));
        for worker in &harness.workers {
            let _ = writeln!(
                out,
                "{:<28} {:>9} {:>9.1} {:>9.1} {:>9.3}",
                worker.worker,
                worker.clients,
                worker.cpu_us as f64 / 1e6,
                worker.rss_kib as f64 / 1024.0,
                worker.clock_error_us as f64 / 1e3
            );
        }
        let _ = writeln!(out, "{} events compared between workers", harness.events_compared);
    }

    fn nodes_table(&self, out: &mut String) {
        let is_known = |usage: Usage| usage.rss_kib > 0 || usage.metrics;
        if !self.nodes.iter().any(|node| node.usage.is_none_or(is_known)) {
            return; // somebody else's nodes, without metrics
        }
        let head = ["CPU s", "CPU %", "RSS MiB", "fsyncs", "msg/fsync"].map(|head| format!("{head:>9}"));
        let _ = writeln!(out, "\n{:<28} {}", "node", head.join(" "));
        for node in &self.nodes {
            let Some(usage) = node.usage else {
                let _ = writeln!(out, "{:<28} restarted", node.node);
                continue;
            };
            let _ = writeln!(
                out,
                "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}",
                node.node,
                known(usage.cpu(), |us| tenths(us as f64 / 1e6)),
                known(node.cpu_percent, tenths),
                known(usage.rss(), |kib| tenths(kib as f64 / 1024.0)),
                known(usage.reported(|usage| usage.fsyncs), |count| count.to_string()),
                known(node.messages_per_fsync, tenths)
            );
        }
        let cost = &self.cost;
        let _ = writeln!(
            out,
            "CPU per message: nodes {} us, harness {} us; per delivery: nodes {} us; memory per client: {} KiB",
            known(cost.nodes_us_per_message, tenths),
            known(cost.harness_us_per_message, tenths),
            known(cost.nodes_us_per_delivery, tenths),
            known(cost.nodes_kib_per_client, tenths)
        );
    }
}

fn tenths(figure: f64) -> String {
    format!("{figure:.1}")
}

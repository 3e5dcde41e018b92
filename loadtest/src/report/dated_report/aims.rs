//! Head of the dated report: the machine, and each aim beside its measurement.

use super::DatedReport;
use super::text::{at, micros, table, time};
use crate::failover;
use crate::report::html::number;

/// Aim: longest wait of a message during a drain, in milliseconds.
const DRAIN_MS: u64 = 300;
/// Aim: time from a kill to the first new ack of a shard, in milliseconds.
const KILL_P50_MS: u64 = 1200;
const KILL_P99_MS: u64 = 2000;
/// Aim: latency from send to ack at low load, as a multiple of one fdatasync.
const FDATASYNCS: f64 = 2.5;
/// Aim: durable messages per second.
const PEAK: f64 = 20_000.0;

// === impl DatedReport ===

impl DatedReport {
    pub(super) fn head(&self) -> String {
        let mut out = String::from(
            "# Measurements with the load harness\n\nMade by `scripts/report.sh`; [docs/testing.md](../../testing.md) describes the figures. `figures.json` contains all figures of each run.\n\n",
        );
        out += self.machine.trim();
        out.push('\n');
        let rows: Vec<_> = self.aims().into_iter().flatten().collect();
        out + &table(&["aim", "measured", ""], &rows)
    }

    /// Returns one row per aim: description, measurement and result. An aim without a run is `None`.
    fn aims(&self) -> Vec<Option<Vec<String>>> {
        let aim = |aim: String, measured: String, met: bool| {
            let met = if met { "met" } else { "**missed**" };
            Some(vec![aim, measured, met.to_owned()])
        };
        let failover = |how: &str, name: &str| {
            let report: &failover::FailoverReport = self.failovers.get(&format!("failover-{how}"))?;
            let times = &report.affected;
            let met = times.p50_us <= KILL_P50_MS * 1000 && times.p99_us <= KILL_P99_MS * 1000;
            aim(
                format!("{name}: first new ack of a shard p50 ≤ 1.2 s, p99 ≤ 2.0 s"),
                format!(
                    "{}, {} ({} faults)",
                    time(times.p50_us),
                    time(times.p99_us),
                    report.rounds.len()
                ),
                met,
            )
        };
        let mut aims = vec![
            failover("kill", "kill -9"),
            failover("cut", "black hole"),
            self.failovers.get("failover-drain").and_then(|report| {
                aim(
                    format!("SIGTERM: every message acknowledged within {DRAIN_MS} ms"),
                    format!(
                        "{} ({} drains, {} messages)",
                        time(report.longest_us),
                        report.rounds.len(),
                        report.acked
                    ),
                    report.longest_us <= DRAIN_MS * 1000,
                )
            }),
        ];
        let sending = self.of("throughput").into_iter().chain(self.of("peak"));
        // The room has few speakers; its rate of acks is no measure of the peak.
        let peak = sending
            .filter(|(label, _)| *label != "room")
            .map(|(_, run)| run.acks_per_s);
        aims.push(peak.reduce(f64::max).and_then(|peak| {
            aim(
                "durable messages of 256 bytes ≥ 20,000/s, closed loop, clients on the same cores".to_owned(),
                format!("{}/s", number(peak)),
                peak >= PEAK,
            )
        }));
        for (label, run) in self.of("low") {
            // The ratio is left out without a measured disk, instead of a division by zero.
            let disk = run.fdatasync.filter(|disk| disk.p50_us > 0);
            let (Some(disk), Some(ack)) = (disk, at(&run.curves.ack, 50.0)) else {
                continue;
            };
            let ratio = ack as f64 / disk.p50_us as f64;
            aims.push(aim(
                format!("send to ack p50 at {label}/s ≤ 2.5 × fdatasync p50 of the same run"),
                format!("{} and {}: {ratio:.1} ×", time(ack), time(disk.p50_us)),
                ratio <= FDATASYNCS,
            ));
        }
        let scale = self.of("scale");
        // Sorted by the number of conversations.
        if let (Some((_, few)), Some((label, many))) = (scale.first(), scale.last()) {
            let (few, many) = (few.cost.nodes_us_per_message, many.cost.nodes_us_per_message);
            aims.push(aim(
                format!("CPU per message flat from 10 to {label} conversations (within 1.5 ×)"),
                format!("{} and {}", micros(few), micros(many)),
                few.zip(many).is_some_and(|(few, many)| many <= 1.5 * few),
            ));
        }
        let judged = self.runs.values().map(|run| run.counts.violations);
        let probed = self.failovers.values().map(|report| report.violations);
        let broken: u64 = judged.chain(probed).sum();
        let runs = self.commands.len();
        aims.push(aim(
            "no acknowledged message is lost, duplicated or out of order in any run".to_owned(),
            format!("{broken} violations in {runs} runs"),
            broken == 0,
        ));
        aims
    }
}

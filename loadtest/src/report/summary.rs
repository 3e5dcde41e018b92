//! Computation of the report's values from the measurements.

use hdrhistogram::Histogram;

use super::{Curves, HarnessReport, MemoryTrend, MessageCost, NodeReport, PercentilePoint, PhaseReport};
use crate::fault::{FaultOutcome, Injected};
use crate::measure::{Percentiles, RunPhase, Sample, Usage, histogram};

// === impl PhaseReport, NodeReport, HarnessReport, MessageCost, MemoryTrend, Curves ===

impl From<&RunPhase> for PhaseReport {
    fn from(phase: &RunPhase) -> PhaseReport {
        PhaseReport {
            name: phase.name.clone(),
            from_s: phase.from as f64 / 1e9,
            ack: Percentiles::of(&phase.ack),
            deliver: Percentiles::of(&phase.deliver),
        }
    }
}

impl NodeReport {
    pub(crate) fn new(
        node: &str,
        usage: Option<Usage>,
        rss_before_kib: Option<u64>,
        elapsed_s: f64,
        acked: u64,
    ) -> NodeReport {
        let cpu = usage.and_then(|usage| usage.cpu());
        let fsyncs = usage.and_then(|usage| usage.reported(|usage| usage.fsyncs));
        NodeReport {
            node: node.to_owned(),
            usage,
            rss_before_kib,
            cpu_percent: cpu.map(|cpu| cpu as f64 / 1e4 / elapsed_s.max(1e-9)),
            messages_per_fsync: messages_per_fsync(acked, fsyncs),
        }
    }
}

impl HarnessReport {
    /// Returns the usage of one process over the load, with its memory at the end.
    pub(crate) fn new(used: Usage, rss_before_kib: u64, connections: u64) -> HarnessReport {
        HarnessReport {
            cpu_us: used.cpu_us,
            rss_kib: used.rss_kib,
            rss_before_kib,
            connections,
            kib_per_connection: ratio(used.rss_kib.saturating_sub(rss_before_kib), connections),
            ..HarnessReport::default()
        }
    }

    /// Adds the CPU percentage of the busiest process over a load of `elapsed_s` seconds.
    pub(crate) fn over(self, elapsed_s: f64) -> HarnessReport {
        // The maximum, not the mean: one saturated worker is enough to distort the latency.
        let busiest = self.workers.iter().map(|worker| worker.cpu_us).max();
        HarnessReport {
            busiest_percent: busiest.unwrap_or(self.cpu_us) as f64 / 1e4 / elapsed_s.max(1e-9),
            ..self
        }
    }
}

impl MessageCost {
    /// Computes the costs. The nodes' values are `None` if any node was restarted or is unreadable: a partial sum is no
    /// cost.
    pub(crate) fn new(
        nodes: &[NodeReport],
        harness: &HarnessReport,
        acked: u64,
        delivered: u64,
        clients: u64,
    ) -> MessageCost {
        let all = |of: fn(&NodeReport) -> Option<u64>| nodes.iter().map(of).sum::<Option<u64>>();
        let cpu = all(|node| node.usage?.cpu());
        let fsyncs = all(|node| node.usage?.reported(|usage| usage.fsyncs));
        let grown = all(|node| Some(node.usage?.rss()?.saturating_sub(node.rss_before_kib?)));
        MessageCost {
            nodes_us_per_message: cpu.and_then(|cpu| ratio(cpu, acked)),
            nodes_us_per_delivery: cpu.and_then(|cpu| ratio(cpu, delivered)),
            harness_us_per_message: ratio(harness.cpu_us, acked),
            // Assumes a replica on every node, so a message counts once per node.
            messages_per_fsync: messages_per_fsync(acked * nodes.len() as u64, fsyncs),
            nodes_kib_per_client: grown.and_then(|grown| ratio(grown, clients)),
        }
    }
}

/// Minimum number of samples for a trend.
const TREND_SAMPLES: usize = 10;

impl MemoryTrend {
    /// Returns the memory trend of each node with enough samples. A restarted process fills its caches again, so a
    /// trend begins after the last fault.
    pub(crate) fn of(samples: &[Sample], nodes: usize, faults: &[Injected]) -> Vec<MemoryTrend> {
        let end = samples.last().map_or(0.0, |sample| sample.at_s);
        let begin = samples.first().map_or(0.0, |sample| sample.at_s);
        let done = faults
            .iter()
            .filter(|fault| fault.outcome != FaultOutcome::Skipped);
        let healed = done.map(|fault| fault.until_s);
        // The second half at most: the growth of the caches in the first one is no leak.
        let quiet_from = healed.fold((begin + end) / 2.0, f64::max);
        let trends = (0..nodes).filter_map(|node| {
            let ours = |sample: &&Sample| sample.node == node && sample.at_s >= quiet_from;
            let points: Vec<(f64, f64)> = samples
                .iter()
                .filter(ours)
                .filter_map(|sample| Some((sample.at_s, sample.rss_kib? as f64)))
                .collect();
            let slope = slope(&points)?;
            Some(MemoryTrend {
                node,
                from_s: points.first().map_or(quiet_from, |(at, _)| *at),
                until_s: points.last().map_or(end, |(at, _)| *at),
                samples: points.len(),
                last_kib: points.last().map_or(0, |(_, rss)| *rss as u64),
                kib_per_hour: slope * 3600.0,
            })
        });
        trends.collect()
    }
}

/// Returns the slope of the least-squares line; `None` with too few points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < TREND_SAMPLES {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| both / spread)
}

/// Returns `None` without messages or without fsyncs.
fn messages_per_fsync(messages: u64, fsyncs: Option<u64>) -> Option<f64> {
    fsyncs
        .filter(|_| messages > 0)
        .and_then(|fsyncs| ratio(messages, fsyncs))
}

/// Returns the quotient; `None` for a division by zero.
fn ratio(of: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| of as f64 / by as f64)
}

impl Curves {
    /// Returns the curves over all phases of the load together.
    pub(crate) fn of(phases: &[RunPhase]) -> Curves {
        let all = |of: fn(&RunPhase) -> &Histogram<u64>| {
            let mut sum = histogram();
            // The first phase is the set-up.
            let load = phases.iter().skip(1);
            load.for_each(|phase| {
                sum.add(of(phase))
                    .expect("all histograms here have the same bounds")
            });
            points(&sum)
        };
        Curves {
            ack: all(|phase| &phase.ack),
            deliver: all(|phase| &phase.deliver),
        }
    }
}

/// Returns the points of a curve, from the median outwards in tenths of a nine. It ends where single messages would
/// decide.
fn points(histogram: &Histogram<u64>) -> Vec<PercentilePoint> {
    let nines = (histogram.len().max(1) as f64).log10();
    let steps = (0..=(nines * 10.0) as u32).map(|step| 1.0 - 10f64.powf(-f64::from(step) / 10.0));
    let point = |quantile: f64| PercentilePoint {
        percentile: quantile * 100.0,
        us: histogram.value_at_quantile(quantile),
    };
    if histogram.is_empty() {
        Vec::new()
    } else {
        steps.map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Recorder;

    #[test]
    fn a_curve_is_over_the_load_and_rises_to_its_last_nine() {
        let mut recorder = Recorder::new();
        recorder.acked(0, 900_000_000_000); // of the set-up
        recorder.phase("steady", 1000);
        (1..=1000).for_each(|us| recorder.acked(1000, 1000 + us * 1000));
        let curves = Curves::of(recorder.phases());
        assert_eq!(curves.deliver.len(), 0);
        assert!(curves.ack.is_sorted_by_key(|point| point.us));
        let last = curves.ack.last().unwrap();
        assert!(
            (99.8..=99.91).contains(&last.percentile) && last.us <= 1000,
            "{last:?}"
        );
    }

    #[test]
    fn a_cost_is_unknown_after_a_restart_or_without_metrics() {
        let node = |usage| NodeReport::new("a:1", usage, Some(1000), 10.0, 100);
        let looked_at = Usage {
            pid: 7,
            cpu_us: 2_000_000,
            rss_kib: 3000,
            ..Usage::default()
        };
        let whole = looked_at.with_metrics("rookery_storage_fsyncs_total 50");
        let harness = HarnessReport::default();
        let of = |nodes: &[NodeReport], acked, clients| MessageCost::new(nodes, &harness, acked, 0, clients);
        let known = of(&[node(Some(whole)), node(Some(whole))], 100, 0);
        assert_eq!(known.nodes_us_per_message, Some(40_000.0));
        assert_eq!(known.messages_per_fsync, Some(2.0));
        assert_eq!(
            (known.nodes_us_per_delivery, known.nodes_kib_per_client),
            (None, None),
            "of no delivery and no client"
        );
        let restarted = of(&[node(Some(whole)), node(None)], 100, 10);
        assert_eq!(
            (restarted.nodes_us_per_message, restarted.nodes_kib_per_client),
            (None, None)
        );
        let silent = of(&[node(Some(looked_at))], 100, 10);
        assert_eq!(
            (silent.messages_per_fsync, silent.nodes_kib_per_client),
            (None, Some(200.0)),
            "a process without metrics"
        );
        let written = serde_json::to_value(restarted).unwrap();
        assert!(written["nodes_us_per_message"].is_null(), "{written}");
        let page = serde_json::to_value(node(None)).unwrap();
        assert!(page["cpu_percent"].is_null() && page["messages_per_fsync"].is_null());
    }

    #[test]
    fn the_trend_of_the_memory_is_that_of_the_second_half() {
        let sample = |second: u32, node, rss_kib| Sample {
            at_s: f64::from(second),
            node,
            up: true,
            cpu_percent: None,
            rss_kib: Some(rss_kib),
            fsyncs_per_s: None,
            takeovers: None,
            owned_shards: None,
            sessions: None,
        };
        let samples: Vec<_> = (0..=100)
            .flat_map(|second| {
                let warm = 10_000 + 100 * u64::from(second.min(40));
                [
                    sample(second, 0, warm),
                    sample(second, 1, 5000 + 2 * u64::from(second)),
                ]
            })
            .collect();
        let trends = MemoryTrend::of(&samples, 3, &[]);
        assert_eq!(trends.len(), 2, "nothing is known of the third");
        assert!(
            trends[0].kib_per_hour.abs() < 1e-6,
            "it grew while it was filled, and then no more"
        );
        assert!((trends[1].kib_per_hour - 7200.0).abs() < 1e-6);
        assert_eq!((trends[1].from_s, trends[1].until_s), (50.0, 100.0));
    }

    #[test]
    fn a_trend_begins_when_the_last_fault_is_over() {
        let sample = |second: u32| Sample {
            at_s: f64::from(second),
            node: 0,
            up: true,
            cpu_percent: None,
            // Restarted at 60, and full again at 70.
            rss_kib: Some(match second {
                0..60 => 50_000,
                60..70 => 10_000 + 1000 * u64::from(second - 60),
                _ => 20_000,
            }),
            fsyncs_per_s: None,
            takeovers: None,
            owned_shards: None,
            sessions: None,
        };
        let fault = |until_s, outcome| Injected {
            fault: "drain-any@58s+2s".to_owned(),
            nodes: vec![1],
            from_s: 58.0,
            until_s,
            outcome,
            problem: None,
            evidence: None,
        };
        let faults = [
            fault(70.0, FaultOutcome::Installed),
            fault(100.0, FaultOutcome::Skipped),
        ];
        let samples: Vec<_> = (0..=100).map(sample).collect();
        let trends = MemoryTrend::of(&samples, 1, &faults);
        assert_eq!((trends[0].from_s, trends[0].until_s), (70.0, 100.0));
        assert!(trends[0].kib_per_hour.abs() < 1e-6);
        let too_late = [fault(95.0, FaultOutcome::Installed)];
        assert!(
            MemoryTrend::of(&samples, 1, &too_late).is_empty(),
            "too few samples"
        );
    }
}

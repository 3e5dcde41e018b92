//! Rates and latencies of a node: differences of counters over an interval.

use std::time::{Duration, Instant};

use storage::LatencyCounts;

use super::NodeAdmin;

/// Interval of the measurement.
const MEASURE: Duration = Duration::from_secs(5);

/// Rates and latencies of the last interval, and the counters at its end.
#[derive(Debug, Default)]
pub(super) struct NodeRates {
    pub(super) sends: f64,
    pub(super) frames_out: f64,
    pub(super) latencies: NodeLatencies,
    last: Option<(Instant, NodeCounters)>,
}

/// Latencies of an interval in milliseconds; `None` without a send or an fsync in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NodeLatencies {
    /// Time from a send to its answer that half of the sends took at most.
    pub(super) ack_p50: Option<f64>,
    /// The same of 99 of a hundred sends.
    pub(super) ack_p99: Option<f64>,
    /// The same of 99 of a hundred fsyncs.
    pub(super) fsync_p99: Option<f64>,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct NodeCounters {
    sends: u64,
    frames_out: u64,
    acks: LatencyCounts,
    fsyncs: LatencyCounts,
}

// === impl NodeRates ===

impl NodeRates {
    /// Updates the rates and latencies to those since the last call.
    fn update(&mut self, now: Instant, counters: NodeCounters) {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            self.sends = rate(counters.sends, before.sends);
            self.frames_out = rate(counters.frames_out, before.frames_out);
            let acks = counters.acks.since(&before.acks);
            let fsyncs = counters.fsyncs.since(&before.fsyncs);
            self.latencies = NodeLatencies {
                ack_p50: acks.quantile(500).map(ms),
                ack_p99: acks.quantile(990).map(ms),
                fsync_p99: fsyncs.quantile(990).map(ms),
            };
        }
        self.last = Some((now, counters));
    }
}

/// Returns milliseconds with one digit behind the point; more would claim a precision that the buckets do not have.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

// === impl NodeAdmin: rates ===

impl NodeAdmin {
    /// Measures the rates and latencies periodically, and never returns.
    pub async fn measure(self) {
        loop {
            let deps = &self.inner.deps;
            let counters = NodeCounters {
                sends: deps.metrics.sends_answered(),
                frames_out: deps.metrics.frames_out.get(),
                acks: deps.metrics.send_latency.counts(),
                fsyncs: deps.storage.fsync_latency.counts(),
            };
            self.inner.rates.lock().update(Instant::now(), counters);
            tokio::time::sleep(MEASURE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::LatencyBuckets;

    use super::*;

    #[test]
    fn rates_and_latencies_are_those_of_the_last_interval() {
        let mut rates = NodeRates::default();
        let start = Instant::now();
        let acks = LatencyBuckets::default();
        acks.observe(Duration::from_secs(9));
        let counters = |sends, frames_out| NodeCounters {
            sends,
            frames_out,
            acks: acks.counts(),
            fsyncs: LatencyCounts::default(),
        };
        rates.update(start, counters(100, 1_000));
        assert_eq!(
            (rates.sends, rates.frames_out, rates.latencies),
            (0.0, 0.0, NodeLatencies::default()),
            "there is no interval yet"
        );
        acks.observe(Duration::from_millis(2));
        rates.update(start + Duration::from_secs(4), counters(108, 1_400));
        assert_eq!((rates.sends, rates.frames_out), (2.0, 100.0));
        let NodeLatencies {
            ack_p50: Some(p50),
            ack_p99: Some(p99),
            fsync_p99: None,
        } = rates.latencies
        else {
            panic!("{:?}", rates.latencies)
        };
        assert!(p50 == p99 && (2.0..2.6).contains(&p50), "{p50} {p99}");
        rates.update(start + Duration::from_secs(6), counters(108, 1_400));
        assert_eq!((rates.sends, rates.frames_out), (0.0, 0.0));
        assert_eq!(rates.latencies, NodeLatencies::default());
    }
}

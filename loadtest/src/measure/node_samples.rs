//! Samples of the nodes over time: once per second, each node's usage since the previous sample. A node without an
//! answer appears as down in the plot, not as zero.

use serde::{Deserialize, Serialize};

use super::nodes::Usage;
use crate::clock::RunClock;

/// Sample of one node in one second of the run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Seconds of the run, as in `seconds[].at`.
    pub(crate) at_s: f64,
    /// Index of the node in `target.nodes`.
    pub(crate) node: usize,
    /// `true` if the node answered `/metrics`.
    pub(crate) up: bool,
    /// Percent of one core since the previous sample; `null` if the process is not local or was replaced.
    pub(crate) cpu_percent: Option<f64>,
    /// `null` if the process is not local.
    pub(crate) rss_kib: Option<u64>,
    /// `null` if the process was replaced or its metrics are unknown.
    pub(crate) fsyncs_per_s: Option<f64>,
    /// Takeovers by this node since the previous sample. This field and the next two are `null` if the node sent no
    /// metrics.
    pub(crate) takeovers: Option<u64>,
    pub(crate) owned_shards: Option<u64>,
    pub(crate) sessions: Option<u64>,
}

/// Sample of the harness's own process in one second of the run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct HarnessSample {
    pub(crate) at_s: f64,
    /// Percent of one core. The harness has one thread, so 100 is its limit.
    pub(crate) cpu_percent: f64,
    pub(crate) rss_kib: u64,
}

/// Recorder of the samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    own_last: Option<(f64, Usage)>,
    own: Vec<HarnessSample>,
    /// Time and values of each node's last answer.
    last: Vec<Option<(f64, Usage)>>,
    samples: Vec<Sample>,
}

// === impl Sampler ===

impl Sampler {
    /// Takes a sample every second, until it is dropped. `readings` reads the usage of every node.
    pub(crate) async fn run(
        &mut self,
        readings: impl AsyncFn() -> Vec<Option<Usage>>,
        clock: RunClock,
    ) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
        // `Delay`: one sample after a pause of the harness, instead of a burst for all missed ticks.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.take_own(clock.now() as f64 / 1e9, Usage::of_self());
            let readings = readings().await;
            // The clock is read again: a slow answer of a node must not shorten the interval that its rates refer to.
            self.take(clock.now() as f64 / 1e9, &readings);
        }
    }

    /// Adds one reading per node; `None` is a node without an answer.
    pub(crate) fn take(&mut self, at_s: f64, readings: &[Option<Usage>]) {
        self.last.resize(readings.len(), None);
        for (node, (reading, last)) in readings.iter().zip(&mut self.last).enumerate() {
            // `last` remains: the next answer covers the whole time of the outage.
            let Some(now) = *reading else {
                self.samples.push(Sample {
                    at_s,
                    node,
                    up: false,
                    cpu_percent: None,
                    rss_kib: None,
                    fsyncs_per_s: None,
                    takeovers: None,
                    owned_shards: None,
                    sessions: None,
                });
                continue;
            };
            // No rates for a replaced process: its counters begin at zero, and the old process's end is unknown.
            let since = last.and_then(|(then, before)| Some((at_s - then, now.since(before)?)));
            let seconds = since.map_or(1.0, |(seconds, _)| seconds.max(1e-3));
            let used = since.map(|(_, used)| used);
            self.samples.push(Sample {
                at_s,
                node,
                up: true,
                cpu_percent: used
                    .filter(|_| now.pid != 0)
                    .map(|used| used.cpu_us as f64 / 1e4 / seconds),
                rss_kib: now.rss(),
                fsyncs_per_s: used
                    .and_then(|used| used.reported(|used| used.fsyncs))
                    .map(|fsyncs| fsyncs as f64 / seconds),
                takeovers: used.and_then(|used| used.reported(|used| used.takeovers)),
                owned_shards: now.reported(|now| now.owned_shards),
                sessions: now.reported(|now| now.sessions),
            });
            *last = Some((at_s, now));
        }
    }

    /// Adds the usage of the harness.
    fn take_own(&mut self, at_s: f64, now: Usage) {
        if let Some((then, before)) = self.own_last.replace((at_s, now)) {
            let used = now.cpu_us.saturating_sub(before.cpu_us);
            self.own.push(HarnessSample {
                at_s,
                cpu_percent: used as f64 / 1e4 / (at_s - then).max(1e-3),
                rss_kib: now.rss_kib,
            });
        }
    }

    /// Returns the samples of the nodes and of the harness.
    pub(crate) fn finish(self) -> (Vec<Sample>, Vec<HarnessSample>) {
        (self.samples, self.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(pid: u32, cpu_us: u64, fsyncs: u64, takeovers: u64) -> Option<Usage> {
        Some(Usage {
            pid,
            cpu_us,
            metrics: true,
            fsyncs,
            takeovers,
            ..Usage::default()
        })
    }

    #[test]
    fn a_sample_is_what_was_used_since_the_one_before() {
        let mut sampler = Sampler::default();
        sampler.take(1.0, &[usage(7, 1_000_000, 10, 3)]);
        sampler.take(3.0, &[usage(7, 2_000_000, 30, 5)]);
        let (samples, _) = sampler.finish();
        assert_eq!(samples[0].cpu_percent, None, "nothing to compare with");
        let second = samples[1];
        assert_eq!(
            (second.cpu_percent, second.fsyncs_per_s, second.takeovers),
            (Some(50.0), Some(10.0), Some(2))
        );
    }

    #[test]
    fn a_node_that_is_down_or_another_process_has_no_rates() {
        let mut sampler = Sampler::default();
        sampler.take(1.0, &[usage(7, 1_000_000, 10, 0), usage(0, 0, 5, 0)]);
        sampler.take(2.0, &[None, usage(0, 0, 9, 0)]);
        sampler.take(3.0, &[usage(8, 500_000, 2, 0), None]);
        let (samples, _) = sampler.finish();
        assert_eq!(samples.iter().filter(|sample| !sample.up).count(), 2);
        assert!(samples.iter().all(|sample| sample.cpu_percent.is_none()));
        assert_eq!(samples[3].fsyncs_per_s, Some(4.0), "a node of somebody else's");
    }
}

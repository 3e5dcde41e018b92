//! Rates of a node: differences of counters over an interval.

use std::time::{Duration, Instant};

use super::NodeAdmin;

/// Interval of the measurement.
const MEASURE: Duration = Duration::from_secs(5);

/// Rates of the last interval, and the counters at its end.
#[derive(Debug, Default)]
pub(super) struct NodeRates {
    pub(super) sends: f64,
    pub(super) frames_out: f64,
    last: Option<(Instant, [u64; 2])>,
}

// === impl NodeRates ===

impl NodeRates {
    /// Updates the rates to the mean since the last call. `counters`: answered sends and frames to clients.
    fn update(&mut self, now: Instant, counters: [u64; 2]) {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let rate = |at: usize| counters[at].saturating_sub(before[at]) as f64 / seconds;
            (self.sends, self.frames_out) = (rate(0), rate(1));
        }
        self.last = Some((now, counters));
    }
}

// === impl NodeAdmin: rates ===

impl NodeAdmin {
    /// Measures the rates periodically, and never returns.
    pub async fn measure(self) {
        loop {
            let metrics = &self.inner.deps.metrics;
            let counters = [metrics.sends_answered(), metrics.frames_out.get()];
            self.inner.rates.lock().update(Instant::now(), counters);
            tokio::time::sleep(MEASURE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_interval() {
        let mut rates = NodeRates::default();
        let start = Instant::now();
        rates.update(start, [100, 1_000]);
        assert_eq!(
            (rates.sends, rates.frames_out),
            (0.0, 0.0),
            "there is no interval yet"
        );
        rates.update(start + Duration::from_secs(4), [108, 1_400]);
        assert_eq!((rates.sends, rates.frames_out), (2.0, 100.0));
        rates.update(start + Duration::from_secs(6), [108, 1_400]);
        assert_eq!((rates.sends, rates.frames_out), (0.0, 0.0));
    }
}

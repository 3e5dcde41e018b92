//! Lag of the event loops: how late a timer of a thread fires, because other work of the thread ran meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Interval of the timer.
const EVERY: Duration = Duration::from_millis(250);
/// Timers in one window. The metric has the largest lag of this window and the one before it, so that a scrape every 15 s
/// misses no peak.
const WINDOW: u32 = 60;

/// Lags of the event loops of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LoopLag {
    lags: Family<LoopLabels, Gauge<f64, AtomicU64>>,
    client_threads: Arc<AtomicUsize>,
}

/// Event loop that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLoop {
    /// Next thread of the gateway.
    Clients,
    /// Thread of conversations, by its number.
    Conversations(usize),
    /// Runtime of the cluster member, whose threads share their tasks.
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoopLabels {
    /// Kind and number of the thread, such as `clients-0`.
    worker: String,
}

/// Largest lags of two windows.
#[derive(Debug, Default)]
struct LagWindow {
    timers: u32,
    current: Duration,
    former: Duration,
}

// === impl LoopLag ===

impl LoopLag {
    /// Registers the metric of all loops.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "worker_lag_seconds",
            "Largest delay of a timer on a thread within the last 15 to 30 seconds, in seconds",
            self.lags.clone(),
        );
    }

    /// Measures the event loop on which the returned future runs, and never returns.
    pub fn measure(&self, on: EventLoop) -> impl Future<Output = ()> + Send + 'static {
        let worker = match on {
            EventLoop::Clients => format!("clients-{}", self.client_threads.fetch_add(1, Ordering::Relaxed)),
            EventLoop::Conversations(number) => format!("conversations-{number}"),
            EventLoop::Cluster => "cluster".to_owned(),
        };
        let gauge = self.lags.get_or_create_owned(&LoopLabels { worker });
        async move {
            let mut window = LagWindow::default();
            loop {
                let began = Instant::now();
                tokio::time::sleep(EVERY).await;
                let lag = began.elapsed().saturating_sub(EVERY);
                gauge.set(window.add(lag).as_secs_f64());
            }
        }
    }
}

// === impl LagWindow ===

impl LagWindow {
    /// Adds a lag, and returns the largest of both windows.
    fn add(&mut self, lag: Duration) -> Duration {
        if self.timers == WINDOW {
            self.timers = 0;
            self.former = std::mem::take(&mut self.current);
        }
        self.timers += 1;
        self.current = self.current.max(lag);
        self.current.max(self.former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_lasts_for_at_least_one_window_and_at_most_two() {
        let mut window = LagWindow::default();
        let (peak, usual) = (Duration::from_millis(80), Duration::from_millis(1));
        assert_eq!(window.add(peak), peak);
        let seen = (0..3 * WINDOW).map(|_| window.add(usual)).collect::<Vec<_>>();
        let last = seen.iter().rposition(|lag| *lag == peak).unwrap();
        assert_eq!(last + 2, 2 * WINDOW as usize);
        assert!(seen[last + 1..].iter().all(|lag| *lag == usual));
    }
}

//! Usage of all workers as one harness.

use crate::measure::Usage;
use crate::report::{HarnessReport, WorkerReport};

// === impl HarnessReport ===

impl HarnessReport {
    /// Returns the sum over all workers.
    pub(super) fn of_workers(workers: Vec<WorkerReport>) -> HarnessReport {
        let sum = |of: fn(&WorkerReport) -> u64| workers.iter().map(of).sum::<u64>();
        let usage = Usage {
            cpu_us: sum(|worker| worker.cpu_us),
            rss_kib: sum(|worker| worker.rss_kib),
            ..Usage::default()
        };
        HarnessReport {
            workers: workers.clone(),
            ..HarnessReport::new(
                usage,
                sum(|worker| worker.rss_before_kib),
                sum(|worker| worker.clients),
            )
        }
    }
}

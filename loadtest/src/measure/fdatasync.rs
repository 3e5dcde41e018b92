//! Reference latency of the disk: a few timed `fdatasync` calls per second beside the nodes' data, during the load.
//!
//! A latency that contains a sync can be compared with this one, taken in the same minutes.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::recorder::{Percentiles, histogram};

/// Histogram of the sync times of one file.
pub(crate) struct SyncProbe {
    times: Histogram<u64>,
}

/// Bytes per append: one page, as the log entry of a single message dirties.
const BYTES: usize = 4096;
/// Interval between two syncs.
const EVERY: Duration = Duration::from_millis(100);

// === impl SyncProbe ===

impl SyncProbe {
    pub(crate) fn new() -> SyncProbe {
        SyncProbe { times: histogram() }
    }

    /// Runs until it is dropped. Measures nothing if `folder` is `None` or not writable.
    pub(crate) async fn run(&mut self, folder: Option<&Path>) -> Infallible {
        let file = folder.map(|folder| File::create(folder.join("fdatasync")));
        let Some(Ok(file)) = file else {
            // Never completes: the caller selects over this future, and its end would end the run.
            return std::future::pending().await;
        };
        let mut file = Some(file);
        let mut ticks = tokio::time::interval(EVERY);
        // `Delay`: after a slow sync, no burst of syncs that would itself load the disk.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(mut appended) = file.take() {
            ticks.tick().await;
            // On a blocking thread: a sync on the harness's only thread would stop all clients.
            let synced = tokio::task::spawn_blocking(move || {
                // Before the clock starts: only the sync is timed, not the copy to the page cache.
                appended.write_all(&[0x5a; BYTES])?;
                let began = Instant::now();
                appended.sync_data()?;
                std::io::Result::Ok((appended, began.elapsed()))
            });
            // An error ends the measurement silently: it is a reference, and no reason to fail the run.
            if let Ok(Ok((appended, took))) = synced.await {
                self.times.saturating_record(took.as_micros() as u64);
                file = Some(appended);
            }
        }
        std::future::pending().await
    }

    /// Returns the percentiles; `None` without a measured sync.
    pub(crate) fn figures(&self) -> Option<Percentiles> {
        (!self.times.is_empty()).then(|| Percentiles::of(&self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_is_timed_for_as_long_as_one_looks() {
        let folder = std::env::temp_dir().join(format!("rookery-fdatasync-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut probe = SyncProbe::new();
        while probe.figures().is_none() {
            let _ = tokio::time::timeout(Duration::from_millis(300), probe.run(Some(&folder))).await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let mut none = SyncProbe::new();
        let _ = tokio::time::timeout(Duration::from_millis(1), none.run(None)).await;
        assert!(none.figures().is_none());
    }
}

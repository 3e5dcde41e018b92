//! What the disk itself can do: while a load goes on, a few appends a second to a file beside the nodes' data, each
//! made durable. A latency that contains a sync is read beside this one, taken in the same minutes.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::latency::{Percentiles, histogram};

/// Syncs of one file, timed.
pub(crate) struct Probe {
    times: Histogram<u64>,
}

/// Appended each time: a page, as the nodes' log of a single message would dirty.
const BYTES: usize = 4096;
/// From one sync to the next.
const EVERY: Duration = Duration::from_millis(100);

// === impl Probe ===

impl Probe {
    pub(crate) fn new() -> Probe {
        Probe { times: histogram() }
    }

    /// Goes on until it is dropped, if there is a folder to do it in.
    pub(crate) async fn run(&mut self, folder: Option<&Path>) -> Infallible {
        let file = folder.map(|folder| File::create(folder.join("fdatasync")));
        let Some(Ok(file)) = file else {
            return std::future::pending().await;
        };
        let mut file = Some(file);
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(mut appended) = file.take() {
            ticks.tick().await;
            // On another thread: the clients must not wait for it.
            let synced = tokio::task::spawn_blocking(move || {
                appended.write_all(&[0x5a; BYTES])?;
                let began = Instant::now();
                appended.sync_data()?;
                std::io::Result::Ok((appended, began.elapsed()))
            });
            if let Ok(Ok((appended, took))) = synced.await {
                self.times.saturating_record(took.as_micros() as u64);
                file = Some(appended);
            }
        }
        std::future::pending().await
    }

    /// What it took; `None` if it was never done.
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
        let mut probe = Probe::new();
        while probe.figures().is_none() {
            let _ = tokio::time::timeout(Duration::from_millis(300), probe.run(Some(&folder))).await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let mut none = Probe::new();
        let _ = tokio::time::timeout(Duration::from_millis(1), none.run(None)).await;
        assert!(none.figures().is_none());
    }
}

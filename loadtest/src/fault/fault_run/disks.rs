//! Disk faults: an older copy, a full disk, and slow fsyncs.

use std::time::{Duration, Instant};

use super::{FaultEffect, FaultError, FaultRun, bitten, skipped};
use crate::cluster::{self, FillFile, SlowDisk, SlowDiskError};
use crate::measure::sum;
use crate::server_internals::{STORAGE_WRITER_THREAD, metric};

/// Time for which a node with an older copy is observed: longer than it needs to connect to the others.
const WATCH: Duration = Duration::from_secs(20);
/// Additional duration of each fsync of a slow disk.
const LONGER: Duration = Duration::from_millis(300);

// === impl FaultRun: disks ===

impl FaultRun<'_> {
    /// Replaces the node's disk by a copy from before the fault, which the other nodes must reject.
    pub(super) async fn roll_back(&self) -> FaultEffect {
        let [node] = *self.nodes else {
            return Err(FaultError::Skipped("applies to one node".to_owned()));
        };
        let local = self.local;
        let data = local.data(node);
        let (older, newer) = (data.with_extension("older"), data.with_extension("newer"));
        self.step.say(format!("copying the disk of node {node}"));
        // The process ends first: a copy of open RocksDB files would be inconsistent.
        local.kill(node).await?;
        cluster::copy(&data, &older).map_err(skipped)?;
        local.restart(node).await?;
        local.ready(node).await?;
        self.hold().await;
        local.kill(node).await?;
        let broken = |error: std::io::Error| FaultError::Indeterminate(error.to_string());
        std::fs::rename(&data, &newer).map_err(broken)?;
        std::fs::rename(&older, &data).map_err(broken)?;
        self.step.say(format!("node {node} starts with the older copy"));
        local.restart(node).await?;
        let refused = self.refused(node).await;
        // The newer copy is restored in any case: with the older one, acknowledged entries would be lost.
        local.kill(node).await?;
        std::fs::remove_dir_all(&data).map_err(broken)?;
        std::fs::rename(&newer, &data).map_err(broken)?;
        local.restart(node).await?;
        local.ready(node).await?;
        match refused {
            Some(how) => Ok(format!("the older copy was refused: {how}")),
            None => Err(FaultError::Indeterminate(
                "the older copy of the disk was accepted as the current one".to_owned(),
            )),
        }
    }

    /// Observes a node that was started with an older copy. Returns its refusal; `None` if it kept running.
    async fn refused(&self, node: u64) -> Option<&'static str> {
        let until = Instant::now() + WATCH;
        while Instant::now() < until {
            if self.local.is_gone(node) {
                return Some("the node ended");
            }
            if let Some(metrics) = self.metrics(node).await
                && sum(&metrics, metric::STORAGE_POISONED) > 0.0
            {
                return Some("the node has stepped down from all shards");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    pub(super) async fn fill(&self) -> FaultEffect {
        if !self.local.has_small_disks() {
            return Err(FaultError::Skipped(
                "mounting a small disk was not allowed".to_owned(),
            ));
        }
        let mut ballast = Vec::new();
        for node in self.nodes {
            ballast.push(FillFile::fill(&self.local.folder(*node)).map_err(skipped)?);
        }
        self.hold().await;
        let mut evidence = Vec::new();
        for node in self.nodes {
            let metrics = self.metrics(*node).await.unwrap_or_default();
            evidence.push(format!(
                "node {node} reported {} KiB of free space",
                sum(&metrics, metric::FREE_BYTES) as u64 >> 10
            ));
        }
        // Measured before the files are dropped, which frees the space.
        let left: Vec<u64> = ballast.iter().map(FillFile::left).collect();
        drop(ballast);
        // Also shows that the nodes recover without a restart once there is space.
        self.all_ready().await?;
        bitten(
            left.iter().all(|left| *left < cluster::RESERVE),
            &evidence.join(", "),
        )
    }

    pub(super) async fn slow(&self) -> FaultEffect {
        let mut slowed = Vec::new();
        for node in self.nodes {
            let before = self.fsyncs(*node).await;
            let pid = self.local.pid(*node).unwrap_or_default();
            let slow_disk =
                SlowDisk::pull(pid, STORAGE_WRITER_THREAD, LONGER).map_err(|error| match error {
                    // A missing thread is a defect of the node, everything else a limitation of this machine.
                    SlowDiskError::NoThread(..) => FaultError::Indeterminate(error.to_string()),
                    _ => FaultError::Skipped(error.to_string()),
                })?;
            slowed.push((*node, before, slow_disk));
        }
        self.hold().await;
        let (mut took_effect, mut evidence) = (true, Vec::new());
        for (node, before, slow_disk) in slowed {
            let after = self.fsyncs(node).await;
            // `max(1.0)`: no fsync at all in the meantime is no division by zero, but a fault without effect.
            let on_average = (after.0 - before.0) / (after.1 - before.1).max(1.0);
            took_effect &= slow_disk.held() > 0 && on_average > LONGER.as_secs_f64() / 2.0;
            evidence.push(format!(
                "ptrace delayed {} fsyncs of node {node}, which took {:.0} ms on average",
                slow_disk.held(),
                on_average * 1000.0
            ));
            slow_disk.lift().await;
        }
        self.all_ready().await?;
        bitten(took_effect, &evidence.join(", "))
    }

    /// Returns the seconds spent in fsyncs, and the number of fsyncs.
    async fn fsyncs(&self, node: u64) -> (f64, f64) {
        let metrics = self.metrics(node).await.unwrap_or_default();
        (
            sum(&metrics, metric::FSYNC_SECONDS_SUM),
            sum(&metrics, metric::FSYNC_SECONDS_COUNT),
        )
    }
}

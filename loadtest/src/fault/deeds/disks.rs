//! What is done to disks.

use std::time::{Duration, Instant};

use super::{Deed, Done, Trouble, bitten, skipped};
use crate::brake::{self, Brake, WRITER};
use crate::disk::{self, Ballast};
use crate::measure::nodes::sum;

/// How long a node with an older copy of its disk is watched: longer than it takes to meet the others.
const WATCH: Duration = Duration::from_secs(20);
/// How much longer an fsync of a slow disk takes.
const LONGER: Duration = Duration::from_millis(300);

// === impl Deed: disks ===

impl Deed<'_> {
    /// Exchanges the node's disk for a copy of itself from before the fault, which the others must not believe.
    pub(super) async fn roll_back(&self) -> Done {
        let [node] = *self.nodes else {
            return Err(Trouble::Skipped("is done to one node".to_owned()));
        };
        let local = self.local;
        let data = local.data(node);
        let (older, newer) = (data.with_extension("older"), data.with_extension("newer"));
        self.step.say(format!("copying the disk of node {node}"));
        local.kill(node).await?;
        disk::copy(&data, &older).map_err(skipped)?;
        local.restart(node).await?;
        local.ready(node).await?;
        self.hold().await;
        local.kill(node).await?;
        let broken = |error: std::io::Error| Trouble::Indeterminate(error.to_string());
        std::fs::rename(&data, &newer).map_err(broken)?;
        std::fs::rename(&older, &data).map_err(broken)?;
        self.step.say(format!("node {node} starts with the older copy"));
        local.restart(node).await?;
        let refused = self.refused(node).await;
        local.kill(node).await?;
        std::fs::remove_dir_all(&data).map_err(broken)?;
        std::fs::rename(&newer, &data).map_err(broken)?;
        local.restart(node).await?;
        local.ready(node).await?;
        match refused {
            Some(how) => Ok(format!("the older copy was refused: {how}")),
            None => Err(Trouble::Indeterminate(
                "the older copy of the disk was taken for the current one".to_owned(),
            )),
        }
    }

    /// Whether a node that starts with an older copy of its disk gives up.
    async fn refused(&self, node: u64) -> Option<&'static str> {
        let until = Instant::now() + WATCH;
        while Instant::now() < until {
            if self.local.is_gone(node) {
                return Some("the node ended");
            }
            if let Some(metrics) = self.metrics(node).await
                && sum(&metrics, "storage_poisoned") > 0.0
            {
                return Some("the node has stepped down from everything");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    pub(super) async fn fill(&self) -> Done {
        if !self.local.has_small_disks() {
            return Err(Trouble::Skipped(
                "mounting a small disk was not allowed".to_owned(),
            ));
        }
        let mut ballast = Vec::new();
        for node in self.nodes {
            ballast.push(Ballast::fill(&self.local.folder(*node)).map_err(skipped)?);
        }
        self.hold().await;
        let mut evidence = Vec::new();
        for node in self.nodes {
            let metrics = self.metrics(*node).await.unwrap_or_default();
            evidence.push(format!(
                "node {node} saw {} KiB left",
                sum(&metrics, "storage_free_bytes") as u64 >> 10
            ));
        }
        let left: Vec<u64> = ballast.iter().map(Ballast::left).collect();
        drop(ballast);
        self.all_ready().await?;
        bitten(
            left.iter().all(|left| *left < disk::RESERVE),
            &evidence.join(", "),
        )
    }

    pub(super) async fn slow(&self) -> Done {
        let mut slowed = Vec::new();
        for node in self.nodes {
            let before = self.fsyncs(*node).await;
            let pid = self.local.pid(*node).unwrap_or_default();
            let brake = Brake::pull(pid, WRITER, LONGER).map_err(|error| match error {
                brake::Error::NoThread(..) => Trouble::Indeterminate(error.to_string()),
                _ => Trouble::Skipped(error.to_string()),
            })?;
            slowed.push((*node, before, brake));
        }
        self.hold().await;
        let (mut bit, mut evidence) = (true, Vec::new());
        for (node, before, brake) in slowed {
            let after = self.fsyncs(node).await;
            let on_average = (after.0 - before.0) / (after.1 - before.1).max(1.0);
            bit &= brake.held() > 0 && on_average > LONGER.as_secs_f64() / 2.0;
            evidence.push(format!(
                "ptrace held {} fsyncs of node {node} back, and they took {:.0} ms on average there",
                brake.held(),
                on_average * 1000.0
            ));
            brake.lift().await;
        }
        self.all_ready().await?;
        bitten(bit, &evidence.join(", "))
    }

    /// Seconds spent in fsyncs, and their number.
    async fn fsyncs(&self, node: u64) -> (f64, f64) {
        let metrics = self.metrics(node).await.unwrap_or_default();
        (
            sum(&metrics, "storage_fsync_seconds_sum"),
            sum(&metrics, "storage_fsync_seconds_count"),
        )
    }
}

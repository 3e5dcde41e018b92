//! Background tasks of a node: removal of deleted data, and the check of the quorum.

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use storage::Store;

use crate::session::{AdmissionControl, NodeState};

/// Interval of the quorum check.
const LOOK: Duration = Duration::from_millis(250);
/// Interval of the measurement of the free space.
const MEASURE: Duration = Duration::from_secs(10);

/// Periodically removes deleted data from the files; never if `every` is zero.
pub(super) async fn tidy_up(cluster: Cluster, store: Store, every: Duration) {
    if every.is_zero() {
        return;
    }
    loop {
        // Sleeps first: a node that restarts often must not compact at every start.
        tokio::time::sleep(every).await;
        tidy(&cluster, &store).await;
    }
}

/// Measures the free space periodically: writes measure it, too, but on a node without writes other programs may fill the
/// disk.
pub(super) async fn measure_space(store: Store) {
    loop {
        let measured = store.clone();
        // The result concerns new writes only, which look for themselves; this updates the metric.
        let _full = tokio::task::spawn_blocking(move || measured.room()).await;
        tokio::time::sleep(MEASURE).await;
    }
}

pub(super) async fn tidy(cluster: &Cluster, store: &Store) {
    // Before the compaction: purged log entries are dropped from the files by the same run.
    cluster.trim().await;
    let store = store.clone();
    let began = std::time::Instant::now();
    match tokio::task::spawn_blocking(move || store.compact()).await {
        Ok(Ok(())) => tracing::info!(took_ms = began.elapsed().as_millis(), "data directory compacted"),
        // A stop closed the store or the runtime, which is no failure.
        Ok(Err(storage::Error::Closed)) | Err(_) => {}
        Ok(Err(error)) => tracing::warn!(%error, "data directory compaction failed"),
    }
}

/// Returns the number of nodes that drain, as known here; this one counts at any rate.
fn draining(cluster: &Cluster) -> u32 {
    let nodes = cluster.status().nodes;
    let draining = nodes.iter().filter(|node| node.draining && node.alive).count();
    u32::try_from(draining).unwrap_or(u32::MAX).max(1)
}

/// Closes the sessions of a node that has lost quorum, and accepts sessions again when quorum is restored. A removed
/// node stays closed. While the node drains, it shares the reconnects that the cluster is to admit with the others that do.
pub(super) async fn watch_majority(
    cluster: Cluster,
    admission: Arc<AdmissionControl>,
    reconnects_per_second: u32,
) {
    loop {
        if matches!(admission.order(), NodeState::HandOver | NodeState::Drain) {
            admission.share_reconnects((reconnects_per_second / draining(&cluster)).max(1));
        }
        // A removed node counts as without quorum, so that its clients move to members.
        let removed = cluster.removed();
        let isolated = removed || cluster.isolated();
        if isolated != (admission.order() == NodeState::Isolated) {
            if isolated && !removed {
                tracing::warn!("lost quorum, closing sessions");
            }
            admission.isolated(isolated);
        }
        tokio::time::sleep(LOOK).await;
    }
}

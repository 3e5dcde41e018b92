//! Stop of a node: its components end in order, each within a deadline.

use std::time::Duration;

use super::{Running, notify_service_manager};
use crate::session::{CLOSE_TIMEOUT, NodeState};

/// Deadline of stop steps that have no setting of their own.
const STOP: Duration = Duration::from_secs(10);

// === impl Running: stop ===

impl Running {
    /// Stops the components in order, and returns when all are stopped. Each step is bounded by a deadline.
    pub async fn stop(self) {
        let Running {
            store,
            cluster,
            service,
            admission,
            sessions,
            gateway,
            config,
            watch,
            tidy,
            key_refresh,
            actors,
            raft,
            ..
        } = self;
        notify_service_manager("STOPPING=1");
        // 1. Shards move to other nodes while the sessions are still open: their commands follow the new owners.
        admission.stop();
        admission.send(NodeState::HandOver);
        step("transfer shards", config.server.drain_timeout.0, cluster.drain()).await;
        // 2. Clients are asked to reconnect to other nodes.
        let close = admission.closing_time() + CLOSE_TIMEOUT * 2 + Duration::from_secs(1);
        admission.send(NodeState::Drain);
        step("close sessions", close, admission.emptied()).await;
        // Unconfirmed events stay until another node has fetched them. A node that is alone has no other node to wait
        // for.
        if cluster.nodes().len() > 1 {
            let patience = config.fetch_timeout().0;
            let fetched = tokio::time::timeout(patience, sessions.fetched()).await;
            if fetched.is_err() {
                tracing::info!(
                    sessions = sessions.detached_count(),
                    "stopping with detached sessions that were not transferred"
                );
            }
        }
        // 3. The gateway stops. Until here it answers probes, which report that the node drains, and REST requests in
        //    progress.
        let server = config.tuning.shutdown_timeout.0 + Duration::from_secs(1);
        step("stop the gateway", server, gateway.stop(true)).await;
        // 4. Queries and commands in progress are answered or refused.
        step("stop conversations", STOP, service.stop()).await;
        step("stop actors", STOP, actors.stop()).await;
        // 5. The member leaves the transport. Background tasks end before it, since they use its handle.
        watch.abort();
        tidy.abort();
        key_refresh.abort();
        step("stop the cluster member", STOP, cluster.shutdown()).await;
        // 6. The disk last: replication may write until the member has stopped.
        // Blocking: the final sync must not stall the runtime that measures the deadline.
        let closed = tokio::task::spawn_blocking(move || store.close());
        step("close storage", STOP, async {
            if closed.await.is_err() {
                tracing::error!("storage could not be closed");
            }
        })
        .await;
        // The runtime last: the steps above run tasks on it.
        drop(raft);
        tracing::info!("stopped");
    }
}

async fn step(what: &'static str, deadline: Duration, work: impl Future<Output = ()>) {
    // A step that hangs must not prevent the following ones: the disk has to be closed in any case.
    if tokio::time::timeout(deadline, work).await.is_err() {
        tracing::warn!(
            step = what,
            deadline_ms = deadline.as_millis(),
            "shutdown step timed out, continuing"
        );
    }
}

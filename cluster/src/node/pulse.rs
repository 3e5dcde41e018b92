//! One clock for the heartbeats of all groups that this node leads.
//!
//! openraft gives each group a clock with a phase of its own, by which a node with many groups wakes itself and its peers
//! for one small frame at a time. From one clock the frames of all groups leave together: a lane writes them at once, and
//! so are they read and answered. The idea is CockroachDB's coalesced heartbeats.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use crate::node::Node;

/// Runs until the node stops.
pub(super) async fn run(node: Arc<Node>) {
    let mut clock = interval(node.config.heartbeat);
    // After a stall one heartbeat says as much as all that were missed.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = node.stopping.cancelled() => return,
        }
        for replica in node.all_replicas() {
            replica.group.heartbeat();
        }
    }
}
